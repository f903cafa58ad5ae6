"""Fixtures that tests share: a gateway, the CSMS behind it, and the charge points that spyne makes."""

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from gateway.app import Gateway
from gateway.config import Admin, Callbacks, Config, Ocppj, Server, State, Traffic
from tests.peers.csms import Csms, running_csms

if TYPE_CHECKING:
    from tests.peers.charge_point import ChargePoint

# The same messages at every run, few of each; HYPOTHESIS_PROFILE=thorough looks for new ones.
settings.register_profile("quick", derandomize=True, deadline=None, max_examples=8)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

OpenGateway = Callable[..., Awaitable[Gateway]]
ChargePoints = Callable[[str], "ChargePoint"]


@pytest.fixture
async def csms() -> AsyncIterator[Csms]:
    """A CSMS that accepts everything."""
    async with running_csms() as csms:
        yield csms


@pytest.fixture
def configured(tmp_path: Path, csms: Csms) -> Callable[..., Config]:
    """Makes a configuration with the CSMS as its first backend; `server`, `backend` and `callbacks` change single keys."""

    def configure(
        server: dict[str, Any] | None = None,
        backend: dict[str, Any] | None = None,
        callbacks: dict[str, Any] | None = None,
        others: tuple[Ocppj, ...] = (),
        **sections: Any,
    ) -> Config:
        quick = {"connect_timeout": 2, "timeout": 5, "backoff_min": 0.02, "backoff_max": 0.05}
        near: dict[str, Any] = {"allow": ("127.0.0.0/8",), "timeout": 5, "connect_timeout": 2}
        return Config(
            server=Server(**{"port": 0, "drain": 0.1} | (server or {})),
            admin=Admin(port=0),
            callbacks=Callbacks(**near | (callbacks or {})),
            state=State(path=tmp_path / "state.db"),
            traffic=Traffic(path=tmp_path / "traffic.db"),
            backends=(Ocppj(kind="ocppj", name="csms", url=csms.url, **quick | (backend or {})), *others),
            **sections,
        )

    return configure


@pytest.fixture
async def open_gateway(configured: Callable[..., Config], csms: Csms) -> AsyncIterator[OpenGateway]:
    """Starts gateways, and stops them in the end; takes what `configured` takes."""
    async with AsyncExitStack() as stack:

        async def open_one(**changes: Any) -> Gateway:
            gateway = Gateway(configured(**changes))
            stack.push_async_callback(_stop, gateway)
            await gateway.start()
            return gateway

        yield open_one


async def _stop(gateway: Gateway) -> None:
    if not gateway.stopping:
        await gateway.stop()


@pytest.fixture
async def port(open_gateway: OpenGateway) -> int:
    """The chargers' port of a running gateway."""
    return (await open_gateway()).ports[0]


@pytest.fixture(scope="session")
def _charge_points() -> Iterator[ChargePoints]:
    if sys.version_info >= (3, 12) and "REQUIRE_ALL_PEERS" not in os.environ:
        pytest.skip("spyne imports on Python 3.11 only")
    from tests.peers import charge_point as made

    points: dict[str, ChargePoint] = {}
    with ExitStack() as stack:

        def point(version: str) -> "ChargePoint":
            if version not in points:
                points[version] = stack.enter_context(made.served(made.ChargePoint(version)))
            points[version].forget()
            return points[version]

        yield point


@pytest.fixture
def charge_point(_charge_points: ChargePoints) -> ChargePoints:
    """Gives the charge point of a version, as new; its server lasts as long as the tests."""
    return _charge_points

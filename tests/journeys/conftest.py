"""What journeys need besides the shared fixtures: servers that stop at once."""

import asyncio
from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def _quick_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn looks only ten times a second whether it shall stop; hundreds of gateways cannot wait for that."""
    hasty = SimpleNamespace(**vars(asyncio) | {"sleep": lambda seconds: asyncio.sleep(seconds / 20)})
    monkeypatch.setattr("uvicorn.server.asyncio", hasty)

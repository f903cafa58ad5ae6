"""Runs one gateway in a process of its own, until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from gateway.app import Gateway
from gateway.config import Config, ConfigError, Server
from gateway.greeting import GREETING
from gateway.log import configure
from gateway.paths import shown
from gateway.redaction.redactor import Redactor
from gateway.state.store import StateError

logger = structlog.get_logger("gateway")


def run(config: Config, path: Path | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code."""
    configure(config.log)  # it may have to be told that there is no key
    try:
        redactor = Redactor.configured(config)
        configure(config.log, hide=redactor.text)
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(config, path, redactor))
    except (ConfigError, StateError, OSError) as error:
        logger.error("gateway.failed", reason=str(error))
        return 1


def _make_room(config: Config) -> None:
    """Let the process have the open files that so many chargers need, each with a connection to a backend."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    needed = 2 * config.bounds.connections + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        logger.warning("gateway.few_files", allowed=allowed, needed=needed, reason="bounds.connections asks for more open files")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, path: Path | None, redactor: Redactor) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    gateway = Gateway(config, redactor)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(gateway.stop)
        await gateway.start()
        _make_room(config)
        _greet(gateway, path)
        await stop.wait()
        logger.info("gateway.stopping", drain=f"{config.server.drain:g} s")
    logger.info("gateway.stopped")
    return 0


def _greet(gateway: Gateway, path: Path | None) -> None:
    config = gateway.config
    logger.info("gateway.started", configuration=str(path or "embedded defaults"), backends=", ".join(gateway.backends))
    admin_port = gateway.ports[1]
    soap = gateway.url + shown(config.server.soap_paths)
    json = gateway.url.replace("http", "ws", 1) + shown(config.server.json_paths).replace("{", "<").replace("}", ">")
    admin = Server(host=config.admin.host, port=admin_port).url
    command = sys.argv[0] if sys.argv[0].endswith("ocpp-gateway") else "ocpp-gateway"
    sys.stdout.write(GREETING.format(soap=soap, json=json, admin=admin, command=command))
    sys.stdout.flush()

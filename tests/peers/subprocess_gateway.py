"""A gateway in a process of its own, which can be killed and started again on the same files."""

import asyncio
import contextlib
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import aiohttp

STARTED = 15.0
_PORTS = re.compile(rb"//127\.0\.0\.1:([0-9]+)")


class SubprocessGateway:
    """`port` is where chargers find the run that there is now, or where the last one was."""

    def __init__(self, folder: Path, configuration: str) -> None:
        self.folder = folder
        self.port = self.admin = 0
        self._process: Process | None = None
        self._talking: asyncio.Task[bytes] | None = None
        (folder / "gateway.toml").write_text(configuration, "utf-8")

    async def __aenter__(self) -> "SubprocessGateway":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """However it ends, no process is left behind."""
        await self.kill()

    async def start(self) -> None:
        """Back when it says that it is ready."""
        command = (sys.executable, "-m", "gateway", "serve", "-c", "gateway.toml")
        environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
        with (self.folder / "gateway.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=self.folder, env=environment, stdout=PIPE, stderr=log
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(STARTED):
            greeting = await self._process.stdout.readuntil(b"curl")
            ports = [int(port) for port in _PORTS.findall(greeting)]
            self.port, self.admin = ports[0], ports[-1]
            self._talking = asyncio.create_task(self._process.stdout.read())
            await self._ready()

    async def _ready(self) -> None:
        async with aiohttp.ClientSession(trust_env=False) as http:
            while True:
                async with http.get(f"http://127.0.0.1:{self.admin}/readyz") as answer:
                    if answer.status == 200:
                        return

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._gone()

    async def stop(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._gone()

    async def _gone(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(STARTED):
            await self._process.wait()
            if self._talking is not None:
                await self._talking

    @property
    def log(self) -> str:
        """What all runs have said."""
        return (self.folder / "gateway.log").read_text("utf-8")

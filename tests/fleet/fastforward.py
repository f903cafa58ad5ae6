"""An event loop whose clock jumps to the next moment at which something is due; and lives of a process, which can be killed.

Work for threads is done in the loop, some milliseconds later, and known some milliseconds after that: a kill can fall in between.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

T = TypeVar("T")
STROKE = 0.004  # seconds that the disk takes, before and after a thing is done
_LIFE: ContextVar["Life | None"] = ContextVar("life", default=None)


class Life:
    """One run of a process: its tasks, and whether they have been killed."""

    def __init__(self) -> None:
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._context: Context = copy_context()
        self._context.run(_LIFE.set, self)

    @property
    def dead(self) -> bool:
        return self.over.done()

    def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call something as a part of this life."""
        return self._context.copy().run(function, *arguments)

    def task(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do something as a part of this life."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    async def wait(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What comes of it; None if the end comes first."""
        task = self.task(work)
        ends: set[asyncio.Future[Any]] = {task, self.over}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() and not task.cancelled() and not self.dead else None

    def kill(self) -> None:
        """Nothing of this life does anything any more."""
        if not self.dead:
            self.over.set_result(None)
        for task in tuple(self.tasks):
            task.cancel()


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing but what is there already."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._jump(timeout)
        return ready


class FastLoop(asyncio.SelectorEventLoop):
    """`time` begins at nought."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_Jumping(self._jump))
        self._clock_resolution = 1e-6
        self.set_task_factory(_born)  # type: ignore[arg-type]

    def time(self) -> float:
        return self._now

    def _jump(self, seconds: float | None) -> None:
        if seconds is None:
            raise RuntimeError("expected something to be due, now or later; there is nothing")
        self._now += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        done: asyncio.Future[T] = self.create_future()
        life = _LIFE.get()
        if life is not None and life.dead:
            done.cancel()
        else:
            self.call_later(STROKE, self._work, life, done, func, args)
        return done

    def _work(self, life: Life | None, done: asyncio.Future[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        if life is not None and life.dead:
            done.cancel()
            return
        try:
            result = function(*arguments)
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            self.call_later(STROKE, _settle, done, done.set_exception, error)
        else:
            self.call_later(STROKE, _settle, done, done.set_result, result)


def _settle(done: asyncio.Future[Any], settle: Callable[[Any], None], what: Any) -> None:
    if not done.done():
        settle(what)


def _born(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
    task = asyncio.Task(work, loop=loop, context=context)
    life = context.get(_LIFE) if context is not None else _LIFE.get()
    if life is not None:
        life.tasks.add(task)
        task.add_done_callback(life.tasks.discard)
        if life.dead:
            task.cancel()
    return task


@contextmanager
def fast_runner() -> Iterator[asyncio.Runner]:
    """Runs things in fast motion."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        yield runner

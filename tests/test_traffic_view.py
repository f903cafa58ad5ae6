"""The full-screen view, driven by Textual's pilot on a terminal of 80x24."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from gateway.config import Config, State
from gateway.redaction.redactor import Redactor
from gateway.traffic import query
from gateway.traffic.exchanges import Exchange
from gateway.traffic.language import parsed
from gateway.traffic.reading import Shown
from gateway.traffic.tree import EVERYTHING, Tree
from gateway.traffic.view.app import View
from gateway.traffic.view.asking import MOST
from gateway.traffic.writer import LogWriter
from tests.excerpts import BEAT, FAILED, PENDING, hostile, json_exchange, soap_exchange
from tests.traffic_cases import AUTHORIZE, store

DEADLINE = 10.0
Driven = Pilot[None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store(tmp_path / "traffic.db", soap_exchange(), BEAT, FAILED)
    return tmp_path / "traffic.db"


@asynccontextmanager
async def driven(path: Path, tree: Tree = EVERYTHING, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[View, Driven]]:
    config = Config.model_construct(state=State(path=path.with_name("state.db")))
    with contextlib.closing(query.open_to_read(path)) as log:
        view = View(Shown(log, config, Redactor(config, bytes(32))), tree, poll_every=0.02)
        async with view.run_test(size=size) as pilot:
            await until(pilot, lambda: "exchanges" in text(view, "#state"))
            yield view, pilot
            view.paused = True
            await view.workers.wait_for_complete()


async def until(pilot: Driven, holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not holds():
            await pilot.pause()


def text(view: View, selector: str) -> str:
    return str(view.query_one(selector, Static).content)


def rows(view: View) -> list[str]:
    table = view.query_one("#list", DataTable)
    return [str(table.get_row_at(n)[4]) for n in range(table.row_count)]


def screen(view: View) -> str:
    """What stands on the terminal, as text."""
    lines = view.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)


async def test_the_newest_is_chosen_and_keys_are_told(path: Path) -> None:
    told = ("GenericError", "exchange 3", "Filter", "Pause", "Newest", "Quit", "live - 3 exchanges")
    async with driven(path) as (view, pilot):
        await until(pilot, lambda: all(text in screen(view) for text in told))
        assert rows(view) == ["StartTransaction", "Heartbeat", "Reset"]


async def test_both_sides_of_the_chosen_exchange_stand_beside_each_other(path: Path) -> None:
    async with driven(path, size=(160, 90)) as (view, pilot):
        await until(pilot, lambda: "exchange 3" in screen(view))
        await pilot.press("ctrl+home")
        await until(pilot, lambda: "startTransactionRequest" in screen(view))
        beside = [line for line in screen(view).splitlines() if '"idTag"' in line[75:]]
        assert beside and "<" in beside[0][:70]


async def test_new_exchanges_come_and_stop_while_it_is_paused(path: Path) -> None:
    async with driven(path) as (view, pilot):
        store(path, json_exchange(b'[2,"n","Authorize",{}]', None, action="Authorize", name="n-1"))
        await until(pilot, lambda: len(rows(view)) == 4)
        await pilot.press("p")
        assert "paused" in text(view, "#state")
        store(path, json_exchange(b'[2,"n","Authorize",{}]', None, action="Authorize", name="n-2"))
        await view.workers.wait_for_complete()
        await pilot.pause()
        assert len(rows(view)) == 4
        await pilot.press("p")
        await until(pilot, lambda: len(rows(view)) == 5)


async def test_an_answer_that_comes_later_is_shown(path: Path) -> None:
    store(path, PENDING)
    async with driven(path) as (view, pilot):
        table = view.query_one("#list", DataTable)
        await until(pilot, lambda: str(table.get_row_at(3)[5]) == "no answer")
        answered = json_exchange(b'[2,"c","Heartbeat",{}]', b'[3,"c",{}]', name="j-3")
        answered.id = 4
        with contextlib.closing(LogWriter(path)) as log:
            log.write([answered])
        await until(pilot, lambda: str(table.get_row_at(3)[5]) == "ok")


async def test_a_filter_is_applied_by_enter(path: Path) -> None:
    async with driven(path) as (view, pilot):
        await pilot.press("slash")
        view.query_one("#filter", Input).value = "not ok"
        await pilot.press("enter")
        await until(pilot, lambda: rows(view) == ["Reset"])
        assert view.focused is view.query_one("#list")


async def test_what_is_wrong_with_a_filter_is_told_and_nothing_else_changes(path: Path) -> None:
    async with driven(path) as (view, pilot):
        await pilot.press("slash")
        view.query_one("#filter", Input).value = "latency > 2"
        await pilot.press("enter")
        await until(pilot, lambda: "expected a duration like 2s" in screen(view))
        assert len(rows(view)) == 3
        view.query_one("#filter", Input).value = "latency > 2s"
        await until(pilot, lambda: "expected a duration" not in screen(view))


async def test_it_begins_with_the_filter_that_it_is_given(path: Path) -> None:
    async with driven(path, parsed("action == Heartbeat")) as (view, _):
        assert rows(view) == ["Heartbeat"]
        assert view.query_one("#filter", Input).value == 'action == "Heartbeat"'


@pytest.mark.parametrize("number", range(len(hostile())))
async def test_what_a_peer_sends_is_shown_and_never_obeyed(tmp_path: Path, number: int) -> None:
    evil: Exchange = hostile()[number]
    evil.id = 0
    store(tmp_path / "evil.db", evil)
    async with driven(tmp_path / "evil.db", size=(200, 60)) as (view, pilot):
        await until(pilot, lambda: "exchange 1" in screen(view))
        assert not set("\x1b\x9b\x07\r\x00\x7f\u202e\u2028") & set(screen(view))


async def test_markup_and_wide_characters_are_text(tmp_path: Path) -> None:
    frame = '[2,"m","DataTransfer",{"vendorId":"[bold]x[/bold][@click=app.quit]","data":"電気自動車"}]'.encode()
    store(tmp_path / "m.db", json_exchange(frame, None, action="[red]Data[/red]", charger="充電[b]器"))
    async with driven(tmp_path / "m.db", size=(160, 50)) as (view, pilot):
        await until(pilot, lambda: "[bold]x[/bold][@click=app.quit]" in screen(view))
        assert rows(view) == ["[red]Data[/red]"]
        assert "電気自動車" in screen(view)


async def test_what_should_not_be_told_is_hidden(tmp_path: Path) -> None:
    store(tmp_path / "a.db", AUTHORIZE)
    async with driven(tmp_path / "a.db", size=(160, 50)) as (view, pilot):
        await until(pilot, lambda: "idtag:" in screen(view))
        assert "PLANTED" not in screen(view)


async def test_the_list_is_bounded(path: Path) -> None:
    async with driven(path) as (view, pilot):
        store(path, *(json_exchange(b"[2]", None, name=f"z-{n}", action=str(n)) for n in range(MOST)))
        await until(pilot, lambda: bool(rows(view)) and rows(view)[-1] == str(MOST - 1))
        assert (len(rows(view)), rows(view)[0]) == (MOST, "0")


async def test_a_log_that_cannot_be_read_any_more_is_said(path: Path) -> None:
    async with driven(path) as (view, pilot):
        with contextlib.closing(LogWriter(path)) as log:
            log._connection.execute("ALTER TABLE exchanges RENAME TO gone")
        await until(pilot, lambda: "cannot be read" in screen(view))

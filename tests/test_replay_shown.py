"""gateway.replay.shown: side by side where there is room, one by one elsewhere, and harmless everywhere."""

import io
import re
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from gateway.config import Config
from gateway.redaction.redactor import Redactor
from gateway.replay import shown
from gateway.replay.diff import diff
from gateway.replay.plan import planned
from gateway.replay.verdicts import judged
from gateway.traffic.render import screen
from tests.replays import passed
from translations.messages import Call, Error, Result

HOSTILE = "\x1b[2J\x00\x9b\u202e[bold]x[/bold]\n\t"
REDACTOR = Redactor(Config(), bytes(32))
BEFORE: dict[str, Any] = {"status": "Accepted", "limit": Decimal("16.50"), "keys": [1, 2]}
AFTER: dict[str, Any] = {"status": "Blocked", "limit": Decimal("16.50"), "keys": [2, 3]}


def put(width: int | None, before: Any, after: Any) -> str:
    """What is written, on a terminal so wide or on none."""
    file = io.StringIO()
    wide = Console(file=file, force_terminal=True, width=width, markup=False, highlight=False, emoji=False)
    console = wide if width else screen(file, terminal=False)
    shown.put_changes(console, diff(before, after), before, after, ("left", "right"))
    return file.getvalue()


def plain(text: str) -> str:
    """Without styles."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_a_wide_terminal_has_both_sides_in_a_line() -> None:
    text = plain(put(120, BEFORE, AFTER))
    assert re.search(r'"status": "Accepted", +"status": "Blocked",', text)
    assert text.count("16.50") == 2


def test_a_narrow_one_has_the_changes_alone() -> None:
    text = plain(put(80, BEFORE, AFTER))
    assert '"Accepted"' in text
    assert "16.50" not in text


def test_off_a_terminal_each_change_is_a_line_of_cells() -> None:
    rows = [line.split("\t") for line in put(None, BEFORE, AFTER).splitlines()]
    assert rows[1:] == [
        ["~", "status", '"Accepted"', '"Blocked"'],
        ["-", "keys[0]", "1", ""],
        ["+", "keys[1]", "", "3"],
    ]


def test_colours_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[31m" in put(120, BEFORE, AFTER)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[31m" not in put(120, BEFORE, AFTER)


@pytest.mark.parametrize("width", [None, 80, 120])
def test_what_peers_say_is_shown_and_not_obeyed(width: int | None) -> None:
    text = plain(put(width, {"data": HOSTILE}, {HOSTILE: 1}))
    assert "[bold]x[/bold]" in text
    assert not set(text) & set("\x1b\x00\x9b\u202e")


def test_a_played_call_is_harmless_and_hides_what_is_secret() -> None:
    (step,) = planned([passed("Authorize", {"idTag": "PLANTED1"}, {"idTagInfo": {"status": "Accepted"}}, charger=HOSTILE)]).steps
    answer = Result({"idTagInfo": {"status": HOSTILE, "parentIdTag": "PLANTED2"}})
    played = judged(step, step.call, answer, 0.1)
    text = "\t".join(cell.plain for cell in shown.ReplayView(REDACTOR).cells(played))
    assert "idtag:" in text
    assert "PLANTED" not in text
    assert not set(text) & set("\x1b\x00\x9b\u202e\n")


def test_the_text_of_an_error_is_searched_too() -> None:
    (step,) = planned([passed("Heartbeat", {}, {"currentTime": "x"})]).steps
    played = judged(step, Call("Heartbeat", {}), Error("SecurityError", "password=planted9"), 0.1)
    told = shown.ReplayView(REDACTOR).as_object(played)
    assert "planted9" not in str(told)
    assert told["changes"] == [{"kind": "changed", "path": "outcome", "before": "ok", "after": "SecurityError"}]

"""Messages in a terminal: shown, never obeyed."""

import io
from typing import Any

import pytest

from gateway.traffic import render
from gateway.traffic.record import Record
from gateway.traffic.row import Row, from_columns, to_columns
from translations.messages import Kind, Remark

SAMPLE = Record(1_714_557_600.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>")
EVIL = "\x1b[31m\x9b2J\x07\r\x7f\u202e[bold]:smile:[/bold]"
SHOWN = r"\x1b[31m\x9b2J\x07\x0d\x7f\u202e[bold]:smile:[/bold]"
LINK = "[link=http://evil.example]x[/link]"


def row(**changes: Any) -> Row:
    return from_columns((1, *to_columns(SAMPLE._replace(**changes))))


def evil_row() -> Row:
    remark = Remark(Kind.LOST, EVIL, LINK, EVIL)
    return row(charger=EVIL, action=EVIL, note=LINK, raw=EVIL.encode(), canonical=[2, EVIL], remarks=(remark,))


def printed(terminal: bool, rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "1000")
    out = io.StringIO()
    console = render.screen(out, terminal=terminal)
    render.put_table(console, render.HEADINGS, map(render.cells, rows))
    for each in rows:
        render.put_row(console, each)
    render.put_exchange(console, rows)
    return out.getvalue()


def test_off_a_terminal_nothing_is_styled_or_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(False, [evil_row()], monkeypatch)
    assert not set("\x1b\x9b\x07\r\x7f\u202e") & set(text)
    assert text.count(SHOWN) >= 6
    assert LINK in text


def test_on_a_terminal_only_our_own_styles_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(True, [evil_row()], monkeypatch)
    assert "\x1b[31m\\x9b" not in text
    assert not set("\x9b\x07\r\x7f\u202e") & set(text)
    assert text.count(SHOWN) >= 6
    assert LINK in text
    assert "\x1b]8" not in text  # no hyperlink


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(True, [row(kind="error", outcome="InternalError")], monkeypatch)
    assert "InternalError" in text
    assert "\x1b[31m" not in text


def test_a_failure_is_red_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[31mInternalError" in printed(True, [row(kind="error", outcome="InternalError")], monkeypatch)


def test_off_a_terminal_long_cells_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "x" * 5000
    text = printed(False, [row(charger=long, note=long)], monkeypatch)
    assert f"\t{long}\t" in text
    assert not set(text) & set("…│─━┃")


def test_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()
    message = row(outcome="ok", latency=1.5, charger="CP-" + "7" * 30, note="a reason of some length")
    render.put_table(render.screen(out, terminal=True), render.HEADINGS, [render.cells(message)])
    assert "2024-05-01T10:00:00.000Z" in out.getvalue()
    assert (out.getvalue().count("7"), "…" in out.getvalue()) == (30, False)


def test_xml_is_shown_with_its_elements_on_lines_of_their_own() -> None:
    raw = b'<?xml version="1.0"?><a xmlns="urn:a"><b>1</b><!-- c --><c>\x7f</c></a>'
    assert render.raw_text(raw).splitlines() == [
        '<a xmlns="urn:a">',
        "  <b>1</b>",
        "  <!-- c -->",
        "  <c>\\x7f</c>",
        "</a>",
    ]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"<a><b></a>", "<a><b></a>"),
        (b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'),
        (b'[2, "a"]', '[2, "a"]'),
        (b"\xff\x00", r"\xff\x00"),
        (b"a\r\n\tb\n", "a\\x0d\n\tb"),
        (b"<a>&#x9b;</a>", r"<a>\x9b</a>"),
        (b"", ""),
    ],
)
def test_what_is_no_plain_xml_is_shown_as_it_is(raw: bytes, expected: str) -> None:
    assert render.raw_text(raw) == expected


def test_no_external_entity_is_fetched() -> None:
    utf16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>'.encode("utf-16")
    assert "root:" not in render.raw_text(utf16)

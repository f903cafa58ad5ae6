"""Exchanges in a terminal: shown, never obeyed; remarks stand at their fields."""

import io

import pytest

from gateway.traffic import render, show
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.stories import Story
from tests.excerpts import ESCAPES, FAILED, LOST, hostile, json_exchange, soap_exchange
from translations.messages import Kind, Remark, Version

OBEYED = "\x1b\x9b\x07\r\x00\x7f\u202e\u2028"
MARKUP = "[link=http://evil.example]x[/link]:smile:"
CALL = b'[2, "a", "MeterValues", {"meterValue": [{"sampledValue": [{"value": "1.50,"}, {"value": "{"}]}], "x,y": [], "n": 1e2}]'


def printed(*exchanges: Exchange, terminal: bool, columns: int = 1000) -> str:
    """As list, tail, show and follow have it."""
    out = io.StringIO()
    console = render.screen(out, terminal=terminal)
    console.width = columns
    render.put_exchanges(console, exchanges)
    story = Story()
    for each in exchanges:
        render.put_row(console, each)
        show.put_exchange(console, each)
        for event in story.tell(each):
            render.put_event(console, event)
    return out.getvalue()


def shown(exchange: Exchange, columns: int) -> list[str]:
    """As show has it on a terminal, without colours."""
    out = io.StringIO()
    console = render.screen(out, terminal=True)
    console.width, console.no_color = columns, True
    show.put_exchange(console, exchange)
    return out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\x1b[2m", "").splitlines()


@pytest.fixture(autouse=True)
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.parametrize("exchange", hostile())
def test_off_a_terminal_nothing_is_styled_or_obeyed(exchange: Exchange) -> None:
    assert not set(OBEYED) & set(printed(exchange, terminal=False))


@pytest.mark.parametrize("columns", [80, 200, 1000])
@pytest.mark.parametrize("exchange", hostile())
def test_on_a_terminal_only_our_own_styles_are_obeyed(exchange: Exchange, columns: int) -> None:
    text = printed(exchange, terminal=True, columns=columns)
    assert not set(OBEYED) - {"\x1b"} & set(text)
    assert "\x1b]8" not in text  # no hyperlink
    assert render.visible(ESCAPES)[:4] == "\\x1b"


def test_markup_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = json_exchange(f'[2,"m","DataTransfer",{{"vendorId":"{MARKUP}"}}]'.encode(), None, charger=MARKUP, action=MARKUP)
    evil.findings = (Finding(MARKUP, "error", MARKUP),)
    for terminal in (True, False):
        assert printed(evil, terminal=terminal).count(MARKUP) >= 8


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[31mGenericError" in printed(FAILED, terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(FAILED, terminal=True)
    assert "GenericError" in text
    assert "\x1b[31m" not in text


def test_off_a_terminal_long_cells_are_whole() -> None:
    long = "x" * 5000
    text = printed(soap_exchange(charger=long), terminal=False)
    assert f"\t{long}\t" in text
    assert not set(text) & set("…│─━┃")


def test_a_narrow_terminal_loses_nothing() -> None:
    out = io.StringIO()
    console = render.screen(out, terminal=True)
    console.width = 80
    render.put_exchanges(console, [soap_exchange(charger="CP-" + "7" * 30)])
    assert "05-01 10:00:00.000" in out.getvalue()
    assert "findings" not in out.getvalue()  # nothing stands there
    assert (out.getvalue().count("7") >= 30, "…" in out.getvalue()) == (True, False)


def test_findings_are_told_gravest_first() -> None:
    found = soap_exchange(findings=(Finding("told-late", "note", ""), Finding("fault-loop", "error", "")))
    cell = dict(zip(render.HEADINGS, render.cells(found), strict=True))["findings"]
    assert (cell.plain, cell.style) == ("fault-loop told-late", "red")


# --- show --------------------------------------------------------------------------------------------------------------


def test_a_wide_terminal_has_both_sides_beside_each_other_and_a_narrow_one_below() -> None:
    wide, narrow = shown(soap_exchange(), 120), shown(soap_exchange(), 119)
    assert any("<" in line[:58] and '"idTag"' in line[58:] for line in wide)
    assert not any("<" in line and '"idTag"' in line for line in narrow)
    assert any(line.startswith('    "idTag"') for line in narrow)


def test_the_timeline_has_every_step_with_its_latency() -> None:
    assert [" ".join(line.split()) for line in shown(soap_exchange(), 200)[1:5]] == [
        "2024-05-01T10:00:00.000Z +0.0 ms < received charger",
        "2024-05-01T10:00:00.062Z +62.5 ms > sent csms after 62.5 ms",
        "2024-05-01T10:00:00.187Z +187.5 ms < answered csms after 125.0 ms",
        "2024-05-01T10:00:00.250Z +250.0 ms > returned charger after 62.5 ms",
    ]


def test_headers_and_legs_are_told() -> None:
    lines = [line.rstrip() for line in shown(soap_exchange("Reset", Version.V16), 200)]
    assert "csms  json 1.6  ws://198.51.100.7/ocpp  ok  125.0 ms" in lines
    assert "content-type: application/soap+xml; charset=utf-8  host: gateway.example:9000" in lines


def test_remarks_stand_at_their_fields_and_others_above() -> None:
    exchange = soap_exchange()
    call = exchange.legs[0].call
    assert call is not None
    call.remarks = (LOST, Remark(Kind.CHANGED, "meterStart", "5.5 became 5", "round"))
    lines = [line.rstrip() for line in shown(exchange, 100)]
    [at] = [n for n, line in enumerate(lines) if "<--" in line]
    assert lines[at].startswith('    "meterStart": ')
    assert lines[at].endswith(",  <-- changed: 5.5 became 5 (round)")
    assert lines.index("lost reason: no field for it (delta)") < at


def test_every_line_of_a_frame_knows_its_path() -> None:
    frame = show.pretty(CALL)
    assert frame is not None
    placed = {show.path_text(path): line.strip() for path, line in show.placed(frame) if path}
    assert placed["[3].meterValue[0].sampledValue[0].value"] == '"value": "1.50,"'
    assert placed["[3].meterValue[0].sampledValue[1].value"] == '"value": "{"'
    assert (placed["[3].x,y"], placed["[3].n"]) == ('"x,y": [],', '"n": 1e2')


def test_a_remark_finds_its_place_in_an_answer() -> None:
    text, left = show.remarked(show.pretty(b'[3,"a",{"status":"Accepted"}]') or "", (Remark(Kind.ASSUMED, "status", "d", "r"),))
    assert (text.plain.splitlines()[4], left) == ('    "status": "Accepted"  <-- assumed: d (r)', [])


@pytest.mark.parametrize("raw", [b"[" * 100_000, b'[2,"\xff"]', b"", b"{", b'{"a":1}', b"3", b'[2,"a","b",{"\\ud800":1}]'])
def test_what_is_no_frame_does_no_harm(raw: bytes) -> None:
    leg = Leg("charger", True, "json", "1.6", call=Half(1.0, raw, raw, remarks=(LOST,)))
    assert "lost" in printed(Exchange(1, "x", 1.0, legs=[leg]), terminal=False)


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

"""gateway.log: what a line says, what it never says, and which lines there are at all."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from gateway.config import Log
from gateway.log import MessageLog, configure
from gateway.traffic.record import Record
from translations.messages import Kind, Remark

NOON = 1_714_564_800.25
SECRETS = ("DEADBEEF", "hush-password", "ACME-SERIAL", "zz-detail")
CALL = Record(
    at=NOON,
    exchange="x-1",
    charger="CP-1",
    leg="charger",
    direction="<",
    wire="soap",
    version="1.5",
    kind="call",
    action="Authorize",
    message_id="m-1",
    raw=b"<authorizeRequest><idTag>DEADBEEF</idTag><p>hush-password</p></authorizeRequest>",
    canonical=[2, "m-1", "Authorize", {"idTag": "DEADBEEF", "serial": "ACME-SERIAL"}],
    remarks=(Remark(Kind.LOST, "idTag", "zz-detail", "drop"),),
    peer="192.0.2.1:4000",
)
ANSWER = CALL._replace(direction=">", kind="result", outcome="ok", latency=0.0123)
ERROR = ANSWER._replace(kind="error", outcome="InternalError", note="no answer in 30 s")
REFUSED_SOAP = CALL._replace(kind="refused", outcome="ProtocolError", note="expected XML")
REFUSED_JSON = REFUSED_SOAP._replace(wire="json", version="1.6")
BACKEND = CALL._replace(leg="csms", direction=">", wire="json", version="1.6")
# A bell, an escape sequence, a C1 control, a line of its own, a change of direction, half a character.
HOSTILE = "\a\x1b[31m\x9b2J\r\n2024-01-01 [info] CP-9 ok\u202e\ud800"


def told(record: Record, level: str = "debug", form: str = "text") -> str:
    stream = io.StringIO()
    MessageLog(Log.model_validate({"level": level, "format": form}), stream)(record)
    return stream.getvalue()


# --- messages


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (CALL, "[debug  ] CP-1 < Authorize charger soap 1.5 call 1 remarks x-1\n"),
        (ANSWER, "[info   ] CP-1 > Authorize charger soap 1.5 result ok 12.3 ms 1 remarks x-1\n"),
        (
            ERROR._replace(remarks=()),
            "[warning] CP-1 > Authorize charger soap 1.5 error InternalError 12.3 ms x-1\n",
        ),
        (BACKEND, "[debug  ] CP-1 > Authorize csms json 1.6 call 1 remarks x-1\n"),
        (
            REFUSED_JSON._replace(charger="", action="", remarks=()),
            "[warning] ? < ? charger json 1.6 refused ProtocolError x-1 : expected XML\n",
        ),
    ],
)
def test_a_line_says_who_which_way_and_what(record: Record, line: str) -> None:
    assert told(record) == "2024-05-01T12:00:00.250Z " + line


def test_a_line_of_json_says_the_same() -> None:
    assert json.loads(told(ERROR, form="json")) == {
        "event": "message",
        "level": "warning",
        "timestamp": "2024-05-01T12:00:00.250Z",
        "charger": "CP-1",
        "direction": ">",
        "leg": "charger",
        "wire": "soap",
        "version": "1.5",
        "kind": "error",
        "action": "Authorize",
        "outcome": "InternalError",
        "exchange": "x-1",
        "ms": 12.3,
        "remarks": 1,
        "note": "",
    }


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("record", "least"),
    [
        (CALL, "debug"),
        (BACKEND, "debug"),
        (BACKEND._replace(kind="error", outcome="GenericError"), "debug"),
        (REFUSED_SOAP, "warning"),
        (ANSWER, "info"),
        (ERROR, "warning"),
        (REFUSED_JSON, "warning"),
    ],
)
def test_a_line_is_told_from_its_level_on(record: Record, least: str, form: str) -> None:
    levels = ["debug", "info", "warning", "error"]
    said = [bool(told(record, level, form)) for level in levels]
    assert said == [levels.index(level) <= levels.index(least) for level in levels]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("record", [CALL, ANSWER, ERROR, REFUSED_SOAP, REFUSED_JSON, BACKEND], ids=lambda r: r.kind)
def test_no_line_tells_a_payload_an_id_tag_or_a_detail(record: Record, form: str) -> None:
    line = told(record, form=form)
    assert [secret for secret in SECRETS if secret in line] == []


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("field", ["charger", "action", "note", "outcome", "version"])
def test_no_peer_can_steer_the_terminal_or_make_lines(field: str, form: str) -> None:
    hostile: dict[str, Any] = {field: HOSTILE}
    line = told(ERROR._replace(**hostile), form=form)
    assert line.endswith("\n")
    assert line[:-1].isprintable()


def test_a_hostile_text_in_json_reads_as_it_was() -> None:
    assert json.loads(told(ERROR._replace(charger=HOSTILE), form="json"))["charger"] == HOSTILE


def test_the_fault_that_answers_a_refusal_is_not_told_again() -> None:
    stream = io.StringIO()
    log = MessageLog(Log(level="info"), stream)
    for record in (REFUSED_SOAP, ERROR._replace(outcome="ProtocolError"), ERROR._replace(exchange="x-2")):
        log(record)
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["XML", "x-2"]


def test_the_words_of_an_error_are_for_the_traffic_log() -> None:
    assert "DEADBEEF" not in told(ERROR._replace(note="bad idTag DEADBEEF"))


# --- what the gateway and the libraries tell


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards everything is as it was."""
    root = logging.getLogger()
    handlers, level, before = list(root.handlers), root.level, structlog.get_config()
    yield io.StringIO()
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def started(stream: io.StringIO, form: str, level: str = "info") -> None:
    configure(Log.model_validate({"level": level, "format": form}), stream)


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_is_a_line_with_its_facts(stream: io.StringIO, form: str) -> None:
    started(stream, form)
    structlog.get_logger("test").warning("charger.odd", charger="CP-1", path=io)
    (line,) = stream.getvalue().splitlines()
    assert all(word in line for word in ("charger.odd", "warning", "CP-1", "20"))


def test_an_event_in_json_has_a_level_and_a_time(stream: io.StringIO) -> None:
    started(stream, "json")
    structlog.get_logger("test").info("charger.connected", charger="CP-1")
    said = json.loads(stream.getvalue())
    assert (said["event"], said["level"], said["charger"], said["timestamp"][-1]) == ("charger.connected", "info", "CP-1", "Z")


@pytest.mark.parametrize(("level", "events"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 0)])
def test_events_below_the_level_are_not_told(stream: io.StringIO, level: str, events: int) -> None:
    started(stream, "json", level)
    logger = structlog.get_logger("test")
    logger.debug("one")
    logger.info("two")
    logger.warning("three")
    assert len(stream.getvalue().splitlines()) == events


@pytest.mark.parametrize("form", ["text", "json"])
def test_an_event_cannot_steer_the_terminal(stream: io.StringIO, form: str) -> None:
    started(stream, form)
    structlog.get_logger("test").warning("charger.odd", charger=HOSTILE)
    logging.getLogger("library").warning("odd: %s", HOSTILE)
    assert len(lines := stream.getvalue().splitlines()) == 2
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_libraries_tell_comes_in_the_same_form(stream: io.StringIO, form: str) -> None:
    started(stream, form)
    logging.getLogger("library").info("not wanted")
    logging.getLogger("library").warning("the %s is on fire", "printer")
    (line,) = stream.getvalue().splitlines()
    assert "the printer is on fire" in line
    assert form == "text" or json.loads(line)["level"] == "warning"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_shows_no_local_variables(stream: io.StringIO, form: str) -> None:
    started(stream, form)
    try:
        payload, number = {"idTag": "".join(("DEAD", "BEEF"))}, 0
        print(len(payload) / number)  # noqa: T201 - fails
    except ZeroDivisionError:
        logging.getLogger("library").exception("went wrong")
        structlog.get_logger("test").exception("went.wrong")
    assert stream.getvalue().count("ZeroDivisionError: division by zero") == 2
    assert "DEADBEEF" not in stream.getvalue()


# --- what is hidden


def hidden(text: str) -> str:
    """Hides one value, where its name is told."""
    return text.replace("key=hush", "key=***").replace("key: hush", "key: ***")


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_told_goes_through_what_hides_it(stream: io.StringIO, form: str) -> None:
    configure(Log.model_validate({"format": form}), stream, hidden)
    log = structlog.get_logger("hiding")
    log.info("key: hush", reason="key: hush", listed=["key: hush"], key="hush", table={"key": "hush"})
    logging.getLogger("library").warning("key: %s", "hush")
    assert stream.getvalue().count("***") == 6
    assert "hush" not in stream.getvalue()


@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_go_through_it_too(stream: io.StringIO, form: str) -> None:
    configure(Log.model_validate({"format": form}), stream, hidden)
    try:
        int("key: hush")
    except ValueError:
        structlog.get_logger("hiding").exception("failed")
        logging.getLogger("library").exception("failed")
    assert stream.getvalue().count("***") == 4  # of each the line of code and the message


@pytest.mark.parametrize("form", ["text", "json"])
def test_notes_go_through_it_too(form: str) -> None:
    stream = io.StringIO()
    MessageLog(Log.model_validate({"format": form}), stream, hide=hidden)(REFUSED_JSON._replace(note="key: hush"))
    assert "key: ***" in stream.getvalue()

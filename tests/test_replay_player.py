"""gateway.replay.player: a recorded session, played to a real CSMS, and to both doors of a real gateway."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from gateway.config import Config, Embedded, Ocppj, Server
from gateway.replay.plan import planned
from gateway.replay.player import Commands, Pace, play
from gateway.replay.target import OURSELVES, NoTarget, target
from gateway.replay.verdicts import Played, Verdict
from gateway.rules.rewrites import path_of
from gateway.traffic.exchanges import Exchange
from tests.conftest import OpenGateway
from tests.journeys.log import exchanged
from tests.peers.bare import bare_server, http
from tests.peers.csms import Csms
from tests.peers.envelopes import envelope, post
from tests.peers.stack16 import Stack16, hanging_up, properly, refusing, saying, silently
from tests.replays import ACCEPTED, NOW, passed, session

TIME = "<timestamp>2024-05-01T10:00:00Z</timestamp>"
START = f"<startTransactionRequest><connectorId>1</connectorId><idTag>TAG1</idTag>{TIME}<meterStart>0</meterStart>"
STOP = f"<stopTransactionRequest><transactionId>4711</transactionId>{TIME}<meterStop>9</meterStop></stopTransactionRequest>"
SAID = ("<heartbeatRequest/>", f"{START}</startTransactionRequest>", STOP)
QUICK = Pace(speed=None, timeout=5, linger=0)
BARE = Config()
REFUSED = {"idTagInfo": {"status": "Blocked"}}
AUTHORIZE = [passed("Authorize", {"idTag": "TAG1"}, ACCEPTED)]


async def played(
    to: str, exchanges: Iterable[Exchange], pace: Pace = QUICK, config: Config = BARE, ignore: str = "", **options: Any
) -> tuple[list[Played], list[Commands]]:
    """What came of it, in the order in which it came."""
    told: list[Played] = []
    async with target(to, config).opened() as opening:
        ignored = [path_of(ignore)] if ignore else []
        commands = await play(planned(exchanges, **options), opening, pace, told.append, ignored)
    return told, commands


def verdicts(told: Iterable[Played]) -> list[str]:
    return [each.verdict for each in told]


def at(csms: Csms) -> str:
    """An address without a place for the identity."""
    return csms.url.removesuffix("/{identity}")


async def test_a_session_is_said_again_with_the_numbers_of_the_target(csms: Csms) -> None:
    told, _ = await played(at(csms), session(number=7))
    assert verdicts(told) == ["same"] * 4
    heard = csms.told("CP-1")
    assert [action for action, _ in heard] == ["BootNotification", "StartTransaction", "MeterValues", "StopTransaction"]
    assert [payload.get("transactionId") for _, payload in heard] == [None, None, 4711, 4711]
    assert heard[1][1] == {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": NOW}


async def test_each_charger_has_a_connection_and_message_ids_are_our_own(csms: Csms) -> None:
    await played(at(csms), [*session("CP-1"), *session("CP-2")])
    assert sorted(each.identity for each in csms.handshakes) == ["CP-1", "CP-2"]
    ids = [json.loads(call.raw)[1] for call in csms.heard]
    assert len(set(ids)) == 8
    assert "m" not in ids


async def test_all_chargers_may_share_one_connection(csms: Csms) -> None:
    told, _ = await played(at(csms), [*session("CP-1"), *session("CP-2")], identity="TEST/1")
    assert verdicts(told) == ["same"] * 8
    assert [each.identity for each in csms.handshakes] == ["TEST/1"]


async def test_another_answer_is_a_difference(csms: Csms) -> None:
    csms.answers["Authorize"] = dict(REFUSED)
    (told,), _ = await played(at(csms), AUTHORIZE)
    assert told.verdict is Verdict.DIFFERENT
    assert {change.path for change in told.changes} == {
        ("idTagInfo", "status"),
        ("idTagInfo", "expiryDate"),
        ("idTagInfo", "parentIdTag"),
    }
    (told,), _ = await played(at(csms), AUTHORIZE, ignore="idTagInfo")
    assert told.verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("recorded", "verdict"), [(ACCEPTED, "different"), ("SecurityError", "same"), ("InternalError", "different"), (None, "new")]
)
async def test_errors_are_compared_by_their_codes(csms: Csms, recorded: Any, verdict: str) -> None:
    csms.manner = refusing("SecurityError", "not you")
    (told,), _ = await played(at(csms), [passed("Authorize", {"idTag": "TAG1"}, recorded)])
    assert (told.verdict, told.note) == (verdict, "not you")
    assert all(change.path == ("outcome",) for change in told.changes)


async def test_an_answer_that_does_not_come_is_an_error_after_its_time(csms: Csms) -> None:
    csms.manner = silently
    (told,), _ = await played(at(csms), AUTHORIZE, Pace(None, timeout=0.05, linger=0))
    assert (told.verdict, told.note) == (Verdict.ERROR, "no answer in 0.05 s")


async def test_a_transaction_that_the_target_did_not_begin_is_not_ended_there(csms: Csms) -> None:
    csms.manner = refusing("InternalError")
    told, _ = await played(at(csms), session())
    assert verdicts(told) == ["different", "different", "error", "error"]
    assert [action for action, _ in csms.told("CP-1")] == ["BootNotification", "StartTransaction"]


async def test_what_is_left_of_a_broken_connection_is_told(csms: Csms) -> None:
    csms.manner = hanging_up
    told, _ = await played(at(csms), session()[:3:2])
    assert verdicts(told) == ["error", "error"]
    assert told[0].note == "connection closed with 1011: goodbye"


async def test_whom_nobody_reaches_is_told_for_each_call(csms: Csms) -> None:
    await csms.stop()
    told, commands = await played(at(csms), session())
    assert verdicts(told) == ["error"] * 4
    assert [each.note for each in told[:2]] == ["connection refused"] * 2
    assert commands == [Commands("CP-1", "UnlockConnector", 1, 0)]


async def test_commands_are_waited_for_and_answered_as_the_charger_did(csms: Csms) -> None:
    answers: list[Any] = []

    async def commanding(end: Stack16, raw: str) -> None:
        await properly(end, raw)
        if '"StopTransaction"' in raw:
            await end.connection.send('[2,"c-1","UnlockConnector",{"connectorId":1}]')
            await end.connection.send('[2,"c-2","Reset",{"type":"Soft"}]')
        elif raw.startswith(("[3", "[4")):
            answers.append(json.loads(raw))

    csms.manner = commanding
    expecting = [*session(), passed("Reset", {"type": "Soft"}, None, 4, up=False)]
    _, commands = await played(at(csms), expecting, Pace(None, linger=5))
    assert commands == [Commands("CP-1", "Reset", 1, 1), Commands("CP-1", "UnlockConnector", 1, 1)]
    await csms.closed.wait()
    assert [answer[:3] for answer in answers if answer[1] == "c-1"] == [[3, "c-1", {"status": "Unlocked"}]]


async def test_calls_keep_their_distance(csms: Csms) -> None:
    begun = time.monotonic()
    told, _ = await played(at(csms), session(), Pace(speed=20, linger=0))  # three seconds of it
    assert 0.15 <= time.monotonic() - begun < 3
    assert verdicts(told) == ["same"] * 4


async def test_timestamps_move(csms: Csms) -> None:
    await played(at(csms), session(), Pace(None, linger=0, shift=3600))
    assert csms.told("CP-1")[1][1]["timestamp"] == "2024-05-01T11:00:00Z"


async def test_a_backend_of_the_configuration_gets_its_own_names(
    csms: Csms, configured: Callable[..., Config], tmp_path: Any
) -> None:
    (tmp_path / "tags.toml").write_text('"TAG1" = "THEIRS1"\n')
    config = configured(backend={"identity": "site-{identity}", "id_tags_file": tmp_path / "tags.toml"})
    recorded = [passed("Authorize", {"idTag": "TAG1"}, "InternalError", csms=ACCEPTED)]
    (told,), _ = await played("csms", recorded, config=config, backend="csms")
    assert told.verdict is Verdict.SAME
    assert csms.told("site-CP-1") == [("Authorize", {"idTag": "THEIRS1"})]


async def test_a_gateways_socket_takes_a_session(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    told, _ = await played(f"ws://127.0.0.1:{gateway.ports[0]}/ocpp", session())
    assert verdicts(told) == ["same"] * 4


@pytest.mark.parametrize("version", ["1.2", "1.5", "1.6"])
async def test_a_gateways_soap_door_takes_a_session_in_the_chargers_version(
    open_gateway: OpenGateway, csms: Csms, version: str
) -> None:
    gateway = await open_gateway()
    exchanges = session()
    for exchange in exchanges:
        exchange.legs[0].version = version
    told, commands = await played(f"http://127.0.0.1:{gateway.ports[0]}/soap", exchanges)
    assert verdicts(told) == ["same"] * 4, [each.note for each in told]
    numbers = [payload.get("transactionId") for _, payload in csms.told("CP-1")]
    assert numbers[3] is not None
    assert numbers[2] == (None if version == "1.2" else numbers[3])  # 1.2 has no transactionId in MeterValues
    assert ("lost transactionId" in told[2].note) is (version == "1.2")
    assert commands == [Commands("CP-1", "UnlockConnector", 1, 0)]


async def test_what_a_gateway_has_recorded_of_a_soap_charger_can_be_said_again(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    for body in SAID:
        await post(gateway.ports[0], envelope(body, version="1.5"))
    recorded = await exchanged(gateway)
    csms.answers["StartTransaction"]["transactionId"] = 99
    for hours, to in enumerate((at(csms), f"http://127.0.0.1:{gateway.ports[0]}/soap")):
        told, _ = await played(to, recorded, Pace(None, 5, 0, shift=hours * 3600))  # or it is a repeat, which it knows
        assert verdicts(told) == ["same"] * 3
    numbers = [payload["transactionId"] for action, payload in csms.told("CP-1") if action == "StopTransaction"]
    assert numbers == [4711, 99, 99]


async def test_a_fault_of_a_soap_door_is_an_answer(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.manner = saying('[4,"$id","SecurityError","no",{}]')
    gateway = await open_gateway()
    (told,), _ = await played(f"http://127.0.0.1:{gateway.ports[0]}/soap", [passed("Authorize", {"idTag": "A"}, "SecurityError")])
    assert told.verdict is Verdict.SAME


@pytest.mark.parametrize(
    ("response", "note"),
    [
        (http("404 Not Found", b"gone", "text/plain"), "HTTP 404"),
        (http("502 Bad Gateway", b"<html/>", "text/html"), "HTTP 502"),
        (http("200 OK", b"<a"), "ProtocolError: "),
    ],
)
async def test_what_is_no_envelope_is_an_error(response: bytes, note: str) -> None:
    async with bare_server(response) as door:
        (told,), _ = await played(door.url, AUTHORIZE)
    assert told.verdict is Verdict.ERROR
    assert told.note.startswith(note)


async def test_a_soap_door_that_nobody_holds_open_is_an_error() -> None:
    (told,), _ = await played("http://127.0.0.1:1/soap", AUTHORIZE)
    assert told.verdict is Verdict.ERROR
    assert "refused" in told.note or "connect" in told.note


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("nobody", r"expected ws://\.\.\., .* or a backend of the configuration \(csms\), got nobody"),
        ("embedded", "expected a backend that can be connected to, got embedded"),
        ("ws://a:b@127.0.0.1/", "expected no password in the URL"),
        ("ws://127.0.0.1:x/", "expected a URL: "),
        ("ws://127.0.0.1/{other}", "expected no other placeholders"),
        ("ftp://127.0.0.1/", "got ftp://127.0.0.1/"),
    ],
)
def test_what_is_no_target_is_told(to: str, reason: str) -> None:
    backends = (Embedded(kind="embedded", name="embedded"), Ocppj(kind="ocppj", name="csms", url="ws://csms.test/{identity}"))
    with pytest.raises(NoTarget, match=reason):
        target(to, Config(backends=backends))


@pytest.mark.parametrize(
    ("to", "name", "used"),
    [
        ("csms", "csms", "csms"),
        ("ws://csms.test:80/other", "csms", "csms"),
        ("http://csms.test/soap", "csms", "csms"),
        ("ws://other.test/", "", ""),
        ("ws://localhost:9000/ocpp", "", OURSELVES),
        ("https://gateway.test/soap", "", OURSELVES),
        ("http://127.0.0.1:9002/soap", "", ""),
    ],
)
def test_what_is_in_use_is_known_by_its_address_too(to: str, name: str, used: str) -> None:
    backends = (Ocppj(kind="ocppj", name="csms", url="ws://csms.test/{identity}"),)
    goal = target(to, Config(server=Server(public_url="https://gateway.test"), backends=backends))
    assert (goal.name, goal.used) == (name, used)

"""The doors to letters, over an outbox on a disk of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from structlog.testing import capture_logs

from gateway.inspector import letters
from gateway.inspector.pages import openapi
from gateway.state.letters import Letter, Rank
from gateway.state.store import StateError
from tests.admin import Reply, Visitor, admin
from tests.outboxes import CP, Backend, Clock, Run, fail, status, stop
from tests.outboxes import B as NAME
from translations.messages import Call, Result

JSON = "application/json"
LETTERS = "/api/v1/letters"
SAID = b'{"transactionId":8,"meterStop":16.10,"timestamp":"2024-05-01T09:00:00Z"}'
STOP = b'{"transactionId":8,"meterStop":9,"timestamp":"2024-05-01T09:00:00Z"}'


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    """An outbox whose backend refuses everything, once."""
    run = Run(tmp_path / "state.db", Clock(), Backend(fail), attempts=1)
    await run.open()
    yield run
    await run.close()


@pytest.fixture
async def ask(run: Run) -> AsyncIterator[Visitor]:
    async with admin(letters=run.outbox) as ask:
        yield ask


async def dead(run: Run, number: int = 1, identity: str = CP) -> int:
    """The id of a dead letter."""
    return (await run.put(stop(number, identity), number=number)).id


async def live(run: Run, call: Call, rank: Rank = Rank.MONEY) -> Letter:
    """A letter that waits, since its backend is away."""
    run.backend.is_up = False
    return await run.put(call, rank)


def check(name: str, value: Any) -> None:
    jsonschema_rs.validator_for({**openapi(), "$ref": f"#/components/schemas/{name}"}).validate(value)


def refused(reply: Reply, status: int, detail: str) -> bool:
    check("Problem", reply.json)
    assert reply.headers["Content-Type"] == "application/problem+json"
    return reply.status == status and detail in reply.json["detail"]


# --- looking


async def test_what_waits_is_counted_by_backend(run: Run, ask: Visitor) -> None:
    await dead(run)
    await live(run, stop(2))
    run.clock.now += 90
    found = (await ask(f"{LETTERS}/waiting")).json
    assert found == {"backends": [{"backend": NAME, "live": 1, "dead": 1, "inFlight": 0, "oldestSeconds": 90.0}]}
    check("LetterCount", found["backends"][0])


async def test_dead_letters_are_listed_without_what_they_say(run: Run, ask: Visitor) -> None:
    id = await dead(run, 7)
    await live(run, stop(8))
    (letter,) = (await ask(LETTERS)).json["letters"]
    check("Letter", letter)
    assert letter == {
        "id": id,
        "backend": NAME,
        "charger": CP,
        "action": "StopTransaction",
        "at": "2024-05-01T08:00:00.000Z",
        "transaction": 7,
        "attempts": 1,
        "reason": "refused 1 times, at last with InternalError: not TAG1 again",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [1, 2, 3]),
        ("?backend=csms&charger=cp-1", [1, 3]),
        ("?backend=other", []),
        ("?limit=1", [1]),
        ("?after=1&limit=1", [2]),
        ("?after=9223372036854775807", []),
    ],
)
async def test_dead_letters_are_filtered_and_paged(run: Run, ask: Visitor, query: str, found: list[int]) -> None:
    for number, identity in enumerate((CP, "CP-2", CP)):
        await dead(run, number, identity)
    assert [each["id"] for each in (await ask(LETTERS + query)).json["letters"]] == found


async def test_a_letter_is_shown_with_what_it_says(run: Run, ask: Visitor) -> None:
    id = await dead(run, 7)
    letter = (await ask(f"{LETTERS}/{id}")).json
    check("WholeLetter", letter)
    assert letter["payload"] == stop(7).payload


async def test_a_letter_that_waits_is_shown_without_a_reason(run: Run, ask: Visitor) -> None:
    letter = (await ask(f"{LETTERS}/{(await live(run, stop(7))).id}")).json
    check("WholeLetter", letter)
    assert (letter["reason"], letter["payload"]) == (None, stop(7).payload)


async def test_a_payload_that_nobody_can_read_is_null_and_can_be_replaced(run: Run, ask: Visitor) -> None:
    id = await dead(run)
    await run.ledger.accept((("UPDATE letters SET payload = ? WHERE id = ?", (b"{", id)),))
    assert (await ask(f"{LETTERS}/{id}")).json["payload"] is None
    assert (await ask(f"{LETTERS}/{id}", "PATCH", STOP, Content_Type=JSON)).json["payload"]["transactionId"] == 8


# --- changing


async def test_a_dead_letter_can_be_changed(run: Run, ask: Visitor) -> None:
    id = await dead(run, 7)
    with capture_logs() as logs:
        reply = await ask(f"{LETTERS}/{id}", "PATCH", STOP, Content_Type=JSON)
    check("WholeLetter", reply.json)
    assert (reply.json["transaction"], (await ask(f"{LETTERS}/{id}")).json) == (8, reply.json)
    assert [(each["event"], each["letter"], each["action"]) for each in logs] == [("letters.changed", id, "StopTransaction")]


@pytest.mark.parametrize(
    ("body", "kind", "status", "detail"),
    [
        (b"{}", JSON, 422, "StopTransaction.req"),
        (SAID, JSON, 422, "meterStop"),
        (b"[]", JSON, 400, "expected a JSON object"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "expected Content-Type application/json"),
    ],
)
async def test_a_change_that_cannot_be_is_refused(
    run: Run, ask: Visitor, body: bytes, kind: str, status: int, detail: str
) -> None:
    id = await dead(run, 7)
    assert refused(await ask(f"{LETTERS}/{id}", "PATCH", body, Content_Type=kind), status, detail)
    assert (await ask(f"{LETTERS}/{id}")).json["payload"] == stop(7).payload


async def test_a_letter_that_waits_is_not_changed(run: Run, ask: Visitor) -> None:
    id = (await live(run, stop(7))).id
    reply = await ask(f"{LETTERS}/{id}", "PATCH", STOP, Content_Type=JSON)
    assert refused(reply, 409, f"expected a dead letter, got {id}, which waits")


# --- sending again and purging


async def test_a_dead_letter_is_sent_again(run: Run, ask: Visitor) -> None:
    id = await dead(run, 7)
    run.backend.script = lambda call: Result({}, call.id, call.action)
    assert (await ask(f"{LETTERS}/{id}/replay", "POST")).json == {"replayed": 1}
    await run.quiet()
    assert ([each.call.payload["transactionId"] for each in run.backend.sent], run.disk()) == ([7, 7], [])


async def test_what_waits_already_is_not_sent_again(run: Run, ask: Visitor) -> None:
    id = await dead(run)
    await live(run, stop(1))
    assert refused(await ask(f"{LETTERS}/{id}/replay", "POST"), 409, "the same message waits already")


async def test_a_form_of_another_site_sends_nothing_again(run: Run, ask: Visitor) -> None:
    await dead(run)
    for path in ("1/replay", "replay?all=true"):
        assert (await ask(f"{LETTERS}/{path}", "POST", b"", Content_Type="text/plain")).status == 415
    assert len(run.backend.sent) == 1


async def test_a_dead_letter_is_purged(run: Run, ask: Visitor) -> None:
    id = await dead(run)
    with capture_logs() as logs:
        assert (await ask(f"{LETTERS}/{id}", "DELETE")).json == {"purged": 1}
    assert (run.disk(), [each["event"] for each in logs]) == ([], ["letters.purged"])
    assert refused(await ask(f"{LETTERS}/{id}"), 404, f"no letter {id}")


@pytest.mark.parametrize("query", ["backend=csms", "charger=cp-1", "all=true"])
async def test_many_are_sent_again_at_once(run: Run, ask: Visitor, query: str) -> None:
    for number in range(5):
        await dead(run, number)
    run.backend.is_up = False
    reply = await ask(f"{LETTERS}/replay?{query}", "POST")
    check("Replayed", reply.json)
    assert (reply.json, run.outbox.counts()[NAME].live) == ({"replayed": 5, "left": 0, "refused": []}, 5)


async def test_those_that_cannot_be_sent_again_keep_no_other(run: Run, ask: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "PORTION", 3)
    ids = [await dead(run, number) for number in range(5)]
    await live(run, stop(3))
    reply = await ask(f"{LETTERS}/replay?all=true", "POST")
    check("Replayed", reply.json)
    assert (reply.json["replayed"], reply.json["left"], reply.json["refused"][0]["id"]) == (4, 1, ids[3])
    assert "the same message waits already" in reply.json["refused"][0]["detail"]


async def test_of_one_connector_the_newest_status_is_sent_again(run: Run, ask: Visitor) -> None:
    ids = [(await run.put(status(word), Rank.STATUS)).id for word in ("Faulted", "Available")]
    run.backend.is_up = False
    reply = await ask(f"{LETTERS}/replay?all=true", "POST")
    assert (reply.json["replayed"], [each["id"] for each in reply.json["refused"]]) == (1, ids[:1])


@pytest.mark.parametrize(("query", "left"), [("backend=csms", 0), ("charger=CP-2", 1), ("backend=other", 2)])
async def test_many_are_purged_at_once(run: Run, ask: Visitor, query: str, left: int) -> None:
    await dead(run)
    await dead(run, 1, "CP-2")
    reply = await ask(f"{LETTERS}?{query}", "DELETE")
    check("Purged", reply.json)
    assert (reply.json["purged"], len(run.disk())) == (2 - left, left)


# --- what is refused


@pytest.mark.parametrize("method", ["DELETE", "POST"])
@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "expected backend or charger, or else all=true"),
        ("?backend=", "expected backend or charger, or else all=true"),
        ("?all=true&backend=csms", "expected backend or charger, or else all=true"),
        ("?all=yes", "all: expected true, got yes"),
        ("?bakend=csms", "got bakend"),
    ],
)
async def test_many_are_meant_by_saying_which(run: Run, ask: Visitor, method: str, query: str, detail: str) -> None:
    await dead(run)
    path = LETTERS if method == "DELETE" else f"{LETTERS}/replay"
    assert refused(await ask(path + query, method), 400, detail)
    assert run.outbox.counts()[NAME].dead == 1


@pytest.mark.parametrize("id", ["99", "x", "%31%0a", "99999999999999999999", "9223372036854775808", "-1"])
@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/replay")])
async def test_what_is_no_letter_is_not_found(ask: Visitor, id: str, method: str, suffix: str) -> None:
    body = STOP if method == "PATCH" else None
    headers = {"Content_Type": JSON} if body else {}
    assert refused(await ask(f"{LETTERS}/{id}{suffix}", method, body, **headers), 404, "letter")


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=-1", "limit=x", "all=true"])
async def test_what_is_no_filter_is_refused(ask: Visitor, query: str) -> None:
    assert refused(await ask(f"{LETTERS}?{query}"), 400, "expected")


@pytest.mark.parametrize(("path", "allowed"), [("", "GET, DELETE, HEAD"), ("/1", "GET, PATCH, DELETE, HEAD")])
async def test_a_wrong_method_is_told_the_right_ones(ask: Visitor, path: str, allowed: str) -> None:
    reply = await ask(LETTERS + path, "PUT")
    assert reply.status == 405
    assert {each.strip() for each in reply.headers["Allow"].split(",")} == set(allowed.split(", "))


@pytest.mark.parametrize(("method", "path"), [("DELETE", "/1"), ("POST", "/1/replay"), ("DELETE", "?all=true"), ("GET", "/1")])
async def test_a_disk_that_fails_is_told(run: Run, ask: Visitor, monkeypatch: pytest.MonkeyPatch, method: str, path: str) -> None:
    await dead(run)

    def full(*_: Any) -> Any:
        raise StateError("disk full")

    with monkeypatch.context() as broken, capture_logs():
        broken.setattr(run.store, "keep", full)
        broken.setattr(run.store, "read", full)
        assert refused(await ask(LETTERS + path, method), 503, "disk full")
    assert run.outbox.counts()[NAME].dead == 1

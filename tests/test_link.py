"""gateway.link: a session over a socket, and its records."""

import asyncio
import time
from contextlib import suppress
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from gateway.chargers.ocppj import AsgiSocket
from gateway.exchange import Ids, Silence
from gateway.link import Closed, Link, NoAnswer, Oversized, Unsent
from gateway.rpc import Limits
from gateway.traffic.record import Record
from tests.ws import DEADLINE, Pipe, nothing, serving, wired
from translations.errors import NotSupported
from translations.messages import Answer, Call, Error, Kind, Remark, Result, Side, Version
from translations.tongue import Tongue

HEARTBEAT = '[2,"c1","Heartbeat",{}]'
SECOND = '[2,"c2","Authorize",{}]'
FACTS: dict[str, Any] = {"identity": "CP-1", "leg": "charger", "side": Side.CENTRAL_SYSTEM, "ids": Ids()}


def reset(call_id: str) -> Call:
    return Call("Reset", {}, call_id, "CP-1", Side.CHARGE_POINT)


def facts(record: Record) -> tuple[str, str, str, str, str, bytes]:
    return record.direction, record.kind, record.action, record.message_id, record.outcome, record.raw


async def test_a_call_is_answered_by_the_exchange() -> None:
    async def exchange(call: Call) -> Answer:
        return Result({"seen": [call.action, call.identity, call.side]})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        assert await ends.pipe.sent() == '[3,"c1",{"seen":["Heartbeat","CP-1","central-system"]}]'


async def test_each_frame_gives_one_record() -> None:
    async with wired() as ends:
        ends.pipe.feed("", HEARTBEAT)
        await ends.pipe.sent()
        called, answered = ends.records
    assert facts(called) == ("<", "call", "Heartbeat", "c1", "", HEARTBEAT.encode())
    assert facts(answered) == (">", "result", "Heartbeat", "c1", "ok", b'[3,"c1",{}]')
    assert called.exchange == answered.exchange != "c1"
    assert (called.charger, called.leg, called.wire, called.version) == ("CP-1", "charger", "json", "1.6")
    assert (called.peer, called.canonical, called.latency) == ("192.0.2.1:4000", None, None)
    assert answered.latency is not None


async def test_a_call_of_ours_and_its_answer_are_recorded_under_its_id() -> None:
    async with wired() as ends:
        task = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        assert await ends.pipe.sent() == '[2,"g1","Reset",{}]'
        ends.pipe.feed('[4,"g1","Odd","no",{}]')
        answer = await task
    assert (answer, [r.exchange for r in ends.records]) == (
        Error("GenericError", "no", {}, "g1", "Reset", ends.records[1].remarks),
        ["g1", "g1"],
    )
    assert facts(ends.records[1])[:5] == ("<", "error", "Reset", "g1", "GenericError")
    assert ends.records[1].note == "no"


async def test_a_call_without_an_id_gets_one() -> None:
    async with wired() as ends:
        task = asyncio.ensure_future(ends.link.call(reset(""), DEADLINE))
        ends.pipe.feed((await ends.pipe.sent()).replace('[2,"', '[3,"').replace('"Reset",', ""))
        assert isinstance(await task, Result)


async def test_reading_goes_on_while_a_call_is_being_answered() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def exchange(call: Call) -> Answer:
        asked.set()
        await release.wait()
        return Result({})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        await asked.wait()
        task = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        ends.pipe.feed('[3,"g1",{}]')
        assert await task == Result({}, "g1", "Reset")
        release.set()
        assert await ends.pipe.sent() == '[3,"c1",{}]'


async def test_incoming_calls_are_answered_one_at_a_time_and_in_order() -> None:
    running = most = 0

    async def exchange(call: Call) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return Result({})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT, SECOND)
        assert [await ends.pipe.sent(), await ends.pipe.sent()] == ['[3,"c1",{}]', '[3,"c2",{}]']
    assert most == 1


async def test_a_refusal_of_the_exchange_is_a_callerror() -> None:
    async def exchange(call: Call) -> Answer:
        raise NotSupported("not here", {"a": 1})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        assert await ends.pipe.sent() == '[4,"c1","NotSupported","not here",{"a":1}]'


async def test_a_failure_of_the_exchange_is_logged_once_and_tells_the_peer_nothing() -> None:
    async def exchange(call: Call) -> Answer:
        raise KeyError("secret")

    with capture_logs() as logs:
        async with wired(exchange) as ends:
            ends.pipe.feed(HEARTBEAT)
            assert await ends.pipe.sent() == '[4,"c1","InternalError","the gateway failed",{}]'
    assert [(line["event"], line["exc_info"]) for line in logs] == [("exchange.failed", True)]


async def test_an_answer_that_json_cannot_say_is_logged_and_tells_the_peer_nothing() -> None:
    async def exchange(call: Call) -> Answer:
        return Result({"object": object()})

    with capture_logs() as logs:
        async with wired(exchange) as ends:
            ends.pipe.feed(HEARTBEAT)
            assert await ends.pipe.sent() == '[4,"c1","InternalError","the gateway failed",{}]'
    assert [line["event"] for line in logs] == ["answer.unwritable"]


async def test_no_answer_in_time_is_an_error_and_a_late_one_is_recorded_as_late() -> None:
    async with wired() as ends:
        answer = await ends.link.call(reset("g1"), 0.01)
        assert answer == Error("GenericError", "no answer in 0.01 s", {}, "g1", "Reset")
        ends.pipe.feed('[3,"g1",{}]', HEARTBEAT)
        assert [await ends.pipe.sent(), await ends.pipe.sent()] == ['[2,"g1","Reset",{}]', '[3,"c1",{}]']
    assert facts(ends.records[1])[:5] == ("<", "result", "Reset", "g1", "late")
    assert (ends.records[1].exchange, ends.records[1].note) == ("g1", "came after its call was given up")


async def test_an_answer_in_the_turn_of_its_deadline_is_in_time() -> None:
    late, pipe = list[Answer](), Pipe()
    link = Link(pipe, nothing, lambda record: None, **FACTS, on_late=late.append)
    running = asyncio.ensure_future(link.run())
    asyncio.get_running_loop().call_later(0.009, pipe.feed, '[3,"g1",{"status":"Accepted"}]')
    asked = asyncio.ensure_future(link.ask(reset("g1"), 0.01))
    await pipe.sent()
    time.sleep(0.02)  # noqa: ASYNC251 - the loop is busy until both have come, the answer and the deadline
    assert await asked == Result({"status": "Accepted"}, "g1", "Reset")
    pipe.hang_up()
    await asyncio.wait_for(running, DEADLINE)
    assert late == []


async def test_each_call_has_its_own_deadline_whichever_was_made_first() -> None:
    async with wired() as ends:
        calls = [ends.link.call(reset(call_id), timeout) for call_id, timeout in (("g1", DEADLINE), ("g2", 0.03), ("g3", 0.01))]
        tasks = [asyncio.ensure_future(call) for call in calls]
        await asyncio.wait(tasks[1:], timeout=DEADLINE)
        ends.pipe.feed('[3,"g1",{}]')
        texts = [getattr(answer, "text", "") for answer in await asyncio.gather(*tasks)]
    assert texts == ["", "no answer in 0.03 s", "no answer in 0.01 s"]


async def test_a_deadline_counts_for_the_call_after_one_that_was_answered() -> None:
    async with wired() as ends:
        first = asyncio.ensure_future(ends.link.call(reset("g1"), 0.02))
        await ends.pipe.sent()
        ends.pipe.feed('[3,"g1",{}]')
        assert isinstance(await first, Result)
        begin = asyncio.get_running_loop().time()
        assert isinstance(await ends.link.call(reset("g2"), 0.05), Error)
        assert asyncio.get_running_loop().time() - begin >= 0.045


@pytest.mark.parametrize(("frames", "ended", "heard"), [(['[3,"g1",{}]'], False, True), ([], False, True), ([], True, False)])
async def test_who_tells_hears_once_whether_there_was_time_to_answer(frames: list[str], ended: bool, heard: bool) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    async with wired() as ends:
        ends.link.tell(reset("g1"), 0.01, told.put_nowait)
        ends.pipe.feed(*frames)
        if ended:
            ends.link.end(1000, "over")
        async with asyncio.timeout(DEADLINE):
            assert await told.get() is heard
        await ends.link.close()
    assert told.empty()


async def test_whoever_wants_late_answers_hears_them() -> None:
    late, pipe = list[Answer](), Pipe()
    link = Link(pipe, nothing, lambda record: None, **FACTS, on_late=late.append)
    running = asyncio.ensure_future(link.run())
    with pytest.raises(NoAnswer):
        await link.ask(reset("g1"), 0.01)
    pipe.feed('[3,"g1",{"status":"Accepted"}]', '[3,"g1",{}]', '[3,"g2",{}]')
    pipe.hang_up()
    await asyncio.wait_for(running, DEADLINE)
    assert late == [Result({"status": "Accepted"}, "g1", "Reset")]


async def test_a_call_that_waits_for_its_turn_runs_out_of_time_unsent() -> None:
    async with wired() as ends:
        first = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        with pytest.raises(TimeoutError) as late:
            await ends.link.ask(reset("g2"), 0.01)
        assert late.type is TimeoutError
        ends.pipe.feed('[3,"g1",{}]')
        assert await first == Result({}, "g1", "Reset")
    assert ends.pipe.outbox.empty()


async def test_a_call_that_is_cancelled_makes_room_for_the_next() -> None:
    async with wired() as ends:
        first = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        second = asyncio.ensure_future(ends.link.call(reset("g2"), DEADLINE))
        await asyncio.sleep(0)
        first.cancel()
        assert await ends.pipe.sent() == '[2,"g2","Reset",{}]'
        second.cancel()


async def test_an_id_that_is_in_flight_is_not_used_twice() -> None:
    async with wired() as ends:
        first = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        answer = await ends.link.call(reset("g1"), DEADLINE)
        assert isinstance(answer, Error)
        assert answer.code == "InternalError"
        first.cancel()


async def test_too_many_waiting_calls_are_an_error() -> None:
    async with wired(limits=Limits(waiting=0)) as ends:
        first = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        answer = await ends.link.call(reset("g2"), DEADLINE)
        assert answer == Error("GenericError", "expected at most 0 waiting calls, got one more", {}, "g2", "Reset")
        first.cancel()


async def test_a_close_in_the_middle_answers_the_calls_in_flight() -> None:
    async with wired() as ends:
        tasks = [asyncio.ensure_future(ends.link.call(reset(i), DEADLINE)) for i in ("g1", "g2")]
        await ends.pipe.sent()
        ends.pipe.hang_up(1001)
        assert (await ends.over()).code == 1001
        texts = [answer.text for answer in await asyncio.gather(*tasks) if isinstance(answer, Error)]
    assert texts == ["connection closed before the answer"] * 2


async def test_nothing_is_sent_on_a_closed_link() -> None:
    async with wired() as ends:
        ends.pipe.hang_up()
        await ends.over()
        answer = await ends.link.call(reset("g1"), DEADLINE)
    assert isinstance(answer, Error)
    assert ends.records == []


async def test_a_close_cancels_the_exchange_that_nobody_waits_for() -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def exchange(call: Call) -> Answer:
        asked.set()
        try:
            await asyncio.Event().wait()
            return Result({})
        finally:
            cancelled.set()

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        await asked.wait()
        ends.pipe.hang_up()
        await ends.over()
        assert cancelled.is_set()


async def test_a_close_lets_what_is_in_flight_finish() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def exchange(call: Call) -> Answer:
        asked.set()
        await release.wait()
        return Result({})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        await asked.wait()
        ours = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        closing = asyncio.ensure_future(ends.link.close(1001, "bye", drain=DEADLINE))
        ends.pipe.feed('[3,"g1",{}]')
        release.set()
        await closing
        assert (await ours, await ends.pipe.sent()) == (Result({}, "g1", "Reset"), '[3,"c1",{}]')
        assert (ends.pipe.closed and ends.pipe.closed.code) == 1001


async def test_a_close_does_not_wait_longer_than_its_drain() -> None:
    async with wired() as ends:
        ours = asyncio.ensure_future(ends.link.call(reset("g1"), DEADLINE))
        await ends.pipe.sent()
        await ends.link.close(1001, "bye", drain=0.01)
        assert (await ours) == Error("GenericError", "connection closed before the answer", {}, "g1", "Reset")


async def test_a_malformed_frame_is_recorded_as_refused() -> None:
    async with wired() as ends:
        ends.pipe.feed('[2,"c1","Heartbeat",[]]')
        assert (await ends.pipe.sent()).startswith('[4,"c1","FormationViolation"')
        refused, answered = ends.records
    assert facts(refused)[:5] == ("<", "refused", "", "c1", "FormationViolation")
    assert refused.note == "frame[3]: expected object, got list"
    assert (answered.kind, answered.exchange) == ("error", refused.exchange)


async def test_a_flood_of_malformed_frames_closes_the_socket() -> None:
    async with wired(limits=Limits(malformed=2)) as ends:
        ends.pipe.feed("a", "b", "c", "d")
        closed = await ends.over()
    assert (closed.code, closed.reason) == (1002, "2 malformed frames in a row")
    assert [r.raw for r in ends.records] == [b"a", b"b"]


async def test_a_flood_of_refused_calls_closes_the_socket() -> None:
    async with wired(limits=Limits(queued=0, refused=2)) as ends:
        ends.pipe.feed(*[HEARTBEAT] * 9)
        closed = await ends.over()
    assert (closed.code, closed.reason) == (1008, "2 refused calls in a row")


async def test_a_reason_is_cut_to_what_a_close_frame_can_hold() -> None:
    async with wired() as ends:
        await ends.link.close(1008, "ü" * 100)
        assert ends.pipe.closed
        assert len(ends.pipe.closed.reason.encode()) == 122


async def test_a_peer_that_takes_no_part_in_the_closing_handshake_is_left_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(code: int, reason: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("gateway.link.CLOSE_GRACE", 0.01)
    async with wired() as ends:
        monkeypatch.setattr(ends.pipe, "close", hang)
        ends.link.end(1008, "replaced")
        assert (await ends.over()).reason == "replaced"


async def test_frames_after_the_end_are_not_looked_at() -> None:
    async with wired() as ends:
        ends.link.end(1008, "replaced")
        ends.pipe.feed(HEARTBEAT)
        await ends.over()
    assert ends.records == []


async def test_a_call_that_was_never_sent_says_so() -> None:
    async with wired() as ends:
        first, second = (asyncio.ensure_future(ends.link.ask(reset(i), DEADLINE)) for i in ("g1", "g2"))
        await ends.pipe.sent()
        ends.pipe.hang_up(1001)
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [Closed, Unsent]
        with pytest.raises(Unsent, match="closed with 1001"):
            await ends.link.ask(reset("g3"), DEADLINE)


async def test_a_call_is_sent_before_those_that_are_made_later() -> None:
    async with wired() as ends:
        first = ends.link.ask(reset("g1"), DEADLINE)
        second = asyncio.ensure_future(ends.link.ask(reset("g2"), DEADLINE))
        assert await ends.pipe.sent() == '[2,"g1","Reset",{}]'
        ends.pipe.hang_up()
        await asyncio.gather(first, second, return_exceptions=True)


async def test_a_frame_above_the_limit_is_recorded_and_logged() -> None:
    with capture_logs() as logs:
        async with wired() as ends:
            ends.pipe.inbox.put_nowait(Oversized("frame with 9 bytes exceeds limit of 8 bytes"))
            assert (await ends.over()).code == 1009
    (record,) = ends.records
    assert facts(record) == ("<", "refused", "", "", "FormationViolation", b"")
    assert record.note == "frame with 9 bytes exceeds limit of 8 bytes"
    assert [(line["event"], line["reason"]) for line in logs] == [("frame.oversized", record.note)]


# --- with a tongue -------------------------------------------------------------------------------------------------


async def test_what_is_mended_is_recorded_raw_and_as_it_is_meant() -> None:
    async with wired() as ends:
        ends.link.tongue = Tongue(Version.V16, Side.CENTRAL_SYSTEM)
        frame = '[2,"c1","StatusNotification",{"connectorId":"1","status":"Available","errorCode":"NoError","timestamp":"x"}]'
        ends.pipe.feed(frame)
        assert await ends.pipe.sent() == '[3,"c1",{}]'
        called, answered = ends.records
    assert facts(called) == ("<", "call", "StatusNotification", "c1", "", frame.encode())
    assert called.canonical[:3] == [2, "c1", "StatusNotification"]
    assert called.canonical[3]["connectorId"] == 1
    assert called.canonical[3]["timestamp"].endswith("Z")
    assert [remark.path for remark in called.remarks] == ["connectorId", "timestamp"]
    assert (answered.canonical, answered.remarks) == (None, ())


async def test_what_is_refused_is_recorded_so_and_answered() -> None:
    async with wired() as ends:
        ends.link.tongue = Tongue(Version.V16, Side.CENTRAL_SYSTEM)
        ends.pipe.feed('[2,"c1","Authorize",{}]', '[2,"c2","Heartbeat",[]]')
        assert (await ends.pipe.sent()).startswith('[4,"c1","OccurenceConstraintViolation"')
        await ends.pipe.sent()
        refused, answered, *_ = ends.records
    assert facts(refused)[:5] == ("<", "refused", "Authorize", "c1", "OccurenceConstraintViolation")
    assert refused.note == "Authorize.req idTag: expected it, found none"
    assert (answered.kind, answered.action, answered.exchange) == ("error", "Authorize", refused.exchange)


async def test_what_is_said_to_an_older_charger_is_recorded_raw_and_as_it_was_meant() -> None:
    async with wired() as ends:
        ends.link.tongue = Tongue(Version.V15, Side.CENTRAL_SYSTEM)
        unlock = Call("UnlockConnector", {"connectorId": 1, "x": None}, "g1", "CP-1", Side.CHARGE_POINT)
        task = asyncio.ensure_future(ends.link.call(unlock, DEADLINE))
        assert await ends.pipe.sent() == '[2,"g1","UnlockConnector",{"connectorId":1}]'
        ends.pipe.feed('[3,"g1",{"status":"Rejected"}]')
        assert await task == Result({"status": "UnlockFailed"}, "g1", "UnlockConnector")
        said, answered = ends.records
    assert said.canonical == [2, "g1", "UnlockConnector", {"connectorId": 1, "x": None}]
    assert [remark.rule for remark in said.remarks] == ["quirks.unknown-field"]
    assert answered.canonical == [3, "g1", {"status": "UnlockFailed"}]


async def test_a_call_that_cannot_be_said_is_an_error_and_nothing_is_sent() -> None:
    async with wired() as ends:
        ends.link.tongue = Tongue(Version.V15, Side.CENTRAL_SYSTEM)
        answer = await ends.link.call(Call("TriggerMessage", {"requestedMessage": "Heartbeat"}, "g1"), DEADLINE)
    assert isinstance(answer, Error)
    assert (answer.code, answer.text) == ("NotSupported", "TriggerMessage does not exist in OCPP 1.5")
    assert ends.records == []


class Pace:
    """Lets one call after the other be carried out, each when it is told to."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.release = asyncio.Semaphore(0)

    async def __call__(self, identity: str) -> None:
        self.asked.put_nowait(identity)
        await self.release.acquire()


async def test_a_call_is_carried_out_when_its_sender_may_make_one_more() -> None:
    pace, pipe, served = Pace(), Pipe(), list[str]()

    async def exchange(call: Call) -> Answer:
        served.append(call.action)
        return Result({})

    running = asyncio.ensure_future(Link(pipe, exchange, lambda record: None, **FACTS, pace=pace).run())
    pipe.feed(HEARTBEAT, SECOND)
    for already, answer in (([], '[3,"c1",{}]'), (["Heartbeat"], '[3,"c2",{}]')):
        assert (await asyncio.wait_for(pace.asked.get(), DEADLINE), served) == ("CP-1", already)
        pace.release.release()
        assert await pipe.sent() == answer
    pipe.hang_up()
    await running


async def test_while_calls_wait_frames_are_read_and_calls_beyond_the_limit_refused() -> None:
    pipe, limits = Pipe(), Limits(queued=2)
    link = Link(pipe, nothing, lambda record: None, **FACTS, pace=Pace(), limits=limits)
    running = asyncio.ensure_future(link.run())
    ours = asyncio.ensure_future(link.ask(reset("g1"), DEADLINE))
    await pipe.sent()
    pipe.feed(*(f'[2,"c{n}","Heartbeat",{{}}]' for n in range(4)), '[3,"g1",{}]')
    assert (await pipe.sent()).startswith('[4,"c3","GenericError","expected at most 2 unanswered calls')
    assert await ours == Result({}, "g1", "Reset")
    link.end(1001, "enough")
    await running
    assert pipe.outbox.empty()


async def test_pings_are_answered_while_calls_wait() -> None:
    pace = Pace()

    async def door(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await Link(AsgiSocket(receive, send), nothing, lambda record: None, **FACTS, pace=pace).run()

    async with serving(door) as port, connect(f"ws://127.0.0.1:{port}/") as socket:
        for n in range(10):
            await socket.send(f'[2,"c{n}","Heartbeat",{{}}]')
        await asyncio.wait_for(pace.asked.get(), DEADLINE)
        with suppress(TimeoutError):  # what was sent before may all be read at once
            await asyncio.wait_for(await socket.ping(), 0.05)
        await asyncio.wait_for(await socket.ping(), DEADLINE)


async def test_a_peer_that_floods_lets_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with wired() as ends:
        waiting = asyncio.ensure_future(other())
        ends.pipe.feed(*['[3,"x",{}]'] * 160)
        ends.pipe.hang_up()
        await ends.over()
        waiting.cancel()
    assert (len(ends.records), turns >= 20) == (160, True)


# --- no answer


async def test_a_call_that_is_met_with_silence_is_not_answered_and_the_next_one_is_served() -> None:
    async def exchange(call: Call) -> Answer:
        return Silence("") if call.action == "Heartbeat" else Result({})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT, SECOND)
        assert await ends.pipe.sent() == '[3,"c2",{}]'
    assert [(r.direction, r.message_id) for r in ends.records] == [("<", "c1"), ("<", "c2"), (">", "c2")]


async def test_an_exchange_that_ends_the_link_gives_no_answer_and_none_is_served_after_it() -> None:
    served: list[str] = []

    async def exchange(call: Call) -> Answer:
        served.append(call.action)
        ends.link.end(1013, "come again")
        return Result({})

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT, SECOND)
        assert (await ends.over()).code == 1013
    assert (served, [r.direction for r in ends.records]) == (["Heartbeat"], ["<", "<"])


async def test_remarks_made_on_the_way_are_recorded_where_the_message_goes_out() -> None:
    remark = Remark(Kind.CHANGED, "interval", "rewritten", "rewrites.ours")

    async def exchange(call: Call) -> Answer:
        return Result({}, remarks=(remark,))

    async with wired(exchange) as ends:
        ends.pipe.feed(HEARTBEAT)
        await ends.pipe.sent()
    assert [record.remarks for record in ends.records] == [(), (remark,)]

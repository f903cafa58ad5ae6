"""gateway.outbox.outbox, with its lanes and dead letters: order, what is sent again when, and what a person can do."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.exchange import Broken, NotSent, Unanswered
from gateway.outbox import deadletters, delivery, fates
from gateway.outbox.outbox import NEAR, Full, Undeliverable
from gateway.state.letters import Letter, Rank, insert, written
from gateway.state.store import StateError, StateStore
from tests.outboxes import CP, NOW, Backend, Clock, Run, accept, boot, fail, meter, start, status, stop
from tests.outboxes import B as NAME
from tests.peers.seen import DEADLINE
from translations.errors import PropertyConstraintViolation
from translations.messages import Call, Error, Result

NOT_SENT = NotSent("InternalError", "away")
BROKEN = Broken("InternalError", "closed")
UNANSWERED = Unanswered("InternalError", "slow", backend=NAME, waited=30.0)
REFUSED = Error("InternalError", "not TAG1 again")
DONE = Result({})

Begin = Callable[..., Awaitable[Run]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
async def begin(tmp_path: Path, clock: Clock, backend: Backend) -> AsyncIterator[Begin]:
    """Begins a run on the file, which ends the one before."""
    runs: list[Run] = []

    async def one(backend: Backend = backend, **config: Any) -> Run:
        if runs:
            await runs.pop().close()
        runs.append(Run(tmp_path / "state.db", clock, backend, **config))
        return await runs[-1].open()

    yield one
    for run in runs:
        await run.close()


@pytest.fixture
async def run(begin: Begin) -> Run:
    return await begin()


async def turns() -> None:
    """Of the event loop; no disk is waited for."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- in


async def test_a_letter_is_not_sent_before_it_is_on_disk(run: Run, backend: Backend) -> None:
    letter, rows = run.outbox.post(NAME, meter(1), Rank.MONEY)
    await run.quiet()
    assert (backend.sent, letter.landed, run.outbox.busy(NAME, "cp-1")) == ([], False, True)
    await run.ledger.accept(rows, landed=lambda ok: run.outbox.landed(letter, ok))
    await run.quiet()
    assert backend.said() == [1]


async def test_what_did_not_come_to_disk_was_never_posted(run: Run, backend: Backend) -> None:
    letter, _ = run.outbox.post(NAME, meter(1), Rank.MONEY)
    run.outbox.landed(letter, False)
    await run.quiet()
    assert (backend.sent, run.outbox.busy(NAME, CP), backend.held) == ([], False, [(CP, True), (CP, False)])


async def test_a_call_is_sent_with_a_fresh_id_and_says_since_when_it_was_stored(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.reply(UNANSWERED)
    await run.move(90)
    first, second = (sent.call for sent in backend.sent)
    assert first.id != second.id
    assert replace(first, id="", remarks=()) == replace(meter(1), id="")
    assert [(r.rule, r.detail) for r in first.remarks] == [
        ("outbox.delayed", "not heard at once, stored at 2024-05-01T08:00:00Z")
    ]


async def test_what_is_repeated_is_stored_once(run: Run, backend: Backend) -> None:
    backend.is_up = False
    letter = await run.put(meter(1))
    assert run.outbox.post(NAME, meter(1), Rank.MONEY) == (letter, ())
    assert run.disk() == [(letter.id, None)]


async def test_what_is_repeated_on_its_way_to_disk_is_there_when_either_is(run: Run, backend: Backend) -> None:
    letter, _ = run.outbox.post(NAME, meter(1), Rank.MONEY)
    same, rows = run.outbox.post(NAME, meter(1), Rank.MONEY)
    run.outbox.landed(letter, False)
    await run.ledger.accept(rows, landed=lambda ok: run.outbox.landed(same, ok))
    await run.quiet()
    assert (same, backend.said(), run.disk()) == (letter, [1], [(letter.id, None)])


async def test_a_row_that_comes_to_disk_after_the_letter_was_heard_goes_again(run: Run) -> None:
    letter, rows = run.outbox.post(NAME, meter(1), Rank.MONEY)
    _, again = run.outbox.post(NAME, meter(1), Rank.MONEY)
    for each in (rows, again):
        await run.ledger.accept(each, landed=lambda ok: run.outbox.landed(letter, ok))
        await run.quiet()
        if each is rows:
            await run.reply(DONE)
    assert run.disk() == []


async def test_without_a_clock_a_start_after_its_stop_is_another_one(run: Run, backend: Backend) -> None:
    backend.is_up = False
    undated = start(timestamp="1970-01-01T00:00:00Z")
    first = await run.put(undated, number=1)
    assert await run.put(undated, number=2) is first
    await run.put(stop(1), number=1)
    assert (await run.put(undated, number=3)).number == 3


async def test_a_dated_start_after_its_stop_is_a_repetition(run: Run, backend: Backend) -> None:
    backend.is_up = False
    first = await run.put(start(), number=1)
    await run.put(stop(1), number=1)
    assert await run.put(start(), number=2) is first


async def test_what_json_cannot_say_is_refused(run: Run) -> None:
    with pytest.raises(PropertyConstraintViolation, match=r"MeterValues\.req: expected what JSON can say"):
        run.outbox.post(NAME, Call("MeterValues", {"a": "\ud800"}, "", CP), Rank.MONEY)


async def test_a_full_lane_refuses_what_must_not_be_lost(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin(most=2)
    await run.put(status("Available"), Rank.STATUS)
    await run.put(meter(1))
    with pytest.raises(Full, match="backend csms: expected at most 2 messages of a charger to wait for it"):
        run.outbox.post(NAME, meter(2), Rank.MONEY)
    await run.put(status("Faulted"), Rank.STATUS)  # in the place of the other
    assert len(run.disk()) == 2


async def test_a_full_lane_loses_the_oldest_of_what_was_never_promised(begin: Begin, backend: Backend) -> None:
    run = await begin(most=2)
    with capture_logs() as logs:
        for n in range(5):
            await run.put(meter(n), durable=False)
    for _ in range(3):
        if backend.open:
            await run.reply(DONE)
    assert (backend.said(), run.disk()) == ([0, 4], [])
    assert run.outbox.tally.dropped[NAME, "full"] == 3
    assert [line["event"] for line in logs] == ["outbox.dropped"]


async def test_a_post_before_there_is_anything_to_continue_from_is_refused(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(StateError, match="the outbox is not open"):
        Run(tmp_path / "state.db", clock, Backend()).outbox.post(NAME, meter(1), Rank.MONEY)


# --- order


async def test_boot_goes_first_then_status_then_money_as_it_came(run: Run, backend: Backend) -> None:
    backend.is_up = False
    for call, rank in ((meter(1), Rank.MONEY), (status("Available"), Rank.STATUS), (meter(2), Rank.MONEY), (boot(), Rank.BOOT)):
        await run.put(call, rank)
    backend.is_up, backend.script = True, accept
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert (backend.said(), run.disk()) == (["boot 0", "Available", 1, 2], [])
    assert backend.held == [(CP, True), (CP, False)]


async def test_only_the_newest_of_a_connector_is_kept(run: Run, backend: Backend) -> None:
    backend.is_up = False
    for word, connector in (("Preparing", 1), ("Available", 2), ("Charging", 1), ("Preparing", 1)):
        await run.put(status(word, connector), Rank.STATUS)
    backend.is_up, backend.script = True, accept
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert backend.said() == ["Available", "Preparing"]


async def test_what_a_newer_one_replaced_is_there_again_if_that_is_not(run: Run, backend: Backend) -> None:
    backend.is_up = False
    await run.put(status("Preparing"), Rank.STATUS)
    lost, _ = run.outbox.post(NAME, status("Charging"), Rank.STATUS)
    newest, _ = run.outbox.post(NAME, status("Finishing"), Rank.STATUS)
    run.outbox.landed(lost, False)
    run.outbox.landed(newest, False)
    backend.is_up = True
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert backend.said() == ["Preparing"]


async def test_a_status_in_flight_is_not_sent_again_where_a_newer_one_waits(run: Run, backend: Backend) -> None:
    await run.put(status("Preparing"), Rank.STATUS)
    newer = await run.put(status("Charging"), Rank.STATUS)
    await run.reply(REFUSED)
    assert (backend.said(), run.disk()) == (["Preparing", "Charging"], [(newer.id, None)])


async def test_letters_follow_a_start_only_when_its_answer_is_on_disk(run: Run, backend: Backend) -> None:
    backend.rows = (("INSERT INTO secrets VALUES (?, ?)", ("learnt", b"1")),)
    backend.script = accept

    async def deliver(letter: Letter, call: Call) -> Any:
        seen.append(run.store.read("SELECT count(*) FROM secrets")[0][0])
        backend.rows, rows = (), backend.rows
        return fates.Delivered(DONE, rows)

    seen: list[int] = []
    run.outbox.serve(NAME, deliver=deliver, up=backend.up, hold=backend.hold)
    backend.is_up = False
    await run.put(start(), number=1)
    await run.put(meter(1), number=1)
    backend.is_up = True
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert (seen, run.disk()) == ([0, 1], [])


async def test_other_lanes_go_on_while_one_waits(run: Run, backend: Backend) -> None:
    backend.script = lambda call: fail(call) if call.identity == CP else accept(call)
    await run.put(meter(1))
    await run.put(meter(2))
    await run.put(meter(3, "CP-2"))
    assert backend.said() == [1, 3]


async def test_lanes_in_flight_are_bounded(run: Run, backend: Backend) -> None:
    for n in range(delivery.FLYING + 3):
        run.outbox.post(NAME, meter(n, f"CP-{n}"), Rank.MONEY, durable=False)
    await turns()
    assert (len(backend.sent), run.outbox.counts()[NAME].in_flight) == (delivery.FLYING, delivery.FLYING)
    backend.open[0].answer.set_result(fates.Delivered(DONE))
    await turns()
    assert len(backend.sent) == delivery.FLYING + 1


async def test_stored_letters_are_paced_across_lanes(begin: Begin, backend: Backend, clock: Clock) -> None:
    run = await begin(rate=10)
    backend.script = accept
    for n in range(5):
        run.outbox.post(NAME, meter(n, f"CP-{n}"), Rank.MONEY, durable=False)
    await turns()
    assert len(backend.sent) == 1
    assert clock.waiting == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.05)
    clock.move(0.25)
    await turns()
    assert len(backend.sent) == 3


# --- what is sent again


async def test_what_was_not_sent_waits_for_the_session(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    backend.is_up = False
    await run.reply(NOT_SENT)
    await run.move(3600)
    assert len(backend.sent) == 1
    backend.is_up = True
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert (backend.said(), run.outbox.tally.repeated_after_unanswered[NAME]) == ([1, 1], 0)


async def test_what_was_not_sent_over_a_session_that_is_up_is_tried_again(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.reply(NOT_SENT)
    assert len(backend.sent) == 1
    await run.move(delivery.PAUSE)
    assert len(backend.sent) == 2


async def test_a_session_that_came_up_meanwhile_is_not_waited_for(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    run.outbox.wake(NAME, CP)
    await run.reply(NOT_SENT)
    assert len(backend.sent) == 2


async def test_what_got_no_answer_is_sent_again_after_three_deadlines(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.put(meter(2))
    await run.reply(UNANSWERED)
    await run.move(89)
    run.outbox.wake(NAME, CP)
    await run.quiet()
    assert backend.said() == [1]
    await run.move(1)
    await run.reply(DONE)
    assert backend.said() == [1, 1, 2]
    assert run.outbox.tally.repeated_after_unanswered[NAME] == 1


@pytest.mark.parametrize("wakes", [True, False])
async def test_what_broke_off_is_sent_again_at_the_next_session_or_later(run: Run, backend: Backend, wakes: bool) -> None:
    letter = await run.put(meter(1))
    await run.reply(BROKEN)
    assert backend.said() == [1]
    if wakes:
        run.outbox.wake(NAME, CP)
        await run.quiet()
    else:
        await run.move(60)
    assert (backend.said(), letter.attempts) == ([1, 1], 0)


async def test_what_is_refused_is_sent_again_later_each_time_and_is_dead_in_the_end(run: Run, backend: Backend) -> None:
    backend.script = fail
    with capture_logs() as logs:
        letter = await run.put(meter(1))
        for seconds, sent in ((59, 1), (1, 2), (119, 2), (1, 3), (3600, 3)):
            await run.move(seconds)
            assert len(backend.sent) == sent
    assert run.disk() == [(letter.id, "refused 3 times, at last with InternalError: not TAG1 again")]
    assert (run.outbox.tally.retried[NAME], run.outbox.tally.dead[NAME, "refused"]) == (2, 1)
    assert "TAG1" not in str(logs)
    assert backend.held[-1] == (CP, False)


async def test_attempts_survive_a_restart(begin: Begin, backend: Backend, clock: Clock) -> None:
    backend.script = fail
    run = await begin()
    await run.put(meter(1))
    await run.move(60)
    run = await begin()
    await run.move(120)
    assert (len(backend.sent), run.outbox.counts()[NAME].dead) == (3, 1)


async def test_what_a_call_had_before_it_was_stored_counts(run: Run, backend: Backend, clock: Clock) -> None:
    await run.put(meter(1), attempts=1, due=NOW + 60)
    assert (backend.sent, clock.waiting) == ([], [60])
    await run.move(60)
    await run.reply(REFUSED)
    assert clock.waiting == [120]


async def test_what_cannot_be_delivered_is_dead_at_once(run: Run, backend: Backend) -> None:
    letter = await run.put(meter(1))
    await run.reply(Undeliverable("InternalError", "no such thing"))
    assert run.disk() == [(letter.id, "no such thing")]


async def test_a_transaction_follows_its_start_to_the_dead(run: Run, backend: Backend) -> None:
    letters = [await run.put(start(), number=7), await run.put(meter(1), number=7)]
    other = await run.put(meter(2), number=8)
    await run.reply(Undeliverable("InternalError", "no"))
    assert run.disk() == [(letters[0].id, "no"), (letters[1].id, "its StartTransaction is a dead letter"), (other.id, None)]
    assert backend.said() == [0, 2]


async def test_what_follows_a_dead_start_on_its_way_to_disk_is_dead_there_too(run: Run, backend: Backend) -> None:
    await run.put(start(), number=7)
    letter, rows = run.outbox.post(NAME, meter(1), Rank.MONEY, number=7)
    await run.reply(Undeliverable("InternalError", "no"))
    await run.ledger.accept(rows, landed=lambda ok: run.outbox.landed(letter, ok))
    await run.quiet()
    assert run.disk()[1] == (letter.id, "its StartTransaction is a dead letter")


async def test_behind_a_boot_that_is_not_accepted_all_wait(run: Run, backend: Backend) -> None:
    await run.put(boot(), Rank.BOOT)
    await run.put(meter(1))
    await run.reply(Result({"status": "Pending", "interval": 30}))
    await run.move(29)
    assert backend.said() == ["boot 0"]
    await run.move(1)
    await run.reply(Result({"status": "Accepted", "interval": 300}))
    assert backend.said() == ["boot 0", "boot 0", 1]


@pytest.mark.parametrize(("interval", "seconds"), [(0, 1), (-5, 1), (10**30, 60), ("soon", 60), (30, 30)])
async def test_odd_intervals_hold_up_nobody(run: Run, clock: Clock, interval: object, seconds: float) -> None:
    await run.put(boot(), Rank.BOOT)
    await run.reply(Result({"status": "Rejected", "interval": interval}))
    assert clock.waiting == [seconds]


async def test_a_mistake_of_ours_is_told_and_does_not_end_the_lane(run: Run, backend: Backend) -> None:
    def mistaken(call: Call) -> Any:
        backend.script = accept
        raise ZeroDivisionError

    backend.script = mistaken
    with capture_logs() as logs:
        await run.put(meter(1))
    assert [(line["event"], type(line["exc_info"])) for line in logs] == [("outbox.failed", ZeroDivisionError)]
    await run.move(60)
    assert (backend.said(), run.disk()) == ([1, 1], [])


async def test_while_the_disk_fails_nothing_durable_is_sent(run: Run, backend: Backend) -> None:
    backend.is_up = False
    await run.put(meter(1))
    run.ledger.fault = "full"
    backend.is_up = True
    run.outbox.wake(NAME, CP)
    run.outbox.post(NAME, meter(2, "CP-2"), Rank.MONEY, durable=False)
    await turns()
    assert backend.said() == [2]
    run.ledger.fault = ""
    await run.move(delivery.PAUSE)
    assert backend.said() == [2, 1]


async def test_a_status_that_a_newer_one_has_replaced_does_not_die(run: Run, backend: Backend) -> None:
    await run.put(status("Preparing"), Rank.STATUS, attempts=2)
    await run.put(status("Charging"), Rank.STATUS)
    await run.reply(REFUSED)
    assert (backend.said(), run.outbox.counts()[NAME].dead) == (["Preparing", "Charging"], 0)


async def test_what_broke_off_while_the_next_session_came_up_goes_out_over_that(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    run.outbox.wake(NAME, CP)
    await run.reply(BROKEN)
    assert backend.said() == [1, 1]


# --- late answers


async def test_a_late_answer_counts(run: Run, backend: Backend) -> None:
    await run.put(start(), number=7)
    await run.put(meter(1), number=7)
    backend.rows = (("INSERT INTO secrets VALUES (?, ?)", ("learnt", b"1")),)
    late = replace(DONE, id=backend.sent[0].call.id)
    await run.reply(UNANSWERED)
    backend.rows = (("INSERT INTO secrets VALUES (?, ?)", ("late", b"1")),)
    assert run.outbox.late(NAME, late)
    await run.quiet()
    assert backend.said() == [0, 1]
    assert run.store.read("SELECT name FROM secrets WHERE name = 'late'") == [("late",)]


async def test_late_answers_of_others_are_not_ours(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    late = replace(DONE, id=backend.sent[0].call.id)
    assert not run.outbox.late(NAME, late)  # it is in flight
    await run.reply(UNANSWERED)
    assert not run.outbox.late("other", late)
    assert run.outbox.late(NAME, late)
    assert not run.outbox.late(NAME, late)


async def test_a_late_answer_helps_where_the_second_sending_gets_none(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.reply(UNANSWERED)
    await run.move(90)
    assert run.outbox.late(NAME, replace(DONE, id=backend.sent[0].call.id))
    await run.reply(BROKEN)
    assert (backend.said(), run.disk()) == ([1, 1], [])


async def test_a_late_answer_after_another_means_nothing(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.reply(UNANSWERED)
    await run.move(90)
    assert run.outbox.late(NAME, replace(REFUSED, id=backend.sent[0].call.id))
    with capture_logs() as logs:
        await run.reply(DONE)
    assert (run.disk(), [line["event"] for line in logs]) == ([], ["outbox.answered_twice"])


async def test_a_call_that_got_no_answer_before_it_was_stored_may_still_get_one(run: Run, backend: Backend) -> None:
    await run.put(meter(1), due=NOW + 90, sent="earlier")
    assert run.outbox.late(NAME, replace(DONE, id="earlier"))
    await run.quiet()
    assert (backend.sent, run.disk()) == ([], [])


async def test_a_late_error_counts_from_when_it_came(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.reply(UNANSWERED)
    backend.is_up = False
    await run.move(80)
    assert run.outbox.late(NAME, replace(REFUSED, id=backend.sent[0].call.id))
    await run.quiet()
    await run.move(20)
    backend.is_up = True
    run.outbox.wake(NAME, CP)
    await run.move(39)
    assert backend.said() == [1]
    await run.move(1)
    assert backend.said() == [1, 1]


async def test_what_is_answered_late_while_it_waits_for_its_turn_is_not_sent_again(begin: Begin, backend: Backend) -> None:
    run = await begin(rate=1)
    await run.put(meter(1))
    await run.reply(UNANSWERED)
    for n in range(3):
        run.outbox.post(NAME, meter(n, f"CP-{n}0"), Rank.MONEY, durable=False)
    run.clock.move(90)
    await turns()
    assert run.outbox.late(NAME, replace(DONE, id=backend.sent[0].call.id))
    run.clock.move(9)
    await turns()
    assert [sent.call.identity for sent in backend.sent].count(CP) == 1


# --- restarts


async def test_a_restart_sends_what_is_left_in_order(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin()
    for n in range(NEAR + 40):
        await run.put(meter(n))
    assert sum(lane.letters[-1].payload is None for lane in run.outbox._out.lanes.values()) == 1  # on disk only
    run = await begin(other := Backend(accept))
    await run.quiet()
    assert (other.said(), run.disk(), other.held) == ([*range(NEAR + 40)], [], [(CP, True), (CP, False)])


async def test_ids_go_on_after_a_restart(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin()
    first = await run.put(meter(1))
    run = await begin()
    assert (await run.put(meter(2))).id == first.id + 1


async def test_at_the_end_what_is_in_flight_has_some_time_and_no_task_is_left(begin: Begin, backend: Backend) -> None:
    run = await begin()
    await run.put(meter(1))
    before = asyncio.all_tasks()
    closing = asyncio.create_task(run.outbox.close(DEADLINE))
    await asyncio.sleep(0)
    backend.open[0].answer.set_result(fates.Delivered(DONE))
    await asyncio.wait_for(closing, DEADLINE)
    await run.ledger.keep()
    assert (run.disk(), len(asyncio.all_tasks() & before) < len(before)) == ([], True)


async def test_what_was_never_promised_is_counted_at_the_end(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin()
    await run.put(meter(1), durable=False)
    with capture_logs() as logs:
        await run.outbox.close(0)
    assert (run.outbox.tally.dropped[NAME, "shutdown"], logs[0]["event"]) == (1, "outbox.dropped")


async def test_many_letters_are_loaded_quickly(tmp_path: Path, begin: Begin, backend: Backend) -> None:
    store = StateStore(tmp_path / "state.db")
    store.open()
    letters = (written(n, NAME, meter(n, f"CP-{n % 5000}"), Rank.MONEY) for n in range(1, 10_001))
    store.keep((), (), [insert(letter) for letter in letters])
    store.close()
    backend.is_up, begun = False, time.perf_counter()
    run = await begin()
    assert time.perf_counter() - begun < 1
    assert (run.outbox.counts()[NAME].live, len(backend.held)) == (10_000, 5000)


async def test_letters_of_a_payload_that_is_no_json_are_dead(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin()
    letter = await run.put(meter(1))
    run.ledger.note(rows=(("UPDATE letters SET payload = ?", (b"{",)),))
    backend.is_up = True
    run = await begin()
    await run.quiet()
    assert run.disk() == [(letter.id, "its payload on disk cannot be read")]


async def test_a_rank_that_there_is_not_is_a_fault_of_the_file(begin: Begin, backend: Backend) -> None:
    backend.is_up = False
    run = await begin()
    await run.put(meter(1))
    run.ledger.note(rows=(("UPDATE letters SET rank = 9", ()),))
    with pytest.raises(StateError, match="letter 1 cannot be read: 9 is not a valid Rank"):
        await begin()


# --- age


async def test_what_waited_for_too_long_is_dead(run: Run, backend: Backend, clock: Clock) -> None:
    backend.is_up = False
    letter = await run.put(meter(1))
    await run.move(30 * 86400)
    run.outbox.tick()
    assert run.outbox.busy(NAME, CP)
    await run.move(1)
    run.outbox.tick()
    await run.quiet()
    assert (run.disk(), backend.held[-1]) == ([(letter.id, "older than 30d")], (CP, False))


async def test_too_many_dead_letters_are_dropped_oldest_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadletters, "MOST_DEAD", 2)
    await dead(run, 4)
    run.outbox.tick()
    await run.quiet()
    assert [id for id, _ in run.disk()] == [3, 4]
    assert (run.outbox.tally.dropped[NAME, "overflow"], run.outbox.counts()[NAME].dead) == (2, 2)


async def test_what_is_abandoned_is_sent_no_more_on_its_way_to_disk_or_not(run: Run, backend: Backend) -> None:
    await run.put(meter(1))
    await run.put(meter(2))
    letter, rows = run.outbox.post(NAME, meter(3), Rank.MONEY)
    run.outbox.abandon("cp-1", "moved")
    await run.ledger.accept(rows, landed=lambda ok: run.outbox.landed(letter, ok))
    await run.reply(BROKEN)
    await run.move(3600)
    assert (backend.said(), run.disk()) == ([1], [(1, "moved"), (2, "moved"), (3, "moved")])


async def test_what_was_in_flight_when_it_was_abandoned_can_still_be_heard(run: Run) -> None:
    await run.put(meter(1))
    run.outbox.abandon(CP, "moved")
    await run.reply(DONE)
    assert (run.disk(), await run.outbox.dead(), run.outbox.counts()[NAME]) == ([], [], (0, 0, 0, 0.0))


# --- for people


async def dead(run: Run, count: int = 1, call: Callable[[int], Call] = meter) -> list[int]:
    """So many dead letters."""
    run.backend.script = lambda call: Undeliverable("InternalError", "no")
    letters = [await run.put(call(n), Rank.STATUS if call is not meter else Rank.MONEY) for n in range(count)]
    run.backend.script = None
    return [letter.id for letter in letters]


async def test_dead_letters_can_be_listed(run: Run) -> None:
    ids = await dead(run, 3)
    await dead(run, 1, lambda n: meter(n, "CP-2"))
    assert [each.id for each in await run.outbox.dead(NAME, "cp-1", 2, ids[0])] == ids[1:]
    assert await run.outbox.dead("other") == []
    assert len(await run.outbox.dead()) == 4


async def test_any_letter_can_be_read(run: Run, backend: Backend) -> None:
    backend.is_up = False
    letter = await run.put(meter(1))
    found = await run.outbox.get(letter.id)
    assert (found.call.payload, found.dead) == (meter(1).payload, "")
    for none in (99, 10**30):
        with pytest.raises(LookupError, match=f"no letter {none}"):
            await run.outbox.get(none)


async def test_dead_letters_are_sent_again_in_their_old_places(begin: Begin, backend: Backend) -> None:
    run = await begin()
    ids = await dead(run, 2)
    backend.is_up = False
    await run.put(meter(2))
    assert await run.outbox.replay(reversed(ids)) == 2
    run = await begin(again := Backend(accept))
    await run.quiet()
    assert (again.said(), run.disk(), run.outbox.counts()[NAME].dead) == ([0, 1, 2], [], 0)


@pytest.mark.parametrize("step", ["replay", "purge"])
async def test_it_is_all_or_nothing(run: Run, step: str) -> None:
    ids = await dead(run, 2)
    with pytest.raises(LookupError, match="no dead letter 99"):
        await getattr(run.outbox, step)([*ids, 99])
    run.ledger._store._open().execute("PRAGMA query_only = ON")
    with pytest.raises(StateError, match="cannot be written"):
        await getattr(run.outbox, step)(ids)
    run.ledger._store._open().execute("PRAGMA query_only = OFF")
    assert [each.id for each in await run.outbox.dead()] == ids
    assert not run.outbox.busy(NAME, CP)


async def test_what_waits_already_is_not_sent_twice(run: Run, backend: Backend) -> None:
    ids = await dead(run)
    backend.is_up = False
    await run.put(meter(0))
    with pytest.raises(ValueError, match="letter 1: the same message waits already as letter 2"):
        await run.outbox.replay(ids)
    assert len(await run.outbox.dead()) == 1


async def test_an_old_status_does_not_come_back_over_a_newer_one(run: Run, backend: Backend) -> None:
    ids = await dead(run, 1, lambda n: status("Faulted"))
    backend.is_up = False
    await run.put(status("Available"), Rank.STATUS)
    with pytest.raises(ValueError, match="letter 1: a newer StatusNotification waits already as letter 2"):
        await run.outbox.replay(ids)


async def test_dead_letters_can_be_changed(begin: Begin) -> None:
    run = await begin()
    (id,) = await dead(run)
    sample = {"timestamp": "2024-05-01T08:00:00Z", "sampledValue": [{"value": "1"}]}
    payload = {"connectorId": 1, "transactionId": 8, "meterValue": [sample]}
    assert (await run.outbox.change(id, payload)).number == 8
    await run.outbox.replay([id])
    await run.quiet()
    assert run.backend.sent[-1].call.payload == payload


async def test_what_is_changed_must_be_as_ocpp_has_it(run: Run, backend: Backend) -> None:
    (id,) = await dead(run)
    with pytest.raises(ValueError, match=r"MeterValues\.req connectorId: expected it, found none"):
        await run.outbox.change(id, {})
    with pytest.raises(LookupError, match="no letter 99"):
        await run.outbox.change(99, {})
    backend.is_up = False
    with pytest.raises(ValueError, match="letter 2 is not dead: expected a dead letter"):
        await run.outbox.change((await run.put(meter(5))).id, {})


async def test_dead_letters_can_be_purged(begin: Begin) -> None:
    run = await begin()
    assert await run.outbox.purge(await dead(run, 2)) == 2
    assert (run.disk(), run.outbox.counts()[NAME].dead) == ([], 0)
    assert await run.outbox.purge([]) == 0


async def test_letters_are_counted(run: Run, backend: Backend) -> None:
    await dead(run)
    await run.put(meter(1))
    await run.put(meter(2))
    await run.move(10)
    assert run.outbox.counts() == {NAME: (2, 1, 1, 10.0)}

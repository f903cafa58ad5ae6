"""gateway.routing.router: who answers, who hears, what may pass, and who may command."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from gateway.config import Config, Ocppj, Policy, Replay, Route
from gateway.core import Core
from gateway.exchange import Broken, Ids, NotSent, Standing, Unanswered
from gateway.roster import Charger, Registration, Roster
from gateway.routing.leg import BOOT
from gateway.state.store import StateStore
from tests.cores import ACCEPTED, CP, House, number, refused, rules, start, stop
from translations.messages import Answer, Call, Error, Payload, Result, Side, Version

BY_HAND = "a person"
BOOTED: Mapping[str, Any] = MappingProxyType({"status": "Accepted", "interval": 300, "currentTime": "2024-05-01T12:00:00Z"})
CHARGING: Mapping[str, Any] = MappingProxyType({"connectorId": 1, "errorCode": "NoError", "status": "Charging"})
BOOT_PAYLOAD: Mapping[str, Any] = MappingProxyType({"chargePointVendor": "Volt", "chargePointModel": "A1"})


class Backend:
    """Stands behind the router: says whether it is up, answers, and keeps what reached it."""

    def __init__(self, name: str, *, up: bool = True) -> None:
        self.name, self._up = name, up
        self.answer: Answer = Result(dict(BOOTED))
        self.asked: list[Call] = []
        self.heard: list[Call] = []
        self.moves: list[tuple[str, str]] = []

    def arrive(self, identity: str) -> None:
        self.moves.append(("arrive", identity))

    def leave(self, identity: str) -> None:
        self.moves.append(("leave", identity))

    def up(self, identity: str) -> bool:
        return self._up

    def standing(self, identity: str) -> Standing:
        return Standing(self._up, 0.0)

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        self.asked.append(call)
        return self.answer

    def offer(self, call: Call) -> None:
        self.heard.append(call)

    async def close(self, drain: float | None = None) -> None:
        pass


class Link:
    """A charger's link: keeps what it was asked, and answers."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[Call, float]] = []

    async def call(self, call: Call, timeout: float) -> Answer:
        self.asked.append((call, timeout))
        return self.answer


class Rig:
    """A router over three backends: `first` and `second` answer, `audit` listens."""

    def __init__(self, path: Path) -> None:
        self.backends = {name: Backend(name) for name in ("first", "second", "audit", "other")}
        rows = tuple(Ocppj(kind="ocppj", name=name, url="ws://c/{identity}") for name in self.backends)
        route = Route(chargers="CP-*", answer=("first", "second"), listen=("audit",))
        self.now = 1000.0
        self.roster = Roster(clock=lambda: self.now)
        self.store = StateStore(path)
        self.core = Core(Config(backends=rows, routes=(route,)), self.roster, self.store, Ids())
        self.link = Link(Result({"status": "Accepted"}))

    def charger(self, registration: Registration = Registration.ACCEPTED, identity: str = "CP-1") -> Charger:
        charger = self.roster.linked(identity, self.link, "192.0.2.1:1", Version.V16)
        charger.registration = registration
        return charger

    async def up(self, action: str = "Heartbeat", payload: Payload | None = None, identity: str = "CP-1") -> Answer:
        return await self.core.router.up(Call(action, payload or {}, "c-1", identity))

    async def down(self, backend: str, action: str = "Reset", payload: Payload | None = None, call_id: str = "b-1") -> Answer:
        call = Call(action, payload or {}, call_id, "cp-1")
        router = self.core.router
        return await (router.command(backend, call, 7.5) if backend != BY_HAND else router.down(call, 7.5))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "state.db")
    rig.store.open()
    await rig.core.open()
    await rig.core.connect(rig.backends)
    yield rig
    await rig.core.close()
    rig.store.close()


# --- up


@pytest.mark.parametrize(
    ("first", "second", "answers"),
    [(True, True, "first"), (True, False, "first"), (False, True, "second"), (False, False, "first")],
)
async def test_the_first_backend_that_is_up_answers(rig: Rig, first: bool, second: bool, answers: str) -> None:
    rig.charger()
    for name, up in (("first", first), ("second", second)):
        rig.backends[name]._up = up
    await rig.up()
    assert [name for name, backend in rig.backends.items() if backend.asked] == [answers]


async def test_the_charger_gets_what_the_backend_answered(rig: Rig) -> None:
    rig.charger()
    rig.backends["first"].answer = Error("InternalError", "out of order")
    assert await rig.up() is rig.backends["first"].answer


async def test_listeners_hear_the_call_and_answer_nothing(rig: Rig) -> None:
    rig.charger()
    rig.backends["audit"].answer = Error("InternalError", "never seen")
    assert isinstance(await rig.up(), Result)
    assert [call.id for call in rig.backends["audit"].heard] == ["c-1"]
    assert rig.backends["audit"].asked == rig.backends["other"].heard == []


async def test_listeners_hear_the_call_when_nobody_is_up(rig: Rig) -> None:
    rig.charger()
    rig.backends["first"].answer = Error("InternalError", "away")
    await rig.up()
    assert len(rig.backends["audit"].heard) == 1


@pytest.mark.parametrize("identity", ["CP-9", "DC-1"])
async def test_a_charger_that_nobody_knows_or_routes_gets_an_error(rig: Rig, identity: str) -> None:
    rig.charger(identity="DC-1")
    answer = await rig.up(identity=identity)
    assert answer == Error("InternalError", "no route for this charger", {}, "c-1", "Heartbeat")


async def test_a_call_is_a_sign_of_life(rig: Rig) -> None:
    charger = rig.charger()
    rig.now = 2000.0
    await rig.up()
    assert charger.last_seen == 2000.0


# --- registration

GATE = [
    # registration, action, triggered before, passes
    (Registration.UNKNOWN, BOOT, False, True),
    (Registration.UNKNOWN, "Heartbeat", False, True),
    (Registration.ACCEPTED, BOOT, False, True),
    (Registration.ACCEPTED, "Heartbeat", False, True),
    (Registration.PENDING, BOOT, False, True),
    (Registration.PENDING, "Heartbeat", False, False),
    (Registration.PENDING, "Heartbeat", True, True),
    (Registration.REJECTED, BOOT, False, True),
    (Registration.REJECTED, "Heartbeat", False, False),
    (Registration.REJECTED, "Heartbeat", True, False),
]


@pytest.mark.parametrize(("registration", "action", "triggered", "passes"), GATE)
async def test_what_a_charger_may_say_depends_on_its_registration(
    rig: Rig, registration: Registration, action: str, triggered: bool, passes: bool
) -> None:
    charger = rig.charger(registration)
    charger.triggered |= {action} if triggered else set()
    answer = await rig.up(action)
    assert isinstance(answer, Result) is passes
    assert bool(rig.backends["first"].asked) is bool(rig.backends["audit"].heard) is passes


async def test_a_refusal_says_what_was_expected(rig: Rig) -> None:
    rig.charger(Registration.PENDING)
    text = "the charger's registration is Pending: expected a BootNotification first"
    assert await rig.up() == Error("SecurityError", text, {}, "c-1", "Heartbeat")


async def test_a_trigger_lets_what_was_asked_for_pass_until_the_next_registration(rig: Rig) -> None:
    charger = rig.charger(Registration.PENDING)
    await rig.down("first", "TriggerMessage", {"requestedMessage": "Heartbeat"})
    assert [type(await rig.up()) for _ in range(2)] == [Result, Result]  # a trigger for all connectors gives several messages
    rig.roster.registered(charger, "Pending", 60)
    assert isinstance(await rig.up(), Error)


async def test_a_trigger_that_the_charger_refuses_lets_nothing_pass(rig: Rig) -> None:
    rig.charger(Registration.PENDING)
    rig.link.answer = Result({"status": "Rejected"})
    await rig.down("first", "TriggerMessage", {"requestedMessage": "Heartbeat"})
    assert isinstance(await rig.up(), Error)


@pytest.mark.parametrize("status", ["Accepted", "Pending", "Rejected"])
async def test_what_a_backend_answers_to_a_boot_governs_from_then_on(rig: Rig, status: str) -> None:
    charger = rig.charger(Registration.UNKNOWN)
    rig.backends["first"].answer = Result({"status": status, "interval": 60})
    await rig.up(BOOT, dict(BOOT_PAYLOAD))
    assert (charger.registration, charger.interval, charger.boot) == (status, 60, dict(BOOT_PAYLOAD))


async def test_a_boot_that_nobody_answers_changes_no_registration(rig: Rig) -> None:
    charger = rig.charger(Registration.PENDING)
    rig.backends["first"].answer = Error("InternalError", "away")
    await rig.up(BOOT, dict(BOOT_PAYLOAD))
    assert (charger.registration, charger.boot) == (Registration.PENDING, dict(BOOT_PAYLOAD))


# --- down


async def test_a_command_reaches_the_charger_with_its_deadline(rig: Rig) -> None:
    rig.charger()
    answer = await rig.down("second", payload={"type": "Soft"})
    made, timeout = rig.link.asked[0]
    assert answer is rig.link.answer
    assert (made, timeout) == (Call("Reset", {"type": "Soft"}, "b-1", "CP-1", Side.CHARGE_POINT), 7.5)


async def test_a_command_without_an_id_gets_one(rig: Rig) -> None:
    rig.charger()
    await rig.down("first", call_id="")
    assert rig.link.asked[0][0].id


async def test_a_charger_that_is_not_here_cannot_be_called(rig: Rig) -> None:
    gone = Error("GenericError", "charger unreachable: it is not connected", {}, "b-1", "Reset")
    assert await rig.down("first") == gone
    rig.charger()
    rig.roster.unlinked("CP-1", rig.link)
    assert await rig.down("first") == gone


MAY_COMMAND = [
    # who, registration, action, why not
    ("first", Registration.UNKNOWN, "RemoteStartTransaction", ""),
    ("first", Registration.ACCEPTED, "RemoteStartTransaction", ""),
    ("second", Registration.ACCEPTED, "Reset", ""),
    ("first", Registration.PENDING, "Reset", ""),
    ("first", Registration.PENDING, "TriggerMessage", ""),
    ("first", Registration.PENDING, "RemoteStartTransaction", "the charger's registration is Pending"),
    ("first", Registration.PENDING, "RemoteStopTransaction", "the charger's registration is Pending"),
    ("first", Registration.REJECTED, "Reset", "the charger's registration is Rejected"),
    ("first", Registration.REJECTED, "TriggerMessage", "the charger's registration is Rejected"),
    ("audit", Registration.ACCEPTED, "Reset", "a backend that only listens may not call chargers"),
    ("other", Registration.ACCEPTED, "Reset", "a backend that has no route to this charger may not call it"),
    (BY_HAND, Registration.REJECTED, "Reset", ""),
    (BY_HAND, Registration.PENDING, "RemoteStartTransaction", ""),
]


@pytest.mark.parametrize(("who", "registration", "action", "why_not"), MAY_COMMAND)
async def test_who_may_command_a_charger(rig: Rig, who: str, registration: Registration, action: str, why_not: str) -> None:
    rig.charger(registration)
    answer = await rig.down(who, action)
    assert answer == (Error("SecurityError", why_not, {}, "b-1", action) if why_not else rig.link.answer)
    assert bool(rig.link.asked) is not bool(why_not)


async def test_a_charger_without_a_route_can_be_called_by_hand_alone(rig: Rig) -> None:
    rig.charger(identity="DC-1")
    call = Call("Reset", {"type": "Soft"}, "b-1", "DC-1")
    answers = [await rig.core.router.command("first", call, 1), await rig.core.router.down(call, 1)]
    assert [type(answer) for answer in answers] == [Error, Result]


# --- presence


async def test_every_backend_of_the_route_is_told_who_comes_and_goes(rig: Rig) -> None:
    rig.charger()
    rig.roster.unlinked("cp-1", rig.link)
    told = {name: backend.moves for name, backend in rig.backends.items()}
    both = [("arrive", "CP-1"), ("leave", "CP-1")]
    assert told == {"first": both, "second": both, "audit": both, "other": []}


async def test_nobody_is_told_of_a_charger_without_a_route(rig: Rig) -> None:
    rig.charger(identity="DC-1")
    assert [backend.moves for backend in rig.backends.values()] == [[], [], [], []]


# --- what the gateway says while a backend is away

Make = Callable[..., House]
NOT_SENT = NotSent("InternalError", "away")
BROKEN = Broken("InternalError", "closed")
UNANSWERED = Unanswered("InternalError", "slow", backend="a", waited=30.0)
NO = Error("InternalError", "no")
BOTH = ("BootNotification", "Heartbeat")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda **more: House(tmp_path / "state.db", **more)


def status(word: str, connector: int = 1) -> Payload:
    return {"connectorId": connector, "errorCode": "NoError", "status": word}


HERE = [
    # what the backend says, whether the gateway may answer in its place
    (NOT_SENT, True),
    (BROKEN, True),
    (UNANSWERED, True),
    (NO, False),
]


@pytest.mark.parametrize(("says", "answered"), HERE)
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("stores", [(), ("a",)])
@pytest.mark.parametrize("action", BOTH)
async def test_heartbeats_and_boots_are_answered_here_if_the_route_says_so(
    make: Make, says: Error, answered: bool, told: bool, stores: Any, action: str
) -> None:
    async with make(stores=stores, route={"away_answers": BOTH if told else ()}) as house:
        house.at["a"].says[action] = says
        answer = await house.say(action, dict(BOOT_PAYLOAD) if action == BOOT else {})
        assert isinstance(answer, Result) is (answered and told)
        if isinstance(answer, Result):
            assert (rules(answer), answer.payload["currentTime"]) == (["away.answered"], "2024-05-01T08:00:00.000Z")


async def test_a_boot_that_was_answered_here_is_told_before_all_else_and_spreads_the_fleet(make: Make) -> None:
    route = {"away_answers": BOTH, "away_interval": 100, "away_authorize": "all"}
    async with make(stores=("a",), route=route) as house:
        house.down("a")
        await house.say("StartTransaction", start())
        await house.say("StatusNotification", status("Charging"))
        answers = [await house.say(BOOT, {**BOOT_PAYLOAD, "iccid": str(i)}) for i in range(20)]
        intervals = {answer.payload["interval"] for answer in answers if isinstance(answer, Result)}
        assert len(intervals) > 1 and all(80 <= each <= 120 for each in intervals)
        assert house.roster.get(CP).registration is Registration.ACCEPTED  # type: ignore[union-attr]
        await house.up("a")
        assert house.at["a"].told("iccid") == [(BOOT, "19"), ("StatusNotification", None), ("StartTransaction", None)]


AUTHORIZED = [
    # away_authorize, whether the tag was accepted before, what Authorize is told, what a start is told where it is stored
    ("error", False, None, "Invalid"),
    ("error", True, None, "Accepted"),
    ("reject", True, "Invalid", "Invalid"),
    ("known", False, "Invalid", "Invalid"),
    ("known", True, "Accepted", "Accepted"),
    ("all", False, "Accepted", "Accepted"),
]


@pytest.mark.parametrize("stores", [(), ("a",)])
@pytest.mark.parametrize(("away", "known", "authorize", "started"), AUTHORIZED)
async def test_who_may_charge_while_nobody_can_be_asked(
    make: Make, away: str, known: bool, authorize: str | None, started: str, stores: Any
) -> None:
    async with make(stores=stores, route={"away_authorize": away}) as house:
        if known:
            await house.say("Authorize", {"idTag": "tag1"})
        house.down("a")
        told = [await house.say("Authorize", {"idTag": "TAG1"}), await house.say("StartTransaction", start())]
        words = [each.payload["idTagInfo"]["status"] if isinstance(each, Result) else None for each in told]
        assert words == [authorize, started if stores else None]


# --- status


@pytest.mark.parametrize(("says", "stored"), [(NOT_SENT, True), (BROKEN, True), (UNANSWERED, False), (NO, False)])
@pytest.mark.parametrize("stores", [(), ("a",)])
async def test_a_status_is_stored_for_a_backend_that_is_away(make: Make, says: Error, stored: bool, stores: Any) -> None:
    async with make(stores=stores) as house:
        house.at["a"].says["StatusNotification"] = says
        answer = await house.say("StatusNotification", status("Faulted"))
        assert refused(answer) is not (stored and bool(stores))
        assert len(house.letters()) == (stored and bool(stores))


@pytest.mark.parametrize("name", ["a", "z"])
async def test_of_each_connector_the_newest_is_told_and_none_that_is_older_after_it(make: Make, name: str) -> None:
    async with make(listen=("z",), stores=("a", "z")) as house:
        house.down(name)
        for word in ("Preparing", "Charging", "Finishing"):
            await house.say("StatusNotification", status(word))
        await house.say("StatusNotification", status("Faulted", 2))
        house.at[name].is_up = True  # its lane has not begun yet
        await house.core.exchange(Call("StatusNotification", status("Available"), "9", CP))
        await house.up(name)
        words = house.at[name].told("connectorId", "status")
        assert sorted(words) == [("StatusNotification", 1, "Available"), ("StatusNotification", 2, "Faulted")]


async def test_a_status_waits_for_the_one_that_is_being_heard(make: Make) -> None:
    async with make(stores=("a",)) as house:
        house.down("a")
        await house.say("StatusNotification", status("Charging"))
        heard, began, go = [], asyncio.Event(), asyncio.Event()

        async def slowly(call: Call, within: float | None = None) -> Answer:
            heard.append(call.payload["status"])
            began.set()
            await go.wait()
            return Result({}, call.id, call.action)

        house.at["a"].exchange = slowly  # type: ignore[method-assign]
        house.at["a"].is_up = True
        house.core.came_up("a", CP)
        await began.wait()
        await house.core.exchange(Call("StatusNotification", status("Available"), "9", CP))
        assert heard == ["Charging"]
        go.set()
        await house.quiet()
        assert (heard, house.letters()) == (["Charging", "Available"], [])


@pytest.mark.parametrize("says", [NO, Result({})])
async def test_what_a_listener_is_to_hear_later_is_on_disk_whatever_the_answer_is(make: Make, says: Answer) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        house.at["a"].says["StatusNotification"] = says
        house.down("z")
        await house.say("StatusNotification", status("Faulted"))
        await house.again()
        await house.up("z")
        assert house.at["z"].told("status") == [("StatusNotification", "Faulted")]


# --- who is asked


@pytest.mark.parametrize("failover_after", [0.0, 10.0])
@pytest.mark.parametrize("action", ["Heartbeat", "StatusNotification", "Authorize", "DataTransfer"])
async def test_what_one_backend_is_not_to_hear_the_next_one_answers(make: Make, failover_after: float, action: str) -> None:
    row = Policy(backends=("a",), actions=(action,), do="drop")
    async with make(answer=("a", "b"), policies=(row,), route={"failover_after": failover_after}) as house:
        assert isinstance(await house.say(action, {"idTag": "TAG1", "vendorId": "x", **status("Faulted")}), Result)
        assert [len(each.heard) for each in house.at.values()] == [0, 1]


async def test_what_nobody_is_to_hear_is_an_error(make: Make) -> None:
    async with make(answer=("a", "b"), policies=(Policy(do="drop"),)) as house:
        for action, payload in (("Heartbeat", {}), ("StartTransaction", start())):
            assert isinstance(await house.say(action, payload), NotSent)


async def test_a_charger_stays_where_its_transaction_is_open_and_after_a_restart_too(make: Make) -> None:
    async with make(answer=("a", "b")) as house:
        house.down("a")
        said = number(await house.say("StartTransaction", start()))
        await house.up("a")
        await house.again()
        await house.say("Heartbeat")
        assert house.at["b"].told()[-1] == ("Heartbeat",)
        await house.say("StopTransaction", stop(said))
        assert (house.at["a"].heard, len(house.at["b"].heard)) == ([], 3)


async def test_all_that_are_asked_in_turn_have_the_time_of_one_call(make: Make) -> None:
    async with make(answer=("a", "b", "c")) as house:
        house.at["b"].is_up = False
        house.at["a"].says["Heartbeat"] = NOT_SENT
        await house.say("Heartbeat")
        first, *others = [within for each in house.at.values() for within in each.within]
        assert others and first is not None and first <= house.config.server.answer_timeout
        assert all(within is not None and within < first for within in others)


# --- what listeners are told of answers


@pytest.mark.parametrize("full", [False, True])
async def test_listeners_are_told_of_an_answer_that_the_charger_heard(make: Make, full: bool) -> None:
    peers = {"z": {"hear": "answers"}}
    async with make(listen=("z",), stores=("a",), peers=peers, replay=Replay(rate=1e6)) as house:
        house.down("a")
        house.store.full = full
        assert isinstance(await house.say("StartTransaction", start()), Result) is not full
        assert len(house.at["z"].heard) == (not full)


async def test_listeners_hear_nothing_of_repetitions(make: Make) -> None:
    async with make(listen=("z",), peers={"z": {"hear": "both"}}) as house:
        for _ in range(3):
            answer = await house.say("StartTransaction", start())
            assert isinstance(answer, Result) and answer.payload["idTagInfo"] == ACCEPTED
        assert sorted(house.at["z"].told()) == [("DataTransfer",), ("StartTransaction",)]


# --- chargers that go away while they are answered


def _gone(_: Call) -> Answer:
    raise asyncio.CancelledError


async def test_a_listener_hears_what_a_charger_said_that_did_not_wait_for_the_answer(make: Make) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        house.down("z")
        house.at["a"].says["StatusNotification"] = _gone
        with pytest.raises(asyncio.CancelledError):
            await house.core.exchange(Call("StatusNotification", dict(CHARGING), "c-1", CP))
        await house.up("z")
        assert house.at["z"].told("status") == [("StatusNotification", "Charging")]


async def test_a_listener_hears_what_a_charger_said_that_did_not_wait_for_the_disk(make: Make) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        house.down("z")
        said = asyncio.create_task(house.core.exchange(Call("StatusNotification", dict(CHARGING), "c-1", CP)))
        await asyncio.sleep(0)
        said.cancel()
        await asyncio.wait({said})
        assert said.cancelled()
        await house.up("z")
        assert house.at["z"].told("status") == [("StatusNotification", "Charging")]


async def test_globs_of_commands_compare_without_case(make: Make) -> None:
    async with make(peers={"a": {"commands": ("remotestart*",)}}) as house:
        assert isinstance(await house.command("a", "RemoteStartTransaction", idTag="TAG1"), Result)
        assert isinstance(await house.command("a", "Reset", type="Soft"), Error)


async def test_of_all_that_are_told_of_a_charger_one_answers_it(make: Make) -> None:
    async with make(answer=("a", "b"), listen=("z",)) as house:
        charger = house.roster.get(CP)
        assert charger is not None
        assert [name for name in house.at if house.core.router.answers(charger, name)] == ["a"]


async def test_an_older_boot_is_not_told_after_a_newer_one(tmp_path: Path) -> None:
    route = {"away_answers": ("BootNotification",), "away_authorize": "all"}
    async with House(tmp_path / "state.db", stores=("a",), route=route) as house:
        house.down("a")
        await house.say("BootNotification", {"chargePointVendor": "V", "chargePointModel": "old"})
        house.at["a"].is_up = True  # and the charger is quicker than the lane
        await house.say("BootNotification", {"chargePointVendor": "V", "chargePointModel": "new"})
        await house.up("a")
        assert house.at["a"].told("chargePointModel") == [("BootNotification", "new")]
        assert house.letters() == []


async def test_a_status_for_a_listener_that_stores_is_on_disk_before_the_charger_hears_yes(tmp_path: Path) -> None:
    async with House(tmp_path / "state.db", listen=("z",), stores=("z",)) as house:
        status = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}
        await house.core.exchange(Call("StatusNotification", status, "c-1", CP))
        assert house.letters() == [("z", "StatusNotification", None)]
        await house.quiet()
        assert house.at["z"].told("status") == [("StatusNotification", "Available")]

"""gateway.router: who answers, who hears, what may pass, and who may command."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from gateway.config import Config, Ocppj, Route
from gateway.exchange import Ids
from gateway.roster import Charger, Registration, Roster
from gateway.router import BOOT, BY_HAND, Router
from translations.messages import Answer, Call, Error, Payload, Result, Side, Version

BOOTED: Mapping[str, Any] = MappingProxyType({"status": "Accepted", "interval": 300, "currentTime": "2024-05-01T12:00:00Z"})
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

    async def exchange(self, call: Call) -> Answer:
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

    def __init__(self) -> None:
        self.backends = {name: Backend(name) for name in ("first", "second", "audit", "other")}
        rows = tuple(Ocppj(kind="ocppj", name=name, url="ws://c/{identity}") for name in self.backends)
        route = Route(chargers="CP-*", answer=("first", "second"), listen=("audit",))
        self.now = 1000.0
        self.roster = Roster(clock=lambda: self.now)
        self.router = Router(Config(backends=rows, routes=(route,)), self.roster, Ids())
        self.router.connect(self.backends)
        self.link = Link(Result({"status": "Accepted"}))

    def charger(self, registration: Registration = Registration.ACCEPTED, identity: str = "CP-1") -> Charger:
        charger = self.roster.linked(identity, self.link, "192.0.2.1:1", Version.V16)
        charger.registration = registration
        return charger

    async def up(self, action: str = "Heartbeat", payload: Payload | None = None, identity: str = "CP-1") -> Answer:
        return await self.router.up(Call(action, payload or {}, "c-1", identity))

    async def down(self, backend: str, action: str = "Reset", payload: Payload | None = None, call_id: str = "b-1") -> Answer:
        return await self.router.down(backend, Call(action, payload or {}, call_id, "cp-1"), 7.5)


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- up


@pytest.mark.parametrize(
    ("first", "second", "answers"),
    [(True, True, "first"), (True, False, "first"), (False, True, "second"), (False, False, "first")],
)
async def test_the_first_backend_that_is_up_answers(rig: Rig, first: bool, second: bool, answers: str) -> None:
    rig.charger()
    for name, up in (("first", first), ("second", second)):
        rig.backends[name] = Backend(name, up=up)
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
    ("other", Registration.ACCEPTED, "Reset", "a backend that only listens may not call chargers"),
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
    answers = [await rig.router.down(who, call, 1) for who in ("first", BY_HAND)]
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

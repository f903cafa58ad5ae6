"""gateway.roster: the table of presence, swept pair by pair through the roster itself, and what is known of a charger."""

import itertools
from collections.abc import Callable, Mapping
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from gateway.config import Presence
from gateway.roster import PRESENCE, Charger, Effect, Event, Registration, Roster, State
from translations.errors import InternalError, SecurityError
from translations.messages import Answer, Call, Result, Version

NOON = 1_714_564_800.0
PEER = "192.0.2.1:4000"


class Wire:
    """A link that answers."""

    async def call(self, call: Call, timeout: float) -> Answer:
        return Result({})


class Rig:
    """A roster under a clock that the test turns, and what its watchers were told."""

    def __init__(self, offline_after: float | None = None) -> None:
        self.now = NOON
        self.roster = Roster(Presence(offline_after=offline_after), lambda: self.now)
        self.told: list[tuple[str, Effect]] = []
        self.link = Wire()
        self.roster.watch(lambda charger, effect: self.told.append((charger.identity, effect)))

    def heard(self, identity: str = "CP-1", tenant: str = "") -> Charger:
        return self.roster.heard(identity, Version.V15, PEER, "http://192.0.2.1:8080/", tenant=tenant)

    def linked(self, identity: str = "CP-1", tenant: str = "") -> Charger:
        return self.roster.linked(identity, self.link, PEER, Version.V16, tenant)

    def silent(self) -> None:
        self.now += 10_000
        self.roster.sweep()

    def unlinked(self) -> None:
        self.roster.unlinked("CP-1", self.link)

    def state(self) -> State:
        charger = self.roster.get("CP-1")
        return charger.state if charger else State.GONE


HAPPEN: Mapping[Event, Callable[[Rig], object]] = {
    Event.HEARD: Rig.heard,
    Event.SILENT: Rig.silent,
    Event.LINK_UP: Rig.linked,
    Event.LINK_DOWN: Rig.unlinked,
}
REACH: Mapping[State, Callable[[Rig], object]] = {
    State.GONE: lambda rig: None,
    State.HERE: Rig.heard,
    State.LINKED: Rig.linked,
}


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- presence


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)))
def test_the_roster_does_what_the_table_says(rig: Rig, state: State, event: Event) -> None:
    REACH[state](rig)
    rig.told.clear()
    HAPPEN[event](rig)
    effect, after = PRESENCE.get((state, event), (Effect.NONE, state))
    assert rig.told == ([] if effect is Effect.NONE else [("CP-1", effect)])
    assert rig.state() is after


def test_only_these_moves_are_in_the_table() -> None:
    assert {pair: move for pair, move in PRESENCE.items() if move != (Effect.NONE, pair[0])} == {
        (State.GONE, Event.HEARD): (Effect.ARRIVED, State.HERE),
        (State.GONE, Event.LINK_UP): (Effect.ARRIVED, State.LINKED),
        (State.HERE, Event.LINK_UP): (Effect.NONE, State.LINKED),
        (State.HERE, Event.SILENT): (Effect.LEFT, State.GONE),
        (State.LINKED, Event.LINK_DOWN): (Effect.LEFT, State.GONE),
    }


def test_whoever_comes_or_goes_is_told_of_once(rig: Rig) -> None:
    for happen in (Rig.heard, Rig.heard, Rig.linked, Rig.linked, Rig.heard, Rig.unlinked, Rig.unlinked, Rig.silent):
        happen(rig)
    assert rig.told == [("CP-1", Effect.ARRIVED), ("CP-1", Effect.LEFT)]


def test_every_watcher_is_told(rig: Rig) -> None:
    also: list[Charger] = []
    rig.roster.watch(lambda charger, effect: also.append(charger))
    assert also == [rig.heard()]


# --- tenants

COMING = pytest.mark.parametrize("comes", [Rig.heard, Rig.linked])


@COMING
def test_a_charger_is_of_the_tenant_under_which_it_came(rig: Rig, comes: Callable[..., Charger]) -> None:
    tenants: list[str] = []
    rig.roster.watch(lambda charger, effect: tenants.append(charger.tenant))
    assert comes(rig, tenant="acme").tenant == "acme"
    assert tenants == ["acme"]  # whoever is told of it knows by then


@COMING
@pytest.mark.parametrize("here", [Rig.heard, Rig.linked])
@pytest.mark.parametrize(("tenant", "other"), [("acme", "other"), ("acme", ""), ("", "acme")])
def test_who_is_here_does_not_come_under_another_tenant(
    rig: Rig, comes: Callable[..., Charger], here: Callable[..., Charger], tenant: str, other: str
) -> None:
    charger = here(rig, tenant=tenant)
    rig.roster.changes()
    before, rig.now = repr(charger), NOON + 1
    assert rig.roster.taken("cp-1", other)
    with pytest.raises(SecurityError, match="expected a charger that is not here under another tenant"):
        comes(rig, "cp-1", tenant=other)
    assert (repr(charger), rig.roster.changes()) == (before, [])


@COMING
def test_paths_change_their_case(rig: Rig, comes: Callable[..., Charger]) -> None:
    rig.heard(tenant="Acme")
    assert not rig.roster.taken("CP-1", "ACME")
    assert comes(rig, tenant="ACME").tenant == "Acme"


@COMING
def test_who_is_gone_may_come_under_another_tenant_and_brings_nothing_along(rig: Rig, comes: Callable[..., Charger]) -> None:
    charger = rig.heard(tenant="acme")
    rig.roster.booted(charger, {"chargePointVendor": "V"})
    rig.roster.registered(charger, "Accepted", 300)
    rig.silent()
    assert not rig.roster.taken("CP-1", "other")
    with capture_logs() as logs:
        comes(rig, tenant="other")
    assert (charger.tenant, charger.boot, charger.registration, charger.interval) == ("other", None, Registration.UNKNOWN, 0)
    assert logs == [{"event": "charger.moved", "log_level": "info", "charger": "CP-1", "tenant": "other", "before": "acme"}]


def test_the_address_told_under_one_tenant_is_not_called_for_another(rig: Rig) -> None:
    rig.heard(tenant="acme")
    rig.silent()
    assert rig.roster.heard("CP-1", Version.V15, PEER, "", tenant="other").callback == ""


def test_who_is_gone_and_comes_back_under_the_same_tenant_is_as_known_as_before(rig: Rig) -> None:
    charger = rig.heard(tenant="acme")
    rig.roster.registered(charger, "Accepted", 300)
    rig.silent()
    with capture_logs() as logs:
        assert rig.heard(tenant="ACME").tenant == "ACME"
    assert (charger.registration, logs) == (Registration.ACCEPTED, [])


# --- silence


@pytest.mark.parametrize(
    ("interval", "configured", "seconds"),
    [(0, None, 900), (300, None, 900), (301, None, 903), (3600, None, 10800), (3600, 60.0, 60), (0, 86400.0, 86400)],
)
def test_silence_lasts_three_heartbeats_and_at_least_a_quarter_of_an_hour_unless_configured(
    interval: int, configured: float | None, seconds: float
) -> None:
    rig = Rig(configured)
    charger = rig.heard()
    rig.roster.registered(charger, "Accepted", interval)
    assert rig.roster.silence(charger) == seconds


@pytest.mark.parametrize(("after", "state"), [(60, State.HERE), (60.5, State.GONE)])
def test_a_charger_is_gone_when_it_was_silent_for_longer(after: float, state: State) -> None:
    rig = Rig(60)
    charger = rig.heard()
    rig.now += after
    rig.roster.sweep()
    assert charger.state is state


def test_every_word_puts_the_departure_off() -> None:
    rig = Rig(60)
    charger = rig.heard()
    rig.now += 50
    rig.roster.touch(charger)
    rig.now += 50
    rig.roster.sweep()
    assert charger.state is State.HERE


def test_a_clock_that_is_set_back_sends_nobody_away(rig: Rig) -> None:
    charger = rig.heard()
    rig.now -= 10_000
    rig.roster.sweep()
    assert charger.state is State.HERE


# --- identities


def test_identities_are_compared_without_case_and_kept_as_first_spelt(rig: Rig) -> None:
    first = rig.heard("Cp-Straße")
    assert rig.heard("CP-STRASSE") is rig.linked("cp-straße") is rig.roster.get("cP-sTRASSE") is first
    assert ([c.identity for c in rig.roster], len(rig.roster)) == (["Cp-Straße"], 1)


def test_nobody_is_known_by_a_name_that_nobody_told(rig: Rig) -> None:
    rig.heard()
    assert rig.roster.get("CP-2") is None


# --- what is known


def test_a_soap_charger_is_known_by_what_it_last_said(rig: Rig) -> None:
    rig.heard()
    charger = rig.roster.heard("CP-1", Version.V16, "192.0.2.9:5", "")
    assert (charger.wire, charger.version, charger.peer) == ("soap", Version.V16, "192.0.2.9:5")
    assert charger.callback == "http://192.0.2.1:8080/"  # told earlier


def test_an_envelope_under_the_name_of_a_linked_charger_does_not_move_it(rig: Rig) -> None:
    rig.linked()
    charger = rig.roster.heard("CP-1", Version.V12, "198.51.100.66:6", "http://198.51.100.66/")
    assert (charger.wire, charger.version, charger.peer, charger.callback) == ("json", Version.V16, PEER, "")
    assert charger.link is rig.link


def test_a_second_socket_takes_the_place_of_the_first(rig: Rig) -> None:
    rig.linked()
    second = Wire()
    charger = rig.roster.linked("cp-1", second, "192.0.2.2:1", Version.V16)
    rig.unlinked()  # the first, late
    assert (charger.link, charger.state, charger.peer) == (second, State.LINKED, "192.0.2.2:1")
    assert rig.told == [("CP-1", Effect.ARRIVED)]


def test_a_charger_may_come_back_on_another_wire(rig: Rig) -> None:
    rig.linked()
    rig.unlinked()
    charger = rig.heard()
    assert (charger.wire, charger.version, charger.link, charger.state) == ("soap", Version.V15, None, State.HERE)


@pytest.mark.parametrize(
    ("status", "interval", "known"),
    [
        ("Accepted", 300, (Registration.ACCEPTED, 300)),
        ("Pending", 0, (Registration.PENDING, 0)),
        ("Rejected", -1, (Registration.REJECTED, 0)),
        ("Maybe", "300", (Registration.UNKNOWN, 300)),
        ("Accepted", Decimal("300.0"), (Registration.ACCEPTED, 300)),
        ("Accepted", "soon", (Registration.ACCEPTED, 0)),
        ("", None, (Registration.UNKNOWN, 0)),
        ("Accepted", 2**31, (Registration.ACCEPTED, 0)),
    ],
)
def test_a_registration_is_kept_as_far_as_it_makes_sense(
    rig: Rig, status: str, interval: object, known: tuple[Registration, int]
) -> None:
    charger = rig.heard()
    charger.triggered.add("Heartbeat")
    rig.roster.registered(charger, status, interval)
    assert (charger.registration, charger.interval) == known
    assert not charger.triggered


# --- restart


def saved(identity: str, wire: str, age: float) -> Charger:
    return Charger(identity, wire, last_seen=NOON - age, registration=Registration.ACCEPTED, interval=600)


def test_who_would_still_be_here_is_here_after_a_restart(rig: Rig) -> None:
    rig.roster.restore([saved("CP-1", "soap", 1800), saved("CP-2", "soap", 1801), saved("CP-3", "json", 1)])
    assert [charger.state for charger in rig.roster] == [State.HERE, State.GONE, State.GONE]
    assert rig.told == [("CP-1", Effect.ARRIVED)]


def test_what_was_known_is_known_after_a_restart(rig: Rig) -> None:
    rig.roster.restore([saved("Cp-1", "soap", 0)])
    charger = rig.heard("CP-1")
    assert (charger.identity, charger.registration, charger.interval) == ("Cp-1", Registration.ACCEPTED, 600)


def test_what_was_restored_need_not_be_saved(rig: Rig) -> None:
    rig.roster.restore([saved("CP-1", "soap", 0)])
    assert rig.roster.changes() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda rig, charger: rig.heard(),
        lambda rig, charger: rig.linked(),
        lambda rig, charger: rig.roster.booted(charger, {"chargePointVendor": "Volt"}),
        lambda rig, charger: rig.roster.registered(charger, "Accepted", 300),
    ],
)
def test_a_change_is_given_out_once(rig: Rig, change: Callable[[Rig, Charger], object]) -> None:
    charger = rig.heard()
    rig.roster.changes()
    change(rig, charger)
    change(rig, charger)
    assert [rig.roster.changes(), rig.roster.changes()] == [[charger], []]


def test_a_lost_link_is_a_change(rig: Rig) -> None:
    charger = rig.linked()
    rig.roster.changes()
    rig.unlinked()
    assert rig.roster.changes() == [charger]


def test_what_could_not_be_saved_is_given_out_again(rig: Rig) -> None:
    rig.heard("CP-1")
    unsaved = rig.roster.changes()
    rig.heard("CP-2")
    rig.roster.unsaved(unsaved)
    assert {charger.identity for charger in rig.roster.changes()} == {"CP-1", "CP-2"}


def test_there_is_a_bound_on_invented_identities(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.roster.MOST", 1)
    rig.heard()
    with pytest.raises(InternalError, match="expected at most 1 chargers, this is one more"):
        rig.roster.heard("CP-2", Version.V15, "192.0.2.1:1", "")

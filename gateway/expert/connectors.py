"""Rules on connectors: their states, and what does not fit to them."""

from gateway.expert.memory import Window
from gateway.expert.sight import Sight
from gateway.expert.values import integer, moment, text

FLAPS, FLAPS_WITHIN = 10, 300.0
FAULTS, FAULTS_WITHIN = 3, 3600.0
SETTLED = 60.0  # seconds: a start or a stop may come after the status that it belongs to
CHARGING = frozenset({"Charging", "SuspendedEV", "SuspendedEVSE"})
WITHOUT, WITHIN, UNHEEDED = "charging-without-transaction", "available-in-transaction", "remote-start-without-effect"
# OCPP 1.6, 7.6
_ERRORS = frozenset(
    {
        "ConnectorLockFailure",
        "EVCommunicationError",
        "GroundFailure",
        "HighTemperature",
        "InternalError",
        "LocalListConflict",
        "OtherError",
        "OverCurrentFailure",
        "OverVoltage",
        "PowerMeterFailure",
        "PowerSwitchFailure",
        "ReaderFailure",
        "ResetFailure",
        "UnderVoltage",
        "WeakSignal",
    }
)


def status(sight: Sight) -> None:
    """What a connector says of itself."""
    number, now = integer(sight.payload.get("connectorId")), text(sight.payload.get("status"))[:20]
    if number is None or not now:
        return
    before = sight.state.connector(number).status
    _dates(sight, number)
    _fault(sight, number)
    if now != before:
        _changed(sight, number, before, now)
    if not _assumed(sight):
        _watch(sight, number, before, now)
    sight.state.connector(number).status = now


def _dates(sight: Sight, number: int) -> None:
    known, said = sight.state.connector(number), moment(sight.payload.get("timestamp"))
    if said is None:
        return
    if said < known.stamped - 1:
        sight.tell("timestamps-backwards", by=f"{known.stamped - said:.0f}", what="a status")
    known.stamped = said


def _fault(sight: Sight, number: int) -> None:
    code, told = text(sight.payload.get("errorCode")), sight.state.told
    if code in ("", "NoError") and not told:
        return
    named = code if code in _ERRORS else "an error that OCPP does not have"
    sight.lasts("fault", code not in ("", "NoError"), key=f"{number} {named}", connector=number, code=named)
    if code == "NoError":
        for name in [name for name in told if name.startswith(f"fault {number} ")]:
            del told[name]


def _changed(sight: Sight, number: int, before: str, now: str) -> None:
    known = sight.state.connector(number)
    if before:
        known.changes = changes = known.changes or Window()
        often = changes.often(sight.at, FLAPS_WITHIN, FLAPS)
        within = f"{sight.at - changes.since:.0f}"
        sight.lasts("status-flapping", often, key=str(number), connector=number, count=changes.count, within=within)
    if now == "Faulted":
        known.faults = faults = known.faults or Window()
        often = faults.often(sight.at, FAULTS_WITHIN, FAULTS)
        sight.lasts("fault-loop", often, key=str(number), connector=number, count=faults.count)


def _assumed(sight: Sight) -> bool:
    """Whether the charger has said less: in 1.5 a connector is Occupied, whatever goes on there."""
    call = sight.leg.call if sight.leg else None
    return call is not None and bool(call.remarks) and any(remark.path == "status" for remark in call.remarks)


def _watch(sight: Sight, number: int, before: str, now: str) -> None:
    """It may be that a start or a stop is yet to come."""
    state = sight.state
    if number <= 0 or now == before:
        return
    if now in CHARGING and before not in CHARGING:
        state.watch(WITHOUT, number, sight.at + SETTLED)
    elif now == "Available" and any(known.connector == number for known in state.open.values()):
        state.watch(WITHIN, number, sight.at + SETTLED)


def overdue(sight: Sight) -> None:
    """What did not mean anything when it was seen, and does now if nothing has come of it."""
    state = sight.state
    if not state.watches or sight.at < state.next_watch:
        return
    for (rule, number), due in list(state.watches.items()):
        if sight.at >= due:
            del state.watches[rule, number]
            if _holds(sight, rule, number):
                sight.tell(rule, connector=number)
    state.next_watch = min(state.watches.values(), default=0.0)


def _holds(sight: Sight, rule: str, number: int) -> bool:
    if rule == UNHEEDED:
        return True
    state = sight.state
    here = state.connectors[number].status if number in state.connectors else ""
    open_here = state.open_at(number)
    if rule == WITHOUT:
        return here in CHARGING and open_here is None
    return here == "Available" and open_here is not None

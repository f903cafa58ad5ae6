"""Rules on who a charger is and whether it is there: boots, heartbeats, versions, identities."""

from gateway.expert.sight import Sight
from gateway.expert.values import integer, plain, text

GRACE = 30.0  # seconds over two intervals that a message may take
FLOOD = 120  # messages in a minute
BOOTS, BOOTS_WITHIN = 3, 900.0
PATIENCE = 900.0  # seconds for which a registration may be Pending or Rejected
SILENT = 900.0  # seconds after which a charger at the same place may have been replaced
BOOT = "BootNotification"
_SERIALS = ("chargePointSerialNumber", "chargeBoxSerialNumber", "iccid")
# What units say that were never given a number.
_NO_SERIALS = frozenset({"unknown", "undefined", "default", "serial", "serialnumber", "12345", "123456", "1234567", "12345678"})


def silence(sight: Sight) -> None:
    """Nothing was heard for longer than two heartbeats."""
    state = sight.state
    if state.interval > 0 and state.heard and (gap := sight.at - state.heard) > 2 * state.interval + GRACE:
        sight.tell("heartbeat-gap", gap=f"{gap:.0f}", interval=state.interval)


def unannounced(sight: Sight) -> None:
    """A charger speaks that has not booted."""
    if not sight.state.booted and sight.exchange.action:
        sight.lasts("no-boot", True)


def versions(sight: Sight) -> None:
    """It spoke otherwise before."""
    leg, state = sight.leg, sight.state
    if leg is None or not leg.version or (leg.version == state.version and leg.wire == state.wire):
        return
    if state.version:
        before, now = sorted((f"{state.version} over {state.wire}", f"{leg.version} over {leg.wire}"))
        sight.lasts("two-versions", True, key=plain(before + now), before=plain(before), now=plain(now))
    state.version, state.wire = leg.version[:16], leg.wire[:16]


def flood(sight: Sight) -> None:
    """More in a minute than any charger has to say."""
    minute = sight.state.minute
    often = minute.often(sight.at, 60.0, FLOOD)
    if often or sight.state.told:
        sight.lasts("flood", often, count=minute.count)


def booted(sight: Sight) -> None:
    """It boots again and again, though it was accepted."""
    state = sight.state
    state.booted = True
    sight.lasts("no-boot", False)
    if sight.result.get("status") != "Accepted":
        return
    state.interval = max(integer(sight.result.get("interval")) or 0, 0)
    again = state.boots.often(sight.at, BOOTS_WITHIN, BOOTS)
    sight.lasts("boot-loop", again, count=state.boots.count, within=f"{sight.at - state.boots.since:.0f}")


def registration(sight: Sight) -> None:
    """It is still not accepted."""
    state, status = sight.state, sight.result.get("status")
    if status not in ("Pending", "Rejected"):
        if status == "Accepted":
            state.not_accepted = 0.0
            sight.lasts("not-accepted", False)
        return
    state.not_accepted = state.not_accepted or sight.at
    lasted = sight.at - state.not_accepted
    sight.lasts("not-accepted", lasted >= PATIENCE, status=status, lasted=f"{lasted:.0f}")


def firmware(sight: Sight) -> None:
    """Another firmware than at the boot before."""
    state, now = sight.state, plain(sight.payload.get("firmwareVersion"))
    if state.firmware and now and now != state.firmware:
        sight.tell("firmware-changed", before=state.firmware, now=now)
    state.firmware = now or state.firmware


def unit(sight: Sight) -> None:
    """A unit that had another identity before, or an identity that had another unit."""
    numbers = [(field, text(sight.payload.get(field)).strip()) for field in _SERIALS]
    known = [hash((sight.who[0], maker(sight), field, value)) for field, value in numbers if _tells(value)]
    if not known:
        return
    former = next((who for each in known if (who := sight.memory.units.get(each)) and who != sight.who), None)
    if former is not None:
        sight.tell("identity-changed", before=plain(sight.memory.name(former)))
    state, digest = sight.state, hash(tuple(known))
    if state.unit and state.unit != digest:
        sight.tell("unit-changed")
    state.unit = digest
    for each in known:
        sight.memory.units.keep(each, sight.who)


def place(sight: Sight) -> None:
    """A newcomer where another charger of the same model has fallen silent."""
    host = (sight.leg.peer if sight.leg else "").rpartition(":")[0]
    model = text(sight.payload.get("chargePointModel"))
    if not host or not model:
        return
    here = hash((sight.who[0], host, maker(sight), model))
    former = sight.memory.places.get(here)
    if former is not None and former != sight.who and not sight.state.heard:
        gone = sight.memory.chargers.get(former)
        if gone is not None and sight.at - gone.heard > max(SILENT, 2 * gone.interval + GRACE):
            sight.tell("identity-at-source", before=plain(sight.memory.name(former)))
    sight.memory.places.keep(here, sight.who)


def maker(sight: Sight) -> str:
    """Who made the charger, by its boot."""
    return text(sight.payload.get("chargePointVendor")).strip().lower()


def heard(sight: Sight) -> None:
    """Remember that it was heard."""
    sight.state.heard = max(sight.state.heard, sight.at)


def _tells(serial: str) -> bool:
    return 5 <= len(serial) <= 64 and len(set(serial)) > 2 and serial.lower() not in _NO_SERIALS

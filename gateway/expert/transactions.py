"""Rules on what is billed: starts, stops, and meter readings."""

from collections.abc import Iterator
from typing import Any

from gateway.expert.clocks import stamped
from gateway.expert.memory import CLOSED, OPEN, STARTS, TAGS, Transaction, Window, put
from gateway.expert.sight import Sight
from gateway.expert.values import integer, listing, moment, number, table, text, word

DAY = 86_400.0
SHORT = 60.0  # seconds in which no energy flows, as when a cable does not fit
UNREAD = 1800.0  # seconds that a transaction may last without a reading
REFUSALS, REFUSALS_WITHIN = 3, 600.0
READINGS, SAMPLES = 64, 32  # of a message that are looked at
START, STOP = "StartTransaction", "StopTransaction"
REPEATED = "transactions.repeated"
_ENERGY = "Energy.Active.Import.Register"
_WATT_HOURS = {None: 1.0, "Wh": 1.0, "kWh": 1000.0}
_USUAL = frozenset({None, "Local", "Remote", "EVDisconnected", "DeAuthorized", "Other", "UnlockCommand"})
_REASONS = frozenset({"EmergencyStop", "HardReset", "PowerLoss", "Reboot", "SoftReset"})


# --- starts


def started(sight: Sight) -> None:
    """A start that came before, that cannot be, or that is not to be paid."""
    connector = integer(sight.payload.get("connectorId"))
    if connector is not None and connector <= 0:
        sight.tell("start-without-connector", connector=connector)
    if not sight.exchange.ok:
        return
    transaction = integer(sight.result.get("transactionId")) or 0
    digest = _digest(sight)
    before = sight.state.starts.get(digest) if digest else None
    twice = before is not None and before != transaction
    if before is not None or sight.remarked(REPEATED):
        sight.tell("transaction-numbered-twice" if twice else "duplicate-transaction", action=START)
        if not twice:
            return
    if digest:
        put(sight.state.starts, digest, transaction, STARTS)
    if not twice:
        _may_start(sight, connector)
    _begin(sight, connector, transaction)


def _digest(sight: Sight) -> int:
    """By what a start is known again; 0 without a clock, for then all starts look alike."""
    payload, stamp = sight.payload, text(sight.payload.get("timestamp"))[:40]
    if stamp < "2009":
        return 0
    return hash((integer(payload.get("connectorId")), text(payload.get("idTag")), integer(payload.get("meterStart")), stamp))


def _may_start(sight: Sight, connector: int | None) -> None:
    state = sight.state
    if connector is not None and state.open_at(connector) is not None:
        sight.tell("start-over-open", connector=connector)
    status = state.connectors[connector].status if connector in state.connectors else ""
    if status in ("Faulted", "Unavailable"):
        sight.tell("start-where-out-of-order", connector=connector, status=status)
    verdict = word(table(sight.result.get("idTagInfo")).get("status"))
    if verdict and verdict != "Accepted":
        sight.tell("start-not-authorized", status=verdict)


def _begin(sight: Sight, connector: int | None, transaction: int) -> None:
    state, meter = sight.state, integer(sight.payload.get("meterStart"))
    for place in (connector, 0):
        if place is not None:
            state.watches.pop(("remote-start-without-effect", place), None)
    if connector is not None and meter is not None:
        _register(sight, connector, float(meter), stamped(sight))
        for each in [each for each, known in state.open.items() if known.connector == connector]:
            del state.open[each]  # a connector has one at most: it has gone on from the other
    if transaction:  # 0: of a backend that numbers nothing
        state.closed.pop(transaction, None)  # a number that is given again
        put(state.open, transaction, Transaction(connector, stamped(sight), meter), OPEN)


# --- stops


def stopped(sight: Sight) -> None:
    """A stop that came before, or without a start."""
    if not sight.exchange.ok:
        return
    transaction = integer(sight.payload.get("transactionId"))
    state = sight.state
    if transaction is None or transaction in state.closed or sight.remarked(REPEATED):
        if transaction is not None:
            sight.tell("duplicate-transaction", action=STOP)
        return
    known = state.open.pop(transaction, None)
    put(state.closed, transaction, stamped(sight), CLOSED)
    reason = sight.payload.get("reason")
    if isinstance(reason, str) and reason not in _USUAL:
        sight.tell("abnormal-stop", reason=reason if reason in _REASONS else "another reason")
    if known is None or not known.seen:
        sight.tell("stop-without-start", transaction=transaction)
    if known is not None:
        _account(sight, transaction, known)


def _account(sight: Sight, transaction: int, known: Transaction) -> None:
    """Whether what the transaction comes to can be."""
    meter, ended = integer(sight.payload.get("meterStop")), stamped(sight)
    lasted = ended - known.began
    if lasted < -1 and known.seen:
        sight.tell("stop-before-start", transaction=transaction, by=f"{-lasted:.0f}")
    if lasted > DAY and not known.long:
        sight.tell("long-transaction", transaction=transaction, hours=f"{lasted / 3600:.0f}")
    if lasted > UNREAD and known.seen and not known.readings and not sight.payload.get("transactionData"):
        sight.tell("no-meter-values", transaction=transaction, lasted=f"{lasted / 60:.0f}")
    if meter is None or known.meter is None:
        return
    if meter < known.meter:
        sight.tell("stop-below-start", transaction=transaction, by=known.meter - meter)
        return
    if meter == known.meter and lasted > SHORT:
        sight.tell("no-energy", transaction=transaction, lasted=f"{lasted / 60:.0f}")
    if known.connector is not None:
        _register(sight, known.connector, float(meter), ended)


# --- readings


def metered(sight: Sight) -> None:
    """Readings of what is over, or that go back."""
    payload, state = sight.payload, sight.state
    connector, transaction = integer(payload.get("connectorId")), integer(payload.get("transactionId"))
    known = state.open.get(transaction) if transaction is not None else None
    if transaction is not None and known is None:
        if transaction in state.closed:
            sight.lasts("meter-values-after-stop", True, key=str(transaction), transaction=transaction)
        elif transaction > 0:
            known = Transaction(connector, sight.at, seen=False)
            put(state.open, transaction, known, OPEN)
    newest = _read(sight, connector)
    if known is not None:
        _follow(sight, known, transaction, newest)


def _follow(sight: Sight, known: Transaction, transaction: int | None, newest: float | None) -> None:
    known.readings += 1
    if newest is not None:
        if newest < known.read_at - 1:
            sight.tell("timestamps-backwards", by=f"{known.read_at - newest:.0f}", what="a meter reading")
        known.read_at = max(newest, known.read_at)
    lasted = sight.at - known.began
    if lasted > DAY and not known.long:
        known.long = True
        sight.tell("long-transaction", transaction=transaction, hours=f"{lasted / 3600:.0f}")


def _read(sight: Sight, connector: int | None) -> float | None:
    """Follow the registers; the date of the newest reading."""
    newest: float | None = None
    for reading in listing(sight.payload.get("meterValue"), READINGS):
        read_at = moment(table(reading).get("timestamp"))
        if read_at is not None and (newest is None or read_at > newest):
            newest = read_at
        if connector is not None and read_at is not None:
            for register in _registers(table(reading)):
                _register(sight, connector, register, read_at)
    return newest


def _registers(reading: dict[str, Any]) -> Iterator[float]:
    """Wh of the outlet's energy register, all phases together."""
    for sample in listing(reading.get("sampledValue"), SAMPLES):
        if not isinstance(sample, dict) or sample.get("measurand", _ENERGY) != _ENERGY or "phase" in sample:
            continue
        unit = sample.get("unit")
        usual = sample.get("location", "Outlet") == "Outlet" and sample.get("format", "Raw") == "Raw"
        factor = _WATT_HOURS.get(unit) if unit is None or isinstance(unit, str) else None
        if usual and factor and (value := number(sample.get("value"))) is not None:
            yield value * factor


def _register(sight: Sight, connector: int, value: float, read_at: float) -> None:
    """What the register says at a moment; what is told late does not count."""
    known = sight.state.connector(connector)
    if read_at < known.read_at:
        return
    if known.register is not None:
        back = known.register - value
        sight.lasts("meter-backwards", back >= 1, key=str(connector), connector=connector, by=f"{back:.0f}")
    known.register, known.read_at = value, read_at


# --- idTags


def tagged(sight: Sight) -> None:
    """An idTag that says nothing, or that is refused again and again."""
    tag = sight.payload.get("idTag")
    if isinstance(tag, str) and not tag.strip():
        sight.lasts("empty-tag", True, key=sight.exchange.action)
    verdict = table(sight.result.get("idTagInfo")).get("status")
    if not isinstance(tag, str) or not isinstance(verdict, str):
        return
    tags, digest = sight.state.tags, hash(tag.lower())
    if verdict == "Accepted":
        tags.pop(digest, None)
        return
    window = tags.get(digest) or Window()
    put(tags, digest, window, TAGS)
    if (count := window.add(sight.at, REFUSALS_WITHIN)) == REFUSALS:
        sight.tell("tag-retried", count=count, status=word(verdict))

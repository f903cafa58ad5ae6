"""Which rules look at what. They are asked in order; the last of each row remembers what the first have compared with."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.expert import backends, clocks, commands, connectors, presence, transactions, wire
from gateway.expert.sight import Sight

Look = Callable[[Sight], None]

# Of every exchange.
_WIRE: tuple[Look, ...] = (wire.refusals, wire.remarks, wire.strays)
# Of what the charger said, and of what it was told.
_SAID: tuple[Look, ...] = (presence.silence, presence.flood, presence.versions, connectors.overdue)
_TOLD: tuple[Look, ...] = (commands.reached, commands.called_at)
_HEARD: tuple[Look, ...] = (presence.heard,)
_PLAIN: tuple[Look, ...] = (presence.unannounced, wire.storm)

_UP: Mapping[str, tuple[Look, ...]] = MappingProxyType(
    {
        "Heartbeat": (presence.unannounced,),
        "BootNotification": (
            presence.registration,
            presence.booted,
            presence.firmware,
            presence.unit,
            presence.place,
            wire.storm,
        ),
        "Authorize": (*_PLAIN, transactions.tagged),
        "StartTransaction": (*_PLAIN, transactions.tagged, clocks.clock, clocks.told_late, transactions.started),
        "StopTransaction": (*_PLAIN, clocks.clock, clocks.told_late, transactions.stopped),
        "MeterValues": (*_PLAIN, transactions.metered),
        "StatusNotification": (*_PLAIN, clocks.clock, connectors.status),
        "FirmwareStatusNotification": (*_PLAIN, commands.updated),
        "DiagnosticsStatusNotification": (*_PLAIN, commands.updated),
    }
)
_DOWN: Mapping[str, tuple[Look, ...]] = MappingProxyType(
    {
        "ChangeConfiguration": (commands.configured,),
        "RemoteStartTransaction": (commands.remotely_started,),
    }
)

_FROM = MappingProxyType({action: (*_WIRE, *_SAID, backends.asked, *looks, *_HEARD) for action, looks in _UP.items()})
_TO = MappingProxyType({action: (*_WIRE, *_TOLD, *looks) for action, looks in _DOWN.items()})
_FROM_OTHER: tuple[Look, ...] = (*_WIRE, *_SAID, backends.asked, *_PLAIN, *_HEARD)
_TO_OTHER: tuple[Look, ...] = (*_WIRE, *_TOLD)
_REFUSED: tuple[Look, ...] = (*_WIRE, *_SAID, *_HEARD)
_BACKENDS: tuple[Look, ...] = (*_WIRE, backends.asked)
# Of an exchange that was looked at, and has more legs or answers since.
AGAIN: tuple[Look, ...] = (wire.strays, backends.asked)


def looks(sight: Sight) -> tuple[Look, ...]:
    """What looks at this exchange."""
    exchange, leg = sight.exchange, sight.leg
    if not exchange.up:
        return _TO.get(exchange.action, _TO_OTHER)
    if leg is None or leg.call is None:  # a stored message that a backend is told, or an answer that nobody waits for
        return _BACKENDS
    if not sight.who[1]:  # nobody knows who that is: several share what is remembered
        return _WIRE
    if leg.refused:
        return _WIRE if leg.outcome == "SecurityError" else _REFUSED
    return _FROM.get(exchange.action, _FROM_OTHER)

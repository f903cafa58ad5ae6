"""Rules on commands: chargers that cannot be reached, do not answer, or refuse."""

from gateway.expert import presence
from gateway.expert.connectors import UNHEEDED
from gateway.expert.sight import Sight
from gateway.expert.values import integer, number, text, titled, word
from gateway.expert.wire import invalid
from gateway.traffic.exchanges import Leg
from translations.errors import known_code

SLOW = 10.0  # seconds
GIVEN_UP = 30.0  # seconds after which nobody waits for a charger, unless the configuration says so
HEED = 300.0  # seconds in which a remote start has to come to something; the default of ConnectionTimeOut is far less
AWAY = "charger unreachable: it is not connected"
MOST_INTERVAL = 31 * 86_400
# What a charger may say that has done, or will do, what it was told.
_FINE = frozenset({"Accepted", "Unlocked", "Scheduled", "RebootRequired", "Available", "Occupied"})
_INTERVALS = frozenset({"HeartbeatInterval", "HeartBeatInterval"})


def reached(sight: Sight) -> None:
    """Whether the charger could be told, and has answered."""
    exchange = sight.exchange
    notes = [leg.answer.note for leg in exchange.legs if leg.answer is not None and leg.answer.note]
    away = any(note.startswith(AWAY) for note in notes)
    unreachable = not away and any(note.startswith("charger unreachable") for note in notes)
    silent = any(note.startswith(("no answer in", "charger gave no answer", "connection closed before")) for note in notes)
    if unreachable or away:
        sight.lasts("charger-away" if away else "callback-unreachable", True)
    elif silent or _given_up(sight):
        sight.tell("unanswered-command", action=titled(exchange.action))
    elif sight.leg is not None and sight.leg.answer is not None:
        _answered(sight, sight.leg)


def _given_up(sight: Sight) -> bool:
    """Whether nobody waits for the answer any longer. What is shown while it is under way is no reason to complain."""
    leg = sight.leg
    return leg is not None and leg.call is not None and leg.answer is None and sight.now - leg.call.at >= GIVEN_UP


def _answered(sight: Sight, leg: Leg) -> None:
    action = titled(sight.exchange.action)
    presence.heard(sight)
    sight.lasts("callback-unreachable", False)
    sight.lasts("charger-away", False)
    slow = leg.latency is not None and leg.latency > SLOW
    sight.lasts("slow-charger", slow, latency=f"{leg.latency or 0:.1f}")
    if invalid(leg):
        sight.lasts("invalid-answer", True, key=action, action=action)
    elif leg.outcome not in ("", "ok", "late", "double", "unknown"):
        sight.tell("failed-command", action=action, code=known_code(leg.outcome))
    status = sight.result.get("status")
    if isinstance(status, str) and status not in _FINE and action != "DataTransfer":
        sight.tell("refused-command", action=action, status=word(status))


def called_at(sight: Sight) -> None:
    """The charger is called elsewhere than before. The address itself is not told: it may name a host, or hold a secret."""
    leg, state = sight.leg, sight.state
    if leg is None or leg.wire != "soap" or not leg.peer:
        return
    digest = hash(leg.peer)
    if state.callback and state.callback != digest:
        sight.tell("callback-changed")
    state.callback = digest


def configured(sight: Sight) -> None:
    """Another interval for heartbeats."""
    if sight.result.get("status") == "Accepted" and text(sight.payload.get("key")) in _INTERVALS:
        value = number(sight.payload.get("value"))
        if value is not None and 0 <= value < MOST_INTERVAL:
            sight.state.interval = int(value)


def remotely_started(sight: Sight) -> None:
    """It is to come to a transaction."""
    if sight.result.get("status") == "Accepted":
        sight.state.watch(UNHEEDED, integer(sight.payload.get("connectorId")) or 0, sight.at + HEED)


def updated(sight: Sight) -> None:
    """An update or an upload that failed."""
    status = sight.payload.get("status")
    if status in ("DownloadFailed", "InstallationFailed", "UploadFailed"):
        sight.tell("update-failed", status=status)

"""Rules on dates: the charger's clock beside the gateway's."""

from gateway.expert.sight import Sight
from gateway.expert.values import moment

AHEAD = 60.0  # seconds by which a clock may be ahead
BEHIND, SAME, SURE = 60.0, 30.0, 120.0  # seconds: behind by so many, the same within so many, for so long
LATE = 600.0  # seconds after which a transaction was told later than it was
YEARS = (1_230_768_000.0, 4_102_444_800.0)  # 2009, the year of OCPP 1.2, to 2100


def stamped(sight: Sight) -> float:
    """When it happened, by the charger; by the gateway where the charger does not say, or does not know."""
    said = moment(sight.payload.get("timestamp"))
    return said if said is not None and _possible(said) else sight.at


def clock(sight: Sight) -> None:
    """A date that cannot be, or a clock that is wrong.

    A date from the past alone says nothing, for what was kept while offline comes late. A clock that is behind is so by the
    same time for minutes.
    """
    said = moment(sight.payload.get("timestamp"))
    if said is None:
        return
    state, lag = sight.state, sight.at - said
    odd = not _possible(said)
    sight.lasts("odd-timestamp", odd, what="a year in which no charger was")
    if odd:
        return
    if abs(lag - state.lag) > SAME or not state.lag_since:
        state.lag, state.lag_since = lag, sight.at
    wrong = lag < -AHEAD or (lag > BEHIND and sight.at - state.lag_since >= SURE)
    sight.lasts("clock-skew", wrong, by=f"{abs(lag):.0f}", way="ahead" if lag < 0 else "behind")


def told_late(sight: Sight) -> None:
    """A transaction began or ended long before it was told."""
    lag = sight.at - stamped(sight)
    sight.lasts("told-late", lag > LATE, action=sight.exchange.action, lag=f"{lag / 60:.0f}")


def _possible(said: float) -> bool:
    return YEARS[0] <= said < YEARS[1]

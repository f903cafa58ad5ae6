"""How often somebody may come, and how long somebody waits who was refused before. The clock is a parameter."""

from typing import Generic, TypeVar

MOST_KEYS = 65_536
FIRST_PENALTY = 0.1  # seconds; doubles with each failure
QUIET = 60.0  # seconds that forget one failure
_NOW = 1e-6  # seconds that are none: floats do not add up to the last digit

_V = TypeVar("_V")


class Recent(Generic[_V]):
    """A table with a bound: whoever was not put in for the longest time goes first."""

    __slots__ = ("_most", "_rows")

    def __init__(self, most: int = MOST_KEYS) -> None:
        self._most = most
        self._rows: dict[str, _V] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, key: str, default: _V) -> _V:
        """What was put in last."""
        return self._rows.get(key, default)

    def put(self, key: str, value: _V) -> None:
        """Put in, as the newest."""
        self._rows.pop(key, None)  # so that the order of the dict is the order of use
        if len(self._rows) >= self._most:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = value


class Pace:
    """A token bucket per key: `rate` a second in the long run, `burst` of them at once.

    A bucket is one number, the time at which it will be full again (the virtual scheduling algorithm of ITU-T I.371). Whoever
    is dropped from the table starts with a full one, and it is the longest unused that is dropped, which is the fullest.
    """

    def __init__(self, rate: float, burst: int, most: int = MOST_KEYS) -> None:
        self._step = 1 / rate
        self._slack = (burst - 1) / rate
        self._full: Recent[float] = Recent(most)

    def take(self, key: str, now: float) -> bool:
        """Whether one more may come now; only then it counts."""
        return self.wait(key, now, 0.0) == 0

    def wait(self, key: str, now: float, patience: float = float("inf")) -> float:
        """Seconds until one more may come. It counts at once, unless it would have to wait for longer than `patience`."""
        full = max(self._full.get(key, now), now)
        wait = full - now - self._slack
        if wait <= _NOW:
            wait = 0.0
        if wait <= patience:
            self._full.put(key, full + self._step)
        return wait


class Penalties:
    """How long those wait who are refused: twice as long with each failure, up to `most` seconds, and less after quiet times."""

    def __init__(self, most: float, quiet: float = QUIET, keys: int = MOST_KEYS) -> None:
        self._most, self._quiet = most, quiet
        self._failures: Recent[tuple[int, float]] = Recent(keys)

    def failed(self, key: str, now: float) -> float:
        """Note a failure; the seconds to wait for it."""
        count, last = self._failures.get(key, (0, now))
        count = max(count - int((now - last) / self._quiet), 0)
        wait = min(FIRST_PENALTY * 2.0**count, self._most)
        # Where the wait grows no more the count does not either, so that quiet times are felt at once.
        self._failures.put(key, (count + 1 if wait < self._most else count, now))
        return wait

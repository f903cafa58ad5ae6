"""Keeps the garbage collector away from idle connections, and lets it have what dead ones leave.

A full collection over 10,000 idle connections stops the loop for a third of a second, so what is here for long is frozen:
out of its sight. But a connection leaves cycles behind that only a collection finds, so after enough departures there is
one of everything, and the pause is taken then.
"""

import gc

ARRIVALS = 100  # more than ever; frozen at once, before a collection finds them
DEPARTURES = 500  # what these leave is some megabytes
SETTLING = 15  # ticks in which those who came still grow: their connections to backends open behind them
THRESHOLDS = (10_000, 50, 10)


class Garbage:
    """To be told who comes and goes, and to be asked every second."""

    def __init__(self) -> None:
        self._present = 0
        self._most = 0  # present when it was last frozen
        self._departed = 0
        self._settling = 0

    def start(self) -> None:
        """Once all is imported and open: that stays for good."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)

    def arrived(self) -> None:
        """A session has begun."""
        self._present += 1
        if self._present >= self._most + ARRIVALS:
            self._freeze()

    def departed(self) -> None:
        """A session has ended."""
        self._present -= 1
        self._departed += 1

    def tick(self) -> None:
        """Freeze who has come; collect everything when many have gone."""
        if self._departed > max(DEPARTURES, self._most // 2):
            gc.unfreeze()
            gc.collect()
            self._freeze()
            self._departed = 0
        elif self._present > self._most:
            self._freeze()
        elif self._settling:
            self._settling -= 1
            gc.freeze()

    def _freeze(self) -> None:
        gc.freeze()  # costs nothing: it only hangs a list elsewhere
        self._most = self._present
        self._settling = SETTLING

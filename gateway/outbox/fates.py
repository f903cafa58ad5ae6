"""What becomes of a letter: it is heard, comes again, is given up, or is lost. How it is sent is not its business."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from gateway.config import Replay
from gateway.exchange import Broken, NotSent, Unanswered
from gateway.outbox.lanes import Lane
from gateway.state import letters as table
from gateway.state.ledger import Ledger
from gateway.state.letters import START, Letter, Rank
from gateway.state.overdue import PATIENCE
from gateway.state.store import Row
from translations.messages import Answer, Error, Result

MOST_ASKED = 4  # sendings of one letter whose late answers are known
MOST_WAIT = 86_400.0  # seconds; for no longer does a backend's word hold up a lane
LONGEST_TEXT = 255  # characters of a backend's error; OCPP-J 1.6, 4.2.3
CROWDED = 5.0  # seconds for a crowd to pass
ACCEPTED = "Accepted"

logger = structlog.get_logger(__name__)


class Undeliverable(Error):
    """An error that says besides: to send it again as it is would be of no use. Its text says why, for people."""


class Delivered(NamedTuple):
    """What a letter was answered, and what is to be written together with that."""

    answer: Answer
    rows: tuple[Row, ...] = ()


@dataclass(slots=True)
class Tally:
    """What has happened since the start, by backend; what was lost by (backend, why)."""

    delivered: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    repeated_after_unanswered: Counter[str] = field(default_factory=Counter)
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)


class Fates:
    """Decides it, writes it down, and counts it. The clock gives unix seconds.

    `bury` takes what is given up, `dig_up` what was in flight then and has been heard after all.
    """

    def __init__(
        self,
        config: Replay,
        ledger: Ledger,
        clock: Callable[[], float],
        *,
        bury: Callable[[Letter], None],
        dig_up: Callable[[Letter], None],
    ) -> None:
        self.tally = Tally()
        self._config, self._ledger, self._clock = config, ledger, clock
        self._buried, self._dig_up = bury, dig_up
        self._asked: dict[tuple[str, str], Letter] = {}  # by backends, and the ids of calls that got no answer in time

    # --- sent, and not answered yet

    def sending(self, letter: Letter) -> None:
        """It is sent now."""
        if letter.doubtful:
            self.tally.repeated_after_unanswered[letter.backend] += 1
            logger.info(
                "outbox.repeated", backend=letter.backend, charger=letter.identity, action=letter.action, letter=letter.id
            )
        elif letter.attempts:
            self.tally.retried[letter.backend] += 1

    def overdue(self, letter: Letter, call_id: str) -> None:
        """It was sent under this id, and may still be answered under it."""
        if not call_id:
            return
        letter.asked = (*letter.asked, call_id)
        self._asked[letter.backend, call_id] = letter
        for old in letter.asked[:-MOST_ASKED]:
            self._asked.pop((letter.backend, old), None)
        letter.asked = letter.asked[-MOST_ASKED:]

    def answered(self, backend: str, call_id: str) -> Letter | None:
        """The letter that was sent under this id; only once."""
        return self._asked.pop((backend, call_id), None)

    # --- answered

    async def settle(self, lane: Lane, letter: Letter, delivered: Delivered, call_id: str) -> float:
        """Do what follows from its answer; says for how many seconds the lane is to pause, unless its session comes up anew."""
        answer, rows = delivered
        if isinstance(answer, Result):
            status = answer.payload.get("status")
            if letter.rank is Rank.BOOT and status != ACCEPTED and letter in lane:
                letter.due = self._clock() + self._patience(answer)
                self._note(letter, (*rows, table.again(letter)))
            else:
                await self._heard(lane, letter, rows)
            return 0.0
        # Where it is not in the lane any more, a newer one of its slot is there.
        pause = self._failed(lane, letter, answer, call_id) if letter in lane else 0.0
        self._ledger.note(rows=rows)
        return pause

    async def _heard(self, lane: Lane, letter: Letter, rows: Sequence[Row]) -> None:
        """It is done. What comes after a start is mapped by what its answer said, so that this has to be on disk first."""
        lane.take(letter)
        self.over(letter)
        if letter.dead:
            self._dig_up(letter)
        self.tally.delivered[letter.backend] += 1
        rows = (*rows, table.delete(letter)) if letter.durable else rows
        if letter.action == START and rows:
            await self._ledger.keep(rows=rows)
        else:
            self._ledger.note(rows=rows)

    def _failed(self, lane: Lane, letter: Letter, error: Error, call_id: str) -> float:
        match error:
            case NotSent():
                return CROWDED  # or its session has just ended
            case Unanswered():
                letter.doubtful, letter.due = True, self._clock() + PATIENCE * error.waited
                self.overdue(letter, call_id)
                self._note(letter, (table.again(letter),))
                self._tell("outbox.unanswered", letter)
            case Broken():
                letter.doubtful = True
                self._tell("outbox.broken", letter)
                return self._config.retry_interval
            case Undeliverable():
                self.bury(lane, letter, "undeliverable", error.text or "it cannot be delivered")
            case _:
                self._refused(lane, letter, error)
        return 0.0

    def _refused(self, lane: Lane, letter: Letter, error: Error) -> None:
        """OCPP 1.6, 3.7.1: a message that the central system fails to process is sent again, later each time."""
        letter.attempts += 1
        if letter.attempts >= self._config.attempts:
            last = f"{error.code}: {error.text[:LONGEST_TEXT]}"
            self.bury(lane, letter, "refused", f"refused {letter.attempts} times, at last with {last}")
            return
        letter.due = self._clock() + letter.attempts * self._config.retry_interval
        self._note(letter, (table.again(letter),))
        self._tell("outbox.refused", letter, code=error.code, attempts=letter.attempts)

    def _note(self, letter: Letter, rows: Sequence[Row]) -> None:
        self._ledger.note(rows=rows if letter.durable else [row for row in rows if row != table.again(letter)])

    def _patience(self, answer: Result) -> float:
        """Seconds for which a charger is to wait whose BootNotification is not accepted."""
        interval = answer.payload.get("interval")
        wished = float(interval) if type(interval) is int and abs(interval) < MOST_WAIT else self._config.retry_interval
        return max(wished, 1.0)

    # --- the end

    def over(self, letter: Letter) -> None:
        """There is nothing left to do for it."""
        letter.over = True
        self._forget(letter)

    def bury(self, lane: Lane, letter: Letter, why: str, reason: str) -> None:
        """Give it up; without its start a transaction means nothing to the backend."""
        lane.take(letter)
        self._forget(letter)
        if not letter.durable:
            letter.over = True
            self.dropped(letter, why)
        else:
            letter.dead = reason
            self._ledger.note(rows=(table.bury(letter),))
            self._buried(letter)
            self.tally.dead[letter.backend, why] += 1
            self._tell("outbox.dead", letter, why=why)
        if letter.action == START and letter.number is not None:
            for follower in lane.of(letter.number):
                self.bury(lane, follower, "start", "its StartTransaction is a dead letter")

    def dropped(self, letter: Letter, why: str, *, told: bool = True) -> None:
        """It is lost, and why."""
        self.tally.dropped[letter.backend, why] += 1
        if told:
            self._tell("outbox.dropped", letter, why=why)

    def _forget(self, letter: Letter) -> None:
        for asked in letter.asked:
            self._asked.pop((letter.backend, asked), None)
        letter.asked = ()

    def _tell(self, event: str, letter: Letter, **more: object) -> None:
        # Never the text of an error: a backend's may name an idTag.
        told = {"backend": letter.backend, "charger": letter.identity, "action": letter.action, "letter": letter.id}
        logger.warning(event, **told, **more)

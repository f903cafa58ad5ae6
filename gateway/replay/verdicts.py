"""What a call that was made again came to, beside what was recorded."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from gateway.replay import spoken
from gateway.replay.diff import CHANGED, Change, diff, without
from gateway.replay.plan import Step
from gateway.rules.rewrites import Path
from translations.messages import Answer, Call, Error, Kind

IGNORED: tuple[Path, ...] = (("currentTime",), ("transactionId",))  # another time, and another's numbers


class Verdict(StrEnum):
    """How two answers compare."""

    SAME = "same"
    DIFFERENT = "different"
    ERROR = "error"  # no answer came
    NEW = "new"  # nothing was recorded that it could be compared with


class Played(NamedTuple):
    """One call that was made again; `sent` is None where it was not. `note`: why there is no answer; what an error said."""

    step: Step
    sent: Call | None
    answer: Answer | None
    latency: float | None  # seconds
    verdict: Verdict
    changes: tuple[Change, ...] = ()
    note: str = ""


def judged(step: Step, sent: Call, answer: Answer, latency: float, ignored: Sequence[Path] = ()) -> Played:
    """The answer beside the recorded one."""
    note = "; ".join(_notes(answer))
    if step.answer is None:
        return Played(step, sent, answer, latency, Verdict.NEW, (), note)
    changes = compared(step.answer, answer, ignored)
    return Played(step, sent, answer, latency, Verdict.DIFFERENT if changes else Verdict.SAME, changes, note)


def _notes(answer: Answer) -> Iterator[str]:
    """What an error said, and what could not be said in the version of the wire."""
    if isinstance(answer, Error) and answer.text:
        yield answer.text
    yield from (f"{remark.kind} {remark.path} ({remark.rule})" for remark in answer.remarks if remark.kind is Kind.LOST)


def failed(step: Step, sent: Call | None, reason: str) -> Played:
    """There is no answer."""
    return Played(step, sent, None, None, Verdict.ERROR, (), reason)


def compared(recorded: Answer | None, answer: Answer | None, ignored: Sequence[Path] = ()) -> tuple[Change, ...]:
    """The changes from one answer to another; where one is an error, only that."""
    before, after = (without(spoken.answer_value(each), (*IGNORED, *ignored)) for each in (recorded, answer))
    changes = diff(before, after)
    outcome = [change for change in changes if change.kind == CHANGED and change.path == (spoken.OUTCOME,)]
    return tuple(outcome) or changes

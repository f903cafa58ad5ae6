"""The doors to what is stored for backends: what waits is counted; what was given up is read, changed, sent again or purged."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import unquote

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.calls import payload
from gateway.inspector.filters import DEFAULT_LIMIT, GREATEST_ID, MOST, number, told
from gateway.inspector.hiding import Hiding, restored
from gateway.inspector.replies import answer
from gateway.outbox.outbox import Outbox
from gateway.redaction.redactor import Redactor
from gateway.state.letters import Letter
from gateway.state.store import StateError
from gateway.traffic.export import iso
from translations.messages import Payload

PORTION = 1_000  # that are sent again, or purged, in one commit
TOLD = 100  # refusals that one answer tells

logger = structlog.get_logger(__name__)


class _Chosen(NamedTuple):
    """Of which dead letters a request speaks."""

    backend: str | None
    charger: str | None


class Letters:
    """What people do with letters."""

    def __init__(self, outbox: Outbox, hiding: Hiding) -> None:
        self._outbox, self._hiding = outbox, hiding

    async def waiting(self, request: Request) -> Response:
        """How many there are for each backend."""
        counts = sorted(self._outbox.counts().items())
        return answer(
            {
                "backends": [
                    {
                        "backend": backend,
                        "live": count.live,
                        "dead": count.dead,
                        "inFlight": count.in_flight,
                        "oldestSeconds": round(count.oldest, 3),
                    }
                    for backend, count in counts
                ]
            }
        )

    async def all(self, request: Request) -> Response:
        """GET lists dead letters by id, DELETE purges them."""
        return await (self._purge_all(request) if request.method == "DELETE" else self._list(request))

    async def one(self, request: Request) -> Response:
        """GET shows a letter, PATCH has it say something else, DELETE purges it."""
        act = {"PATCH": self._change, "DELETE": self._purge}.get(request.method, self._show)
        return await act(request, _id(request))

    async def replay(self, request: Request) -> Response:
        """Send one again."""
        await payload(request)  # for its type: a form of another site can send no JSON
        id = _id(request)
        with _refusals():
            done = await self._outbox.replay([id])
        logger.info("letters.replayed", letter=id, count=done)
        return answer({"replayed": done})

    async def replay_all(self, request: Request) -> Response:
        """Send many again; those that cannot be say why, and stay."""
        await payload(request)
        chosen = _chosen(request)
        with _refusals():
            # Of those of one place only one can be sent: the newest. The others go as they came.
            letters = sorted(await self._dead(chosen), key=lambda letter: (-letter.id if letter.slot else 0, letter.id))
            done, refused = await _by_portions(self._outbox.replay, letters)
        logger.info("letters.replayed", backend=chosen.backend or "", charger=chosen.charger or "", count=done)
        told_of = [{"id": id, "detail": why} for id, why in refused[:TOLD]]
        return answer({"replayed": done, "left": len(refused), "refused": told_of})

    async def _list(self, request: Request) -> Response:
        said = told(request.query_params, ("backend", "charger", "limit", "after"))
        limit, after = number(said, "limit", 1, MOST) or DEFAULT_LIMIT, number(said, "after", 0, GREATEST_ID) or 0
        found = await self._outbox.dead(said.get("backend") or None, said.get("charger") or None, limit, after)
        return answer({"letters": [as_object(letter, self._hiding.redactor) for letter in found]})

    async def _show(self, request: Request, id: int) -> Response:
        with _refusals():
            letter = await self._outbox.get(id)
        return answer(await self._whole(request, letter))

    async def _whole(self, request: Request, letter: Letter) -> dict[str, Any]:
        payload = await self._hiding.value(request, _said(letter), letter.action)
        return {**as_object(letter, self._hiding.redactor), "payload": payload}

    async def _change(self, request: Request, id: int) -> Response:
        said = await payload(request)
        with _refusals():
            known = await self._outbox.get(id)
        if not known.dead:
            raise HTTPException(409, f"expected a dead letter, got {id}, which waits")
        hidden = _said(known)
        said = restored(said, self._hiding.redactor.value(hidden, known.action), hidden)
        with _refusals(422):
            letter = await self._outbox.change(id, said)
        logger.warning("letters.changed", letter=id, backend=letter.backend, charger=letter.identity, action=letter.action)
        return answer(await self._whole(request, letter))

    async def _purge(self, request: Request, id: int) -> Response:
        with _refusals():
            done = await self._outbox.purge([id])
        logger.warning("letters.purged", letter=id, count=done)
        return answer({"purged": done})

    async def _purge_all(self, request: Request) -> Response:
        chosen = _chosen(request)
        with _refusals():
            done, _ = await _by_portions(self._outbox.purge, await self._dead(chosen))
        logger.warning("letters.purged", backend=chosen.backend or "", charger=chosen.charger or "", count=done)
        return answer({"purged": done})

    async def _dead(self, chosen: _Chosen) -> list[Letter]:
        return await self._outbox.dead(chosen.backend, chosen.charger, GREATEST_ID)


def as_object(letter: Letter, redactor: Redactor) -> dict[str, Any]:
    """The letter as JSON names it, without what it says."""
    return {
        "id": letter.id,
        "backend": letter.backend,
        "charger": letter.identity,
        "action": letter.action,
        "at": iso(letter.at),
        "transaction": letter.number,
        "attempts": letter.attempts,
        "reason": redactor.text(letter.dead) or None,
    }


def _said(letter: Letter) -> Payload | None:
    """What it says; None where the disk holds something else, which a person can mend."""
    try:
        return letter.call.payload
    except ValueError:
        return None


@contextmanager
def _refusals(status: int = 409) -> Iterator[None]:
    """What the outbox refuses, in HTTP; a ValueError has this status."""
    try:
        yield
    except LookupError as error:
        raise HTTPException(404, str(error)) from None
    except ValueError as error:
        raise HTTPException(status, str(error)) from None
    except StateError as error:
        raise HTTPException(503, f"state: {error}") from None


def _id(request: Request) -> int:
    text = unquote(request.path_params["id"])
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise HTTPException(404, f"expected the number of a letter, got {text[:60]}")
    return int(text)


def _chosen(request: Request) -> _Chosen:
    """What the parameters choose; all only if they say so."""
    said = told(request.query_params, ("backend", "charger", "all"))
    everything = said.get("all", "")
    if everything not in ("", "true"):
        raise HTTPException(400, f"all: expected true, got {everything[:20]}")
    chosen = _Chosen(said.get("backend") or None, said.get("charger") or None)
    if any(chosen) == bool(everything):
        raise HTTPException(400, "expected backend or charger, or else all=true")
    return chosen


async def _by_portions(
    act: Callable[[Iterable[int]], Awaitable[int]], letters: Sequence[Letter]
) -> tuple[int, list[tuple[int, str]]]:
    """Have it done to all that it can be done to; says to how many, and why not to others. Raises StateError."""
    done, refused = 0, []
    portions = [letters[at : at + PORTION] for at in reversed(range(0, len(letters), PORTION))]
    while portions:
        portion = portions.pop()
        try:
            done += await act(letter.id for letter in portion)
        except (LookupError, ValueError) as error:
            if len(portion) == 1:
                refused.append((portion[0].id, str(error)))
                continue
            middle = len(portion) // 2  # all or none: who cannot be is found by halves
            portions += [portion[middle:], portion[:middle]]
    return done, refused

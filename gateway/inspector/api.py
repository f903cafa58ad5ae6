"""The application behind the admin port: every door, and the guard before them."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.config import Config, ConfigError, secret
from gateway.inspector.calls import Calls, MakeCall
from gateway.inspector.chargers import Chargers, Look
from gateway.inspector.guard import EncodedPath, Guard, Hardened, token
from gateway.inspector.hiding import Hiding
from gateway.inspector.letters import Letters
from gateway.inspector.log import Log
from gateway.inspector.pages import Pages
from gateway.inspector.replies import TEXT, failed, refused
from gateway.inspector.stream import Follow, Stream, pause
from gateway.inspector.traffic import Traffic
from gateway.outbox.outbox import Outbox
from gateway.redaction.audit import Audit, RevealRight, reveal_right
from gateway.redaction.redactor import Redactor
from gateway.roster import Roster
from gateway.traffic.log import BoundedReader


def admin_app(
    *,
    config: Config,
    roster: Roster,
    look: Look,
    letters: Outbox,
    call: MakeCall,
    traffic: Callable[[], BoundedReader] | None,
    ready: Callable[[], list[str]],
    metrics: Callable[[], bytes],
    redactor: Redactor,
    follow: Follow = pause,
) -> Starlette:
    """The application. `traffic` opens the log, None where none is kept. Raises ConfigError for a token that is none."""
    opens = token(config.admin)
    guard = Middleware(Guard, host=config.admin.host, token=opens)
    hiding = Hiding(redactor, Audit(config.audit_file, redactor.text), _right(config, opens))
    app = Starlette(
        routes=[
            *_chargers(config, roster, look, call, hiding),
            *_letters(Letters(letters, hiding)),
            *_traffic(Log(traffic), follow, hiding),
            *_pages(Pages()),
            *_probes(ready, metrics),
        ],
        middleware=[Middleware(Hardened), Middleware(EncodedPath), guard],
        exception_handlers={HTTPException: refused, Exception: failed},
    )
    app.router.redirect_slashes = False
    return app


def _right(config: Config, opens: bytes | None) -> RevealRight:
    try:
        return reveal_right(config.redaction, secret, opens)
    except ValueError as error:
        key = "reveal_token_file" if config.redaction.reveal_token_file else "reveal_token_env"
        raise ConfigError([f"redaction.{key}: {error}"]) from None


def _chargers(config: Config, roster: Roster, look: Look, call: MakeCall, hiding: Hiding) -> list[Route]:
    chargers = Chargers(roster, look, hiding)
    calls = Calls(roster, call, config.callbacks.timeout, hiding)
    return [
        Route("/api/v1/chargers", chargers.all),
        Route("/api/v1/chargers/{identity}", chargers.one),
        Route("/api/v1/chargers/{identity}/calls/{action}", calls.make, methods=["POST"]),
    ]


def _letters(letters: Letters) -> list[Route]:
    return [
        Route("/api/v1/letters", letters.all, methods=["GET", "DELETE"]),
        Route("/api/v1/letters/waiting", letters.waiting),
        Route("/api/v1/letters/replay", letters.replay_all, methods=["POST"]),
        Route("/api/v1/letters/{id}", letters.one, methods=["GET", "PATCH", "DELETE"]),
        Route("/api/v1/letters/{id}/replay", letters.replay, methods=["POST"]),
    ]


def _traffic(log: Log, follow: Follow, hiding: Hiding) -> list[Route]:
    traffic = Traffic(log, hiding)
    return [
        Route("/api/v1/traffic", traffic.all),
        Route("/api/v1/traffic/stream", Stream(log, follow, hiding), methods=["GET"]),
        Route("/api/v1/traffic/{id}", traffic.one),
    ]


def _pages(pages: Pages) -> list[Route]:
    return [
        Route("/", pages.index),
        Route("/docs", pages.docs),
        Route("/static/{name}", pages.file),
        Route("/api/openapi.json", pages.description),
    ]


def _probes(ready: Callable[[], list[str]], metrics: Callable[[], bytes]) -> list[Route]:
    async def healthz(request: Request) -> Response:
        return Response("ok\n", media_type=TEXT)

    async def readyz(request: Request) -> Response:
        reasons = ready()
        return Response("\n".join(reasons or ["ok"]) + "\n", 503 if reasons else 200, media_type=TEXT)

    async def measured(request: Request) -> Response:
        return Response(metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", measured)]

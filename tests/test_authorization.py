"""gateway.routing.authorization: who is asked for an idTag, whose answer counts, and what is remembered of it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import config
from gateway.config import Route
from gateway.exchange import NotSent
from gateway.routing import authorization as module
from gateway.routing.authorization import AWAY, VOUCHED_FOR, Authorization
from gateway.state.ledger import Ledger
from gateway.state.store import StateStore
from tests.ws import DEADLINE
from translations.messages import Answer, Call, Error, Kind, Remark, Result

NOW = 1_714_550_400.0  # 2024-05-01T08:00:00Z
OK: Mapping[str, str] = {"status": "Accepted"}
KNOWN = Route(answer=("a",), away_authorize="known")


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


class Rig:
    """An authorization on a state file, and backends that answer what they are told to, at once or when they are let go."""

    def __init__(self, authorization: Authorization, ledger: Ledger, path: Path, clock: Clock) -> None:
        self.authorization, self.ledger, self.path, self.clock = authorization, ledger, path, clock
        self.answers: dict[str, Answer | Exception] = {}
        self.slow: dict[str, asyncio.Event] = {}
        self.asked: list[str] = []

    async def ask(self, name: str, call: Call) -> Answer:
        self.asked.append(name)
        if name in self.slow:
            await self.slow[name].wait()
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def primary(self, call: Call) -> Answer:
        return await self.ask("a", call)

    async def authorize(self, route: Route, tag: str = "TAG1", **options: Any) -> Answer:
        call = Call("Authorize", {"idTag": tag}, "g1", "CP-1")
        async with asyncio.timeout(DEADLINE):
            return await self.authorization.authorize(call, route, self.ask, self.primary, **options)

    def knows(self, tag: str) -> bool:
        return self.authorization.away(KNOWN, tag) == OK

    async def rows(self) -> list[Any]:
        await self.ledger.keep()  # what was noted before is on disk
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute("SELECT key, at, until FROM tags ORDER BY at").fetchall()


@asynccontextmanager
async def rigged(path: Path, **options: Any) -> AsyncIterator[Rig]:
    store, clock = StateStore(path), Clock()
    store.open()
    ledger = Ledger(store, 3600, clock)
    await ledger.open(100)
    authorization = Authorization(config.Authorization(**options), ledger, clock)
    await authorization.open()
    yield Rig(authorization, ledger, path, clock)
    await authorization.close()
    await ledger.close()
    store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def rig(path: Path) -> AsyncIterator[Rig]:
    async with rigged(path) as rig:
        yield rig


def says(status: str = "Accepted", **more: str) -> Result:
    return Result({"idTagInfo": {"status": status, **more}}, "g1", "Authorize")


def route(authorize: str, *answer: str, **options: Any) -> Route:
    return Route.model_validate({"authorize": authorize, "answer": answer or ("a", "b", "c")} | options)


# --- what is remembered


@pytest.mark.parametrize(
    ("info", "known"),
    [
        (OK, True),
        ({"status": "Accepted", "expiryDate": "2024-05-01T08:00:01Z"}, True),
        ({"status": "Accepted", "expiryDate": "2024-05-01T08:00:00.5"}, True),
        ({"status": "Accepted", "expiryDate": "2024-05-01T10:00:00.000+02:00"}, False),
        ({"status": "Accepted", "expiryDate": "soon"}, False),
        ({"status": "Accepted", "expiryDate": 5}, False),
        ({"status": "Blocked"}, False),
        ({"status": ["Accepted"]}, False),
        ({}, False),
        (None, False),
        ("Accepted", False),
    ],
)
async def test_a_tag_is_known_if_a_backend_accepted_it(rig: Rig, info: object, known: bool) -> None:
    rig.authorization.learn("TAG1", info)
    assert rig.knows("TAG1") is known


@pytest.mark.parametrize(
    ("expiry", "until"),
    [(None, NOW + 3600), ("2024-05-01T08:10:00Z", NOW + 600), ("2030-01-01T00:00:00Z", NOW + 3600)],
)
async def test_it_is_known_until_it_expires_and_no_longer_than_configured(path: Path, expiry: str | None, until: float) -> None:
    async with rigged(path, remember=3600) as rig:
        rig.authorization.learn("TAG1", {"status": "Accepted", "expiryDate": expiry})
        ((_, at, told),) = await rig.rows()
        assert (at, told) == (NOW, until)
        rig.clock.now = until - 1
        assert rig.knows("TAG1")
        rig.clock.now = until
        assert not rig.knows("TAG1")


@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx", "Nonsense"])
async def test_any_other_status_ends_it(rig: Rig, status: str) -> None:
    rig.authorization.learn("TAG1", OK)
    rig.authorization.learn("tag1", {"status": status})
    assert not rig.knows("TAG1")
    assert await rig.rows() == []


@pytest.mark.parametrize("tag", ["TAG1", "tag1", "ß", "\ud800", ""])
async def test_case_does_not_count_and_no_text_is_too_odd(rig: Rig, tag: str) -> None:
    rig.authorization.learn(tag.upper(), OK)
    assert rig.knows(tag.casefold())
    assert not rig.knows("OTHER")


@pytest.mark.parametrize("tag", [None, 5, ["TAG1"]])
async def test_what_is_no_text_is_no_tag(rig: Rig, tag: object) -> None:
    rig.authorization.learn(tag, OK)
    assert (len(rig.authorization), rig.authorization.away(KNOWN, tag)) == (0, {"status": "Invalid"})


async def test_what_was_known_is_known_after_a_restart(path: Path) -> None:
    async with rigged(path) as rig:
        rig.authorization.learn("TAG1", OK)
    async with rigged(path) as rig:
        assert (rig.knows("tag1"), rig.knows("TAG2")) == (True, False)


async def test_neither_the_file_nor_the_memory_say_which_tags_they_are(path: Path) -> None:
    async with rigged(path) as rig:
        rig.authorization.learn("SECRETTAG", OK)
        await rig.rows()
        assert "secrettag" not in repr(vars(rig.authorization)).lower()
    assert all(b"secrettag" not in file.read_bytes().lower() for file in path.parent.iterdir())


async def test_two_gateways_have_different_digests_of_a_tag(tmp_path: Path) -> None:
    seen = set()
    for name in ("one.db", "two.db"):
        async with rigged(tmp_path / name) as rig:
            rig.authorization.learn("TAG1", OK)
            seen |= {digest for digest, _, _ in await rig.rows()}
    assert len(seen) == 2


async def test_the_number_is_bounded_in_memory_and_on_disk_and_the_newest_stay(path: Path) -> None:
    async with rigged(path, most=2) as rig:
        for tag in ("TAG1", "TAG2", "TAG1", "TAG3"):
            rig.clock.now += 1
            rig.authorization.learn(tag, OK)
        assert [rig.knows(f"TAG{i}") for i in (1, 2, 3)] == [True, False, True]
        assert len(await rig.rows()) == 2


async def test_what_has_expired_is_forgotten_portion_by_portion(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTION", 2)
    for i in range(5):
        rig.authorization.learn(f"TAG{i}", {"status": "Accepted", "expiryDate": f"2024-05-01T08:00:0{i + 1}Z"})
    rig.clock.now += 3
    for _ in range(3):
        rig.authorization.tick()
    assert (len(rig.authorization), len(await rig.rows())) == (2, 2)


# --- while nobody can be asked


@pytest.mark.parametrize(
    ("mode", "tag", "away", "stored"),
    [
        ("error", "TAG1", None, "Accepted"),
        ("error", "TAG2", None, "Invalid"),
        ("reject", "TAG1", "Invalid", "Invalid"),
        ("known", "TAG1", "Accepted", "Accepted"),
        ("known", "TAG2", "Invalid", "Invalid"),
        ("all", "TAG2", "Accepted", "Accepted"),
    ],
)
async def test_while_nobody_can_be_asked_the_route_decides(rig: Rig, mode: str, tag: str, away: str | None, stored: str) -> None:
    rig.authorization.learn("TAG1", OK)
    one = route("primary", away_authorize=mode)
    assert rig.authorization.away(one, tag) == (away and {"status": away})
    assert rig.authorization.stored(one, tag) == {"status": stored}


# --- who is asked


async def test_the_primary_is_asked_and_what_it_says_is_remembered(rig: Rig) -> None:
    rig.answers = {"a": says()}
    assert await rig.authorize(route("primary")) is rig.answers["a"]
    assert (rig.asked, rig.knows("TAG1")) == (["a"], True)


async def test_what_the_gateway_said_itself_is_not_remembered(rig: Rig) -> None:
    rig.answers = {"a": Result({"idTagInfo": dict(OK)}, remarks=(AWAY,))}
    await rig.authorize(route("primary"))
    assert not rig.knows("TAG1")


PREFIXES = {"DE*": "b", "de*abc": "c", "FR": "a"}


@pytest.mark.parametrize(
    ("tag", "asked"), [("DE*X", "b"), ("de*abC1", "c"), ("DE*AB", "b"), ("FR1", "a"), ("NL1", "a"), ("DE", "a")]
)
async def test_the_longest_prefix_says_who_is_asked(rig: Rig, tag: str, asked: str) -> None:
    rig.answers = {name: says() for name in "abc"}
    answer = await rig.authorize(route("prefix", prefixes=PREFIXES), tag)
    detail = f"asked backend {asked} by the prefix of the idTag"
    told = () if asked == "a" else (Remark(Kind.CHANGED, "idTagInfo", detail, "authorize.prefix"),)
    assert (rig.asked, answer.remarks, rig.knows(tag)) == ([asked], told, True)


async def test_an_error_of_the_backend_of_a_prefix_is_the_answer(rig: Rig) -> None:
    rig.answers = {"b": NotSent("InternalError", "away")}
    assert await rig.authorize(route("prefix", prefixes=PREFIXES), "DE*1") is rig.answers["b"]


def by(name: str, detail: str) -> tuple[Remark, ...]:
    return (Remark(Kind.CHANGED, "idTagInfo", detail.format(name), "authorize.first-accept"),)


AWAY_B = NotSent("InternalError", "away")


@pytest.mark.parametrize(
    ("answers", "status", "remarks"),
    [
        ((says(), says(), says()), "Accepted", ()),
        ((says("Invalid"), says("Blocked"), says()), "Accepted", by("c", "backend {} accepts the idTag")),
        ((says("Invalid"), says("Blocked"), says("Expired")), "Invalid", ()),
        ((says("Invalid"), AWAY_B, AWAY_B), "Invalid", ()),
        ((AWAY_B, says(), AWAY_B), "Accepted", by("b", "backend {} accepts the idTag")),
        ((AWAY_B, AWAY_B, says("Blocked")), "Blocked", by("c", "backend a gave no answer, backend {} did")),
    ],
)
async def test_the_first_that_accepts_counts_else_the_primary(
    rig: Rig, answers: tuple[Answer, ...], status: str, remarks: tuple[Remark, ...]
) -> None:
    rig.answers = dict(zip("abc", answers, strict=True))
    answer = await rig.authorize(route("first-accept"))
    assert isinstance(answer, Result)
    assert (answer.payload["idTagInfo"]["status"], answer.remarks) == (status, remarks)
    assert (sorted(rig.asked), rig.knows("TAG1")) == (["a", "b", "c"], status == "Accepted")


async def test_when_nobody_answers_the_error_of_the_primary_is_told(rig: Rig) -> None:
    rig.answers = {"a": Error("InternalError", "first"), "b": Error("InternalError", "second")}
    assert await rig.authorize(route("first-accept", "a", "b")) is rig.answers["a"]


@pytest.mark.parametrize(
    ("authorizers", "seat", "asked"),
    [((), None, "abc"), (("b", "b"), None, "ab"), (("a",), None, "a"), (("c", "a"), None, "ac"), (("a", "b"), "a", "ab")],
)
async def test_authorizers_are_asked_once_each_and_the_primary_with_them(
    rig: Rig, authorizers: tuple[str, ...], seat: str | None, asked: str
) -> None:
    rig.answers = {name: says("Invalid") for name in "abc"}
    await rig.authorize(route("first-accept", authorizers=authorizers), seat=seat)
    assert sorted(rig.asked) == list(asked)


async def test_the_seat_is_not_asked_again_by_its_name(rig: Rig) -> None:
    rig.answers = {name: says("Invalid") for name in "ab"}
    await rig.authorize(route("first-accept", "b", "a"), seat="a")
    assert sorted(rig.asked) == ["a", "b"]


async def test_who_accepts_is_not_kept_waiting_by_others_who_go_on_in_the_background(rig: Rig) -> None:
    rig.answers = {"a": says("Invalid"), "b": says()}
    rig.slow["a"] = asyncio.Event()
    assert isinstance(await rig.authorize(route("first-accept", "a", "b")), Result)
    (task,) = rig.authorization._asking
    rig.slow["a"].set()
    assert await task is rig.answers["a"]
    assert (rig.authorization._asking, rig.knows("TAG1")) == (set(), True)


async def test_closing_ends_what_goes_on_in_the_background(rig: Rig) -> None:
    rig.answers = {"b": says()}
    rig.slow["a"] = asyncio.Event()
    await rig.authorize(route("first-accept", "a", "b"))
    (task,) = rig.authorization._asking
    await rig.authorization.close()
    assert task.cancelled()


async def test_closing_answers_those_who_wait(rig: Rig) -> None:
    rig.slow = {"a": asyncio.Event(), "b": asyncio.Event()}
    waiting = asyncio.ensure_future(rig.authorize(route("first-accept", "a", "b")))
    await asyncio.sleep(0)  # begins
    await asyncio.sleep(0)  # so do those that are asked
    await rig.authorization.close()
    assert await waiting == Error("InternalError", "the gateway is shutting down", {}, "g1", "Authorize")


async def test_a_mistake_of_ours_in_the_background_is_logged(rig: Rig) -> None:
    rig.answers = {"a": KeyError("mistake"), "b": says()}
    rig.slow["a"] = asyncio.Event()
    await rig.authorize(route("first-accept", "a", "b"))
    (task,) = rig.authorization._asking
    rig.slow["a"].set()
    with capture_logs() as logs:
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["authorize.failed"]


# --- what follows


START = Call("StartTransaction", {"idTag": "tag1", "connectorId": 1}, "g2", "CP-1")


def started(status: str) -> Result:
    return Result({"transactionId": 7, "idTagInfo": {"status": status}}, "g2", "StartTransaction")


async def accepted_by_another(rig: Rig, mode: Route) -> None:
    rig.answers = {"a": says("Invalid"), "b": says(expiryDate="2030-01-01T00:00:00Z"), "c": says("Invalid")}
    await rig.authorize(mode)


@pytest.mark.parametrize("mode", [route("first-accept"), route("prefix", prefixes={"TAG": "b"})])
async def test_what_another_backend_accepted_stays_accepted_for_the_transaction(rig: Rig, mode: Route) -> None:
    await accepted_by_another(rig, mode)
    answer = started("Invalid")
    rig.authorization.learn("tag1", answer.payload["idTagInfo"])
    judged = rig.authorization.judged(START, answer, mode)
    info = {"status": "Accepted", "expiryDate": "2030-01-01T00:00:00Z"}
    assert judged.payload == {"transactionId": 7, "idTagInfo": info}
    assert [(r.kind, r.path, r.rule, "backend b" in r.detail) for r in judged.remarks] == [
        (Kind.CHANGED, "idTagInfo", "authorize.merged", True)
    ]
    assert rig.knows("TAG1")
    assert answer == started("Invalid")


async def test_an_accepted_start_is_not_changed(rig: Rig) -> None:
    await accepted_by_another(rig, route("first-accept"))
    assert rig.authorization.judged(START, answer := started("Accepted"), route("first-accept")) is answer


async def test_nobody_is_overruled_by_what_it_said_itself(rig: Rig) -> None:
    await accepted_by_another(rig, route("first-accept"))
    assert rig.authorization.judged(START, answer := started("Invalid"), route("first-accept"), by="b") is answer


@pytest.mark.parametrize(
    ("payload", "answer"),
    [({"idTag": "TAG2"}, started("Invalid")), ({}, Result({})), ({"idTag": 5}, Result({})), ({"idTag": "TAG1"}, Result({}))],
)
async def test_other_tags_and_stops_without_one_are_not_changed(rig: Rig, payload: dict[str, Any], answer: Result) -> None:
    await accepted_by_another(rig, route("first-accept"))
    call = Call("StopTransaction", payload, "g3", "CP-1")
    assert rig.authorization.judged(call, answer, route("first-accept")) is answer


async def test_it_stays_so_for_minutes_and_not_for_ever(rig: Rig) -> None:
    await accepted_by_another(rig, mode := route("first-accept"))
    rig.clock.now += VOUCHED_FOR
    assert rig.authorization.judged(START, answer := started("Invalid"), mode) is answer
    rig.authorization.tick()
    assert rig.authorization._vouched == {}


async def test_a_later_word_on_the_tag_replaces_the_earlier_one(rig: Rig) -> None:
    await accepted_by_another(rig, mode := route("first-accept"))
    rig.answers["b"] = says("Blocked")
    await rig.authorize(mode)
    assert rig.authorization.judged(START, answer := started("Invalid"), mode) is answer


async def test_how_many_are_accepted_by_others_is_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VOUCHED", 2)
    rig.answers = {"a": says("Invalid"), "b": says()}
    for i in range(5):
        await rig.authorize(route("first-accept", "a", "b"), f"TAG{i}")
    assert len(rig.authorization._vouched) == 2

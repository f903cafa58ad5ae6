"""Three backends at once: one answers, two listen, each with numbers of its own; no charger feels how ill a listener is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from gateway.app import Gateway
from gateway.config import Ocppj, Replay, Route
from tests.conftest import ChargePoints, OpenGateway
from tests.peers import plain_csms
from tests.peers.book import METER, START, STOP, Book, Deed, complaints, cut_off
from tests.peers.csms import Csms
from tests.peers.json_charger import json_charger
from tests.peers.keeper import Keeper, keeper
from tests.peers.plain_csms import Conduct, PlainCsms, odd
from tests.peers.seen import DEADLINE
from tests.peers.soap_charger import soap_charger
from tests.peers.stack16 import Payload
from tests.peers.work import Say, day, in_15

STOP_REMOTELY = "RemoteStopTransaction"
ODD = (0, -1, 2**31, 2**40, 2**63 - 1)
QUICK: dict[str, Any] = {"kind": "ocppj", "connect_timeout": 2, "timeout": 3, "backoff_min": 0.02, "backoff_max": 0.05}


class Three(NamedTuple):
    """The backends."""

    csms: Keeper
    other: PlainCsms
    audit: PlainCsms

    @property
    def books(self) -> dict[str, Book]:
        return {"csms": self.csms.book, "other": self.other.book, "audit": self.audit.book}


@pytest.fixture
async def three() -> AsyncIterator[Three]:
    async with keeper() as csms, plain_csms.plain_csms() as other, plain_csms.plain_csms(count(5_000_000)) as audit:
        yield Three(csms, other, audit)


@pytest.fixture
async def csms(three: Three) -> Csms:
    """So that the shared fixtures begin with the first of the three."""
    return three.csms


@pytest.fixture
def opened(open_gateway: OpenGateway, three: Three) -> Callable[..., Any]:
    """Starts a gateway with the three; `first` changes keys of the first backend, `listening` of the others."""

    async def open_three(first: Payload | None = None, listening: Payload | None = None, **route: Any) -> Gateway:
        told: Payload = QUICK | {"commands": (STOP_REMOTELY,)} | (listening or {})
        others = tuple(Ocppj(name=name, url=end.url, **told) for name, end in (("other", three.other), ("audit", three.audit)))
        routes = (Route(**{"answer": ("csms",), "listen": ("other", "audit")} | route),)
        replay = Replay(rate=10_000, retry_interval=0.1)
        return await open_gateway(backend=first, others=others, routes=routes, replay=replay)

    return open_three


@asynccontextmanager
async def charger(kind: str, port: int, callback: str = "") -> AsyncIterator[Say]:
    """What says things as a charger of this kind; its identity is `CP-1`."""
    async with AsyncExitStack() as stack:
        if kind == "json":
            made = await stack.enter_async_context(json_charger(port, "CP-1"))
            yield made.make
            return
        soap = await stack.enter_async_context(soap_charger(port, "1.5", "CP-1", callback))

        async def say(action: str, payload: Payload) -> Payload:
            return await soap.make(action, in_15(action, payload))

        yield say


async def told(book: Book, deed: Deed, among: list[Deed] | None = None) -> list[str]:
    """What is wrong with a book, once it has all that was done, or will not have it any more."""
    deeds = among or [deed]
    try:
        await book.wait(lambda book: all(each in book.heard for deed in deeds for each in deed.gists()))
    except TimeoutError:
        return ["not complete", *complaints(deeds, book, cut_off)]
    return complaints(deeds, book, cut_off)


KINDS = pytest.mark.parametrize("kind", ["json", "soap"])


@KINDS
async def test_each_backend_sees_its_own_number_and_the_charger_one(opened: Callable[..., Any], three: Three, kind: str) -> None:
    gateway = await opened()
    async with charger(kind, gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
        assert [await told(book, deed) for book in three.books.values()] == [[], [], []]
    first = {"csms": 1, "other": plain_csms.FIRST, "audit": 5_000_000}
    for name, book in three.books.items():
        assert book.numbers("CP-1") == {START: [first[name]], METER: [first[name]] * 2, STOP: [first[name]]}


@KINDS
@pytest.mark.parametrize("number", ODD)
async def test_odd_numbers_of_who_answers_reach_nobody_else(
    opened: Callable[..., Any], three: Three, kind: str, number: int
) -> None:
    gateway = await opened(answer=("other",), listen=("csms",))
    three.other.numbers = odd(number)
    async with charger(kind, gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
        assert deed.number is not None
        assert -(2**31) <= deed.number < 2**31
        assert await told(three.other.book, deed) == await told(three.csms.book, deed) == []
    assert three.other.book.numbers("CP-1")[STOP] == [number]


@pytest.mark.parametrize("number", ODD)
async def test_odd_numbers_of_a_listener_are_its_own(opened: Callable[..., Any], three: Three, number: int) -> None:
    gateway = await opened()
    three.other.numbers = odd(number)
    async with charger("json", gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
        assert (deed.number, await told(three.other.book, deed)) == (1, [])


@pytest.mark.parametrize("number", [0, -1])
async def test_who_gives_one_number_to_all_is_told_it_of_all(opened: Callable[..., Any], three: Three, number: int) -> None:
    gateway = await opened(answer=("other",), listen=("csms",))
    three.other.numbers = iter([number] * 2)
    async with json_charger(gateway.ports[0], "CP-1") as one, json_charger(gateway.ports[0], "CP-2") as two:
        deeds = [await day(each.make, each.id) for each in (one, two)]
        for deed in deeds:
            assert await told(three.csms.book, deed, among=deeds) == []
    assert [complaints(deeds, book, cut_off) for book in (three.other.book, three.csms.book)] == [[], []]


# --- commands


async def command(three: Three, backend: str, number: int | None) -> Payload:
    """A backend's RemoteStopTransaction, in its own number."""
    asked = three.csms if backend == "csms" else three.other if backend == "other" else three.audit
    return await asked.command("CP-1", STOP_REMOTELY, {"transactionId": number})


async def begun(say: Say, three: Three) -> tuple[int, dict[str, int | None]]:
    """A transaction that goes on; its number to the charger, and to each backend that has told a reading of it apart."""
    start = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": "2024-05-01T08:00:00Z"}
    number = (await say(START, start))["transactionId"]
    group = {"timestamp": "2024-05-01T08:01:00Z", "sampledValue": [{"value": "7"}]}
    await say(METER, {"connectorId": 1, "transactionId": number, "meterValue": [group]})
    for book in three.books.values():  # a listener whose answer has not come yet has no number to command with
        await book.wait(lambda book: book.of("CP-1", METER))
    return number, {name: book.of("CP-1", START)[0].number for name, book in three.books.items()}


@pytest.mark.parametrize("backend", ["csms", "other", "audit"])
async def test_each_backend_stops_it_by_its_own_number(opened: Callable[..., Any], three: Three, backend: str) -> None:
    gateway = await opened()
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        number, theirs = await begun(charger.make, three)
        assert await command(three, backend, theirs[backend]) == {"status": "Rejected"}  # the charger says so
        assert [call.payload for call in charger.heard] == [{"transactionId": number}]


@pytest.mark.parametrize("backend", ["csms", "other", "audit"])
async def test_a_soap_charger_is_stopped_by_its_number(
    opened: Callable[..., Any], three: Three, charge_point: ChargePoints, backend: str
) -> None:
    point, gateway = charge_point("1.5"), await opened()
    async with charger("soap", gateway.ports[0], point.url) as say:
        number, theirs = await begun(say, three)
        assert await command(three, backend, theirs[backend]) == {"status": "Accepted"}
    assert point.heard == [(STOP_REMOTELY, "CP-1", {"transactionId": number})]


async def test_a_number_of_another_backend_stops_nothing(opened: Callable[..., Any], three: Three) -> None:
    gateway = await opened()
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        number, _ = await begun(charger.make, three)
        assert await command(three, "audit", number) == {"status": "Rejected"}
        assert list(charger.heard) == []


# --- listeners that are ill

ILL: MappingProxyType[str, Conduct] = MappingProxyType(
    {
        "never answers": plain_csms.never,
        "lies": plain_csms.lying,
        "babbles": plain_csms.babbling,
        "floods": plain_csms.flooding,
        "refuses": plain_csms.refusing,
        "hangs up": plain_csms.hanging_up,
    }
)


@KINDS
@pytest.mark.parametrize("illness", ILL)
async def test_an_ill_listener_is_felt_by_nobody(opened: Callable[..., Any], three: Three, kind: str, illness: str) -> None:
    three.audit.conduct = ILL[illness]
    gateway = await opened(listening={"timeout": 60})  # longer than the test: who waited for it would not get done
    async with charger(kind, gateway.ports[0]) as say:
        async with asyncio.timeout(DEADLINE):
            deed = await day(say, "CP-1")
        assert [await told(book, deed) for book in (three.csms.book, three.other.book)] == [[], []]


@KINDS
async def test_a_dead_listener_is_felt_by_nobody(opened: Callable[..., Any], three: Three, kind: str) -> None:
    await three.audit.stop()
    gateway = await opened()
    async with charger(kind, gateway.ports[0]) as say:
        async with asyncio.timeout(DEADLINE):
            deed = await day(say, "CP-1")
        assert [await told(book, deed) for book in (three.csms.book, three.other.book)] == [[], []]


async def test_one_slow_one_dead_one_lying(open_gateway: OpenGateway, three: Three, opened: Callable[..., Any]) -> None:
    let = asyncio.Event()
    await three.audit.stop()
    three.other.conduct = plain_csms.lying
    async with plain_csms.plain_csms(count(7)) as slow:
        slow.conduct = plain_csms.once(let)
        names = {"slow": slow, "dead": three.audit, "lying": three.other}
        others = tuple(Ocppj(name=name, url=end.url, **QUICK | {"timeout": 60}) for name, end in names.items())
        gateway = await open_gateway(others=others, routes=(Route(answer=("csms",), listen=tuple(names)),))
        async with charger("json", gateway.ports[0]) as say:
            deed = await day(say, "CP-1")
            assert await told(three.csms.book, deed) == []
            assert {each.answered for each in slow.book.entries} <= {None}  # the charger was done before it said a word
            let.set()
            assert await told(slow.book, deed) == []


async def test_a_slow_listener_holds_up_no_command(opened: Callable[..., Any], three: Three) -> None:
    gateway = await opened(listening={"timeout": 60})
    three.other.conduct = plain_csms.never
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        await charger.make("Heartbeat", {})
        assert await three.csms.command("CP-1", "ClearCache", {}) == {"status": "Accepted"}


async def test_who_may_not_command_is_told_so(opened: Callable[..., Any], three: Three) -> None:
    gateway = await opened(listening={"commands": ()})
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        await charger.make("Heartbeat", {})
        with pytest.raises(plain_csms.Refused, match="SecurityError"):
            await three.other.command("CP-1", "ClearCache", {})
        assert list(charger.heard) == []


async def test_a_listener_hears_answers_as_well(opened: Callable[..., Any], three: Three) -> None:
    heard: asyncio.Queue[Payload] = asyncio.Queue()

    async def listening(end: plain_csms.End, call: Any) -> None:
        if call[2] == "DataTransfer":
            heard.put_nowait(call[3])
        await end.answer(call)

    three.audit.conduct = listening
    gateway = await opened(listening={"hear": "both"})
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        await charger.make("Heartbeat", {})
        async with asyncio.timeout(DEADLINE):
            assert "currentTime" in str(await heard.get())


# --- away and back

STORE = {"away": "store"}
AWAY = {"away_authorize": "all", "away_answers": ("BootNotification", "Heartbeat")}


@KINDS
async def test_who_answers_was_away_and_hears_it_all(opened: Callable[..., Any], three: Three, kind: str) -> None:
    await three.csms.stop()
    gateway = await opened(first=STORE, listening=STORE, **AWAY)
    async with charger(kind, gateway.ports[0]) as say:
        async with asyncio.timeout(DEADLINE):
            deed = await day(say, "CP-1")
        await three.csms.start()
        assert [await told(book, deed) for book in three.books.values()] == [[], [], []]
        await three.csms.book.wait(lambda book: book.statuses)
    assert three.csms.book.boots[:1] == ["CP-1"]
    assert three.csms.book.numbers("CP-1")[STOP] == [1]


@KINDS
async def test_a_listener_was_away_and_hears_it_all(opened: Callable[..., Any], three: Three, kind: str) -> None:
    await three.audit.stop()
    gateway = await opened(listening=STORE)
    async with charger(kind, gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
        await three.audit.start()
        assert [await told(book, deed) for book in three.books.values()] == [[], [], []]
        await three.audit.book.wait(lambda book: book.statuses)
    assert three.audit.book.numbers("CP-1")[STOP] == [5_000_000]


async def test_it_comes_back_in_the_middle_of_a_transaction(opened: Callable[..., Any], three: Three) -> None:
    gateway = await opened(first=STORE, listening=STORE, **AWAY)
    async with charger("json", gateway.ports[0]) as say:
        await say("Heartbeat", {})
        await three.csms.stop()

        async def and_back(action: str, payload: Payload) -> Payload:
            if action == METER:
                await three.csms.start()
            return await say(action, payload)

        deed = await day(and_back, "CP-1")
        assert [await told(book, deed) for book in three.books.values()] == [[], [], []]
    assert set(three.csms.book.numbers("CP-1")[METER]) == {1}


async def test_the_next_run_of_the_gateway_tells_it(opened: Callable[..., Any], three: Three) -> None:
    await three.csms.stop()
    gateway = await opened(first=STORE, listening=STORE, **AWAY)
    async with charger("soap", gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
    await gateway.stop()
    await three.csms.start()
    await opened(first=STORE, listening=STORE, **AWAY)
    assert [await told(book, deed) for book in three.books.values()] == [[], [], []]


async def test_a_callerror_is_asked_again_and_the_charger_not_told(opened: Callable[..., Any], three: Three) -> None:
    refused: list[str] = []

    async def at_first(end: plain_csms.End, call: Any) -> None:
        if call[2] == START and not refused:
            refused.append(call[1])
            await plain_csms.refusing(end, call)
        else:
            await end.answer(call)

    three.other.conduct = at_first
    gateway = await opened(listening=STORE)
    async with charger("json", gateway.ports[0]) as say:
        deed = await day(say, "CP-1")
        await three.other.book.wait(lambda book: all(each in book.heard for each in deed.gists()))
    assert [text for text in complaints([deed], three.other.book, cut_off) if not text.startswith("said again")] == []


async def test_refuse_leaves_it_to_a_soap_charger(opened: Callable[..., Any], three: Three) -> None:
    from tests.journeys.test_failures import start_transaction

    await three.csms.stop()
    gateway = await opened(first={"away": "refuse"})
    assert (await start_transaction(gateway.ports[0])).status == HTTPStatus.SERVICE_UNAVAILABLE


async def test_refuse_leaves_it_to_a_json_charger(opened: Callable[..., Any], three: Three) -> None:
    await three.csms.stop()
    gateway = await opened(first={"away": "refuse"})
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        start = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": "2024-05-01T08:00:00Z"}
        saying = asyncio.ensure_future(charger.make(START, start))
        async with asyncio.timeout(DEADLINE):
            await charger.connection.wait_closed()
        saying.cancel()
        await asyncio.wait({saying})
        assert [frame for frame in charger.frames if frame.startswith("[3")] == []

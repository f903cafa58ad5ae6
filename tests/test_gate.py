"""gateway.gate: visitors at the doors, from their scopes to their refusals, on a clock that the tests turn."""

import asyncio
from base64 import b64encode
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from gateway.admission import ASKED, UNCERTIFIED, UNKNOWN, UNPROVEN, Admission, Refusal
from gateway.config import Admission as AdmissionConfig
from gateway.config import Bounds, Config, Server
from gateway.gate import BUSY, HURRIED, LOGGED_AT_ONCE, PATIENCE, WAITING, WAITING_OF_ONE, Gate
from gateway.paths import Way
from gateway.tls import Certificate

DEADLINE = 5.0
QUICK: dict[str, Any] = {"slow_down": 0.001}
KNOWN: dict[str, Any] = {"mode": "known", "known": ("CP-*",)}


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def scope(path: str = "/soap", client: tuple[str, int] = ("192.0.2.7", 4000), **more: Any) -> dict[str, Any]:
    return {"type": "http", "raw_path": path.encode(), "client": client, "headers": [], **more}


async def gate(clock: Clock | None = None, admission: dict[str, Any] | None = None, **sections: Any) -> Gate:
    config = Config(admission=AdmissionConfig(**QUICK | (admission or {})), **sections)
    admitting = Admission(config.admission)
    await admitting.start()
    return Gate(config, admitting, clock or Clock())


# --- the way


async def test_each_door_has_its_paths() -> None:
    paths = Server(soap_paths=("/soap/{tenant}/{token}",), json_paths=("/ocpp/{identity}", "/{tenant}/ocpp/{identity}"))
    at = await gate(server=paths)
    assert at.soap(scope("/soap/acme/t")) == Way("", "acme", "t")
    assert at.json(scope("/acme/ocpp/CP%201")) == Way("CP 1", "acme")
    assert at.soap(scope("/ocpp/CP-1")) is at.json(scope("/soap")) is None


async def test_a_server_that_tells_no_raw_path_is_understood() -> None:
    at = await gate()
    assert at.json({"type": "websocket", "path": "/ocpp/a b"}) == Way("a b")


async def test_the_source_is_whom_a_trusted_proxy_speaks_for() -> None:
    at = await gate(server=Server.model_validate({"trusted_proxies": ["192.0.2.0/24"]}))
    assert at.source(scope(headers=[(b"x-forwarded-for", b"198.51.100.1")])) == "198.51.100.1:0"


# --- who may come in


async def test_an_open_gate_looks_at_nothing() -> None:
    at = await gate()
    assert await at.admit({}, Way(), "anyone") is None


async def test_who_is_known_comes_in_and_others_do_not() -> None:
    at = await gate(admission=KNOWN)
    assert [await at.admit(scope(), Way(), who) for who in ("CP-1", "stranger")] == [None, UNKNOWN]


async def test_what_the_scope_brings_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "chargers.toml"
    file.write_text('["CP-1"]\npassword="p"\ntoken="t"\ntenant="a"\nnetworks=["192.0.2.0/24"]\ncertificate="{identity}"\n')
    at = await gate(admission={"file": file})
    authorization = (b"authorization", b"Basic " + b64encode(b"CP-1:p"))
    tls = {"tls": {"certificate": Certificate(("CP-1",), "")}}
    whole = scope(headers=[(b"host", b"x"), authorization], extensions=tls)
    assert await at.admit(whole, Way("", "a", "t"), "CP-1") is None
    assert await at.admit(whole | {"headers": []}, Way("", "a", "t"), "CP-1") == ASKED
    hidden: list[dict[str, Any]] = [
        {"extensions": {"tls": {"certificate": None}}},
        {"extensions": {"tls": {}}},
        {"extensions": None},
    ]
    for missing in hidden:
        assert await at.admit(whole | missing, Way("", "a", "t"), "CP-1") == UNCERTIFIED


async def test_a_refusal_is_logged_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "chargers.toml"
    file.write_text('["CP-1"]\npassword = "hush"\ntoken = "hush2"\n')
    at = await gate(admission={"file": file})
    with capture_logs() as log:
        await at.admit(scope(headers=[(b"authorization", b"Basic aHVzaDM=")]), Way(token="hush4"), "CP-1")
    (line,) = log
    assert (line["event"], line["charger"], line["peer"]) == ("charger.refused", "CP-1", "192.0.2.7:4000")
    assert line["reason"] == "no token in the path, or a wrong one"
    assert "hush" not in str(log)
    assert "aHVzaDM" not in str(log)


async def test_a_flood_of_refusals_is_logged_in_a_few_lines() -> None:
    clock = Clock()
    at = await gate(clock, KNOWN)
    with capture_logs() as log:
        for i in range(30):
            await at.admit(scope(), Way(), f"stranger-{i}")
        clock.now += 60
        await at.admit(scope(), Way(), "stranger")
    assert [line.get("untold") for line in log] == [None] * 5 + [25]


async def test_a_refusal_says_whether_it_is_to_be_recorded_by_the_pace_of_the_log() -> None:
    clock = Clock()
    at = await gate(clock, KNOWN)
    refusals = [await at.admit(scope(), Way(), f"stranger-{i}") for i in range(7)]
    clock.now += 10
    refusals.append(await at.admit(scope(), Way(), "stranger"))
    assert [refusal and refusal.told for refusal in refusals] == [True] * LOGGED_AT_ONCE + [False, False, True]


async def test_what_a_door_refuses_for_itself_is_told_by_the_same_pace() -> None:
    at = await gate()
    with capture_logs() as log:
        told = [at.tell(BUSY, scope()) for _ in range(7)]
        at.tell(HURRIED, scope(), "CP-1")
    assert [refusal.told for refusal in told] == [True] * LOGGED_AT_ONCE + [False, False]
    assert {refusal._replace(told=True) for refusal in told} == {BUSY}
    assert [(line.get("charger"), line["reason"]) for line in log[-2:]] == [(None, BUSY.reason), ("CP-1", HURRIED.reason)]


async def test_every_refusal_is_counted_by_its_reason() -> None:
    at = await gate(admission=KNOWN, bounds=Bounds(source_rate=1, source_burst=1, charger_rate=1, charger_burst=1))
    for _ in range(20):
        await at.admit(scope(), Way(), "stranger")
        at.busy(scope())
        await at.pace("CP-1", patience=0)
    assert at.refused == {UNKNOWN.reason: 20, BUSY.reason: 19, HURRIED.reason: 19}


async def test_who_is_let_in_is_counted_nowhere() -> None:
    at = await gate(admission=KNOWN)
    await at.admit(scope(), Way(), "CP-1")
    assert not at.busy(scope())
    assert not at.refused


# --- refusals come late


async def test_each_refusal_of_a_source_comes_later_than_the_one_before() -> None:
    at = await gate(admission=KNOWN | {"slow_down": 0.15})
    loop, waits = asyncio.get_running_loop(), []
    for _ in range(2):
        begun = loop.time()
        await at.admit(scope(), Way(), "stranger")
        waits.append(loop.time() - begun)
    assert waits[0] >= 0.09
    assert waits[1] >= 0.14


async def waiting(at: Gate, count: int, at_host: str = "192.0.2.{}") -> list[asyncio.Future[Any]]:
    """Refusals that are held back."""
    held: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(at.admit(scope(client=(at_host.format(i), 1)), Way(), "stranger")) for i in range(count)
    ]
    await asyncio.sleep(0)  # each runs to its wait
    return held


def statuses(refusals: list[Refusal | None]) -> list[int]:
    return [refusal.status if refusal else 0 for refusal in refusals]


async def closed(at: Gate, held: list[asyncio.Future[Any]]) -> list[Any]:
    at.close()
    async with asyncio.timeout(DEADLINE):
        return await asyncio.gather(*held)


SLOW = KNOWN | {"slow_down": 3600}


async def test_a_known_charger_never_waits_for_those_behind_the_same_address() -> None:
    at = await gate(admission=SLOW)
    held = await waiting(at, WAITING_OF_ONE, "192.0.2.7")
    assert not any(each.done() for each in held)
    assert await at.admit(scope(), Way(), "CP-1") is None
    assert statuses(await closed(at, held)) == [404] * WAITING_OF_ONE


async def test_who_has_to_be_asked_for_its_password_waits_for_nobody_and_makes_nobody_wait(tmp_path: Path) -> None:
    file = tmp_path / "chargers.toml"
    file.write_text('["CP-1"]\npassword = "p"\n')
    at = await gate(admission={"file": file, "slow_down": 3600})
    async with asyncio.timeout(DEADLINE):
        refusals = [await at.admit(scope(), Way(), "CP-1") for _ in range(WAITING_OF_ONE + 20)]
    assert statuses(refusals) == [401] * (WAITING_OF_ONE + 20)
    wrong = scope(headers=[(b"authorization", b"Basic " + b64encode(b"CP-1:q"))])
    begun = asyncio.get_running_loop().time()
    assert await at.admit(wrong, Way(), "CP-1") == UNPROVEN
    assert asyncio.get_running_loop().time() - begun < 1  # as the first that fails


async def test_clients_that_want_to_be_asked_hide_no_other_refusal_of_their_source(tmp_path: Path) -> None:
    file = tmp_path / "chargers.toml"
    file.write_text('["CP-1"]\npassword = "p"\n')
    at = await gate(admission={"mode": "known", "file": file})
    for _ in range(20):
        await at.admit(scope(), Way(), "CP-1")
    assert await at.admit(scope(), Way(), "stranger") == UNKNOWN  # told, that is


async def test_one_source_can_have_only_so_many_held_back() -> None:
    at = await gate(admission=SLOW)
    held = await waiting(at, WAITING_OF_ONE + 1, "2001:db8::{}")
    refusal = await held.pop()
    assert refusal.status == refusal.soap_status == 429
    assert statuses(await closed(at, held)) == [404] * WAITING_OF_ONE


async def test_all_sources_together_can_have_only_so_many_held_back() -> None:
    at = await gate(admission=SLOW)
    held = await waiting(at, WAITING + 1, "2001:db8:0:{}::1")
    assert (await held.pop()).status == 429
    assert await closed(at, held) == [UNKNOWN] * WAITING


async def test_a_visitor_that_goes_away_makes_room() -> None:
    at = await gate(admission=SLOW)
    for each in await waiting(at, WAITING_OF_ONE, "192.0.2.7"):
        each.cancel()
    await asyncio.sleep(0)
    assert statuses(await closed(at, await waiting(at, WAITING_OF_ONE, "192.0.2.7"))) == [404] * WAITING_OF_ONE


# --- how fast


async def test_without_rates_everyone_may_come_as_fast_as_can_be() -> None:
    at = await gate()
    assert not at.busy({})
    assert await at.pace("CP-1")


async def test_a_source_above_its_rate_is_busy() -> None:
    clock = Clock()
    at = await gate(clock, bounds=Bounds(source_rate=1, source_burst=2))
    assert [at.busy(scope(client=(host, port))) for host, port in (("a", 1), ("a", 2), ("a", 3), ("b", 1))] == [
        False,
        False,
        True,
        False,
    ]
    clock.now += 1
    assert not at.busy(scope(client=("a", 4)))


async def test_a_charger_above_its_rate_waits() -> None:
    at = await gate(bounds=Bounds(charger_rate=1, charger_burst=1))
    assert await at.pace("CP-1")
    held = asyncio.ensure_future(at.pace("cp-1"))
    await asyncio.sleep(0)
    assert await at.pace("CP-2")
    assert not held.done()
    assert await closed(at, [held]) == [True]


async def test_a_wait_is_as_long_as_the_rate_says() -> None:
    at = await gate(bounds=Bounds(charger_rate=20, charger_burst=1))
    begun = asyncio.get_running_loop().time()
    async with asyncio.timeout(DEADLINE):
        await at.pace("CP-1")
        await at.pace("CP-1")
    assert 0.04 <= asyncio.get_running_loop().time() - begun < PATIENCE


async def test_with_patience_a_charger_far_above_its_rate_does_not_wait() -> None:
    at = await gate(bounds=Bounds(charger_rate=0.1, charger_burst=1))
    assert [await at.pace("CP-1", patience=5) for _ in range(3)] == [True, False, False]

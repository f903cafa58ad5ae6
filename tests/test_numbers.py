"""gateway.routing.numbers: what each backend and the charger call transactions, reservations, profiles and lists."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.routing.numbers import _NONE_SUCH, EACH
from gateway.routing.running import MOST_NUMBER, OURS
from tests.cores import ACCEPTED, House, number, rules, start, stop
from translations.messages import Result


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Backends a and b may answer, z listens; all may command."""
    peers = {"z": {"commands": ("*",)}}
    async with House(tmp_path / "state.db", answer=("a", "b"), listen=("z",), peers=peers) as house:
        yield house


def asked(house: House, *path: str) -> Any:
    """What the charger was asked at last."""
    value: Any = house.link.asked[-1].payload
    for name in path:
        value = value.get(name)
    return value


# --- transactions


@pytest.mark.parametrize("theirs", [7, 0, -1, 2**40, 2**63 - 1])
async def test_each_backend_stops_a_transaction_by_its_own_number(house: House, theirs: int) -> None:
    house.at["a"].says["StartTransaction"] = Result({"transactionId": theirs, "idTagInfo": ACCEPTED})
    said = number(await house.say("StartTransaction", start()))
    for name, called in (("a", theirs), ("z", 2001)):
        assert await house.command(name, "RemoteStopTransaction", transactionId=called) == house.link.answer
        assert asked(house, "transactionId") == said


REMOTE_STOPS = [
    # who, by which number, whether the charger hears it
    ("a", 1, True),
    ("z", 1, False),  # it is another one's
    ("b", 1, False),  # it has not heard of the transaction
    ("a", 2001, True),  # nothing here has that number: it began before the gateway
    ("z", 555, True),
    ("z", 2**63 - 1, True),
]


@pytest.mark.parametrize(("who", "called", "passes"), REMOTE_STOPS)
async def test_a_remote_stop(house: House, who: str, called: int, passes: bool) -> None:
    assert number(await house.say("StartTransaction", start())) == 1
    answer = await house.command(who, "RemoteStopTransaction", transactionId=called)
    assert isinstance(answer, Result)
    assert (rules(answer), bool(house.link.asked)) == ([] if passes else ["numbers.foreign"], passes)
    assert passes or answer.payload == {"status": "Rejected"}


async def test_a_remote_stop_by_a_number_that_comes_again_is_of_what_is_open(house: House) -> None:
    house.at["a"].says["StartTransaction"] = Result({"transactionId": 0, "idTagInfo": ACCEPTED})
    first = number(await house.say("StartTransaction", start(1)))
    house.now += 1
    second = number(await house.say("StartTransaction", start(2)))
    await house.say("StopTransaction", stop(second))
    await house.command("a", "RemoteStopTransaction", transactionId=0)
    assert asked(house, "transactionId") == first


async def test_numbers_of_transactions_are_found_again_after_a_restart(house: House) -> None:
    house.at["a"].says["StartTransaction"] = Result({"transactionId": 2**40, "idTagInfo": ACCEPTED})
    said = number(await house.say("StartTransaction", start()))
    await house.say("StopTransaction", stop(said))
    await house.again()
    await house.command("z", "RemoteStopTransaction", transactionId=2001)
    assert asked(house, "transactionId") == said


PROFILE_OF = [("a", 1, True), ("z", 2001, True), ("z", 1, False), ("a", 77, True)]


@pytest.mark.parametrize(("who", "called", "passes"), PROFILE_OF)
async def test_a_profile_of_a_transaction(house: House, who: str, called: int, passes: bool) -> None:
    await house.say("StartTransaction", start())
    profile = {"chargingProfileId": 9, "transactionId": called, "chargingProfilePurpose": "TxProfile"}
    answer = await house.command(who, "SetChargingProfile", connectorId=1, csChargingProfiles=profile)
    assert isinstance(answer, Result) and bool(house.link.asked) is passes
    assert answer.payload == ({"status": "Accepted"} if passes else {"status": "Rejected"})
    assert len(house.rows("SELECT * FROM numbers")) == passes
    if passes:
        assert asked(house, "csChargingProfiles", "transactionId") == (1 if called != 77 else 77)


# --- reservations and profiles

MADE = [
    ("ReserveNow", ("reservationId",), "CancelReservation", "reservationId"),
    ("SetChargingProfile", ("csChargingProfiles", "chargingProfileId"), "ClearChargingProfile", "id"),
    ("RemoteStartTransaction", ("chargingProfile", "chargingProfileId"), "ClearChargingProfile", "id"),
]


def made(path: tuple[str, ...], value: int) -> dict[str, Any]:
    return {path[0]: value if len(path) == 1 else {path[1]: value}}


@pytest.mark.parametrize(("make", "path", "end", "by"), MADE)
async def test_what_two_backends_call_the_same_is_two_things_to_the_charger(
    house: House, make: str, path: tuple[str, ...], end: str, by: str
) -> None:
    said = []
    for name in ("a", "b"):
        await house.command(name, make, **made(path, 5))
        said.append(asked(house, *path))
    assert said[0] == 5 and OURS <= said[1] <= MOST_NUMBER
    await house.again()
    for name, known in zip(("a", "b"), said, strict=True):
        await house.command(name, make, **made(path, 5))
        assert asked(house, *path) == known
        await house.command(name, end, **{by: 5})
        assert asked(house, by) == known


@pytest.mark.parametrize(("make", "path", "end", "by"), MADE)
@pytest.mark.parametrize("theirs", [0, -1, 2**31, 2**63 - 1, 10**30])
async def test_what_not_every_wire_carries_is_mapped_and_on_disk_first(
    house: House, make: str, path: tuple[str, ...], end: str, by: str, theirs: int
) -> None:
    await house.command("a", make, **made(path, theirs))
    ours = asked(house, *path)
    assert OURS <= ours <= MOST_NUMBER
    assert house.rows("SELECT ours, backend, theirs FROM numbers") == [(ours, "a", str(theirs))]
    await house.command("a", end, **{by: theirs})
    assert asked(house, by) == ours


@pytest.mark.parametrize(("make", "path", "end", "by"), MADE)
async def test_what_is_another_backends_cannot_be_ended(
    house: House, make: str, path: tuple[str, ...], end: str, by: str
) -> None:
    await house.command("a", make, **made(path, 5))
    house.link.asked.clear()
    answer = await house.command("b", end, **{by: 5})
    assert isinstance(answer, Result) and answer.payload == {"status": _NONE_SUCH[end]}
    assert (rules(answer), house.link.asked) == (["numbers.foreign"], [])
    await house.command("b", end, **{by: 6})  # nobody knows it: the charger may
    assert asked(house, by) == 6


async def test_a_reservation_is_told_to_nobody_but_whose_it_is(house: House) -> None:
    await house.command("b", "ReserveNow", reservationId=5)
    await house.command("a", "ReserveNow", reservationId=5)
    ours = asked(house, "reservationId")
    await house.say("StartTransaction", start(reservationId=ours))
    assert [house.at[name].told("reservationId") for name in "az"] == [[("StartTransaction", 5)], [("StartTransaction", None)]]


async def test_a_backend_that_is_introduced_hears_no_reservation_of_another(tmp_path: Path) -> None:
    route = {"failover_in_transaction": True}
    async with House(tmp_path / "state.db", answer=("a", "b"), route=route) as house:
        await house.command("a", "ReserveNow", reservationId=5)
        said = number(await house.say("StartTransaction", start(reservationId=5)))
        house.down("a")
        await house.say("StopTransaction", stop(said))
        assert house.at["b"].told("reservationId")[0] == ("StartTransaction", None)


async def test_of_too_many_the_oldest_is_forgotten_on_disk_too(house: House) -> None:
    for i in range(EACH + 1):
        await house.command("a", "ReserveNow", reservationId=i + 1)
    assert house.rows("SELECT count(*), min(ours) FROM numbers") == [(EACH, 2)]


# --- local lists


async def sent(house: House, who: str, version: int, kind: str = "Full") -> int | None:
    """The version that the charger hears; None: it hears nothing."""
    house.link.asked.clear()
    await house.command(who, "SendLocalList", listVersion=version, updateType=kind)
    return asked(house, "listVersion") if house.link.asked else None


async def seen(house: House, who: str, version: int) -> Any:
    """The version that a backend hears, where the charger says this one."""
    house.link.answer = Result({"listVersion": version})
    answer = await house.command(who, "GetLocalListVersion")
    house.link.answer = Result(ACCEPTED)
    assert isinstance(answer, Result)
    return answer.payload["listVersion"]


async def test_a_list_of_one_backend_is_version_0_to_others(house: House) -> None:
    assert await sent(house, "a", 5) == 5
    assert [await seen(house, name, 5) for name in "ab"] == [5, 0]
    assert await seen(house, "b", 0) == 0  # the charger has lost it
    assert await sent(house, "b", 6, "Differential") is None


async def test_a_full_list_takes_over_and_goes_on_under_its_own_versions(house: House) -> None:
    assert [await sent(house, "a", 5), await sent(house, "b", 3)] == [5, 6]
    await house.again()
    assert [await seen(house, name, 6) for name in "ab"] == [0, 3]
    assert await sent(house, "b", 4, "Differential") == 7  # the charger takes none that is not newer
    assert [await seen(house, name, 7) for name in "ab"] == [0, 4]
    assert await sent(house, "a", 20) == 20


async def test_a_list_that_the_charger_does_not_take_changes_nothing(house: House) -> None:
    await sent(house, "a", 5)
    house.link.answer = Result({"status": "Failed"})
    await sent(house, "b", 9)
    assert [await seen(house, name, 5) for name in "ab"] == [5, 0]


@pytest.mark.parametrize("version", [2**31, 2**63 - 1, 10**30])
async def test_a_version_that_nobody_can_hold_does_no_harm(house: House, version: int) -> None:
    await sent(house, "a", version)
    await sent(house, "b", 3)
    await sent(house, "a", version)
    await house.quiet()
    assert (house.core.ledger.fault, len(house.rows("SELECT * FROM numbers"))) == ("", 1)

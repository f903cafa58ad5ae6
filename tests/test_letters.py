"""The commands of `ocpp-gateway letters`, against a served admin door over a real outbox."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner
from typer.testing import Result as Outcome

from gateway.cli import app
from gateway.config import Admin
from gateway.state.letters import Rank
from tests.admin import admin
from tests.outboxes import CP, Backend, Clock, Run, fail, status, stop
from tests.outboxes import B as NAME

HEADINGS = "id\ttime\tbackend\tcharger\taction\ttransaction\tattempts\treason"
WHY = "refused 1 times, at last with InternalError: not TAG1 again"
SAID = '{"transactionId": 8, "meterStop": 9, "timestamp": "2024-05-01T09:00:00Z"}'


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Run]:
    run = Run(tmp_path / "state.db", Clock(), Backend(fail), attempts=1)
    await run.open()
    yield run
    await run.close()


@pytest.fixture
async def url(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    monkeypatch.chdir(tmp_path)
    with capture_logs():  # of the gateway, which would land in the command's output
        async with admin(letters=run.outbox) as ask:
            yield f"http://127.0.0.1:{ask.port}"


async def letters(*arguments: str, told: str = "") -> Outcome:
    """The command, in a thread of its own, as the server runs in the loop."""
    return await asyncio.to_thread(CliRunner().invoke, app, ["letters", *arguments], input=told)


async def dead(run: Run, number: int = 7, identity: str = CP) -> str:
    """The id of a dead letter."""
    return str((await run.put(stop(number, identity), number=number)).id)


async def test_what_waits_is_a_table(run: Run, url: str) -> None:
    await dead(run)
    run.backend.is_up = False
    await run.put(stop(8))
    run.clock.now += 5400
    done = await letters("waiting", "--api", url)
    assert (done.exit_code, done.stdout) == (0, f"backend\tlive\tin flight\tdead\toldest\n{NAME}\t1\t0\t1\t1.5 h\n")


async def test_what_waits_is_json(run: Run, url: str) -> None:
    done = await letters("waiting", "--json", "--api", url)
    assert json.loads(done.stdout) == {"backend": NAME, "live": 0, "dead": 0, "inFlight": 0, "oldestSeconds": 0}


async def test_dead_letters_are_a_table(run: Run, url: str) -> None:
    await dead(run)
    await run.put(status("Faulted"), Rank.STATUS)
    at = f"2024-05-01T08:00:00.000Z\t{NAME}\t{CP}"
    assert (await letters("list", "--api", url)).stdout.splitlines() == [
        HEADINGS,
        f"1\t{at}\tStopTransaction\t7\t1\t{WHY}",
        f"2\t{at}\tStatusNotification\t\t1\t{WHY}",
    ]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), [1, 2]),
        (("--backend", NAME, "--charger", "cp-2"), [2]),
        (("--backend", "a b&c"), []),
        (("--limit", "1"), [1]),
        (("--after", "1"), [2]),
    ],
)
async def test_dead_letters_are_json_lines(run: Run, url: str, options: tuple[str, ...], found: list[int]) -> None:
    await dead(run)
    await dead(run, 7, "CP-2")
    done = await letters("list", "--json", "--api", url, *options)
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == found


async def test_a_letter_is_shown(run: Run, url: str) -> None:
    done = await letters("show", await dead(run), "--api", url)
    assert done.stdout.splitlines()[:3] == [
        f"letter 1  2024-05-01T08:00:00.000Z  {NAME}  {CP}  StopTransaction  transaction 7",
        f"dead: {WHY}",
        "{",
    ]
    assert json.loads(done.stdout.partition("\n{")[2].join("{ ")) == stop(7).payload


async def test_a_letter_that_waits_is_shown(run: Run, url: str) -> None:
    run.backend.is_up = False
    assert (await letters("show", await dead(run), "--api", url)).stdout.splitlines()[1] == "waits"


async def test_what_a_charger_said_is_shown_and_never_obeyed(run: Run, url: str) -> None:
    await dead(run, 7, "CP\x1b[2J\u202e\n")
    for command in (("list",), ("show", "1"), ("list", "--json"), ("show", "1", "--json")):
        lines = (await letters(*command, "--api", url)).stdout.splitlines()
        assert all(line.replace("\t", " ").isprintable() for line in lines)
    asked = await letters("purge", "--charger", "CP\x1b", "--api", url)
    assert asked.stderr.startswith("Purge every dead letter of CP\\x1b for good? [y/N]:")


async def test_a_dead_letter_is_changed(run: Run, url: str) -> None:
    done = await letters("change", await dead(run), SAID, "--api", url)
    assert (done.exit_code, done.stdout.splitlines()[0].endswith("StopTransaction  transaction 8")) == (0, True)
    assert json.loads((await letters("show", "1", "--json", "--api", url)).stdout)["payload"] == json.loads(SAID)


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ("{}", 1, "Unprocessable"),
        ("{", 2, "JSON: expected an object"),
    ],
)
async def test_a_change_that_cannot_be_is_told(run: Run, url: str, said: str, code: int, told: str) -> None:
    done = await letters("change", await dead(run), said, "--api", url)
    assert (done.exit_code, done.stdout, done.stderr.startswith(told)) == (code, "", True)


async def test_dead_letters_are_sent_again_by_id(run: Run, url: str) -> None:
    ids = [await dead(run, number) for number in range(2)]
    run.backend.is_up = False
    done = await letters("replay", *ids, "--api", url)
    assert (done.exit_code, done.stdout, run.outbox.counts()[NAME].live) == (0, "2 letters sent again\n", 2)


async def test_an_id_that_cannot_be_keeps_no_other(run: Run, url: str) -> None:
    id = await dead(run)
    done = await letters("replay", "98", id, "99", id, "--api", url)
    assert (done.exit_code, done.stdout) == (1, "1 letter sent again\n")
    assert done.stderr == "Not Found: no dead letter 98\nNot Found: no dead letter 99\n"


@pytest.mark.parametrize("options", [("--backend", NAME), ("--charger", "cp-1"), ("--all",)])
async def test_many_are_sent_again(run: Run, url: str, options: tuple[str, ...]) -> None:
    for number in range(3):
        await dead(run, number)
    run.backend.is_up = False
    done = await letters("replay", *options, "--json", "--api", url)
    assert json.loads(done.stdout) == {"replayed": 3}


async def test_why_some_are_not_sent_again_is_told(run: Run, url: str) -> None:
    await dead(run)
    run.backend.is_up = False
    await run.put(stop(7))
    done = await letters("replay", "--all", "--api", url)
    assert (done.exit_code, done.stdout) == (1, "0 letters sent again\n")
    assert done.stderr == "letter 1: the same message waits already as letter 2\n"


@pytest.mark.parametrize(("told", "code", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("", 1, 1)])
async def test_who_purges_is_asked_first(run: Run, url: str, told: str, code: int, left: int) -> None:
    done = await letters("purge", await dead(run), "--api", url, told=told)
    assert (done.exit_code, len(run.disk()), "Purge letter 1 for good? [y/N]:" in done.stderr) == (code, left, True)


async def test_who_says_yes_is_not_asked(run: Run, url: str) -> None:
    await dead(run)
    done = await letters("purge", "--all", "--yes", "--json", "--api", url)
    assert (json.loads(done.stdout), done.stderr, run.disk()) == ({"purged": 1}, "", [])


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("options", [(), ("1", "--all"), ("1", "--backend", "b"), ("--all", "--charger", "c")])
async def test_which_letters_are_meant_must_be_plain(command: str, options: tuple[str, ...]) -> None:
    done = await letters(command, *options, "--api", "http://127.0.0.1:1")
    assert (done.exit_code, done.stderr) == (2, "expected ids, or --backend or --charger, or --all\n")


@pytest.mark.parametrize("id", ["0", "-1", "x"])
async def test_an_id_that_is_no_number_is_wrong_usage(id: str) -> None:
    assert (await letters("show", "--api", "http://127.0.0.1:1", "--", id)).exit_code == 2


async def test_a_letter_that_is_not_there_is_told(url: str) -> None:
    done = await letters("show", "5", "--api", url)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "Not Found: no letter 5\n")


async def test_the_address_and_the_token_come_from_the_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open\n")
    async with admin(letters=run.outbox, section=Admin(token_file=tmp_path / "token")) as ask:
        (tmp_path / "own.toml").write_text(f'[admin]\nport = {ask.port}\ntoken_file = "{tmp_path}/token"\n')
        assert (await letters("waiting", "-c", str(tmp_path / "own.toml"))).exit_code == 0
        refused = await letters("waiting", "--api", f"http://127.0.0.1:{ask.port}")
    assert (refused.exit_code, refused.stderr[:13]) == (1, "Unauthorized:")

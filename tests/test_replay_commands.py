"""The commands `traffic replay` and `traffic diff`: what they ask, show, hide, and how they end."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from gateway.replay.comparing import diff
from gateway.replay.replaying import replay
from gateway.traffic import export
from tests.peers.csms import Csms
from tests.replays import ACCEPTED, passed, session, write

TAG, OTHER = "TAG-SECRET-1", "TAG-SECRET-2"
CONFIGURATION = """
[[backends]]
kind = "ocppj"
name = "csms"
url = "{}"
connect_timeout = "2s"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, csms: Csms) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.toml").write_text(CONFIGURATION.format(csms.url))
    write(tmp_path / "gateway-traffic.db", [*session("CP-1", TAG), *session("CP-2", OTHER, 8)])
    return tmp_path


async def run(*arguments: str | Path, answer: str = "") -> Result:
    app = typer.Typer()
    app.command("replay")(replay)
    app.command("diff")(diff)
    return await asyncio.to_thread(CliRunner().invoke, app, [str(each) for each in arguments], input=answer)


def lines(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def clean(result: Result) -> None:
    """Nothing that is planted is shown."""
    assert not any(secret in result.output for secret in (TAG, OTHER)), result.output


async def test_replay_tells_each_call_and_the_sum(here: Path, csms: Csms) -> None:
    result = await run("replay", "charger == CP-1", "--to", "csms", "--yes", "--speed", "max", "--linger", "0")
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[3:5] for row in rows[1:5]] == [
        ["BootNotification", "same"],
        ["StartTransaction", "same"],
        ["MeterValues", "same"],
        ["StopTransaction", "same"],
    ]
    assert ["CP-1", "UnlockConnector", "1", "0"] in rows
    assert rows[-1] == ["4 same, 0 different, 0 error, 0 new"]
    assert csms.told("CP-1")[1][1]["idTag"] == TAG
    clean(result)


async def test_replay_ends_with_1_where_answers_differ_and_hides_what_they_say(here: Path, csms: Csms) -> None:
    csms.answers["StartTransaction"] = {"transactionId": 5, "idTagInfo": {"status": "Blocked", "parentIdTag": OTHER}}
    csms.answers["StopTransaction"] = {"idTagInfo": {"status": "Accepted", "parentIdTag": TAG}}
    result = await run("replay", "--transaction", "7", "--to", "csms", "-y", "--speed", "max", "--linger", "0", "--json")
    *played, total = lines(result)
    assert result.exit_code == 1
    assert (total["same"], total["different"], total["error"]) == (1, 2, 0)
    changed = {change["path"]: change for change in played[0]["changes"]}
    assert changed["idTagInfo.status"] == {
        "kind": "changed",
        "path": "idTagInfo.status",
        "before": "Accepted",
        "after": "Blocked",
    }
    assert changed["idTagInfo.parentIdTag"]["after"].startswith("idtag:")
    clean(result)


@pytest.mark.parametrize(("chosen", "actions"), [(("2",), ["StartTransaction"]), (("CP-1-MeterValues-2",), ["MeterValues"])])
async def test_replay_takes_one_exchange_by_number_or_name(
    here: Path, csms: Csms, chosen: tuple[str], actions: list[str]
) -> None:
    await run("replay", *chosen, "--to", csms.url, "--yes", "--linger", "0")
    assert [action for action, _ in csms.told("CP-1")] == actions


async def test_replay_to_a_backend_asks_first(here: Path, csms: Csms) -> None:
    result = await run("replay", "not ok or ok", "--to", "csms", answer="n\n")
    assert result.exit_code == 1
    assert "Play 8 calls of 2 chargers to csms?" in result.output
    assert len(csms.handshakes) == 0
    assert not (here / "gateway-audit.jsonl").exists()


async def test_replay_asks_too_where_only_the_address_is_that_of_a_backend(here: Path, csms: Csms) -> None:
    assert "Play 4 calls" in (await run("replay", "--charger", "CP-1", "--to", csms.url)).output


async def test_replay_from_the_log_is_kept_in_the_audit_file(here: Path, csms: Csms) -> None:
    await run("replay", f'payload.idTag == "{TAG}" and action == StartTransaction', "--to", "csms", "-y", "--linger", "0")
    (line,) = (here / "gateway-audit.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert kept["count"] == 1
    assert kept["filter"].startswith("traffic replay --to csms: ")
    assert TAG not in line


async def test_nothing_is_replayed_that_cannot_be_kept_in_the_audit_file(here: Path, csms: Csms) -> None:
    (here / "gateway-audit.jsonl").mkdir()
    result = await run("replay", "2", "--to", "csms", "-y")
    assert result.exit_code == 1
    assert "nothing is revealed" in result.output
    assert len(csms.handshakes) == 0


@pytest.mark.parametrize("json_", [(), ("--json",)])
async def test_a_dry_run_shows_what_would_be_said_and_says_nothing(here: Path, csms: Csms, json_: tuple[str, ...]) -> None:
    result = await run("replay", "charger == CP-1", "--to", "csms", "--dry-run", *json_)
    assert result.exit_code == 0
    assert len(csms.handshakes) == 0
    assert len(result.stdout.splitlines()) >= 5
    assert "StartTransaction" in result.stdout
    assert not (here / "gateway-audit.jsonl").exists()
    clean(result)


async def test_pseudonyms_of_an_export_are_played_only_when_told_to(here: Path, csms: Csms) -> None:
    excerpt = here / "excerpt.jsonl"
    excerpt.write_bytes(b"".join(export.lines(session("CP-3", "idtag:ABCDEFGHIJ"))))
    options = ("--from", excerpt, "--to", "csms", "--yes", "--speed", "max", "--linger", "0")
    refused = await run("replay", *options)
    assert refused.exit_code == 1
    assert "--redacted plays them as they are" in refused.output
    assert len(csms.handshakes) == 0
    assert (await run("replay", *options, "--redacted")).exit_code == 0
    assert csms.told("CP-3")[1][1]["idTag"] == "idtag:ABCDEFGHIJ"
    assert not (here / "gateway-audit.jsonl").exists()


async def test_replay_of_a_file_takes_a_filter_and_needs_no_log(here: Path, csms: Csms) -> None:
    (here / "gateway-traffic.db").unlink()
    frames = here / "charger.log"
    frames.write_bytes(b"".join(export.lines(session("CP-3"))))
    result = await run(
        "replay", "action == Boot*", "--from", frames, "--to", csms.url, "-y", "--identity", "TEST", "--linger", "0"
    )
    assert result.exit_code == 0, result.output
    assert [action for action, _ in csms.told("TEST")] == ["BootNotification"]


async def test_now_moves_timestamps(here: Path, csms: Csms) -> None:
    await run("replay", "2", "--to", "csms", "-y", "--now", "--linger", "0")
    assert csms.told("CP-1")[0][1]["timestamp"] > "2026"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--to", "csms"), 2, "expected an id, a filter, --transaction, --charger or --from"),
        (("2", "--to", "nobody"), 2, "or a backend of the configuration (csms), got nobody"),
        (("2",), 2, "--to"),
        (("99", "--to", "csms"), 1, "expected the number or the name of an exchange in the log, got 99"),
        (("charger == ", "--to", "csms"), 2, "at character"),
        (("charger == CP-9", "--to", "csms"), 1, "expected calls that a charger made, got none"),
        (("4", "--to", "csms"), 1, "expected calls that a charger made, got none"),
        (("--transaction", "99", "--to", "csms"), 1, "of which nothing is there"),
        (("2", "--to", "csms", "--speed", "0"), 2, "max"),
        (("2", "--to", "csms", "--ignore", "a..b"), 2, "expected a path"),
        (("--from", "nowhere.log", "--to", "csms"), 1, "nowhere.log: cannot be read: no such file"),
        (("2", "--to", "csms", "--db", "nowhere.db"), 1, "nowhere.db"),
    ],
)
async def test_what_replay_cannot_do_is_told(here: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    result = await run("replay", *arguments, "--yes")
    assert result.exit_code == code, result.output
    assert told in " ".join(result.output.split())


async def test_ctrl_c_ends_a_replay_and_tells_what_was_played(here: Path, csms: Csms) -> None:
    command = ("-c", "import typer; from gateway.replay.replaying import replay; typer.run(replay)")
    options = ("charger == CP-1", "--to", "csms", "--yes", "--speed", "0.001", "--json")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    running = await asyncio.create_subprocess_exec(
        sys.executable, *command, *options, stdout=asyncio.subprocess.PIPE, env=environment
    )
    await csms.heard.wait()
    running.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        output, _ = await running.communicate()
    assert running.returncode == 130
    assert [json.loads(line)["same"] for line in output.splitlines()[-1:]] in ([0], [1])


# --- diff -----------------------------------------------------------------------------------------------------------------


async def test_diff_of_two_exchanges_tells_what_changed_and_hides_what_is_secret(here: Path) -> None:
    result = await run("diff", "2", "7")
    assert result.exit_code == 1
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [["~", "call.idTag"], ["~", "answer.transactionId"]]
    assert rows[2][2:] == ["7", "8"]
    clean(result)


async def test_diff_of_what_is_the_same_ends_with_0(here: Path) -> None:
    result = await run("diff", "2", "7", "--ignore", "call.idTag", "--ignore", "answer.transactionId")
    assert (result.exit_code, result.stdout) == (0, "no differences\n")


async def test_a_difference_that_pseudonyms_do_not_show_is_told_all_the_same(here: Path) -> None:
    write(here / "case.db", [passed("Authorize", {"idTag": tag}, ACCEPTED, n) for n, tag in enumerate((TAG, TAG.lower()))])
    (change,) = lines(await run("diff", "1", "2", "--db", "case.db", "--json"))
    assert change["path"] == "call.idTag"
    assert change["before"] == change["after"]


async def test_diff_of_two_legs_compares_their_answers(here: Path) -> None:
    answers: dict[str, Any] = {"csms": ACCEPTED, "csms-b": {"idTagInfo": {"status": "Invalid"}}}
    write(here / "case.db", [passed("Authorize", {"idTag": TAG}, ACCEPTED, **answers)])
    result = await run("diff", "1", "--legs", "csms,csms-b", "--db", "case.db", "--json")
    assert {change["path"]: change["kind"] for change in lines(result)} == {
        "idTagInfo.status": "changed",
        "idTagInfo.expiryDate": "removed",
        "idTagInfo.parentIdTag": "removed",
    }


async def test_diff_of_two_sessions_finds_only_what_is_not_the_same(here: Path) -> None:
    result = await run("diff", "--session", "charger == CP-1", "--with", "charger == CP-2", "--json")
    rows = lines(result)
    assert [row["left"]["action"] for row in rows] == [row["right"]["action"] for row in rows]
    assert [[change["path"] for change in row["changes"]] for row in rows] == [[], ["call.idTag"], [], [], ["call.idTag"]]
    clean(result)
    ignored = ("--ignore", "call.idTag")
    assert (await run("diff", "--session", "charger == CP-1", "--with", "charger == CP-2", *ignored)).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "expected two exchanges, or one and --legs, or --session and --with"),
        (("1",), 2, "expected two exchanges"),
        (("1", "2", "--session", "ok", "--with", "ok"), 2, "expected two exchanges"),
        (("1", "--legs", "csms"), 2, "expected two names with a comma between them, got csms"),
        (("1", "--legs", "charger,away"), 1, "expected a leg of exchange 1: charger, got away"),
        (("1", "99"), 1, "got 99"),
        (("--session", "ok", "--with", "charger == CP-9"), 1, "--with: expected exchanges, found none"),
    ],
)
async def test_what_diff_cannot_do_is_told(here: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    result = await run("diff", *arguments)
    assert result.exit_code == code, result.output
    assert told in result.output

"""The commands of `ocpp-gateway traffic`."""

import contextlib
import json
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.traffic import file, terminal
from gateway.traffic.record import Record
from gateway.traffic.row import to_columns
from translations.messages import Kind, Remark

ROOT = Path(__file__).parents[1]
REMARK = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
CALL = Record(
    1_714_557_600.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<a><b>1</b></a>"
)._replace(canonical=[2, "m-1", "Heartbeat", {}], remarks=(REMARK,))
SENT = CALL._replace(at=1_714_557_601.0, leg="csms", direction=">", wire="json", version="1.6", raw=b"[2,1]", remarks=())
FAILED = SENT._replace(
    at=1_714_557_602.0, kind="error", outcome="InternalError", latency=1.5, note="out of order", canonical=None
)
OTHER = CALL._replace(at=1_714_557_603.0, exchange="x-2", charger="DC-2", action="Authorize", remarks=(), tenant="Acme")


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gateway-traffic.db", CALL, SENT, FAILED, OTHER)
    return tmp_path / "gateway-traffic.db"


def write(path: Path, *records: Record) -> None:
    with contextlib.closing(file.connect(path)) as log:
        file.insert(log, [to_columns(r) for r in records])


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(terminal.app, [str(a) for a in arguments])


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    code = "from gateway.traffic.terminal import app; app()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def listed(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split("\t")[0] for line in result.stdout.splitlines()[1:]]


def test_list_shows_the_newest_last_in_plain_lines(db: Path) -> None:
    lines = run("list", "--db", db).stdout.splitlines()
    assert len(lines) == 5
    assert lines[1] == "1\t2024-05-01T10:00:00.000Z\t<\tCP-1\tcharger\tsoap 1.5\tHeartbeat\tcall\t\tlost\t"
    assert lines[3].split("\t")[7:] == ["InternalError", "1500.0 ms", "", "out of order"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--charger", "dc-*"], ["4"]),
        (["--tenant", "acme"], ["4"]),
        (["--tenant", "other"], []),
        (["--action", "Authorize"], ["4"]),
        (["--leg", "csms"], ["2", "3"]),
        (["--failed"], ["3"]),
        (["--remark", "lost"], ["1"]),
        (["--since", "2024-05-01T10:00:02Z"], ["3", "4"]),
        (["--until", "2024-05-01T10:00:02Z"], ["1", "2"]),
        (["--since", "10m"], []),
        (["--limit", "1"], ["4"]),
    ],
)
def test_list_filters(db: Path, options: list[str], expected: list[str]) -> None:
    assert listed(run("list", *options)) == expected


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["list", "--json", "--failed"], [3]),
        (["show", "2", "--json"], [1, 2, 3]),
        (["export", "--leg", "csms"], [2, 3]),
        (["export", "--tenant", "acme"], [4]),
    ],
)
def test_json_lines_are_objects(db: Path, command: list[str], expected: list[int]) -> None:
    assert [json.loads(line)["id"] for line in run(*command).stdout.splitlines()] == expected


@pytest.mark.parametrize("name", ["x-1", "1", "3"])
def test_show_tells_the_whole_exchange_in_order(db: Path, name: str) -> None:
    assert run("show", name).stdout.splitlines() == [
        "exchange x-1  charger CP-1",
        "",
        "2024-05-01T10:00:00.000Z  <  charger  soap 1.5  Heartbeat  call",
        *("<a>", "  <b>1</b>", "</a>"),
        *("[", "  2,", '  "m-1",', '  "Heartbeat",', "  {}", "]"),
        "lost iccid: not in 1.2 (drop)",
        "",
        "2024-05-01T10:00:01.000Z  >  csms  json 1.6  Heartbeat  call",
        "[2,1]",
        *("[", "  2,", '  "m-1",', '  "Heartbeat",', "  {}", "]"),
        "",
        "2024-05-01T10:00:02.000Z  >  csms  json 1.6  Heartbeat  InternalError  1500.0 ms",
        "[2,1]",
        *("[", "  2,", "  1", "]"),
        "note: out of order",
    ]


def test_show_tells_whose_it_is(db: Path) -> None:
    assert run("show", "x-2").stdout.splitlines()[0] == "exchange x-2  charger DC-2  tenant Acme"


def test_an_unknown_id_is_said_in_a_line(db: Path) -> None:
    found = run("show", "no\x1bne")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == "expected the id of a message or an exchange in the log, got no\\x1bne\n"


def test_export_writes_a_file_for_its_owner(db: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    for _ in range(2):
        assert run("export", "--output", output, "--limit", "3").exit_code == 0
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == [2, 3, 4]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


def test_export_does_not_write_over_the_log(db: Path) -> None:
    found = run("export", "--output", db)
    assert (found.exit_code, found.stderr) == (1, f"{db}: expected another file than the log itself\n")
    assert listed(run("list")) == ["1", "2", "3", "4"]


def test_export_says_why_it_cannot_write(db: Path) -> None:
    found = run("export", "--output", "nowhere/out.jsonl")
    assert (found.exit_code, found.stderr) == (1, "nowhere/out.jsonl: cannot be written: no such file or directory\n")


def test_stats_count(db: Path) -> None:
    lines = run("stats").stdout.splitlines()
    assert lines[0] == "4 messages, 2024-05-01T10:00:00.000Z to 2024-05-01T10:00:03.000Z"
    assert "csms\tHeartbeat\tInternalError\t1" in lines
    assert "lost\tdrop\t1" in lines
    assert "csms\tHeartbeat\t1\t1500.0 ms\t1500.0 ms" in lines


def test_stats_are_json_where_asked(db: Path) -> None:
    found = json.loads(run("stats", "--json", "--charger", "DC-2").stdout)
    assert (found["messages"], found["counts"][0]["action"]) == (1, "Authorize")


@pytest.mark.parametrize("command", [["list"], ["tail"], ["show", "1"], ["export"], ["stats"]])
def test_a_missing_log_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*command)
    expected = "gateway-traffic.db: no traffic log there; expected one written by ocpp-gateway serve\n"
    assert (found.exit_code, found.stdout, found.stderr) == (1, "", expected)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_said_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_text("no database, but longer than the header of one; " * 20)
    found = run("list", "--db", path)
    assert (found.exit_code, found.stderr) == (1, f"{path}: cannot be read: file is not a database\n")


def test_the_configuration_names_the_log(db: Path, tmp_path: Path) -> None:
    db.rename(tmp_path / "elsewhere.db")
    text = '[traffic]\npath = "elsewhere.db"\n'
    (tmp_path / "other.toml").write_text(text)
    assert listed(run("list", "-c", "other.toml", "--limit", "1")) == ["4"]
    assert run("list").exit_code == 1
    (tmp_path / "gateway.toml").write_text(text)
    assert listed(run("list", "--limit", "1")) == ["4"]


def test_every_complaint_about_the_configuration_is_a_line(db: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[traffic]\nqueue = 0\ndepth = 1\n")
    found = run("list")
    assert found.exit_code == 1
    assert [line.split(":")[:2] for line in found.stderr.splitlines()] == [
        ["gateway.toml", " traffic.queue"],
        ["gateway.toml", " traffic.depth"],
    ]


@pytest.mark.parametrize("options", [["--since", "soon"], ["--limit", "0"], ["--remark", "found"], ["--nonsense"]])
def test_wrong_usage_exits_with_2(db: Path, options: list[str]) -> None:
    assert run("list", *options).exit_code == 2


def test_a_time_that_is_none_is_told_what_was_expected(db: Path) -> None:
    said = re.sub(r"[\s│]+", " ", run("list", "--since", "soon").stderr)
    assert 'expected a time like "10m" (ago) or "2024-05-01T10:00:00Z", got "soon"' in said


def test_tail_shows_new_messages_until_it_is_interrupted(db: Path) -> None:
    now = time.time()
    with start("tail", "--db", db, "--since", "1m", "--charger", "DC-*", "--json") as tail:
        assert tail.stdout is not None and tail.stderr is not None
        write(db, SENT._replace(at=now), OTHER._replace(at=now))
        assert json.loads(tail.stdout.readline())["id"] == 6
        write(db, OTHER._replace(at=now))
        assert json.loads(tail.stdout.readline())["id"] == 7
        tail.send_signal(signal.SIGINT)
        assert (tail.wait(20), tail.stdout.read(), tail.stderr.read()) == (0, b"", b"")


@pytest.mark.parametrize("command", [["list", "--limit", "5000"], ["export"], ["stats"]])
def test_a_broken_pipe_ends_it_quietly(db: Path, command: list[str]) -> None:
    write(db, *([CALL] * 5000))
    with start(*command, "--db", db) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(20), process.stderr.read()) == (0, b"")


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_an_export_never_writes_over_the_log(db: Path, suffix: str) -> None:
    before = db.read_bytes()
    found = run("export", "-o", f"{db}{suffix}")
    assert (found.exit_code, found.stderr) == (1, f"{db}{suffix}: expected another file than the log itself\n")
    assert db.read_bytes() == before

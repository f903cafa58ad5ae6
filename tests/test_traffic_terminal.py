"""The commands of `ocpp-gateway traffic`."""

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gateway.traffic import progress, terminal
from gateway.traffic.exchanges import Exchange
from gateway.traffic.query import open_to_read
from gateway.traffic.record import Record
from gateway.traffic.writer import Keeping, LogWriter
from tests.excerpts import AT, hostile, soap_exchange
from tests.exchanges import exchange, write
from tests.traffic_cases import AUTHORIZE, SECRET, STORY, status, store
from translations.messages import Kind, Remark

ROOT = Path(__file__).parents[1]
REMARK = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
CALL = Record(AT, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<a><b>1</b></a>")._replace(
    canonical=[2, "m-1", "Heartbeat", {}], remarks=(REMARK,)
)
SENT = CALL._replace(at=AT + 1, leg="csms", direction=">", wire="json", version="1.6", raw=b"[2,1]", remarks=())
ANSWER = SENT._replace(at=AT + 2, direction="<", kind="error", outcome="InternalError", latency=1.0, note="out of order")
FAILED = CALL._replace(at=AT + 3, direction=">", kind="error", outcome="InternalError", latency=3.0, remarks=())
OTHER = CALL._replace(at=AT + 4, exchange="x-2", charger="DC-2", action="Authorize", remarks=(), tenant="Acme")
OPEN = OTHER._replace(at=AT + 5, exchange="x-3", charger="DC-3", tenant="")


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gateway-traffic.db", CALL, SENT, ANSWER, FAILED, OTHER, OPEN)
    return tmp_path / "gateway-traffic.db"


def run(*arguments: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(terminal.app, [str(a) for a in arguments], input=stdin)


def start(*arguments: str | Path) -> subprocess.Popen[bytes]:
    code = "from gateway.traffic.terminal import app; app()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)


def listed(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split("\t")[0] for line in result.stdout.splitlines()[1:]]


def ids(result: Result) -> list[int]:
    assert result.exit_code == 0, result.output
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


# --- list, show, stats -------------------------------------------------------------------------------------------------


def test_list_shows_the_newest_last_in_plain_lines(db: Path) -> None:
    lines = [line.split("\t") for line in run("list", "--db", db).stdout.splitlines()]
    assert lines[0] == ["id", "time", "", "charger", "action", "outcome", "latency", "legs", "remarks", "findings", "note"]
    assert [line[0] for line in lines[1:]] == ["1", "2", "3"]
    assert lines[1][1:] == [
        "2024-05-01T10:00:00.000Z",
        "<",
        "CP-1",
        "Heartbeat",
        "InternalError",
        "3000.0 ms",
        "charger soap 1.5 InternalError, csms json 1.6 InternalError",
        "lost",
        "",
        "out of order",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--charger", "dc-*"], ["2", "3"]),
        (["--tenant", "acme"], ["2"]),
        (["--tenant", "other"], []),
        (["--action", "Authorize"], ["2", "3"]),
        (["--leg", "csms"], ["1"]),
        (["--failed"], ["1"]),
        (["--remark", "lost"], ["1"]),
        (["--since", "2024-05-01T10:00:04Z"], ["2", "3"]),
        (["--until", "2024-05-01T10:00:04Z"], ["1"]),
        (["--since", "10m"], []),
        (["--limit", "1"], ["3"]),
        (["action == Authorize"], ["2", "3"]),
        (["action == Authorize and tenant == acme"], ["2"]),
        (["action == Authorize", "--charger", "*3"], ["3"]),
        (["leg == csms and not ok"], ["1"]),
        (["since 2024-05-01T10:00:04Z until 2024-05-01T10:00:05Z".replace(" until", " and until")], ["2"]),
        (["charger == DC-2 or remark.lost", "--until", "2024-05-01T10:00:05Z"], ["1", "2"]),
    ],
)
def test_expressions_and_options_all_hold(db: Path, options: list[str], expected: list[str]) -> None:
    assert listed(run("list", *options)) == expected


@pytest.mark.parametrize("command", ["list", "tail", "stats", "export", "view", "prune", "follow"])
def test_what_is_wrong_with_an_expression_is_pointed_at(db: Path, command: str) -> None:
    found = run(command, "latency > 2")
    assert (found.exit_code, found.stdout) == (2, "")
    assert found.stderr.splitlines()[1:] == ["latency > 2", "          ^"]
    assert found.stderr.startswith("expected a duration like 2s")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["list", "--json", "--failed"], [1]),
        (["show", "2", "--json"], [2]),
        (["export", "--leg", "csms"], [1]),
        (["export", "tenant == acme"], [2]),
        (["export", "--limit", "2"], [2, 3]),
    ],
)
def test_json_lines_are_objects(db: Path, command: list[str], expected: list[int]) -> None:
    assert ids(run(*command)) == expected


@pytest.mark.parametrize("name", ["x-1", "1"])
def test_show_tells_the_whole_exchange(db: Path, name: str) -> None:
    lines = run("show", name).stdout.splitlines()
    assert lines[0] == "exchange 1  x-1  charger CP-1  Heartbeat  InternalError  3000.0 ms"
    assert [line.split()[4:6] for line in lines[1:5]] == [
        ["received", "charger"],
        ["sent", "csms"],
        ["answered", "csms"],
        ["returned", "charger"],
    ]
    assert "charger  soap 1.5  InternalError  3000.0 ms" in lines
    assert "lost iccid: not in 1.2 (drop)" in lines
    assert lines[lines.index("<a>") :][:4] == ["<a>", "  <b>1</b>", "</a>", "["]
    assert "note: out of order" in lines


def test_an_unknown_id_is_said_in_a_line(db: Path) -> None:
    found = run("show", "no\x1bne")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == "expected the number or the name of an exchange in the log, got no\\x1bne\n"


def test_stats_count(db: Path) -> None:
    lines = run("stats").stdout.splitlines()
    assert lines[0] == "3 exchanges, 2024-05-01T10:00:00.000Z to 2024-05-01T10:00:05.000Z"
    assert "csms\tHeartbeat\tInternalError\t1" in lines
    assert "lost\tdrop\t1" in lines
    assert "csms\tHeartbeat\t1\t1000.0 ms\t1000.0 ms" in lines


def test_stats_are_json_where_asked(db: Path) -> None:
    found = json.loads(run("stats", "--json", "charger == DC-2").stdout)
    assert (found["exchanges"], found["counts"][0]["action"]) == (1, "Authorize")


def test_hostile_exchanges_are_harmless_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "gateway-traffic.db", *hostile())
    commands = [["list"], ["list", "--json"], ["stats"], ["follow", "id > 0", "--since", "2020-01-01"], ["export"]]
    commands += [["show", str(n)] for n in range(1, 7)] + [["export", "--format", name] for name in ("trace", "har", "csv")]
    for command in commands:
        found = run(*command)
        assert found.exit_code == 0, found.output
        assert not set("\x1b\x9b\x07\x00\x7f\u202e\u2028") & set(found.stdout), command


# --- what should not be told -------------------------------------------------------------------------------------------


@pytest.fixture
def secretive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "gateway-traffic.db", AUTHORIZE)
    return tmp_path


SHOWING = [
    ["list", "--json"],
    ["show", "1"],
    ["show", "1", "--json"],
    ["follow", "--charger", "CP-7", "--since", "2020-01-01"],
    *(["export", "--format", name] for name in ("jsonl", "trace", "har", "csv", "pcapng")),
]


@pytest.mark.parametrize("command", SHOWING)
def test_what_should_not_be_told_is_hidden_unless_it_is_revealed(secretive: Path, command: list[str]) -> None:
    hidden, revealed = run(*command), run(*command, "--reveal")
    assert hidden.exit_code == revealed.exit_code == 0, revealed.output
    assert SECRET.encode() not in hidden.stdout_bytes
    if command[-1] != "pcapng":  # frames of clients are masked
        assert b"idtag:" in hidden.stdout_bytes
        assert SECRET.encode() in revealed.stdout_bytes


def test_who_reveals_is_kept_first_without_what_is_asked_for(secretive: Path) -> None:
    assert SECRET in run("list", "--json", "--reveal", f'payload.idTag == "{SECRET}"').stdout
    [line] = [json.loads(text) for text in Path("gateway-audit.jsonl").read_text().splitlines()]
    assert (line["count"], bool(line["who"])) == (1, True)
    assert line["filter"].startswith("list payload.idTag ==")


@pytest.mark.parametrize("command", SHOWING)
def test_without_the_audit_file_nothing_is_revealed(secretive: Path, command: list[str]) -> None:
    Path("gateway-audit.jsonl").mkdir()
    found = run(*command, "--reveal")
    assert (found.exit_code, found.stdout_bytes) == (1, b"")
    assert "cannot be written, so nothing is revealed" in found.stderr


@pytest.mark.parametrize("command", [["list"], ["list", "--reveal"], ["show", "1"], ["export"]])
def test_without_the_key_nothing_is_shown(secretive: Path, command: list[str]) -> None:
    Path("gateway-redaction.key").write_bytes(b"short")
    found = run(*command)
    assert (found.exit_code, found.stdout) == (1, "")
    expected = "redaction.key_file: gateway-redaction.key: expected a key of 32 bytes, got 5; nothing is shown without it\n"
    assert found.stderr == expected


# --- stories -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "gateway-traffic.db", *STORY)
    return tmp_path / "gateway-traffic.db"


def events(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [line.split("\t")[3] for line in result.stdout.splitlines()]


def test_the_story_of_a_transaction_has_its_card_and_its_connector_and_no_other(told: Path) -> None:
    said = events(run("follow", "--transaction", "4711"))
    assert [" ".join(re.sub(r"idtag:\w+", "CARD", line).split()[:4]) for line in said] == [
        "connector 1 is Preparing",
        "authorizes CARD: Accepted",
        "starts transaction 4711 at",
        "connector 1 is Charging",
        "connector 1 reads 4.000",
        "is told to unlock",
        "connector 1 is Faulted:",
        "stops transaction 4711: 12.345",
        "transaction 4711 of 62",
    ]


def test_the_story_of_a_charger_is_all_of_it(told: Path) -> None:
    assert len(events(run("follow", "--charger", "cp-7", "--since", "2024-01-01"))) == 13
    assert len(events(run("follow", "--charger", "cp-7", "--since", "2024-05-01T10:30:00Z"))) == 4
    assert events(run("follow", "--charger", "cp-7")) == []  # nothing within the last day


def test_a_story_as_json_names_kinds(told: Path) -> None:
    lines = run("follow", "--transaction", "4711", "--json").stdout.splitlines()
    last = json.loads(lines[-1])
    assert (last["kind"], last["severity"], last["exchange"]) == ("finding", "note", 12)
    assert last["at"] == "2024-05-01T11:02:20.000Z"


def test_a_number_that_several_chargers_have_wants_a_charger(told: Path) -> None:
    twin = STORY[5]
    twin = type(twin)(0, "twin", AT, "CP-8", action=twin.action, transaction=4711, legs=twin.legs, outcome="ok")
    store(told, twin)
    found = run("follow", "--transaction", "4711")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "of several: CP-7, CP-8; --charger says which" in found.stderr
    assert len(events(run("follow", "--transaction", "4711", "--charger", "CP-7"))) == 9


def test_a_transaction_that_is_not_there_is_said(told: Path) -> None:
    found = run("follow", "--transaction", "1")
    assert (found.exit_code, found.stderr) == (1, "expected a transaction in the log, got 1, of which nothing is there\n")


def test_a_story_of_everything_wants_a_filter(told: Path) -> None:
    assert run("follow").exit_code == 2


def test_a_transaction_that_is_over_is_told_to_its_end_live_too(told: Path) -> None:
    assert len(events(run("follow", "--transaction", "4711", "--live"))) == 9


def test_an_expression_narrows_the_story_of_a_transaction(told: Path) -> None:
    assert len(events(run("follow", "action == StatusNotification", "--transaction", "4711"))) == 3


def test_a_story_goes_on_live(told: Path) -> None:
    with start("follow", "--charger", "CP-7", "--since", "2024-05-01T12:00:00Z", "--live", "--db", told) as process:
        assert process.stdout is not None and process.stderr is not None
        assert b"is Available" in process.stdout.readline()
        store(told, status("Preparing", "NoError", 10_000))
        assert b"is Preparing" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(20), process.stderr.read()) == (0, b"")


# --- export, import, prune ---------------------------------------------------------------------------------------------


def test_export_writes_a_file_for_its_owner(db: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    for _ in range(2):
        assert run("export", "--output", output, "--limit", "2").exit_code == 0
    assert [json.loads(line)["id"] for line in output.read_text().splitlines()] == [2, 3]
    assert stat.S_IMODE(output.stat().st_mode) == 0o600


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_an_export_never_writes_over_the_log(db: Path, suffix: str) -> None:
    before = db.read_bytes()
    found = run("export", "-o", f"{db}{suffix}")
    assert (found.exit_code, found.stderr) == (1, f"{db}{suffix}: expected another file than the log itself\n")
    assert db.read_bytes() == before


def test_export_says_why_it_cannot_write(db: Path) -> None:
    found = run("export", "--output", "nowhere/out.jsonl")
    assert (found.exit_code, found.stderr) == (1, "nowhere/out.jsonl: cannot be written: no such file or directory\n")


def test_every_format_is_written(db: Path) -> None:
    assert {json.loads(line)["schemaVersion"] for line in run("export", "--format", "trace").stdout.splitlines()} == {"1.1"}
    assert json.loads(run("export", "--format", "har").stdout)["log"]["version"] == "1.2"
    assert len(list(csv.reader(run("export", "--format", "csv").stdout.splitlines()))) == 5
    assert run("export", "--format", "pcapng").stdout_bytes.startswith(b"\x0a\x0d\x0d\x0a")


@pytest.mark.parametrize("format", ["jsonl", "trace"])
def test_what_is_exported_can_be_imported_once(db: Path, format: str) -> None:
    assert run("export", "--format", format, "-o", "out").exit_code == 0
    found = run("import", "out", "--db", "case.db")
    assert (found.exit_code, found.stdout) == (0, "3 exchanges imported\n"), found.output
    assert run("import", "out", "--db", "case.db").stdout == "0 exchanges imported; 3 were there already\n"
    assert listed(run("list", "--db", "case.db")) == ["1", "2", "3"]


def test_import_reads_a_folder_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = soap_exchange().legs[0].call
    assert call is not None
    Path("envelopes").mkdir()
    Path("envelopes/1714557601.xml").write_bytes(call.raw)
    assert run("import", "envelopes", "--db", "case.db").stdout == "1 exchange imported\n"
    found = run("import", "-", "--db", "case.db", "--kind", "frames", "--json", stdin='[2,"a","Heartbeat",{}]\n')
    assert json.loads(found.stdout) == {"imported": 1, "known": 0, "refused": 0}


def test_what_cannot_be_imported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("import", "nowhere", "--db", "case.db")
    assert (found.exit_code, found.stderr) == (1, "nowhere: cannot be read: no such file or directory\n")
    assert not Path("case.db").exists()
    Path("odd").write_text("{}\nhello\n")
    assert "could not be read, or were refused" in run("import", "odd", "--db", "case.db").stdout


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--before", "2024-05-01T10:00:05Z"], ["3"]),
        (["--keep", "1d"], []),
        (["charger == DC-2"], ["1", "3"]),
        (["charger == DC-*", "--before", "2024-05-01T10:00:05Z"], ["1", "3"]),
        (["charger == nobody"], ["1", "2", "3"]),
    ],
)
def test_prune_removes_what_is_asked_for(db: Path, options: list[str], left: list[str]) -> None:
    found = run("prune", *options, "--yes")
    assert found.exit_code == 0, found.output
    assert found.stdout == f"{3 - len(left)} exchange{'' if len(left) == 2 else 's'} removed\n"
    assert listed(run("list")) == left


def test_prune_asks_first(db: Path) -> None:
    found = run("prune", "--keep", "1d", stdin="n\n")
    assert found.exit_code == 1
    assert "remove 3 exchanges from gateway-traffic.db, for good?" in found.stderr
    assert len(listed(run("list"))) == 3
    assert run("prune", "--keep", "1d", stdin="y\n").exit_code == 0
    assert listed(run("list")) == []


def test_what_others_said_outlives_what_is_pruned(db: Path) -> None:
    assert run("prune", "id == 2", "--yes", "--json").stdout == '{"removed":1}\n'
    assert "<b>1</b>" in run("show", "3").stdout
    assert run("prune", "id in (1, 3)", "--yes").exit_code == 0
    log = open_to_read(db)
    assert log.connection.execute("SELECT count(*) FROM bodies").fetchone() == (0,)
    log.close()


def test_prune_of_everything_wants_to_be_told_what(db: Path) -> None:
    assert run("prune", "--yes").exit_code == 2


def test_an_import_keeps_the_index_of_texts_that_is_there(db: Path) -> None:
    LogWriter(db, Keeping(full_text=True)).close()
    Path("one").write_text('[2,"a","Heartbeat",{}]\n')
    assert run("import", "one").exit_code == 0
    log = open_to_read(db)
    assert log.connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'exchange_texts'").fetchone() == (1,)
    log.close()


def test_long_work_is_told_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    for after, is_told in ((0.0, True), (60.0, False)):
        out = Terminal()
        with progress.progress("export", out, after) as told:
            told(1, 2, "1 exchange")
        assert ("1 exchange" in out.getvalue()) is is_told


# --- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["list"], ["tail"], ["show", "1"], ["export"], ["stats"], ["view"], ["follow", "ok"], ["prune", "ok"]]
)
def test_a_missing_log_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    found = run(*command)
    expected = "gateway-traffic.db: no traffic log there; expected one written by ocpp-gateway serve\n"
    assert (found.exit_code, found.stdout, found.stderr) == (1, "", expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["list"], ["import", "other.db"]])
def test_what_is_no_database_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.db").write_text("no database, but longer than the header of one; " * 20)
    found = run(*command, "--db", "other.db")
    assert (found.exit_code, found.stderr) == (1, "other.db: cannot be read: file is not a database\n")


def test_the_view_wants_a_terminal(db: Path) -> None:
    found = run("view")
    assert (found.exit_code, found.stderr) == (1, "expected a terminal; list, tail and show write elsewhere\n")


def test_the_view_says_which_package_is_missing(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gateway.traffic.view.app", None)
    found = run("view")
    assert (found.exit_code, found.stderr) == (1, "expected the package textual: pip install textual\n")


def test_the_configuration_names_the_log(db: Path, tmp_path: Path) -> None:
    db.rename(tmp_path / "elsewhere.db")
    text = '[traffic]\npath = "elsewhere.db"\n'
    (tmp_path / "other.toml").write_text(text)
    assert listed(run("list", "-c", "other.toml", "--limit", "1")) == ["3"]
    assert run("list").exit_code == 1
    (tmp_path / "gateway.toml").write_text(text)
    assert listed(run("list", "--limit", "1")) == ["3"]


def test_every_complaint_about_the_configuration_is_a_line(db: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[traffic]\nqueue = 0\ndepth = 1\n")
    found = run("list")
    assert found.exit_code == 1
    assert [line.split(":")[:2] for line in found.stderr.splitlines()] == [
        ["gateway.toml", " traffic.queue"],
        ["gateway.toml", " traffic.depth"],
    ]


@pytest.mark.parametrize(
    "command",
    [
        ["list", "--since", "soon"],
        ["list", "--limit", "0"],
        ["list", "--remark", "found"],
        ["list", "--nonsense"],
        ["export", "--format", "doc"],
        ["import", "x", "--kind", "doc"],
        ["prune", "--keep", "long"],
        ["prune", "--before", "soon"],
        ["follow", "--transaction", "x"],
    ],
)
def test_wrong_usage_exits_with_2(db: Path, command: list[str]) -> None:
    assert run(*command).exit_code == 2


def test_a_time_that_is_none_is_told_what_was_expected(db: Path) -> None:
    said = re.sub(r"[\s│]+", " ", run("list", "--since", "soon").stderr)
    assert 'expected a time like "10m" (ago) or "2024-05-01T10:00:00Z", got "soon"' in said


def test_tail_shows_new_exchanges_until_it_is_interrupted(db: Path) -> None:
    now = time.time()
    with start("tail", "charger == DC-*", "--db", db, "--since", "1m", "--json") as tail:
        assert tail.stdout is not None and tail.stderr is not None
        write(db, CALL._replace(at=now, exchange="n-1"), OTHER._replace(at=now, exchange="n-2"))
        assert json.loads(tail.stdout.readline())["name"] == "n-2"
        write(db, OTHER._replace(at=now, exchange="n-3"))
        assert json.loads(tail.stdout.readline())["name"] == "n-3"
        tail.send_signal(signal.SIGINT)
        assert (tail.wait(20), tail.stdout.read(), tail.stderr.read()) == (0, b"", b"")


@pytest.mark.parametrize("command", [["list", "--limit", "5000"], ["export"], ["export", "--format", "csv"], ["stats"]])
def test_a_broken_pipe_ends_it_quietly(db: Path, command: list[str]) -> None:
    many: list[Exchange] = [exchange(CALL._replace(exchange=f"y-{n}"), id=0) for n in range(3000)]
    store(db, *many)
    with start(*command, "--db", db) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert (process.wait(20), process.stderr.read()) == (0, b"")


def test_from_postgresql_only_days_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gateway.toml").write_text('[traffic]\nkind = "postgres"\nurl_env = "NOT_THERE"\n')
    found = run("prune", "charger == CP-1", "--yes")
    assert (found.exit_code, found.stdout) == (2, "")
    found = run("list")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("traffic log: expected a connection string")

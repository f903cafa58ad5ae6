"""gateway.cli: `check`, `serve` and `translate` as a shell sees them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from typer.testing import CliRunner
from typer.testing import Result as Outcome

from gateway import cli
from tests.peers.envelopes import SOAP12, WSA, envelope

BOOT = envelope(
    "<bootNotificationRequest><chargePointVendor>Volt</chargePointVendor><chargePointModel>A1</chargePointModel>"
    "</bootNotificationRequest>"
)
FRAME = '[2,"urn:uuid:1","BootNotification",{"chargePointVendor":"Volt","chargePointModel":"A1"}]\n'
RESET = '[2,"7","Reset",{"type":"Soft"}]'
NAMELESS = envelope(message_id="")
NO_ID = {"kind": "repaired", "path": "MessageID", "detail": "none given", "rule": "quirks.no-id"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, given: bytes | str = b"") -> Outcome:
    return CliRunner().invoke(cli.app, list(arguments), input=given)


def translate(*arguments: str, given: bytes | str = b"") -> Outcome:
    return run("translate", *arguments, given=given)


def told(outcome: Outcome) -> tuple[int, str, str]:
    return outcome.exit_code, outcome.stdout, outcome.stderr


# --- usage


def test_without_a_command_the_help_is_shown() -> None:
    outcome = run()
    assert outcome.exit_code == 2
    assert all(command in outcome.output for command in ("serve", "check", "translate", "traffic"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("dance",),
        ("check", "--loud"),
        ("check", "gateway.toml"),
        ("serve", "-c"),
        ("translate", "a", "b"),
        ("translate", "--side", "x"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "Error" in outcome.stderr


# --- check


def test_the_defaults_are_sound() -> None:
    assert told(run("check")) == (0, "embedded defaults: ok\n", "")


def test_the_configuration_of_the_folder_is_checked(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[server]\nport = 9100\n")
    assert told(run("check")) == (0, "gateway.toml: ok\n", "")


def test_every_complaint_is_a_line_on_stderr(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text('[server]\nport = -1\nprot = 1\n[log]\nlevel = "info"\nform = 1\n')
    lines = (
        "server.port: expected greater than or equal to 0",
        "server.prot: expected no such key",
        "log.form: expected no such key",
    )
    assert told(run("check", "--config", "g.toml")) == (1, "", "".join(f"g.toml: {line}\n" for line in lines))


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_configuration_that_is_not_there_is_told(command: str) -> None:
    assert told(run(command, "-c", "nowhere.toml")) == (1, "", "nowhere.toml: cannot be read: no such file or directory\n")


def test_serve_tells_what_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("backends = []\n")
    assert told(run("serve", "-c", "g.toml")) == (1, "", "g.toml: backends: expected at least one backend\n")


# --- translate: one message


def test_an_envelope_becomes_a_frame() -> None:
    assert told(translate(given=BOOT)) == (0, FRAME, "")


def test_a_message_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "boot.xml").write_bytes(BOOT)
    assert told(translate("boot.xml")) == told(translate("-", given=BOOT)) == (0, FRAME, "")


@pytest.mark.parametrize("mark", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_the_first_byte_that_is_not_white_space_decides(mark: bytes) -> None:
    assert told(translate(given=mark + BOOT)) == (0, FRAME, "")
    assert translate("--to", "soap-1.5", given=mark + RESET.encode()).stdout[:2] == "<s"


@pytest.mark.parametrize(
    ("to", "namespace"), [("1.2", "urn://Ocpp/Cp/2010/08/"), ("1.5", "urn://Ocpp/Cp/2012/06/"), ("1.6", "urn://Ocpp/Cp/2015/10/")]
)
def test_a_frame_becomes_an_envelope_of_the_version(to: str, namespace: str) -> None:
    outcome = translate("--to", f"soap-{to}", "--identity", "CP-<1>", given=RESET)
    names = {"s": SOAP12, "a": WSA, "c": namespace}
    root = etree.fromstring(outcome.stdout_bytes)
    found = [root.findtext(f".//{path}", namespaces=names) for path in ("c:chargeBoxIdentity", "a:MessageID", "c:type")]
    assert (outcome.exit_code, found) == (0, ["CP-<1>", "7", "Soft"])


def test_a_result_is_that_of_its_action() -> None:
    outcome = translate("--to", "soap-1.5", "--action", "Reset", given='[3,"7",{"status":"Accepted"}]')
    assert etree.fromstring(outcome.stdout_bytes).find(".//{*}resetResponse") is not None


def test_an_error_becomes_a_fault() -> None:
    outcome = translate("--to", "soap-1.5", given='[4,"7","InternalError","out of order",{}]')
    assert etree.fromstring(outcome.stdout_bytes).findtext(".//{*}Text") == "out of order"


@pytest.mark.parametrize(
    ("options", "service"), [((), "Cs"), (("--side", "charge-point"), "Cp"), (("--side", "central-system"), "Cs")]
)
def test_the_side_says_where_a_data_transfer_goes(options: tuple[str, ...], service: str) -> None:
    outcome = translate("--to", "soap-1.6", *options, given='[2,"7","DataTransfer",{"vendorId":"org.example"}]')
    assert f"urn://Ocpp/{service}/2015/10/" in outcome.stdout


@pytest.mark.parametrize(
    ("given", "options", "why"),
    [
        ("hello", (), "ProtocolError: expected XML: "),
        ("", (), "expected an envelope or a frame, got nothing"),
        (" \n", (), "expected an envelope or a frame, got nothing"),
        ("[2,", ("--to", "soap-1.5"), "FormationViolation: "),
        (
            '[2,"7","TriggerMessage",{"requestedMessage":"Heartbeat"}]',
            ("--to", "soap-1.5"),
            "NotSupported: TriggerMessage does not exist in OCPP 1.5 over SOAP",
        ),
        ('[2,"7","Dance",{}]', ("--to", "soap-1.6"), "NotImplemented: "),
        ('[2,"7","Reset",{}]', ("--to", "soap-1.6"), "OccurenceConstraintViolation: "),
        (NAMELESS.decode(), ("--strict",), "FormationViolation: MessageID: none given (quirks.no-id)"),
    ],
)
def test_what_is_refused_is_one_line_and_exit_code_1(given: str, options: tuple[str, ...], why: str) -> None:
    code, out, error = told(translate(*options, given=given))
    assert (code, out, error[: len(why)], error.count("\n")) == (1, "", why, 1)


@pytest.mark.parametrize(
    ("given", "options", "why"),
    [
        (RESET, (), "--to: expected soap-1.2, soap-1.5, soap-1.6, got none"),
        (RESET, ("--to", "soap-2.0"), "--to: expected soap-1.2, soap-1.5, soap-1.6, got soap-2.0"),
        ('[ 3,"7",{}]', ("--to", "soap-1.5"), "--action: expected the action that the result answers, got none"),
        ("", ("nowhere.xml",), "nowhere.xml: cannot be read: no such file or directory"),
        ("", (".",), ".: cannot be read: is a directory"),
        ("", ("--lines", "nowhere.jsonl"), "nowhere.jsonl: cannot be read: no such file or directory"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_exit_code_2(given: str, options: tuple[str, ...], why: str) -> None:
    assert told(translate(*options, given=given)) == (2, "", why + "\n")


def test_each_remark_is_explained_in_a_line_on_stderr() -> None:
    code, out, error = told(translate("--explain", given=NAMELESS.replace(b"heartbeatRequest", b"HeartbeatRequest")))
    remarks = [json.loads(line) for line in error.splitlines()]
    assert (code, json.loads(out)[2]) == (0, "Heartbeat")
    assert NO_ID in remarks
    assert {remark["rule"] for remark in remarks} == {"quirks.case", "quirks.no-id"}


def test_without_remarks_there_is_nothing_to_explain() -> None:
    assert told(translate("--explain", "--strict", given=BOOT)) == (0, FRAME, "")


def test_without_explain_remarks_are_not_told() -> None:
    assert told(translate(given=NAMELESS))[2] == ""


# --- translate: bulk


def lines(*given: Any) -> list[Any]:
    """What comes of lines; a text is a line as it is."""
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in given)
    outcome = translate("--lines", given=text)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def test_a_line_in_is_a_line_out_in_the_same_order() -> None:
    good, bad = {"message": BOOT.decode()}, {"message": "hello"}
    out = lines(good, bad, "", "nonsense", {"message": json.loads(RESET), "to": "soap-1.5"}, good)
    assert ["refused" in line for line in out] == [False, True, True, True, False, False]
    assert out[0] == out[5]
    assert out[0] == {"message": json.loads(FRAME), "version": "1.5", "identity": "CP-1", "remarks": []}


def test_a_refused_line_says_why() -> None:
    refused = {"code": "ProtocolError", "detail": "expected a SOAP envelope, got 'a'"}
    assert lines({"message": "<a/>"}) == [{"refused": refused}]


def test_a_line_may_be_strict() -> None:
    mild, strict = lines({"message": NAMELESS.decode()}, {"message": NAMELESS.decode(), "strict": True})
    assert mild["remarks"] == [NO_ID]
    assert strict["refused"]["detail"] == "MessageID: none given (quirks.no-id)"


def test_the_last_line_needs_no_end(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(json.dumps({"message": BOOT.decode()}).encode())
    outcome = translate("--lines", "in.jsonl")
    assert (outcome.exit_code, outcome.stdout.count("\n")) == (0, 1)


def test_no_lines_in_are_no_lines_out() -> None:
    assert told(translate("--lines")) == (0, "", "")


def test_a_line_that_is_too_long_is_one_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_MAX_LINE", 1000)
    out = lines("x" * 4321, {"message": BOOT.decode()})
    assert ["refused" in line for line in out] == [True, False]


# --- in a process of its own


@contextmanager
def process(*arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "gateway", "translate", *arguments]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as running:
        try:
            yield running
        finally:
            running.kill()


def test_lines_can_be_asked_and_answered_one_by_one() -> None:
    with process("--lines") as running:
        assert running.stdin and running.stdout and running.stderr
        for call_id in ("1", "2", "3"):
            running.stdin.write(json.dumps({"message": [2, call_id, "Heartbeat", {}], "to": "soap-1.5"}).encode() + b"\n")
            running.stdin.flush()
            answer = json.loads(running.stdout.readline())
            assert f"<a:MessageID>{call_id}<" in answer["message"]
        running.stdin.close()
        assert (running.wait(10), running.stderr.read()) == (0, b"")


def test_a_reader_that_goes_away_is_no_noise() -> None:
    with process("--lines") as running:
        assert running.stdin and running.stdout and running.stderr
        line = json.dumps({"message": [2, "1", "Heartbeat", {}], "to": "soap-1.5"}).encode() + b"\n"
        running.stdin.write(line)
        running.stdin.flush()
        running.stdout.readline()
        running.stdout.close()
        running.stdin.write(line)
        running.stdin.close()
        running.wait(10)
        assert running.stderr.read() == b""

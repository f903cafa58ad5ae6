"""gateway.admission: who may come in, by which rows, and how the file of chargers is kept up with."""

import os
import tomllib
from base64 import b64encode
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from gateway import admission as module
from gateway.admission import ASKED, FOREIGN, STRAY, TOKENLESS, UNCERTIFIED, UNKNOWN, UNPROVEN, Admission, Refusal, Visitor
from gateway.config import Admission as Config
from gateway.config import ConfigError
from gateway.tls import Certificate

HEX = "ab" * 32
KEY = "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF"
# OCPP-J 1.6, 6.2
EXAMPLE = b"Basic QUwxMDAwOgABAgMEBQYH////////////////"

ROWS = f"""
["CP-1"]
password = "hush"

["CP:1"]
password = "with:colon"

["AL1000"]
password = "{KEY}"

["UMLAUT"]
password = "schlüssel"

["T-1"]
token = "s3cret-ü"

["N-1"]
networks = ["10.0.0.0/8"]

["C-*"]
certificate = "{{identity}}.example.com"

["F-1"]
certificate = "sha256:{HEX}"

["A-1"]
tenant = "Acme"

["ALL-*"]
password = "p"
token = "t"
networks = ["10.0.0.0/8"]
tenant = "acme"
"""


def basic(name: str, password: str | bytes, scheme: str = "Basic") -> bytes:
    secret = password.encode() if isinstance(password, str) else password
    return scheme.encode() + b" " + b64encode(name.encode() + b":" + secret)


def certificate(*names: str, fingerprint: str = "") -> Certificate:
    return Certificate(names, fingerprint)


class File:
    """The file of chargers, as people and deployments treat it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, text: str) -> None:
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.replace(self.path)

    def text(self) -> str:
        return self.path.read_text()

    def names(self) -> list[str]:
        return list(tomllib.loads(self.text()))

    def take_away(self) -> None:
        self.path.rename(self.path.with_suffix(".away"))

    def put_back(self) -> None:
        self.path.with_suffix(".away").rename(self.path)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "chargers.toml")


async def opened(mode: str, file: File | None = None, known: tuple[str, ...] = ()) -> Admission:
    admission = Admission(Config.model_validate({"mode": mode, "known": known, "file": file and file.path}))
    await admission.start()
    return admission


@pytest.fixture
async def rows(file: File) -> Admission:
    file.write(ROWS)
    return await opened("open", file)


# --- modes


async def test_open_is_open() -> None:
    admission = await opened("open")
    assert admission.free
    assert admission.judge(Visitor("anyone")) is None


async def test_known_globs_say_who_is_known() -> None:
    admission = await opened("known", known=("CP-*", "x"))
    assert [admission.judge(Visitor(who)) for who in ("cp-7", "X", "CP", "y")] == [None, None, UNKNOWN, UNKNOWN]


async def test_the_file_says_who_is_known(file: File) -> None:
    file.write('["CP-1"]\n["A-*"]\n')
    admission = await opened("known", file, ("B-1",))
    judged = {who: admission.judge(Visitor(who)) for who in ("cp-1", "a-9", "b-1", "CP-2")}
    assert judged == {"cp-1": None, "a-9": None, "b-1": None, "CP-2": UNKNOWN}


async def test_a_glob_in_the_configuration_takes_nothing_from_a_row_in_the_file(file: File) -> None:
    file.write('["CP-1"]\npassword = "hush"\n')
    admission = await opened("known", file, ("CP-1", "CP-*"))
    assert admission.judge(Visitor("CP-1")) == ASKED


async def test_rows_bind_in_every_mode_and_strangers_stay_free(rows: Admission) -> None:
    assert rows.judge(Visitor("CP-1")) == ASKED
    assert rows.judge(Visitor("stranger")) is None


async def test_rows_that_ask_for_nothing_leave_an_open_gateway_free(file: File) -> None:
    file.write('["CP-1"]\n["A-*"]\n')
    assert (await opened("open", file)).free


# --- what has to hold


@pytest.mark.parametrize(
    ("identity", "authorization"),
    [
        ("CP-1", basic("CP-1", "hush")),
        ("cp-1", basic("CP-1", "hush")),
        ("CP-1", basic("cp-1", "hush", "bAsIc")),
        ("CP-1", b"Basic  " + basic("CP-1", "hush")[6:].rstrip(b"=") + b" "),
        ("CP:1", basic("CP:1", "with:colon")),
        ("CP-1", aiohttp.encode_basic_auth("CP-1", "hush").encode()),
        ("AL1000", EXAMPLE),
        ("AL1000", basic("AL1000", KEY)),
        ("AL1000", basic("AL1000", KEY.lower())),
        ("UMLAUT", basic("UMLAUT", "schlüssel")),
    ],
)
def test_the_right_password_is_let_in(rows: Admission, identity: str, authorization: bytes) -> None:
    assert rows.judge(Visitor(identity, authorization=authorization)) is None


@pytest.mark.parametrize(
    ("identity", "authorization"),
    [
        ("CP-1", b"Basic"),
        ("CP-1", b"Basic !!!!"),
        ("CP-1", b"Basic Q"),
        ("CP-1", b"Bearer " + basic("CP-1", "hush")[6:]),
        ("CP-1", basic("CP-1", "Hush")),
        ("CP-1", basic("CP-1", "")),
        ("CP-1", basic("CP-1", "hush2")),
        ("CP-1", basic("CP-12", "hush")),
        ("CP-1", basic("", "hush")),
        ("CP-1", b"Basic " + b64encode(b"CP-1hush")),
        ("CP-1", b"Basic " + b64encode(b"CP-1-hush")),
        ("CP-1", b"Basic " + b64encode(b"\xff\xfe\xfd\xfc:hush")),
        ("CP-1", b"\xff\xfe \xfd"),
        ("AL1000", basic("AL1000", bytes(20))),
        ("UMLAUT", basic("UMLAUT", "schlüssel".encode("latin-1"))),
        ("UMLAUT", basic("UMLAUT", b"\xff\x00")),
    ],
)
def test_a_wrong_password_is_challenged(rows: Admission, identity: str, authorization: bytes) -> None:
    refusal = rows.judge(Visitor(identity, authorization=authorization))
    assert refusal == UNPROVEN
    assert refusal.headers == [(b"www-authenticate", b'Basic realm="ocpp"')]


def test_who_sends_no_password_is_asked_for_it_and_has_guessed_none(rows: Admission) -> None:
    assert rows.judge(Visitor("CP-1")) == ASKED
    assert (ASKED.guess, UNPROVEN.guess) == (False, True)
    assert (ASKED.status, ASKED.text, ASKED.headers) == (UNPROVEN.status, UNPROVEN.text, UNPROVEN.headers)


@pytest.mark.parametrize(
    ("visitor", "refusal"),
    [
        (Visitor("T-1", token="s3cret-ü"), None),
        (Visitor("T-1", token="S3cret-ü"), TOKENLESS),
        (Visitor("T-1"), TOKENLESS),
        (Visitor("N-1", "10.1.2.3:4"), None),
        (Visitor("N-1", "[::ffff:10.1.2.3]:4"), None),
        (Visitor("N-1", "192.0.2.7:4"), STRAY),
        (Visitor("N-1", ":0"), STRAY),
        (Visitor("C-1", certificate=certificate("gw", "c-1.EXAMPLE.com")), None),
        (Visitor("C-1", certificate=certificate("C-2.example.com")), UNCERTIFIED),
        (Visitor("C-1", certificate=certificate()), UNCERTIFIED),
        (Visitor("C-1"), UNCERTIFIED),
        (Visitor("F-1", certificate=certificate(fingerprint=HEX)), None),
        (Visitor("F-1", certificate=certificate(f"sha256:{HEX}", fingerprint="cd" * 32)), UNCERTIFIED),
        (Visitor("A-1", tenant="acme"), None),
        (Visitor("A-1", tenant="other"), FOREIGN),
        (Visitor("A-1"), FOREIGN),
    ],
)
def test_what_a_row_asks_for_has_to_be_shown(rows: Admission, visitor: Visitor, refusal: Refusal | None) -> None:
    assert rows.judge(visitor) == refusal


WHOLE = Visitor("ALL-1", "10.0.0.1:1", "t", "acme", basic("ALL-1", "p"))


@pytest.mark.parametrize(
    ("missing", "refusal"),
    [
        ({}, None),
        ({"source": ":0"}, STRAY),
        ({"token": ""}, TOKENLESS),
        ({"tenant": ""}, FOREIGN),
        ({"authorization": b""}, ASKED),
        ({"authorization": basic("ALL-1", "q")}, UNPROVEN),
    ],
)
def test_everything_that_a_row_asks_for_has_to_hold(rows: Admission, missing: dict[str, Any], refusal: Refusal | None) -> None:
    assert rows.judge(WHOLE._replace(**missing)) == refusal


def test_whoever_cannot_come_this_way_learns_nothing_about_the_password(rows: Admission) -> None:
    stray = WHOLE._replace(source="192.0.2.7:1")
    assert rows.judge(stray) == rows.judge(stray._replace(authorization=b"")) == STRAY


def test_an_identity_that_cannot_be_written_is_no_error(rows: Admission) -> None:
    assert rows.judge(Visitor("CP-1\ud800", authorization=EXAMPLE)) is None
    assert rows.judge(Visitor("ALL-\ud800", "10.0.0.1:1", "t", "acme", EXAMPLE)) == UNPROVEN


@pytest.mark.parametrize(
    ("refusal", "http", "soap"),
    [
        (UNKNOWN, 404, 400),
        (UNPROVEN, 401, 401),
        (STRAY, 403, 400),
        (UNCERTIFIED, 403, 400),
        (FOREIGN, 403, 400),
        (TOKENLESS, 403, 400),
    ],
)
def test_a_refusal_has_a_status_for_each_wire(refusal: Refusal, http: int, soap: int) -> None:
    assert (refusal.status, refusal.soap_status, bool(refusal.headers)) == (http, soap, http == 401)


def test_what_is_forbidden_is_not_told_apart() -> None:
    assert len({refusal.text for refusal in (STRAY, UNCERTIFIED, FOREIGN, TOKENLESS)}) == 1


# --- the file, again and again


async def test_a_changed_file_counts_at_the_next_look(file: File) -> None:
    file.write('["CP-1"]\n')
    admission = await opened("known", file)
    file.write('["CP-2"]\npassword = "hush"\n')
    assert admission.judge(Visitor("CP-1")) is None
    await admission.refresh()
    assert [admission.judge(Visitor(who)) for who in ("CP-1", "CP-2")] == [UNKNOWN, ASKED]


async def test_an_unchanged_file_is_not_read_again(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write('["CP-1"]\n')
    admission = await opened("known", file)
    monkeypatch.delattr(module, "load")
    await admission.refresh()
    assert admission.judge(Visitor("CP-1")) is None


async def test_an_open_gateway_is_free_again_when_its_rows_are_gone(file: File, rows: Admission) -> None:
    assert not rows.free
    file.write("")
    await rows.refresh()
    assert rows.free


@pytest.mark.parametrize("text", ['["CP-1"', '["CP-1"]\npassword = 7\n'])
async def test_a_broken_file_leaves_the_rows_and_is_told_once(file: File, rows: Admission, text: str) -> None:
    file.write(text)
    with capture_logs() as log:
        await rows.refresh()
        await rows.refresh()
    ((event, level, where),) = [(line["event"], line["log_level"], line["file"]) for line in log]
    assert (event, level, where) == ("admission.unusable", "error", str(file.path))
    assert rows.judge(Visitor("CP-1")) == ASKED


async def test_a_file_that_was_broken_is_read_when_it_is_mended(file: File, rows: Admission) -> None:
    for text in ('["CP-1"', '["CP-1"]\n'):
        file.write(text)
        await rows.refresh()
    assert rows.judge(Visitor("CP-1")) is None


async def test_a_file_that_is_gone_leaves_the_rows_until_it_comes_back(file: File, rows: Admission) -> None:
    file.take_away()
    with capture_logs() as log:
        await rows.refresh()
        await rows.refresh()
    assert [line["reason"] for line in log] == ["cannot be read: no such file or directory"]
    assert rows.judge(Visitor("CP-1")) == ASKED
    file.put_back()
    await rows.refresh()
    file.write('["CP-1"')
    with capture_logs() as log:
        await rows.refresh()
    assert "expected TOML" in log[0]["reason"]


@pytest.mark.parametrize(("mode", "text"), [("open", '["CP-1"'), ("learn", "x = 1\n"), ("known", None)])
async def test_it_does_not_start_with_a_file_that_is_of_no_use(file: File, mode: str, text: str | None) -> None:
    if text is not None:
        file.write(text)
    with pytest.raises(ConfigError, match=str(file.path)):
        await opened(mode, file)


# --- learning


async def test_who_is_new_is_let_in_and_written_down(file: File) -> None:
    admission = await opened("learn", file)
    judged = [admission.judge(Visitor(who)) for who in ("CP-1", "cp-1", 'a"\\b', "x*")]
    await admission.refresh()
    assert judged == [None] * 4
    assert file.names() == ["CP-1", 'a"\\b', "x[*]"]


async def test_who_was_learnt_is_known_when_the_mode_changes(file: File) -> None:
    learning = await opened("learn", file)
    learning.judge(Visitor("CP-1"))
    await learning.refresh()
    knowing = await opened("known", file)
    assert [knowing.judge(Visitor(who)) for who in ("cp-1", "CP-2")] == [None, UNKNOWN]


async def test_who_is_known_is_not_written_again(file: File) -> None:
    file.write('["CP-1"]\n["A-*"]\n')
    admission = await opened("learn", file, known=("B-*",))
    for who in ("cp-1", "A-1", "b-1"):
        admission.judge(Visitor(who))
    await admission.refresh()
    assert file.text() == '["CP-1"]\n["A-*"]\n'


async def test_while_nobody_else_writes_the_file_is_not_read_for_what_was_learnt(
    file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    admission = await opened("learn", file)
    monkeypatch.delattr(module, "load")
    for who in ("CP-1", "CP-2", "CP-1"):
        admission.judge(Visitor(who))
        await admission.refresh()
    assert file.names() == ["CP-1", "CP-2"]


async def test_what_somebody_else_writes_meanwhile_is_kept(file: File) -> None:
    admission = await opened("learn", file)
    admission.judge(Visitor("CP-1"))
    await admission.refresh()
    file.write(file.text() + '["CP-2"]\npassword = "hush"\n')
    for who in ("CP-2", "CP-3"):
        admission.judge(Visitor(who))
    await admission.refresh()
    assert file.names() == ["CP-1", "CP-2", "CP-3"]
    assert admission.judge(Visitor("CP-2")) == ASKED


async def test_rows_bind_while_others_are_learnt(file: File) -> None:
    file.write(ROWS)
    admission = await opened("learn", file)
    assert [admission.judge(Visitor(who)) for who in ("CP-1", "CP-2")] == [ASKED, None]


async def test_a_broken_file_is_not_written_until_it_is_mended(file: File) -> None:
    admission = await opened("learn", file)
    file.write('["CP-1"')
    admission.judge(Visitor("CP-2"))
    await admission.refresh()
    assert file.text() == '["CP-1"'
    file.write('["CP-1"]\n')
    await admission.refresh()
    assert file.names() == ["CP-1", "CP-2"]


async def test_a_file_that_was_read_and_is_gone_is_not_made_anew(file: File) -> None:
    file.write(ROWS)
    admission = await opened("learn", file)
    file.take_away()
    admission.judge(Visitor("CP-9"))
    await admission.refresh()
    assert not file.path.exists()
    assert admission.judge(Visitor("CP-1")) == ASKED


async def test_a_file_that_comes_back_as_it_was_is_written_again(file: File) -> None:
    file.write('["CP-1"]\n')
    admission = await opened("learn", file)
    file.take_away()
    admission.judge(Visitor("CP-2"))
    await admission.refresh()
    file.put_back()
    await admission.refresh()
    assert file.names() == ["CP-1", "CP-2"]


async def test_who_is_struck_out_and_comes_again_is_learnt_again(file: File) -> None:
    admission = await opened("learn", file)
    for text in ("# nobody\n", "# still nobody\n"):
        file.write(text)
        await admission.refresh()
        admission.judge(Visitor("CP-1"))
        await admission.refresh()
        assert file.text() == text + '["CP-1"]\n'


async def test_an_identity_that_cannot_be_written_is_not_learnt(file: File) -> None:
    admission = await opened("learn", file)
    assert [admission.judge(Visitor(who)) for who in ("a\nb", "\ud800", "CP-1 ", "CP-1")] == [None] * 4
    await admission.refresh()
    assert file.names() == ["CP-1"]


async def test_what_cannot_be_written_is_told_once_and_tried_again(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    admission = await opened("learn", file)
    admission.judge(Visitor("CP-1"))
    with capture_logs() as log, monkeypatch.context() as full:
        full.setattr(os, "write", _no_space)
        await admission.refresh()
        await admission.refresh()
    assert [line["event"] for line in log if line["log_level"] == "error"] == ["admission.unwritable"]
    await admission.refresh()
    assert file.names() == ["CP-1"]


def _no_space(_: int, __: bytes) -> int:
    raise OSError(28, "No space left on device")


async def test_no_more_are_learnt_than_there_is_room_for(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LEARNT", 3)
    admission = await opened("learn", file)
    with capture_logs() as log:
        assert {admission.judge(Visitor(f"CP-{i}")) for i in range(100)} == {None}
        await admission.refresh()
    assert len(file.names()) == 3
    assert [line["event"] for line in log] == ["admission.full", "admission.learnt"]


async def test_no_secret_is_logged(file: File, rows: Admission) -> None:
    with capture_logs() as log:
        file.write(ROWS + '["X"]\npassword = ["hush"]\ntoken = {a = "hush"}\nnetworks = ["10.0.0.0/8"]\n')
        await rows.refresh()
        file.write(ROWS + '["X"]\npassword = "hush\n')
        await rows.refresh()
    assert len(log) == 2
    assert "hush" not in str(log)

"""gateway.known: the file of chargers, read, complained of, and added to."""

import errno
import os
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.known import KEYS, NOTHING, ChargersError, Known, Row, append, examine, load, parse, stamp

HEX = "ab" * 32
FILE = f"""
["*"]
tenant = "acme"
password = "of everyone"

["CP-1"]
password = "hush"
networks = ["10.0.0.0/8", "2001:db8::/32"]

["CP-*"]
token = "t"
tenant = "other"

["sn[*]1"]
certificate = "SHA256:{":".join([HEX[:2].upper()] * 32)}"
"""


@pytest.mark.parametrize(
    ("identity", "row"),
    [
        ("CP-1", Row("hush", "t", (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")), None, "acme")),
        ("cp-1", Row("hush", "t", (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")), None, "acme")),
        ("CP-2", Row("of everyone", "t", None, None, "acme")),
        ("SN*1", Row("of everyone", None, None, f"sha256:{HEX}", "acme")),
        ("SNx1", Row("of everyone", None, None, None, "acme")),
    ],
)
def test_for_each_key_the_exact_row_counts_and_then_the_first_glob(identity: str, row: Row) -> None:
    assert Known(parse(FILE)).row(identity) == row


def test_who_is_in_no_row_is_not_known() -> None:
    known = Known(parse('["CP-1"]\n["A?"]\n'))
    assert [known.row(identity) for identity in ("CP-2", "A", "AB", "ab", "cp-1")] == [None, None, NOTHING, NOTHING, NOTHING]


def test_secrets_are_not_shown() -> None:
    assert "hush" not in repr(Row(password="hush", token="hush"))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('["CP-1"\n', "expected TOML: "),
        ('["CP-1"]\n["CP-1"]\n', "expected TOML: "),
        ('["CP-1"]\npassword = ' + "1" * 5000, "expected TOML without integers of thousands of digits"),
        ('["CP-1"]\npassword = ' + "[" * 5000, "expected TOML that is nested no deeper than "),
        ('["CP-1"]\npassword = ' + "{a=" * 5000, "expected TOML that is nested no deeper than "),
        ('["CP-1"]\n["cp-1"]\n', "cp-1: expected each charger once, and case makes no other one"),
        ('["CP*"]\n["cp*"]\n', "cp*: expected each charger once"),
        ('CP-1 = "hush"\n', 'CP-1: expected a table for each charger, as in ["CP-1"]'),
        ("[CP.1]\n", 'CP.1: expected identities in quotes, as in ["CP.1"]'),
        ('["CP-1"]\npasword = "hush"\n', "CP-1.pasword: expected one of password, token, networks, certificate, tenant"),
        ('["CP-1"]\npassword = 1234\n', "CP-1.password: expected text that is not empty"),
        ('["CP-1"]\ntoken = ""\n', "CP-1.token: expected text that is not empty"),
        ('["CP-1"]\nnetworks = "10.0.0.0/8"\n', 'CP-1.networks: expected a list of networks, as in ["10.0.0.0/8"]'),
        ('["CP-1"]\nnetworks = []\n', "CP-1.networks: expected a list of networks"),
        (
            '["CP-1"]\nnetworks = ["10.0.0.1/8"]\n',
            "CP-1.networks: expected networks without bits beyond their length: 10.0.0.1/8",
        ),
        ('["CP-1"]\ncertificate = "sha256:abc"\n', "CP-1.certificate: expected 64 hex digits after sha256:"),
        ('["CP-1"]\ncertificate = "{serial}"\n', "CP-1.certificate: expected a name, with no other placeholder"),
        ('["a\\u001bb"]\nx = 1\n', "a\\x1bb.x: expected one of"),
    ],
)
def test_complaints_say_where_and_what_was_expected(text: str, what: str) -> None:
    with pytest.raises(ChargersError) as caught:
        parse(text)
    assert str(caught.value).startswith(what)
    assert "hush" not in str(caught.value)


def test_every_complaint_is_made() -> None:
    with pytest.raises(ChargersError, match=r"(?s)A\.x: .*\nB\.token: .*"):
        parse('["A"]\nx = 1\n["B"]\ntoken = 1\n')


def test_of_a_great_many_complaints_the_first_are_made() -> None:
    with pytest.raises(ChargersError) as caught:
        parse("".join(f'["{i}"]\nx = 1\n' for i in range(150)))
    lines = str(caught.value).split("\n")
    assert (len(lines), lines[-1]) == (101, "and 50 more complaints")


# --- the file


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", ""),
        (b'\xef\xbb\xbf["CP-1"]\r\n', ""),  # as some editors write it
        (b'["\xff"]', "expected UTF-8 text"),
        (b'["CP-1"', "expected TOML: "),
    ],
)
def test_a_file_can_be_looked_at_beforehand(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "chargers.toml"
    path.write_bytes(data)
    wrong = examine(path, may_be_absent=False)[1]
    assert "".join(wrong).startswith(what)
    assert examine(path, may_be_absent=True)[1] == wrong
    assert bool(wrong) == bool(what)


def test_a_file_that_is_not_there_is_a_complaint_unless_it_may_be_made(tmp_path: Path) -> None:
    path = tmp_path / "chargers.toml"
    assert examine(path, may_be_absent=False) == ({}, [f"expected a file, {path} is not there"])
    assert examine(path, may_be_absent=True) == ({}, [])
    assert examine(tmp_path / "none" / "chargers.toml", may_be_absent=True)[1]


def test_each_complaint_about_a_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text('["A"]\nx = 1\n["B"]\ntoken = 1\n')
    assert [line.partition(":")[0] for line in examine(path, may_be_absent=False)[1]] == ["A.x", "B.token"]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert examine(tmp_path, may_be_absent=False) == ({}, ["cannot be read: is a directory"])


def test_a_file_that_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "chargers.toml"
    assert append(path, None, ["CP-1"]) == stamp(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(load(path)) == ["CP-1"]


@pytest.mark.parametrize("before", ['["A"]\ntoken = "x"\n', '["A"]\ntoken = "x"', "# nobody yet", ""])
def test_what_is_added_comes_after_what_was_there(tmp_path: Path, before: str) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text(before)
    append(path, stamp(path), ["B", "C"])
    assert path.read_text().startswith(before)
    assert list(load(path))[-2:] == ["B", "C"]
    assert load(path).get("A", Row(token="x")) == Row(token="x")


def test_nothing_is_added_to_a_file_that_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text('["A"]\n')
    assert append(path, (1, 2, 3), ["B"]) is None
    assert path.read_text() == '["A"]\n'


def test_nothing_is_made_over_a_file_that_came_in_between(tmp_path: Path) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text('["A"]\n')
    with pytest.raises(FileExistsError):
        append(path, None, ["B"])


def test_what_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text('["A"]\n')

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        append(path, stamp(path), ["B"])
    assert path.read_text() == '["A"]\n'


def test_a_file_does_not_grow_beyond_what_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chargers.toml"
    path.write_text('["A"]\n')
    monkeypatch.setattr("gateway.known.LARGEST", 20)
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        append(path, stamp(path), ["a charger with a long name"])
    assert list(load(path)) == ["A"]


@given(st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=30).filter(str.isprintable))
def test_whatever_an_identity_is_it_stands_in_the_file_and_for_itself_alone(
    tmp_path_factory: pytest.TempPathFactory, identity: str
) -> None:
    path = tmp_path_factory.mktemp("known") / "chargers.toml"
    append(path, None, [identity])
    (name,) = tomllib.loads(path.read_text("utf-8"))
    known = Known(load(path))
    assert known.row(identity) is NOTHING
    assert known.row(identity + "x") is None
    assert identity == name or set(identity) & set("*?[")


PAGE = Path(__file__).parents[1] / "docs" / "howto" / "know-your-chargers.md"


def test_the_examples_of_the_page_can_be_read() -> None:
    examples = re.findall(r"(?ms)^```text\n(\[\".*?)^```", PAGE.read_text("utf-8"))
    assert [parse(example) != {} for example in examples] == [True] * 3


def test_the_page_explains_every_key() -> None:
    assert re.findall(r"(?m)^\| `(\w+)` \|", PAGE.read_text("utf-8")) == list(KEYS)

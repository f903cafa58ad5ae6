"""gateway.redaction: where the key of the pseudonyms is kept, and who is written down before anything is revealed."""

import json
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, Redaction, State, secret
from gateway.loading import load
from gateway.redaction.audit import Audit, AuditError, RevealRight, reveal_right
from gateway.redaction.pseudonyms import KEY_SIZE, KeyFileError, Pseudonyms, key_from
from gateway.redaction.redactor import Redactor

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- the key


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = key_from(path)
    assert (len(first), mode(path)) == (KEY_SIZE, 0o600)
    assert key_from(path) == first
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_all_who_make_the_key_at_once_have_the_same(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(key_from(tmp_path / "key"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    path = tmp_path / "key"
    path.write_bytes(bytes(size))
    with pytest.raises(KeyFileError, match=f"expected a key of 32 bytes, got {size}$"):
        key_from(path)
    with pytest.raises(KeyFileError):
        Pseudonyms(bytes(size))


def test_a_key_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot be read or made: no such file or directory$"):
        key_from(tmp_path / "nowhere" / "key")


def test_key_and_audit_lie_beside_the_state_unless_named(tmp_path: Path) -> None:
    config = Config(state=State(path=tmp_path / "state.db"))
    assert config.redaction_key_file == tmp_path / "gateway-redaction.key"
    assert config.audit_file == tmp_path / "gateway-audit.jsonl"
    named = Config(redaction=Redaction(key_file=Path("/k"), audit_file=Path("/a")))
    assert (named.redaction_key_file, named.audit_file) == (Path("/k"), Path("/a"))


def test_redactors_of_one_installation_agree(tmp_path: Path) -> None:
    config = Config(state=State(path=tmp_path / "state.db"))
    assert Redactor.configured(config).tag("TAG1") == Redactor.configured(config).tag("tag1")
    assert mode(tmp_path / "gateway-redaction.key") == 0o600


RULE = '[[redaction.rules]]\npath = "a"\ndo = "remove"\n'


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        (RULE.replace('"a"', '"a..b"'), 'redaction.rules[0].path: expected a path like "meterValue[*].sampledValue[0].unit"'),
        (RULE.replace("remove", "burn"), "redaction.rules[0].do: expected 'pseudonym', 'remove', 'keep' or 'last4'"),
        ('[redaction]\npeers = "some"', "redaction.peers: expected 'keep' or 'pseudonym'"),
        ("[redaction]\nenabled = false", "redaction.enabled: expected no such key"),
    ],
)
def test_what_is_wrong_with_the_section_is_told(tmp_path: Path, written: str, complaint: str) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(written)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.complaints == [f"{path}: {complaint}"]


# --- the audit


def test_who_was_shown_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path, str.upper)
    audit.revealed("ann", "charger == 'a'", 3, now=NOON)
    audit.revealed("bob", "", None, now=NOON)
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"at": "2026-05-01T12:00:00.000Z", "who": "ANN", "filter": "CHARGER == 'A'", "count": 3},
        {"at": "2026-05-01T12:00:00.000Z", "who": "BOB", "filter": "", "count": None},
    ]
    assert mode(path) == 0o600


def test_the_audit_tells_no_id_tag_of_a_filter(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    hide = Redactor(Config(), bytes(KEY_SIZE)).text
    Audit(path, hide).revealed("ann", 'payload.idTag == "TAG0001" and charger == "CP-1"', 1)
    (line,) = path.read_text().splitlines()
    assert "TAG0001" not in line
    assert 'charger == "CP-1"' in json.loads(line)["filter"]


def test_nothing_is_revealed_that_cannot_be_kept(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"cannot be written, so nothing is revealed: no such file or directory$"):
        Audit(tmp_path / "nowhere" / "audit.jsonl", str).revealed("ann", "", 1)


# --- the right


def test_without_a_token_nobody_may_reveal() -> None:
    right = RevealRight(None)
    assert not right.held("")
    assert not right.held("None")


def test_only_the_token_gives_the_right() -> None:
    right = RevealRight("open-sesame")
    assert right.held("open-sesame")
    assert not right.held("open-sesam")
    assert not right.held("\ud800")


@pytest.mark.parametrize("token", ["", " x", "x\n"])
def test_a_token_with_white_space_around_it_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a token without white space around it$"):
        RevealRight(token)


def test_the_token_of_the_api_does_not_reveal(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("same\n")
    section = Redaction(reveal_token_file=path)
    assert reveal_right(section, secret, b"other").held("same")
    with pytest.raises(ValueError, match=r"^expected another token than that of the admin API$"):
        reveal_right(section, secret, b"same")

"""gateway.config, gateway.loading: what is taken, what is complained about and where, what the environment says, and for whom."""

import importlib.resources
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import BaseModel, ValidationError

from gateway.config import Charger, Config, ConfigError, Embedded, MeterDefaults, Ocppj, Route, Server, secret
from gateway.loading import load

SIZE = 'expected a size like "64KiB" or "1MiB"'
DURATION = 'expected a duration like "30s", "15m" or "1h30m"'
WEB_URL = "expected a URL that starts with http:// or https://"
SOCKET_URL = "expected a URL that starts with ws:// or wss://"
PASSWORD = "expected no password in the URL; use password_env or password_file"
NETWORK = 'expected a network like "10.0.0.0/8", without bits beyond its length'
CSMS = '[[backends]]\nkind = "ocppj"\nname = "csms"\nurl = "ws://csms.example/{identity}"\n'
NO_SUCH_KEY = "expected no such key"
IN_THE_URL = "expected {identity} in the path or the query of the URL"
NONE_FOUND = "expected a value, found none"
QUIRK = '[[quirks]]\nname = "q"\n'
PLACEHOLDERS = "expected no other placeholders than {source} and {identity}"
NO_QUERY = "expected a path without ? and #, which are no part of it"
JUDGED = "expected client_ca_file too, by which they are judged"
SHOWN = "expected {} in server.soap_paths or server.json_paths too"
# A key of meter values, a word that is misspelt, and how the words begin that are not.
METERS = [
    ("context", "Sample.periodic", "Interruption.Begin, Interruption.End, Other, "),
    ("format", "raw", "Raw, SignedData"),
    ("measurand", "Power", "Current.Export, Current.Import, "),
    ("phase", "L4", "L1, L1-L2, "),
    ("location", "", "Body, Cable, "),
    ("unit", "kilowatts", "A, Celsius, Fahrenheit, "),
]

SECTIONS = {name: field.default for name, field in Config.model_fields.items() if isinstance(field.default, BaseModel)}

COMPLAINTS = [
    ("[server]\nport = 70000", "server.port", "expected less than or equal to 65535"),
    ("[server]\nport = -1", "server.port", "expected greater than or equal to 0"),
    ('[server]\nport = "http"', "server.port", "expected a whole number"),
    ("[server]\nport = 1.5", "server.port", "expected a whole number"),
    ("[server]\nhost = 5", "server.host", "expected text"),
    ('[server]\npublic_url = "ftp://gw"', "server.public_url", WEB_URL),
    ('[server]\npublic_url = "http://"', "server.public_url", WEB_URL),
    ('[server]\npublic_url = "http://me:hush@gw"', "server.public_url", PASSWORD),
    ('[server]\nbody_limit = "1MB"', "server.body_limit", SIZE),
    ('[server]\nbody_limit = "-1B"', "server.body_limit", SIZE),
    ("[server]\nbody_limit = 0", "server.body_limit", "expected greater than 0"),
    ('[server]\nbody_timeout = "soon"', "server.body_timeout", DURATION),
    ('[server]\nbody_timeout = ""', "server.body_timeout", DURATION),
    ('[server]\nbody_timeout = "5 minutes"', "server.body_timeout", DURATION),
    ('[server]\nbody_timeout = "-5s"', "server.body_timeout", DURATION),
    ("[server]\nanswer_timeout = 0", "server.answer_timeout", "expected greater than 0"),
    ('[server]\ndrain = "0s"', "server.drain", "expected greater than 0"),
    ("[server]\ndrain = inf", "server.drain", "expected a finite number"),
    ("[server]\nmalformed_limit = 0", "server.malformed_limit", "expected greater than 0"),
    ("server = 3", "server", "expected a table"),
    ('[callbacks]\nallow = "10.0.0.0/8"', "callbacks.allow", "expected a list"),
    ('[callbacks]\nallow = ["10.0.0.0/8", "10.0.0.1/8"]', "callbacks.allow[1]", NETWORK),
    ('[callbacks]\nallow = ["example.com"]', "callbacks.allow[0]", NETWORK),
    ("[callbacks]\nwaiting = -1", "callbacks.waiting", "expected greater than or equal to 0"),
    ('[traffic]\nenabled = "perhaps"', "traffic.enabled", "expected true or false"),
    ("[traffic]\nqueue = 0", "traffic.queue", "expected greater than 0"),
    ("[state]\npath = 3", "state.path", "expected a path"),
    ('[log]\nlevel = "loud"', "log.level", "expected 'debug', 'info', 'warning' or 'error'"),
    ('[log]\nformat = "xml"', "log.format", "expected 'text' or 'json'"),
    ("[weather]\nsunny = true", "weather", NO_SUCH_KEY),
    ("chargers = {}", "chargers", "expected a list"),
    ("chargers = [1]", "chargers[0]", "expected a table"),
    ("[[chargers]]\ncallback_port = 1", "chargers[0].match", NONE_FOUND),
    ('[[chargers]]\nmatch = "*"\ncallback_port = 65536', "chargers[0].callback_port", "expected less than or equal to 65535"),
    ('[[chargers]]\nmatch = "*"\nport = 1', "chargers[0].port", NO_SUCH_KEY),
    ("backends = 3", "backends", "expected a list"),
    ('[[backends]]\nname = "csms"', "backends[0]", "expected the key kind, found none"),
    ('[[backends]]\nkind = "fax"\nname = "csms"', "backends[0]", "expected kind 'embedded', 'ocppj', got fax"),
    ('[[backends]]\nkind = "embedded"', "backends[0].name", NONE_FOUND),
    (QUIRK + 'callback_url = "http://{host}:80/"', "quirks[0].callback_url", PLACEHOLDERS),
    (QUIRK + 'callback_url = "http://{source}/{identity"', "quirks[0].callback_url", PLACEHOLDERS),
    (QUIRK + 'callback_url = "ftp://{source}"', "quirks[0].callback_url", WEB_URL),
    ('[server]\nsoap_paths = ["/soap?wsdl"]', "server.soap_paths[0]", NO_QUERY),
    ("[server]\nsoap_paths = []", "server.soap_paths", "expected at least 1 of them"),
    ('[server]\nsoap_paths = ["soap"]', "server.soap_paths[0]", "expected a path that starts with /"),
    ('[server]\njson_paths = ["/ocpp"]', "server.json_paths[0]", "expected {identity} as a part of the path"),
    ("[[routes]]\nanswer = [1]", "routes[0].answer[0]", "expected text"),
    ('[[backends]]\nkind = "embedded"\nname = "e"\nurl = "ws://e"', "backends[0].url", NO_SUCH_KEY),
    (CSMS + 'kinds = "x"', "backends[0].kinds", NO_SUCH_KEY),
    (CSMS.replace("ws:", "http:"), "backends[0].url", SOCKET_URL),
    (CSMS.replace("csms.ex", "me:hush@csms.ex"), "backends[0].url", PASSWORD),
    (CSMS + "waiting = 0", "backends[0].waiting", "expected greater than 0"),
    ("routes = [1]", "routes[0]", "expected a table"),
    ('[[routes]]\nchargers = "*"', "routes[0].answer", NONE_FOUND),
    ("[[routes]]\nanswer = []", "routes[0].answer", "expected at least 1 of them"),
    ('[[routes]]\nanswer = "embedded"', "routes[0].answer", "expected a list"),
    ('[[routes]]\nanswer = ["embedded"]\nto = 1', "routes[0].to", NO_SUCH_KEY),
    # what single keys cannot tell
    ('[tls]\nclient_certificates = "required"', "tls.client_certificates", JUDGED),
    *(
        (f"[server]\nsoap_paths = {json.dumps(paths)}", f"server.soap_paths[{len(paths) - 1}]", what)
        for paths, what in (
            (["/"], "expected a path that leaves json_paths[0] something, /ocpp/{identity}"),
            (["/soap", "/OCPP"], "expected a path that leaves json_paths[0] something, /ocpp/{identity}"),
            (["/ocpp/{identity}"], "expected a path that leaves json_paths[0] something, /ocpp/{identity}"),
            (["/soap", "/a/{token}", "/A/{tenant}"], "expected another path, /a/{token} stands for all of these"),
            (["/soap", "/soap/"], "expected another path, /soap stands for all of these"),
        )
    ),
    (
        '[server]\njson_paths = ["/ocpp/{tenant}/{identity}", "/ocpp/{identity}/{token}"]',
        "server.json_paths[1]",
        "expected another path, /ocpp/{tenant}/{identity} stands for all of these",
    ),
    ("backends = []", "backends", "expected at least one backend"),
    (CSMS + CSMS, "backends[1].name", "expected another name, csms is taken"),
    (CSMS.replace('"csms"', '""'), "backends[0].name", "expected a name that is neither empty nor charger"),
    (CSMS.replace('"csms"', '"charger"'), "backends[0].name", "expected a name that is neither empty nor charger"),
    (CSMS.replace("{identity}", ""), "backends[0].url", IN_THE_URL),
    (CSMS.replace("csms.example/{identity}", "{identity}.example/"), "backends[0].url", IN_THE_URL),
    (CSMS.replace("csms", "{tenant}", 2), "backends[0].url", "expected {tenant} in the path or the query of the URL"),
    (CSMS.replace("{i", "{id}/{i"), "backends[0].url", "expected no other placeholders than {identity} and {tenant}"),
    (CSMS + "backoff_min = 61", "backends[0].backoff_min", "expected at most backoff_max, 60 s"),
    (CSMS.replace("{identity}", "{identity}#x"), "backends[0].url", "expected no #fragment in the URL"),
    ("[server]\nhost = ''", "server.host", "expected text that is not empty"),
    ("[admin]\nhost = ''", "admin.host", "expected text that is not empty"),
    ("[callbacks]\nport = 0", "callbacks.port", "expected greater than or equal to 1"),
    ("[callbacks]\npath = 'ocpp'", "callbacks.path", "expected a path that starts with /"),
    ('[[chargers]]\nmatch = "*"\ncallback_port = 0', "chargers[0].callback_port", "expected greater than or equal to 1"),
    (CSMS + '[[routes]]\nanswer = ["cms"]', "routes[0].answer", "expected the name of a backend (csms), got cms"),
    (
        CSMS + '[[routes]]\nanswer = ["csms"]\nlisten = ["audit"]',
        "routes[0].listen",
        "expected the name of a backend (csms), got audit",
    ),
    (
        CSMS + '[[routes]]\nanswer = ["csms"]\nlisten = ["csms"]',
        "routes[0].listen",
        "expected backends that do not also answer, got csms",
    ),
    (
        '[admin]\nhost = "0.0.0.0"',
        "admin.host",
        "expected a loopback address, or token_env or token_file to guard the API",
    ),
    ("[admin]\nport = 9000", "admin.port", "expected another port than server.port"),
    ('[admin]\ntoken_env = "NOWHERE"', "admin.token_env", "expected the environment variable NOWHERE to be set"),
    ('[admin]\ntoken_file = "/nowhere"', "admin.token_file", "expected a readable file, /nowhere is not there"),
    (CSMS + 'password_env = "NOWHERE"', "backends[0].password_env", "expected the environment variable NOWHERE to be set"),
]
COMPLAINTS += [
    (CSMS + f'{key} = "/nowhere"\n', f"backends[0].{key}", "expected a readable file, /nowhere is not there")
    for key in ("password_file", "passwords_file", "ca_file")
]

Write = Callable[[str], Path]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OCPP_GATEWAY_SERVER__PORT", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_one(text: str) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_text(text, "utf-8")
        return path

    return write_one


def complaints(path: Path | None, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(path, **options)
    assert str(refused.value) == "\n".join(refused.value.complaints)
    return [line.removeprefix(f"{path}: ") for line in refused.value.complaints]


# --- complaints


@pytest.mark.parametrize(("text", "where", "what"), COMPLAINTS, ids=lambda text: text.splitlines()[-1] if text else "-")
def test_a_complaint_says_where_and_what(write: Write, text: str, where: str, what: str) -> None:
    assert complaints(write(text)) == [f"{where}: {what}"]


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_is_a_complaint_in_every_section(write: Write, section: str) -> None:
    assert complaints(write(f"[{section}]\nprot = 1")) == [f"{section}.prot: {NO_SUCH_KEY}"]


def test_all_complaints_come_at_once(write: Write) -> None:
    path = write('[server]\nport = -1\nhots = "x"\n[log]\nlevel = "loud"')
    assert [line.partition(": ")[0] for line in complaints(path)] == ["server.port", "server.hots", "log.level"]


def test_what_keys_say_together_is_looked_at_beside_keys_that_are_wrong(write: Write) -> None:
    path = write(CSMS + '[[routes]]\nanswer = ["cms"]\n[admin]\nport = 9000\nhost = "0.0.0.0"\n[log]\nlevel = "loud"')
    assert [line.partition(": ")[0] for line in complaints(path)] == ["log.level", "routes[0].answer", "admin.host", "admin.port"]


def test_a_complaint_starts_with_the_file(write: Write) -> None:
    path = write("[server]\nport = -1")
    with pytest.raises(ConfigError, match=f"^{path}: server.port: "):
        load(path)


def test_a_certificate_without_its_key_is_a_complaint(write: Write, tmp_path: Path) -> None:
    path = write(f'{CSMS}client_cert = "{tmp_path}/gateway.toml"')
    assert complaints(path) == ["backends[0].client_cert: expected client_cert and client_key together"]


def test_certificates_that_are_none_are_complaints(write: Write, tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")
    keys = "".join(f'{key} = "{tmp_path}/x.pem"\n' for key in ("ca_file", "client_cert", "client_key"))
    assert complaints(write(CSMS + keys)) == [
        f"backends[0].ca_file: expected certificates (PEM) that can be read, {tmp_path}/x.pem has none",
        "backends[0].client_cert: expected a certificate (PEM) that goes with client_key, which has no passphrase",
    ]


def test_those_who_need_no_secrets_hear_no_complaint_about_them(write: Write) -> None:
    assert load(write(CSMS + 'password_env = "NOWHERE"'), secrets=False).backends[0].name == "csms"


def test_no_complaint_tells_a_password(write: Write) -> None:
    assert "hush" not in str(complaints(write(CSMS.replace("csms.ex", "me:hush@csms.ex") + "zip = 1")))


def test_what_is_no_toml_is_a_complaint(write: Write) -> None:
    assert complaints(write("[server\n"))[0].startswith("expected TOML: ")


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000], ids=["long", "deep"])
def test_what_no_configuration_has_is_a_complaint(write: Write, value: str) -> None:
    (complaint,) = complaints(write(f"x = {value}"))
    assert complaint.startswith("expected TOML without ")


def test_what_is_no_text_is_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_bytes(b"\xff\xfe")
    assert complaints(path) == ["expected UTF-8 text"]


def test_a_file_that_is_not_there_is_a_complaint(tmp_path: Path) -> None:
    assert complaints(tmp_path / "nowhere.toml") == ["cannot be read: no such file or directory"]


def test_a_guarded_api_may_listen_everywhere(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "hush")
    assert load(write('[admin]\nhost = "::"\ntoken_env = "ADMIN_TOKEN"')).admin.host == "::"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "::1"])
def test_a_loopback_host_needs_no_token(write: Write, host: str) -> None:
    assert load(write(f'[admin]\nhost = "{host}"')).admin.host == host


def test_both_ports_may_be_any_free_one(write: Write) -> None:
    assert load(write("[server]\nport = 0\n[admin]\nport = 0")).admin.port == 0


# --- what a bare meter value means


def words(key: str) -> set[str]:
    """Of a field of a sampled value, as the published schema has them."""
    text = importlib.resources.files("ocpp").joinpath("v16", "schemas", "MeterValues.json").read_text("utf-8-sig")
    found = json.loads(text)["properties"]["meterValue"]["items"]["properties"]["sampledValue"]["items"]["properties"][key][
        "enum"
    ]
    return set(found) - {"Celcius", "Hertz"}  # of JSON alone, by mistake


@pytest.mark.parametrize(("key", "misspelt", "wanted"), METERS)
def test_a_meter_value_is_told_in_the_words_of_the_contract(write: Write, key: str, misspelt: str, wanted: str) -> None:
    (complaint,) = complaints(write(f'{QUIRK}meter = {{ {key} = "{misspelt}" }}'))
    assert complaint.startswith(f"quirks[0].meter.{key}: expected one of {wanted}")
    for word in words(key):
        assert getattr(MeterDefaults.model_validate({key: word}), key) == word


# --- the file of chargers


def guarded(write: Write, tmp_path: Path, chargers: str, more: str = "") -> Path:
    (tmp_path / "chargers.toml").write_text(chargers)
    return write(f'{more}\n[admission]\nfile = "{tmp_path}/chargers.toml"\n')


def test_each_complaint_about_the_file_of_chargers_stands_behind_its_key(write: Write, tmp_path: Path) -> None:
    path = guarded(write, tmp_path, '["A"]\nx = 1\n["B"]\npassword = 5\n')
    assert complaints(path) == [
        "admission.file: A.x: expected one of password, token, networks, certificate, tenant",
        "admission.file: B.password: expected text that is not empty",
    ]


ASKING = (
    '["A"]\npassword = "hush"\n["B\\u001b"]\ntoken = "hush"\n["C"]\ntoken = "hush"\ntenant = "t"\ncertificate = "{identity}"\n'
)


def test_a_row_that_nobody_can_satisfy_is_a_complaint(write: Write, tmp_path: Path) -> None:
    assert complaints(guarded(write, tmp_path, ASKING)) == [
        f"admission.file: B\\x1b.token: {SHOWN.format('{token}')}",
        f"admission.file: C.tenant: {SHOWN.format('{tenant}')}",
        "admission.file: C.certificate: expected tls.client_ca_file too, by which certificates are judged",
    ]


def test_a_row_that_somebody_can_satisfy_is_none(write: Write, tmp_path: Path) -> None:
    server = '[server]\nsoap_paths = ["/soap/{token}"]\njson_paths = ["/ocpp/{tenant}/{identity}"]'
    path = guarded(write, tmp_path, '["C"]\ntoken = "hush"\ntenant = "t"\n', server)
    assert load(path).admission.file == tmp_path / "chargers.toml"


def test_rows_are_not_held_against_a_section_that_is_wrong_itself(write: Write, tmp_path: Path) -> None:
    path = guarded(write, tmp_path, '["C"]\ntoken = "hush"\nx = 1\n', '[server]\nsoap_paths = ["/soap/{tokn}"]')
    assert [line.partition(": ")[0] for line in complaints(path)] == ["server.soap_paths[0]", "admission.file"]


def test_certificates_that_nobody_can_judge_are_complained_of_once(write: Write, tmp_path: Path) -> None:
    own = trustme.CA().issue_cert("gw.example.com")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "gw.pem")
    keys = "".join(f'{key} = "{tmp_path}/gw.pem"\n' for key in ("cert_file", "key_file"))
    assert complaints(write(f'[tls]\n{keys}client_certificates = "required"\n')) == [f"tls.client_certificates: {JUDGED}"]


# --- durations and sizes


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5m", 90),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("2d", 172800),
        ("45", 45),
        (45, 45),
        (0.5, 0.5),
    ],
)
def test_a_duration_is_text_or_seconds(written: object, seconds: float) -> None:
    assert Server(drain=written).drain == seconds  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("written", "size"), [("1B", 1), ("64KiB", 65536), ("1 MiB", 1048576), ("2GiB", 2147483648), ("4096", 4096), (4096, 4096)]
)
def test_a_size_is_text_or_bytes(written: object, size: int) -> None:
    assert Server(body_limit=written).body_limit == size  # type: ignore[arg-type]


def test_what_is_configured_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1


# --- environment


def test_the_environment_wins_key_by_key_over_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_SERVER__PORT", "9100")
    server = load(write('[server]\nhost = "0.0.0.0"\nport = 9200')).server
    assert (server.host, server.port) == ("0.0.0.0", 9100)


def test_the_environment_wins_over_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_SERVER__BODY_TIMEOUT", "45")
    monkeypatch.setenv("OCPP_GATEWAY_SERVER__BODY_LIMIT", "64KiB")
    server = load(None).server
    assert (server.body_timeout, server.body_limit, server.port) == (45, 65536, 9000)


def test_lists_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_CALLBACKS__ALLOW", '["10.0.0.0/8"]')
    assert [str(network) for network in load(None).callbacks.allow] == ["10.0.0.0/8"]


def test_rows_in_the_environment_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_BACKENDS", '[{"kind": "embedded", "name": "mine"}]')
    assert load(None).backends == (Embedded(kind="embedded", name="mine"),)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("OCPP_GATEWAY_SERVER__PORT", "http", "environment: server.port: expected a whole number"),
        ("OCPP_GATEWAY_SERVER__PROT", "9100", f"environment: server.prot: {NO_SUCH_KEY}"),
        (
            "OCPP_GATEWAY_SERVR__PORT",
            "9100",
            "environment: OCPP_GATEWAY_SERVR__PORT: expected a section of the configuration before __, got servr",
        ),
        (
            "OCPP_GATEWAY_CALLBACKS__ALLOW",
            "10.0.0.0/8",
            'environment: callbacks: expected lists and tables as JSON, such as ["10.0.0.0/8"]',
        ),
    ],
)
def test_a_complaint_about_the_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str) -> None:
    monkeypatch.setenv(name, value)
    assert complaints(None) == [complaint]


def test_a_variable_of_the_same_prefix_may_hold_a_secret(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_TOKEN", "hush")
    assert load(write('[admin]\ntoken_env = "OCPP_GATEWAY_TOKEN"')).admin.token_env == "OCPP_GATEWAY_TOKEN"


def test_a_variable_that_names_no_key_is_a_complaint_about_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_SERVER_PORT", "9100")
    text = "environment: OCPP_GATEWAY_SERVER_PORT: expected OCPP_GATEWAY_<SECTION>__<KEY>, got server_port"
    assert complaints(write("[server]\nport = 9200")) == [text]


def test_what_the_environment_says_wrong_is_not_put_on_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCPP_GATEWAY_SERVER__PORT", "http")
    path = write("[server]\nport = 9200\nhots = 1")
    assert complaints(path) == ["environment: server.port: expected a whole number", f"server.hots: {NO_SUCH_KEY}"]


# --- secrets


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSMS_PASSWORD", "hush")
    assert secret("CSMS_PASSWORD", None) == "hush"


@pytest.mark.parametrize("text", ["hush", "hush\n", "hush\r\n"])
def test_a_secret_in_a_file_wins_and_goes_without_its_line_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("CSMS_PASSWORD", "other")
    (tmp_path / "secret").write_bytes(text.encode())
    assert secret("CSMS_PASSWORD", tmp_path / "secret") == "hush"


def test_no_secret_is_named_so_there_is_none() -> None:
    assert secret(None, None) is None


def test_a_secret_stands_nowhere_in_the_configuration(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSMS_PASSWORD", "hush")
    assert "hush" not in repr(load(write(CSMS + 'password_env = "CSMS_PASSWORD"')))


# --- what holds for a charger

ROUTES = (Route(chargers="DC-?", answer=("dc",)), Route(chargers="*[0-9]", answer=("rest",), listen=("audit",)))


@pytest.mark.parametrize(
    ("identity", "answer"), [("DC-1", "dc"), ("dc-1", "dc"), ("DC-10", "rest"), ("AC-7", "rest"), ("AC-X", None), ("", None)]
)
def test_the_first_route_that_matches_wins(identity: str, answer: str | None) -> None:
    route = Config(routes=ROUTES).route(identity)
    assert (route and route.answer[0]) == answer


def test_without_routes_all_chargers_go_to_the_first_backend() -> None:
    first, second = (Ocppj(kind="ocppj", name=name, url="ws://c/{identity}") for name in ("first", "second"))
    assert Config(backends=(first, second)).route("CP-1") == Route(answer=("first",))


def test_without_backends_there_is_no_route() -> None:
    assert Config(backends=()).route("CP-1") is None


ROWS = Config(
    chargers=(
        Charger(match="cp-1", callback_port=8081),
        Charger(match="CP-*", callback_port=8080, callback_url="http://h:1/"),
    )
)


def test_each_key_is_that_of_the_first_row_that_sets_it() -> None:
    assert ROWS.charger("CP-1") == Charger(match="CP-1", callback_port=8081, callback_url="http://h:1/")


def test_a_row_of_other_chargers_does_not_count() -> None:
    assert ROWS.charger("CP-2").callback_port == 8080
    assert ROWS.charger("DC-2") == Charger(match="DC-2")


# --- how chargers reach us


@pytest.mark.parametrize(
    ("server", "url"),
    [
        (Server(), "http://127.0.0.1:9000"),
        (Server(host="::1", port=1), "http://[::1]:1"),
        (Server(public_url="https://gw.example.com/"), "https://gw.example.com"),
    ],
)
def test_chargers_are_told_an_address_without_a_slash_at_the_end(server: Server, url: str) -> None:
    assert server.url == url

"""What is wrong with a configuration, in words for whoever wrote it: of single keys, and of keys that do not go together."""

import ipaddress
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gateway import conflicts
from gateway.known import Row, examine, shown
from gateway.paths import takes_in
from gateway.rules import names
from gateway.tls import UNJUDGED, faults, tls

if TYPE_CHECKING:
    from gateway.config import Backend, Config, Ocppj

NO_SUCH_KEY = "expected no such key"
_TAKEN = ("", "charger")  # people who call by hand, and the other leg in the traffic log
_KINDS = ("embedded", "ocppj")
_SECRETS = ("password_env", "password_file", "passwords_file", "ca_file", "client_cert", "client_key")

# What pydantic says of code, said of a file.
_WISHES: Mapping[str, str] = MappingProxyType(
    {
        "extra_forbidden": NO_SUCH_KEY,
        "missing": "expected a value, found none",
        "union_tag_not_found": "expected the key kind, found none",
        "union_tag_invalid": "expected kind {expected_tags}, got {tag}",
        "string_type": "expected text",
        "string_too_short": "expected text that is not empty",
        "tuple_type": "expected a list",
        "model_type": "expected a table",
        "model_attributes_type": "expected a table",
        "too_short": "expected at least {min_length} of them",
        "path_type": "expected a path",
        "ip_any_network": 'expected a network like "10.0.0.0/8", without bits beyond its length',
        "int_parsing": "expected a whole number",
        "int_type": "expected a whole number",
        "int_from_float": "expected a whole number",
        "bool_parsing": "expected true or false",
        "finite_number": "expected a finite number",
    }
)

Place = tuple[int | str, ...]
Found = Iterator[tuple[Place, str]]


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong. `place` is the path of the key."""

    place: Place
    what: str

    def __str__(self) -> str:
        # pydantic has the kind of a backend after its number, which is no key.
        place = [p for i, p in enumerate(self.place) if not (p in _KINDS and isinstance(self.place[i - 1], int))]
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
        return f"{where}: {self.what}"


def wish(error: Any) -> str:
    """What pydantic found wrong with a value, as what was expected."""
    if error["type"] in _WISHES:
        return _WISHES[error["type"]].format_map(error.get("ctx", {}))
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return str(text[:1].lower() + text[1:])


def unknown_variables(prefix: str, sections: Collection[str], values: Mapping[str, Any]) -> list[Complaint]:
    """Variables with our prefix that nobody reads. The sections that exist judge their keys themselves."""
    secrets = set(_secret_variables(values))
    found = []
    for name in sorted(os.environ):
        section, nested, _ = name.lower().removeprefix(prefix.lower()).partition("__")
        if not name.upper().startswith(prefix) or section in sections or name in secrets:
            continue
        wanted = "a section of the configuration before __" if nested else f"{prefix}<SECTION>__<KEY>"
        found.append(Complaint((name,), f"expected {wanted}, got {section}"))
    return found


def _secret_variables(value: object, key: str = "") -> Iterator[object]:
    """The names of variables that the configuration tells, as far as it can be read."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _secret_variables(inner, name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secret_variables(inner)
    elif key.endswith("_env"):
        yield value


def cross_checks(config: "Config", faulty: Collection[str], secrets: bool) -> list[Complaint]:
    """What single keys cannot tell, of the sections that are not faulty in themselves."""
    checks = [check for needed, check in (*_CHECKS, *(_FILES if secrets else ())) if needed.isdisjoint(faulty)]
    return list(dict.fromkeys(Complaint(place, what) for check in checks for place, what in check(config)))


def _backends(config: "Config") -> Found:
    if not config.backends:
        yield ("backends",), "expected at least one backend"
    seen: set[str] = set()
    for i, backend in enumerate(config.backends):
        if backend.name in seen:
            yield ("backends", i, "name"), f"expected another name, {backend.name} is taken"
        seen.add(backend.name)
        for key, what in _backend(backend):
            yield ("backends", i, key), what


def _backend(backend: "Backend") -> Iterator[tuple[str, str]]:
    if backend.name in _TAKEN:
        yield "name", "expected a name that is neither empty nor charger"
    if backend.kind == "ocppj":
        yield from _ocppj(backend)


def _ocppj(backend: "Ocppj") -> Iterator[tuple[str, str]]:
    url = urlsplit(backend.url)
    if "{identity}" not in url.path + url.query:
        yield "url", "expected {identity} in the path or the query of the URL"
    if bool(backend.client_cert) != bool(backend.client_key):
        yield "client_cert", "expected client_cert and client_key together"
    if backend.backoff_min > backend.backoff_max:
        yield "backoff_min", f"expected at most backoff_max, {backend.backoff_max:g} s"


def _guard(config: "Config") -> Found:
    if not _loopback(config.admin.host) and not (config.admin.token_env or config.admin.token_file):
        yield ("admin", "host"), "expected a loopback address, or token_env or token_file to guard the API"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _ports(config: "Config") -> Found:
    if config.server.port and config.server.port == config.admin.port:
        yield ("admin", "port"), "expected another port than server.port"


def _paths(config: "Config") -> Found:
    server = config.server
    for key, templates in (("soap_paths", server.soap_paths), ("json_paths", server.json_paths)):
        for i, template in enumerate(templates):
            if same := [each for each in templates[:i] if takes_in(each, template) and takes_in(template, each)]:
                yield ("server", key, i), f"expected another path, {same[0]} stands for all of these"
    for i, template in enumerate(server.soap_paths):
        for j, other in enumerate(server.json_paths):
            if takes_in(template, other):  # the reverse does no harm: the door for SOAP chargers is asked first
                yield ("server", "soap_paths", i), f"expected a path that leaves json_paths[{j}] something, {other}"


def _tls(config: "Config") -> Found:
    tls = config.tls
    if bool(tls.cert_file) != bool(tls.key_file):
        yield ("tls", "cert_file"), "expected cert_file and key_file together"
    if tls.client_ca_file and not tls.cert_file:
        yield ("tls", "client_ca_file"), "expected cert_file too: client certificates are asked for on the encrypted port only"
    if tls.client_certificates == "required" and not tls.client_ca_file:
        yield ("tls", "client_certificates"), UNJUDGED
    if not config.server.plain and not tls.cert_file:
        yield ("server", "plain"), "expected true, or tls.cert_file: chargers need a port"
    if tls.cert_file and tls.port and tls.port in (config.admin.port, config.server.port if config.server.plain else 0):
        yield ("tls", "port"), "expected another port than server.port and admin.port"


def _admission(config: "Config") -> Found:
    admission = config.admission
    if admission.mode == "known" and not admission.known and not admission.file:
        yield ("admission", "mode"), "expected known or file to say who is known"
    if admission.mode == "learn" and not admission.file:
        yield ("admission", "mode"), "expected file, into which those who are learnt are written"


def _admission_file(config: "Config") -> Found:
    for line in _examined(config)[1]:
        yield ("admission", "file"), line


def _admission_rows(config: "Config") -> Found:
    """What nobody can show: of each kind the first row that asks for it."""
    paths = "".join((*config.server.soap_paths, *config.server.json_paths))
    means = {key: f"expected {{{key}}} in server.soap_paths or server.json_paths too" for key in ("token", "tenant")}
    missing = {key: what for key, what in means.items() if f"{{{key}}}" not in paths}
    if not config.tls.client_ca_file:
        missing["certificate"] = "expected tls.client_ca_file too, by which certificates are judged"
    rows = _examined(config)[0] if missing else {}
    for key, what in missing.items():
        if asking := next((name for name, row in rows.items() if getattr(row, key) is not None), None):
            yield ("admission", "file"), f"{shown(asking)}.{key}: {what}"


def _examined(config: "Config") -> tuple[dict[str, Row], list[str]]:
    admission = config.admission
    return examine(admission.file, may_be_absent=admission.mode == "learn") if admission.file else ({}, [])


def _quirks(config: "Config") -> Found:
    for i, quirk in enumerate(config.quirks):
        if quirk.name in {other.name for other in config.quirks[:i]}:
            yield ("quirks", i, "name"), f"expected another name, {quirk.name} is taken"
        if quirk.prefixes and (len(set(quirk.prefixes)) < 3 or any(p.lower().startswith("xml") for p in quirk.prefixes)):
            yield ("quirks", i, "prefixes"), "expected three different prefixes, none of which starts with xml"


def _tls_files(config: "Config") -> Found:
    missing = [(key, what) for key in ("cert_file", "key_file", "client_ca_file") if (what := _missing(getattr(config.tls, key)))]
    found = missing or (list(faults(config.tls)) if config.tls.cert_file and config.tls.key_file else [])
    for key, what in found:
        yield ("tls", key), what


def _admin_secrets(config: "Config") -> Found:
    for key in ("token_env", "token_file"):
        if what := _missing(getattr(config.admin, key)):
            yield ("admin", key), what


def _traffic(config: "Config") -> Found:
    traffic = config.traffic
    if traffic.kind == "postgres" and not (traffic.url_env or traffic.url_file):
        yield ("traffic", "url_env"), "expected url_env or url_file, where the connection string is"


def _traffic_secrets(config: "Config") -> Found:
    for key in ("url_env", "url_file") if config.traffic.kind == "postgres" and config.traffic.enabled else ():
        if what := _missing(getattr(config.traffic, key)):
            yield ("traffic", key), what


def _redaction_secrets(config: "Config") -> Found:
    for key in ("reveal_token_env", "reveal_token_file"):
        if what := _missing(getattr(config.redaction, key)):
            yield ("redaction", key), what


def _backend_secrets(config: "Config") -> Found:
    for i, backend in enumerate(config.backends):
        missing = {key: what for key in _SECRETS if (what := _missing(getattr(backend, key, None)))}
        for key, what in (missing or dict(_certificates(backend))).items():
            yield ("backends", i, key), what


def _backend_names(config: "Config") -> Found:
    for i, backend in enumerate(config.backends):
        for key, what in names.examine(backend):
            yield ("backends", i, key), what


def _missing(where: str | Path | None) -> str:
    if isinstance(where, Path) and not where.is_file():
        return f"expected a readable file, {where} is not there"
    if isinstance(where, str) and where not in os.environ:
        return f"expected the environment variable {where} to be set"
    return ""


def _certificates(backend: "Backend") -> Iterator[tuple[str, str]]:
    """Of files that are there: whether they can be used."""
    if backend.kind != "ocppj":
        return
    if backend.ca_file and not _loads(backend.ca_file, None, None):
        yield "ca_file", f"expected certificates (PEM) that can be read, {backend.ca_file} has none"
    if backend.client_cert and backend.client_key and not _loads(None, backend.client_cert, backend.client_key):
        yield "client_cert", "expected a certificate (PEM) that goes with client_key, which has no passphrase"


def _loads(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> bool:
    try:
        tls(ca_file, client_cert, client_key)
    except OSError:
        return False
    return True


_Checks = tuple[tuple[frozenset[str], Callable[["Config"], Found]], ...]
# Each with the sections that it looks at.
_CHECKS: _Checks = (
    (frozenset({"backends"}), _backends),
    (frozenset({"routes", "backends"}), conflicts.routes),
    (frozenset({"routes", "backends", "server"}), conflicts.tenants),
    (frozenset({"routes", "backends", "policies"}), conflicts.backends),
    (frozenset({"policies", "backends"}), conflicts.policies),
    (frozenset({"rewrites", "backends"}), conflicts.rewrites),
    (frozenset({"admin"}), _guard),
    (frozenset({"server", "admin"}), _ports),
    (frozenset({"server"}), _paths),
    (frozenset({"server", "admin", "tls"}), _tls),
    (frozenset({"admission"}), _admission),
    (frozenset({"quirks"}), _quirks),
    (frozenset({"traffic"}), _traffic),
)
_FILES: _Checks = (
    (frozenset({"admission"}), _admission_file),
    (frozenset({"admission", "server", "tls"}), _admission_rows),
    (frozenset({"tls"}), _tls_files),
    (frozenset({"admin"}), _admin_secrets),
    (frozenset({"redaction"}), _redaction_secrets),
    (frozenset({"traffic"}), _traffic_secrets),
    (frozenset({"backends"}), _backend_secrets),
    (frozenset({"backends"}), _backend_names),
)

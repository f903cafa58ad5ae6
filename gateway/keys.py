"""Types of configuration values: how each is written, and what is said of one that is written otherwise."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from translations.errors import WIRES
from translations.manners import known_zone

LONGEST_TAG = 20  # characters of an idTag; OCPP 1.6, 7: IdToken is a CiString20Type
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")  # all that the environment has is text


def _seconds(value: object) -> object:
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        parts = _PART.findall(value)
        if not parts or "".join(n + u for n, u in parts) != value.replace(" ", ""):
            raise ValueError('expected a duration like "30s", "15m" or "1h30m"')
        return sum(float(n) * _UNITS[u] for n, u in parts)
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        found = re.fullmatch(r"(\d+) ?(B|KiB|MiB|GiB)", value)
        if not found:
            raise ValueError('expected a size like "64KiB" or "1MiB"')
        return int(found[1]) * 1024 ** ("B", "KiB", "MiB", "GiB").index(found[2])
    return value


def _web_url(value: object) -> object:
    return _url(value, ("http", "https"))


def _socket_url(value: object) -> object:
    _url(value, ("ws", "wss"))
    if isinstance(value, str):
        if set(re.findall(r"[{].*?[}]", value)) - {"{identity}", "{tenant}"}:
            raise ValueError("expected no other placeholders than {identity} and {tenant}")
        if "{tenant}" in urlsplit(value).netloc:  # it is the charger that says it
            raise ValueError("expected {tenant} in the path or the query of the URL")
    return value


def _url(value: object, schemes: tuple[str, ...]) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"expected a URL that starts with {schemes[0]}:// or {schemes[1]}://")
        if parts.password:
            raise ValueError("expected no password in the URL; use password_env or password_file")
        if "#" in value:  # RFC 6455, 3: not in the address of a WebSocket; and it never reaches an HTTP server
            raise ValueError("expected no #fragment in the URL")
        _ = parts.port  # raises ValueError
    return value


def _path(value: object) -> object:
    if isinstance(value, str) and not value.startswith("/"):
        raise ValueError("expected a path that starts with /")
    return value


def _soap_path(value: object) -> object:
    return _template(value, {"identity", "tenant", "token"}, set())


def _json_path(value: object) -> object:
    return _template(value, {"identity", "tenant", "token"}, {"identity"})


def _template(value: object, known: set[str], needed: set[str]) -> object:
    """A path whose parts are text or one placeholder each."""
    if not isinstance(value, str) or not value.startswith("/"):
        return _path(value)
    names = [part[1:-1] for part in value.split("/") if part[:1] == "{" and part[-1:] == "}"]
    odd = [part for part in value.split("/") if ("{" in part or "}" in part) and part[1:-1] not in known]
    if odd or len(set(names)) != len(names):
        raise ValueError(
            f"expected each of {', '.join(sorted(f'{{{name}}}' for name in known))} once, as a whole part of the path"
        )
    if missing := needed - set(names):
        raise ValueError(f"expected {{{min(missing)}}} as a part of the path")
    if "?" in value or "#" in value:
        raise ValueError("expected a path without ? and #, which are no part of it")
    return value


def _identity_form(value: object) -> object:
    """A template for what a backend calls a charger."""
    if isinstance(value, str) and ("{identity}" not in value or set(re.findall(r"[{](.*?)[}]", value)) - {"identity", "tenant"}):
        raise ValueError("expected {identity}, and besides it only {tenant}")
    return value


def _value_path(value: object) -> object:
    if isinstance(value, str) and not _VALUE_PATH.fullmatch(value):
        raise ValueError('expected a path like "meterValue[*].sampledValue[0].unit"')
    return value


def _code(value: object) -> object:
    if isinstance(value, str) and value not in WIRES:
        raise ValueError(f"expected one of {', '.join(WIRES)}")
    return value


def _zone(value: object) -> object:
    if isinstance(value, str) and not known_zone(value):
        raise ValueError('expected a time zone like "Europe/Paris" or "+02:00"')
    return value


def callback_form(value: object) -> object:
    """A template for the address at which a charger is called back."""
    if isinstance(value, str):
        filled = value.replace("{source}", "source").replace("{identity}", "identity")
        if "{" in filled or "}" in filled:
            raise ValueError("expected no other placeholders than {source} and {identity}")
        _web_url(filled)
    return value


def action_form(value: object) -> object:
    """A template for wsa:Action."""
    if isinstance(value, str) and ("{action}" not in value or set(re.findall(r"[{](.*?)[}]", value)) - _ACTION_PARTS):
        raise ValueError("expected {action}, and besides it only {namespace} and {service}")
    return value


_ACTION_PARTS = {"action", "namespace", "service"}
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VALUE_PATH = re.compile(rf"{_NAME}(\[(\d{{1,6}}|\*)\])*(\.{_NAME}(\[(\d{{1,6}}|\*)\])*)*")
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
WebUrl = Annotated[str, BeforeValidator(_web_url)]
SocketUrl = Annotated[str, BeforeValidator(_socket_url)]
Host = Annotated[str, Field(min_length=1)]
UrlPath = Annotated[str, BeforeValidator(_path)]
SoapPath = Annotated[str, BeforeValidator(_soap_path)]
JsonPath = Annotated[str, BeforeValidator(_json_path)]
Zone = Annotated[str, BeforeValidator(_zone)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]  # messages per second
Burst = Annotated[int, Field(gt=0)]
Header = Literal["chargeBoxIdentity", "Action", "MessageID", "RelatesTo", "From", "ReplyTo", "To"]
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,20}$")]
Port = Annotated[int, Field(ge=0, le=65535)]  # of our own; 0: any free one
PeerPort = Annotated[int, Field(ge=1, le=65535)]
Wait = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]  # seconds; 0: none
Count = Annotated[int, Field(gt=0)]
IdentityForm = Annotated[str, BeforeValidator(_identity_form)]
ValuePath = Annotated[str, BeforeValidator(_value_path)]
ErrorCode = Annotated[str, BeforeValidator(_code)]
Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
IdTag = Annotated[str, Field(min_length=1, max_length=LONGEST_TAG)]

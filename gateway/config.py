"""The one configuration: a TOML file and, over it, environment variables `OCPP_GATEWAY_<SECTION>__<KEY>`.

Every complaint carries the path of its key. Unknown keys are complaints. Secrets are named here by the file or the
environment variable that holds them and are read when they are needed.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

DEFAULT_FILE = Path("gateway.toml")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")  # all that the environment has is text
_PREFIX = "OCPP_GATEWAY_"
_TAKEN = ("", "charger")  # people who call by hand, and the other leg in the traffic log


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
    return _url(value, ("ws", "wss"))


def _url(value: object, schemes: tuple[str, ...]) -> object:
    if isinstance(value, str):
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"expected a URL that starts with {schemes[0]}:// or {schemes[1]}://")
        if parts.password:
            raise ValueError("expected no password in the URL; use password_env or password_file")
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]
WebUrl = Annotated[str, BeforeValidator(_web_url)]
SocketUrl = Annotated[str, BeforeValidator(_socket_url)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    """Where chargers come."""

    host: str = "127.0.0.1"
    port: Port = 9000
    public_url: WebUrl | None = None
    body_limit: Size = 1024 * 1024
    body_timeout: Seconds = 30
    answer_timeout: Seconds = 30
    ping_interval: Seconds = 30
    ping_timeout: Seconds = 30
    malformed_limit: Annotated[int, Field(gt=0)] = 20
    drain: Seconds = 10

    @property
    def url(self) -> str:
        """What chargers are told to reach us by, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")


class Admin(Section):
    """Where people come."""

    host: str = "127.0.0.1"
    port: Port = 9001
    token_env: str | None = None
    token_file: Path | None = None


class Callbacks(Section):
    """How SOAP chargers are called back."""

    allow: tuple[IPvAnyNetwork, ...] = ()
    port: Port | None = None
    path: str = "/"
    connect_timeout: Seconds = 10
    timeout: Seconds = 25
    waiting: Annotated[int, Field(ge=0)] = 16


class Presence(Section):
    """When a SOAP charger counts as gone. Default: three heartbeat intervals, at least 15 minutes."""

    offline_after: Seconds | None = None


class State(Section):
    """What must survive a restart."""

    path: Path = Path("gateway-state.db")


class Traffic(Section):
    """What passed; may be thrown away."""

    enabled: bool = True
    path: Path = Path("gateway-traffic.db")
    queue: Annotated[int, Field(gt=0)] = 20_000
    keep: Seconds = 30 * 86400


class Log(Section):
    """What is told on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Charger(Section):
    """What holds for chargers whose identity matches; the first row that sets a key wins."""

    match: str
    callback_url: WebUrl | None = None
    callback_port: Port | None = None


class Embedded(Section):
    """A small accept-all JSON CSMS inside the gateway, reached over a real WebSocket."""

    kind: Literal["embedded"]
    name: str
    interval: Annotated[int, Field(ge=0)] = 300


class Ocppj(Section):
    """A CSMS that speaks OCPP-J 1.6 over WebSocket; one connection per charger."""

    kind: Literal["ocppj"]
    name: str
    url: SocketUrl
    username: str = "{identity}"
    password_env: str | None = None
    password_file: Path | None = None
    passwords_file: Path | None = None
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    announce: bool = False
    connect_timeout: Seconds = 10
    timeout: Seconds = 30
    ping_interval: Seconds = 30
    ping_timeout: Seconds = 20
    backoff_min: Seconds = 1
    backoff_max: Seconds = 60
    waiting: Annotated[int, Field(gt=0)] = 32


Backend = Annotated[Embedded | Ocppj, Field(discriminator="kind")]


class Route(Section):
    """Which backends a charger's messages go to; the first row that matches wins."""

    chargers: str = "*"
    answer: tuple[str, ...] = Field(min_length=1)
    listen: tuple[str, ...] = ()


class Config(BaseSettings):
    """The whole configuration, with the embedded defaults."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    server: Server = Server()
    admin: Admin = Admin()
    callbacks: Callbacks = Callbacks()
    presence: Presence = Presence()
    state: State = State()
    traffic: Traffic = Traffic()
    log: Log = Log()
    chargers: tuple[Charger, ...] = ()
    backends: tuple[Backend, ...] = (Embedded(kind="embedded", name="embedded"),)
    routes: tuple[Route, ...] = ()

    def route(self, identity: str) -> Route | None:
        """The first route whose glob matches, or, without any routes, all to the first backend."""
        folded = identity.casefold()
        routes = self.routes or tuple(Route(answer=(backend.name,)) for backend in self.backends[:1])
        return next((r for r in routes if fnmatchcase(folded, r.chargers.casefold())), None)

    def charger(self, identity: str) -> Charger:
        """What the rows for this identity say together."""
        found: dict[str, Any] = {"match": identity}
        for row in self.chargers:
            if fnmatchcase(identity.casefold(), row.match.casefold()):
                found = row.model_dump(exclude_none=True, exclude={"match"}) | found
        return Charger(**found)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (env_settings, init_settings)


class ConfigError(Exception):
    """What is wrong, one `file: key.path: what was expected` per line."""

    def __init__(self, complaints: list[str]) -> None:
        super().__init__("\n".join(complaints))
        self.complaints = complaints


def found(path: Path | None) -> Path | None:
    """The configuration file: the one named, or gateway.toml where that lies in the working directory, or none."""
    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def load(path: Path | None, *, secrets: bool = True) -> Config:
    """Read the configuration, or the defaults without a path. Raises ConfigError with every complaint at once.

    `secrets=False` is for those who need none and may not be able to read them.
    """
    name = str(path) if path else "environment"
    try:
        values = tomllib.loads(path.read_text("utf-8")) if path else {}
        config = Config(**values)
    except OSError as error:
        raise ConfigError([f"{name}: cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{name}: expected UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{name}: expected TOML: {error}"]) from None
    except SettingsError as error:
        section = re.search(r'field "(\w+)"', str(error))
        where = section[1] if section else _PREFIX
        raise ConfigError([f'environment: {where}: expected lists and tables as JSON, such as ["10.0.0.0/8"]']) from None
    except ValidationError as error:
        raise ConfigError([f"{name}: {_place(e['loc'])}: {_wish(e)}" for e in error.errors()]) from None
    if complaints := list(_complaints(config, secrets)):
        raise ConfigError([f"{name}: {where}: {what}" for where, what in complaints])
    return config


def _place(loc: tuple[int | str, ...]) -> str:
    kept = [p for i, p in enumerate(loc) if not (p in ("embedded", "ocppj") and i and isinstance(loc[i - 1], int))]
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in kept).lstrip(".")


# What pydantic says of code, said of a file.
_WISHES: Mapping[str, str] = MappingProxyType(
    {
        "extra_forbidden": "expected no such key",
        "missing": "expected a value, found none",
        "union_tag_not_found": "expected the key kind, found none",
        "union_tag_invalid": "expected kind {expected_tags}, got {tag}",
        "string_type": "expected text",
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


def _wish(error: Any) -> str:
    if error["type"] in _WISHES:
        return _WISHES[error["type"]].format_map(error.get("ctx", {}))
    text = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    return str(text[:1].lower() + text[1:])


def _complaints(config: Config, secrets: bool) -> Iterator[tuple[str, str]]:
    yield from _environment_complaints()
    yield from _backend_complaints(config)
    if secrets:
        yield from _secret_complaints(config)
    names = [b.name for b in config.backends]
    for i, route in enumerate(config.routes):
        for key, wanted in (("answer", route.answer), ("listen", route.listen)):
            for name in wanted:
                if name not in names:
                    yield f"routes[{i}].{key}", f"expected the name of a backend ({', '.join(names)}), got {name}"
        if both := set(route.answer) & set(route.listen):
            yield f"routes[{i}].listen", f"expected backends that do not also answer, got {', '.join(sorted(both))}"
    if not _loopback(config.admin.host) and not (config.admin.token_env or config.admin.token_file):
        yield "admin.host", "expected a loopback address, or token_env or token_file to guard the API"
    if config.server.port and config.server.port == config.admin.port:
        yield "admin.port", "expected another port than server.port"


def _environment_complaints() -> Iterator[tuple[str, str]]:
    """Of sections that do not exist; those that exist judge their keys themselves."""
    for name in sorted(os.environ):
        section, nested, _ = name.lower().removeprefix(_PREFIX.lower()).partition("__")
        if name.upper().startswith(_PREFIX) and nested and section not in Config.model_fields:
            yield name, f"expected a section of the configuration before __, got {section}"


def _backend_complaints(config: Config) -> Iterator[tuple[str, str]]:
    if not config.backends:
        yield "backends", "expected at least one backend"
    seen: set[str] = set()
    for i, backend in enumerate(config.backends):
        if backend.name in seen:
            yield f"backends[{i}].name", f"expected another name, {backend.name} is taken"
        seen.add(backend.name)
        if backend.name in _TAKEN:
            yield f"backends[{i}].name", "expected a name that is neither empty nor charger"
        if isinstance(backend, Ocppj):
            if "{identity}" not in backend.url:
                yield f"backends[{i}].url", "expected {identity} somewhere in the URL"
            if bool(backend.client_cert) != bool(backend.client_key):
                yield f"backends[{i}].client_cert", "expected client_cert and client_key together"


def _secret_complaints(config: Config) -> Iterator[tuple[str, str]]:
    for key in ("token_env", "token_file"):
        yield from _secret_complaint(f"admin.{key}", getattr(config.admin, key))
    for i, backend in enumerate(config.backends):
        for key in ("password_env", "password_file", "passwords_file", "ca_file", "client_cert", "client_key"):
            yield from _secret_complaint(f"backends[{i}].{key}", getattr(backend, key, None))


def _secret_complaint(key: str, where: str | Path | None) -> Iterator[tuple[str, str]]:
    if isinstance(where, Path) and not where.is_file():
        yield key, f"expected a readable file, {where} is not there"
    if isinstance(where, str) and where not in os.environ:
        yield key, f"expected the environment variable {where} to be set"


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def secret(env: str | None, file: Path | None) -> str | None:
    """A secret from where the configuration says it is; a file's last line break does not count."""
    if file:
        return file.read_text("utf-8").rstrip("\r\n")
    return os.environ.get(env) if env else None

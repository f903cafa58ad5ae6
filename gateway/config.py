"""The one configuration: which sections there are, their keys and defaults. How it is read `loading` knows.

Unknown keys are complaints. Secrets are named here by the file or the environment variable that holds them and are read when
they are needed.
"""

import os
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gateway.keys import (
    Burst,
    Count,
    ErrorCode,
    Globs,
    Header,
    Host,
    IdentityForm,
    IdTag,
    JsonPath,
    PeerPort,
    Port,
    Prefix,
    Rate,
    Seconds,
    Size,
    SoapPath,
    SocketUrl,
    UrlPath,
    ValuePath,
    Wait,
    WebUrl,
    Zone,
    action_form,
    callback_form,
)
from gateway.rules.globs import fits
from translations.contracts import contract
from translations.messages import Side, Version

PREFIX = "OCPP_GATEWAY_"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    """Where chargers come."""

    host: Host = "127.0.0.1"
    port: Port = 9000
    public_url: WebUrl | None = None
    body_limit: Size = 1024 * 1024
    body_timeout: Seconds = 30
    answer_timeout: Seconds = 30
    ping_interval: Seconds = 30
    ping_timeout: Seconds = 30
    malformed_limit: Annotated[int, Field(gt=0)] = 20
    drain: Seconds = 10
    soap_paths: Annotated[tuple[SoapPath, ...], Field(min_length=1)] = ("/soap",)
    json_paths: Annotated[tuple[JsonPath, ...], Field(min_length=1)] = ("/ocpp/{identity}",)
    plain: bool = True
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()

    @property
    def url(self) -> str:
        """What chargers are told to reach us by, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "http" if self.plain else "https"
        return (self.public_url or f"{scheme}://{host}:{self.port}").rstrip("/")


class Tls(Section):
    """A second port for chargers, encrypted; there is one as soon as there is a certificate."""

    port: Port = 9443
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    client_certificates: Literal["optional", "required"] = "optional"


class Admission(Section):
    """Who may come, and what shows that it is who it says."""

    mode: Literal["open", "known", "learn"] = "open"
    known: tuple[str, ...] = ()
    file: Path | None = None
    slow_down: Seconds = 5


class Bounds(Section):
    """How much one charger, one source, and all of them together may ask for."""

    connections: Annotated[int, Field(gt=0)] = 20_000
    source_connections: Annotated[int, Field(gt=0)] | None = None
    charger_rate: Rate | None = None
    charger_burst: Burst = 100
    source_rate: Rate | None = None
    source_burst: Burst = 1000


class Transactions(Section):
    """What is done for messages that carry money."""

    remember: Seconds = 86400


class Admin(Section):
    """Where people come."""

    host: Host = "127.0.0.1"
    port: Port = 9001
    token_env: str | None = None
    token_file: Path | None = None


class Callbacks(Section):
    """How SOAP chargers are called back."""

    allow: tuple[IPvAnyNetwork, ...] = ()
    port: PeerPort | None = None
    path: UrlPath = "/"
    connect_timeout: Seconds = 10
    timeout: Seconds = 25
    waiting: Annotated[int, Field(ge=0)] = 16


class Presence(Section):
    """When a SOAP charger counts as gone. Default: three heartbeat intervals, at least 15 minutes."""

    offline_after: Seconds | None = None


class State(Section):
    """What must survive a restart."""

    path: Path = Path("gateway-state.db")


class Replay(Section):
    """How backends get what was stored for them while they were away."""

    rate: Rate = 100
    attempts: Count = 3
    retry_interval: Seconds = 60
    most: Count = 1000
    keep: Seconds = 30 * 86400


class Authorization(Section):
    """What is known of idTags, for when no backend can be asked."""

    remember: Seconds = 30 * 86400
    most: Count = 100_000


class Traffic(Section):
    """What passed; may be thrown away."""

    enabled: bool = True
    kind: Literal["sqlite", "postgres"] = "sqlite"
    path: Path = Path("gateway-traffic.db")
    url_env: str | None = None
    url_file: Path | None = None
    queue: Annotated[int, Field(gt=0)] = 20_000
    keep: Seconds = 30 * 86400
    max_size: Size = 10 << 30
    full_text: bool = False
    compress: bool = True


class RedactionRule(Section):
    """What becomes of one value of some messages in what is shown; the first row that fits wins, before what is built in."""

    action: str = "*"
    path: ValuePath
    do: Literal["pseudonym", "remove", "keep", "last4"]


class Redaction(Section):
    """What is hidden of messages wherever they are shown, and who may see it."""

    key_file: Path | None = None
    peers: Literal["keep", "pseudonym"] = "keep"
    data_transfer: Literal["scan", "pseudonym", "remove", "keep"] = "scan"
    audit_file: Path | None = None
    reveal_token_env: str | None = None
    reveal_token_file: Path | None = None
    rules: tuple[RedactionRule, ...] = ()


class Log(Section):
    """What is told on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Charger(Section):
    """What holds for chargers whose identity matches; the first row that sets a key wins."""

    match: str
    callback_url: WebUrl | None = None
    callback_port: PeerPort | None = None


class MeterDefaults(Section):
    """What a meter value means that comes without measurand and unit."""

    context: str | None = None
    format: str | None = None
    measurand: str | None = None
    phase: str | None = None
    location: str | None = None
    unit: str | None = None

    @field_validator("*")
    @classmethod
    def _word(cls, word: str | None, info: ValidationInfo) -> str | None:
        words = _words_of_samples()[info.field_name or ""]
        if word is not None and word not in words:
            raise ValueError(f"expected one of {', '.join(words)}")
        return word


@cache
def _words_of_samples() -> dict[str, tuple[str, ...]]:
    """What the fields of a sampledValue may say, as the contract has it."""
    kind = contract(Version.V16, Side.CENTRAL_SYSTEM).messages["meterValuesRequest"]
    for name in ("meterValue", "sampledValue"):
        kind = next(each.type for each in kind.fields if each.name == name)
    return {each.name: each.type.values for each in kind.fields}


class Quirk(Section):
    """How chargers talk that are of a maker, a model, a firmware or an identity; the first row that sets a key wins."""

    name: str
    maker: str | None = None
    model: str | None = None
    firmware: str | None = None
    identity: str | None = None
    version: Literal["1.2", "1.5", "1.6"] | None = None
    zone: Zone | None = None
    meter: MeterDefaults | None = None
    prefixes: tuple[Prefix, Prefix, Prefix] | None = None
    must_understand: tuple[Header, ...] | None = None
    action: Annotated[str, BeforeValidator(action_form)] | None = None
    content_type_action: bool | None = None
    date: Literal["as-given", "seconds", "milliseconds"] | None = None
    callback_url: Annotated[str, BeforeValidator(callback_form)] | None = None
    subprotocol: Literal["ocpp1.2", "ocpp1.5", "ocpp1.6"] | None = None


class Peer(Section):
    """What every kind of backend has, whatever it speaks."""

    name: str
    away: Literal["refuse", "store"] = "refuse"
    hear: Literal["calls", "answers", "both"] = "calls"
    commands: tuple[str, ...] | None = None
    unknown_transaction: Literal["pass", "drop"] | None = None
    identity: IdentityForm = "{identity}"
    identities_file: Path | None = None
    id_tags_file: Path | None = None
    id_tag_other: IdTag | None = None
    boot_rate: Rate | None = None


class Embedded(Peer):
    """A small accept-all JSON CSMS inside the gateway, reached over a real WebSocket."""

    kind: Literal["embedded"]
    interval: Annotated[int, Field(ge=0)] = 300


class Ocppj(Peer):
    """A CSMS that speaks OCPP-J 1.6 over WebSocket; one connection per charger."""

    kind: Literal["ocppj"]
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
    connect_rate: Rate | None = None
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
    tenant: str = "*"
    answer: tuple[str, ...] = Field(min_length=1)
    listen: tuple[str, ...] = ()
    validation: Literal["repair", "strict", "off"] = "repair"
    failover_after: Wait = 10
    fail_back: bool = False
    fail_back_after: Wait = 60
    failover_in_transaction: bool = False
    authorize: Literal["primary", "first-accept", "prefix"] = "primary"
    authorizers: tuple[str, ...] = ()
    prefixes: dict[str, str] = {}
    away_authorize: Literal["error", "reject", "known", "all"] = "error"
    away_answers: tuple[Literal["BootNotification", "Heartbeat"], ...] = ()
    away_interval: Annotated[int, Field(gt=0)] = 300


class Policy(Section):
    """What becomes of some messages between chargers and a backend; the first row that fits wins. Without one: forward."""

    backends: Globs = ("*",)
    chargers: str = "*"
    actions: Globs = ("*",)
    direction: Literal["up", "down"] = "up"
    do: Literal["forward", "answer", "error", "drop"]
    payload: dict[str, Any] | None = None
    code: ErrorCode | None = None
    text: str = ""


class Rewrite(Section):
    """What is changed in some messages between chargers and a backend; every row that fits is done, in order."""

    name: str
    backends: Globs = ("*",)
    chargers: str = "*"
    actions: Globs = ("*",)
    direction: Literal["up", "down"] = "up"
    message: Literal["call", "answer"] = "call"
    copies: dict[ValuePath, ValuePath] = {}
    map: dict[ValuePath, dict[str, Any]] = {}
    set: dict[ValuePath, Any] = {}
    remove: tuple[ValuePath, ...] = ()


class Config(BaseSettings):
    """The whole configuration, with the embedded defaults."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    server: Server = Server()
    tls: Tls = Tls()
    admission: Admission = Admission()
    bounds: Bounds = Bounds()
    admin: Admin = Admin()
    callbacks: Callbacks = Callbacks()
    presence: Presence = Presence()
    transactions: Transactions = Transactions()
    replay: Replay = Replay()
    authorization: Authorization = Authorization()
    state: State = State()
    traffic: Traffic = Traffic()
    redaction: Redaction = Redaction()
    log: Log = Log()
    chargers: tuple[Charger, ...] = ()
    quirks: tuple[Quirk, ...] = ()
    backends: tuple[Backend, ...] = (Embedded(kind="embedded", name="embedded"),)
    routes: tuple[Route, ...] = ()
    policies: tuple[Policy, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()

    @property
    def redaction_key_file(self) -> Path:
        """Where the key of the pseudonyms is: named, or beside the state."""
        return self.redaction.key_file or self.state.path.with_name("gateway-redaction.key")

    @property
    def audit_file(self) -> Path:
        """Where it is kept who was shown what is hidden: named, or beside the state."""
        return self.redaction.audit_file or self.state.path.with_name("gateway-audit.jsonl")

    @property
    def all_routes(self) -> tuple[Route, ...]:
        """The routes; without any, all chargers go to the first backend."""
        return self.routes or tuple(Route(answer=(backend.name,)) for backend in self.backends[:1])

    def route(self, identity: str, tenant: str = "") -> Route | None:
        """The first route whose globs match."""
        return next((r for r in self.all_routes if fits(r.chargers, identity) and fits(r.tenant, tenant)), None)

    def charger(self, identity: str) -> Charger:
        """What the rows for this identity say together."""
        found: dict[str, Any] = {"match": identity}
        for row in self.chargers:
            if fits(row.match, identity):
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


def secret(env: str | None, file: Path | None) -> str | None:
    """A secret from where the configuration says it is; a file's last line break does not count."""
    if file:
        return file.read_text("utf-8").rstrip("\r\n")
    return os.environ.get(env) if env else None

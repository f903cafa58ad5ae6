"""What passed, as exchanges: a call and its answer, on every leg that they took. What a store keeps."""

from dataclasses import dataclass, field
from typing import NamedTuple

from translations.messages import Remark

PENDING = ""  # the outcome of what has no answer yet
OK = "ok"


class Finding(NamedTuple):
    """One thing that an expert would remark: by which rule, how severe it is ("note", "warning", "error"), and what was found."""

    rule: str
    severity: str
    text: str


@dataclass(slots=True)
class Half:
    """One message on one leg, as it crossed the wire.

    `canonical` is the OCPP-J frame that was understood, as JSON on one line; None where `raw` is that frame itself, or where none
    could be read. `headers` are those of HTTP that matter, names in lower case, without credentials. `at`: unix time in seconds.
    """

    at: float
    raw: bytes
    canonical: bytes | None = None
    message_id: str = ""
    remarks: tuple[Remark, ...] = ()
    note: str = ""  # of an error or a refusal: the reason, for people
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Leg:
    """Call and answer between the gateway and one peer: the charger, or a backend by its name."""

    name: str
    inward: bool  # whether the peer made the call, so that the gateway received it
    wire: str  # "soap" or "json"
    version: str
    peer: str = ""  # address of the other end
    call: Half | None = None
    answer: Half | None = None
    outcome: str = PENDING  # "ok", or the error code of the answer, or of the refusal
    refused: bool = False  # the call was no message, or was not taken
    latency: float | None = None  # seconds from call to answer
    attempt: int = 1  # grows where a peer is called again with the same call, or answers it again


@dataclass(slots=True)
class Exchange:
    """A call and its answer. `outcome` and `latency` are those of the leg where the call came in."""

    id: int  # grows with each exchange of a store and is never used twice; 0: not stored yet
    name: str  # the gateway's id of the call, the same on every leg
    at: float  # when the first message of it passed
    charger: str = ""
    tenant: str = ""
    action: str = ""
    up: bool = True  # from the charger; False: to it
    outcome: str = PENDING
    latency: float | None = None
    connector: int | None = None  # connectorId in the call
    transaction: int | None = None  # transactionId as the charger calls it, in the call or in the answer
    legs: list[Leg] = field(default_factory=list)
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the call was answered with a result."""
        return self.outcome == OK

    def leg(self, name: str) -> Leg | None:
        """The leg of that name."""
        return next((leg for leg in self.legs if leg.name == name), None)

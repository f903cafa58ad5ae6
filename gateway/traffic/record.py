"""What is kept of one message on one leg."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from translations.messages import Remark

CHARGER_LEG = "charger"


class Record(NamedTuple):
    """One message as it crossed one wire. Made at the wire, so that `raw` is what was really there."""

    at: float  # unix time in seconds
    exchange: str  # the gateway's id of the call this belongs to, the same on every leg
    charger: str  # identity, empty where none could be read
    leg: str  # "charger" or the name of a backend
    direction: str  # "<" the gateway received it, ">" the gateway sent it
    wire: str  # "soap" or "json"
    version: str  # OCPP version on this wire, empty where none could be read
    kind: str  # "call", "result", "error", or "refused" for what was no message
    action: str  # empty where none could be read
    message_id: str  # the id on this wire
    raw: bytes  # as it was on the wire, decompressed
    canonical: Any = None  # the OCPP-J frame we understood: [2, id, action, payload]; None where it is the raw text itself
    remarks: tuple[Remark, ...] = ()
    outcome: str = ""  # of an answer: "ok" or the error code; of a refusal: the error code
    latency: float | None = None  # of an answer: seconds since its call on this leg
    peer: str = ""  # address of the other end
    note: str = ""  # of an error or a refusal: the reason, for people
    tenant: str = ""  # by whose path the charger comes, empty where paths name none
    headers: tuple[tuple[str, str], ...] = ()  # those of HTTP that matter, names in lower case, without credentials


Headers = tuple[tuple[str, str], ...]

# They tell how a message came, never who sent it: no credentials, no cookies, no addresses.
_KEPT = (b"content-type", b"content-encoding", b"transfer-encoding", b"soapaction", b"user-agent", b"server")
_LONGEST = 1000  # of a header's value; the rest is cut


def kept_headers(headers: Mapping[bytes, bytes]) -> Headers:
    """Those that matter, of headers with names in lower case."""
    return tuple((name.decode(), value[:_LONGEST].decode("latin-1")) for name in _KEPT if (value := headers.get(name)))


Tap = Callable[[Record], None]
"""Takes every record; never blocks, never raises."""

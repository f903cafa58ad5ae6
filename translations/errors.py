"""What can go wrong with a message, and the one table that says it on each wire.

OcppError
├── NotImplemented_       the action is not known
├── NotSupported          known, but this peer or version cannot take it
├── InternalError         we, or what stands behind us, failed
├── GenericError          anything else
├── SecurityError         not authenticated, or not allowed
├── ProtocolError         not a message of this protocol
├── FormationViolation    syntactically wrong
├── PropertyConstraintViolation    a value out of its bounds
├── OccurenceConstraintViolation   too few or too many of a field
└── TypeConstraintViolation        a value of the wrong type
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from translations.messages import Error


class OcppError(Exception):
    """A refusal that both wires can say. The text is one line, made for people, and names no secret."""

    code = "GenericError"

    def __init__(self, text: str, details: Mapping[str, Any] | None = None, message_id: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.details = dict(details or {})
        self.message_id = message_id

    def as_error(self, message_id: str = "", action: str = "") -> Error:
        """The answer that tells the peer."""
        return Error(self.code, self.text[:255], self.details, message_id or self.message_id, action)


class NotImplemented_(OcppError):
    code = "NotImplemented"


class NotSupported(OcppError):
    code = "NotSupported"


class InternalError(OcppError):
    code = "InternalError"


class GenericError(OcppError):
    code = "GenericError"


class SecurityError(OcppError):
    code = "SecurityError"


class ProtocolError(OcppError):
    code = "ProtocolError"


class FormationViolation(OcppError):
    code = "FormationViolation"


class PropertyConstraintViolation(OcppError):
    code = "PropertyConstraintViolation"


class OccurenceConstraintViolation(OcppError):
    code = "OccurenceConstraintViolation"


class TypeConstraintViolation(OcppError):
    code = "TypeConstraintViolation"


@dataclass(frozen=True, slots=True)
class Row:
    """How one kind of error is said: SOAP fault code and subcode (OCPP-S 1.6, 4.4), HTTP status (SOAP 1.2 part 2, 7.5.2)."""

    soap: str
    subcode: str
    status: int


# One row per CALLERROR code of OCPP-J 1.6, 4.2.3. Errata 1.6 v4: constraint violations are Sender/ProtocolError in SOAP.
WIRES: Mapping[str, Row] = MappingProxyType(
    {
        "NotImplemented": Row("Receiver", "NotSupported", 500),
        "NotSupported": Row("Receiver", "NotSupported", 500),
        "InternalError": Row("Receiver", "InternalError", 500),
        "GenericError": Row("Receiver", "InternalError", 500),
        "SecurityError": Row("Sender", "SecurityError", 400),
        "ProtocolError": Row("Sender", "ProtocolError", 400),
        "FormationViolation": Row("Sender", "ProtocolError", 400),
        "PropertyConstraintViolation": Row("Sender", "ProtocolError", 400),
        "OccurenceConstraintViolation": Row("Sender", "ProtocolError", 400),
        "TypeConstraintViolation": Row("Sender", "ProtocolError", 400),
    }
)

# Other spellings of the codes: of OCPP 2.x, and of peers that mend the 1.6 misspelling.
SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "FormatViolation": "FormationViolation",
        "OccurrenceConstraintViolation": "OccurenceConstraintViolation",
        "RpcFrameworkError": "FormationViolation",
        "MessageTypeNotSupported": "ProtocolError",
    }
)

# What a fault's subcode (or, without one, its code) says in OCPP-J.
FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "SecurityError": "SecurityError",
        "IdentityMismatch": "GenericError",
        "ProtocolError": "ProtocolError",
        "NotSupported": "NotSupported",
        "InternalError": "InternalError",
        "ActionNotSupported": "NotSupported",
        "MessageAddressingHeaderRequired": "ProtocolError",
        "InvalidAddressingHeader": "ProtocolError",
        "DestinationUnreachable": "ProtocolError",
        "MustUnderstand": "ProtocolError",
        "VersionMismatch": "ProtocolError",
        "DataEncodingUnknown": "ProtocolError",
        "Sender": "GenericError",
        "Client": "GenericError",
        "Receiver": "InternalError",
        "Server": "InternalError",
    }
)

# What an HTTP status without an envelope says in OCPP-J; any other is a GenericError.
STATUSES: Mapping[int, str] = MappingProxyType(
    {
        401: "SecurityError",
        403: "SecurityError",
        404: "NotSupported",
        405: "NotSupported",
        415: "NotSupported",
        501: "NotSupported",
    }
)


def known_code(code: str) -> str:
    """The code as OCPP-J 1.6 spells it; a code it does not have is a GenericError."""
    code = SPELLINGS.get(code, code)
    return code if code in WIRES else "GenericError"

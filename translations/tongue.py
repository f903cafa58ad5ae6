"""How a session understands its peer and is understood: what it hears in canonical form, what it says as the wire wants it.

Stateless, without a clock. A message of OCPP 1.6 that its schema has nothing against goes on as it is, the same object.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from types import MappingProxyType

from translations import meters, objects, schemas, validity
from translations.deltas import known_actions
from translations.errors import InternalError, NotSupported, OccurenceConstraintViolation, OcppError
from translations.manners import USUAL, Manner
from translations.messages import Call, Error, Kind, Message, Payload, Remark, Result, Side, Version, title_of
from translations.step import NAME_MOST, Step, refuse_repairs

EMPTY_METER_VALUES = "ocppj.empty-meter-values"  # the rule of a remark on a call that is to be answered, and not passed on


class Tongue:
    """One version and one manner of talking. `side` is the service that the peer's calls are addressed to."""

    __slots__ = ("_as_is", "_bare", "_foreign", "_newest", "_plain", "_strict", "manner", "side", "version")

    def __init__(self, version: Version, side: Side, manner: Manner = USUAL) -> None:
        self.version, self.side, self.manner = version, side, manner
        self._newest, self._strict = version is Version.V16, manner.validation == "strict"
        self._foreign = known_actions(side.other) - known_actions(side)
        self._as_is = self._newest and manner.validation == "off"
        # Whether what is valid can be taken, and sent, as it is.
        self._bare, self._plain = self._newest and not manner.meter, self._newest and manner.date == "as-given"

    def heard(self, message: Message, action: str = "", received: str = "") -> Message:
        """A message of the peer in canonical form. `action` is that of the call which a result answers; `received` is the
        time to take for a date that cannot be. Raises OcppError with the id of the message.
        """
        if isinstance(message, Error) or self._as_is:
            return message
        action, response = action or message.action, isinstance(message, Result)
        if action in self._foreign and not response:
            raise NotSupported(f"{action} is not addressed to the {self.side}", message_id=message.id)
        if self._bare and schemas.fits(action, response, message.payload):
            return message
        try:
            return self._heard(message, action, response, received)
        except OcppError as error:
            error.message_id = message.id
            raise

    def said(self, message: Message, action: str = "") -> Message:
        """A canonical message as the wire has it: the same one, or another with the remarks that were made here alone.

        Raises OcppError with the id of the message; for an answer InternalError, since that is no mistake of the peer.
        """
        if isinstance(message, Error) or self._as_is:
            return message
        action, response = action or message.action, isinstance(message, Result)
        if self._plain and schemas.fits(action, response, message.payload):
            return message
        try:
            return self._said(message, action, response)
        except OcppError as error:
            if response:
                raise InternalError(f"the backend's answer is not valid: {error.text}", message_id=message.id) from None
            error.message_id = message.id
            raise

    def _heard(self, message: Call | Result, action: str, response: bool, received: str) -> Message:
        side = self.side.other if response else self.side
        known = _known(action, side)
        if not known:
            return message  # of a vendor: those who know it know what it means
        step = Step(title_of(known, response), received, self.manner)
        if known != action:
            step.note(Kind.REPAIRED, f"written {action[:NAME_MOST]}", "quirks.case", "action")
        payload = self._read(message.payload, known, response, side, step)
        if not (step.off or self._strict or schemas.fits(known, response, payload)):
            meters.leave_out(payload, schemas.invalid(known, response, payload), step)
        if not step.off:
            schemas.judge(known, response, payload)
        if payload.get("meterValue") == [] and not response:
            if any(r.rule == "quirks.unknown-field" and not {".", "["} & set(r.path) for r in step.said()):
                raise OccurenceConstraintViolation(step.text("expected readings, found what is none", "meterValue"))
            # JSON cannot say it (the schema wants one item), and there is nothing to tell anyone.
            step.note(Kind.LOST, "no values: answered here, not passed on", EMPTY_METER_VALUES, "meterValue")
        if self._strict:
            refuse_repairs(step.said())
        if self._newest and not step.noted and payload == message.payload:
            return message
        return _with(message, known, payload, message.remarks + step.said())

    def _read(self, payload: Payload, action: str, response: bool, side: Side, step: Step) -> Payload:
        """The canonical payload, mended where that is wanted and needed."""
        form = validity.form_of(self.version, action, response, side) or validity.form_of(Version.V16, action, response, side)
        if not self._newest and (form is None or form.version is Version.V16):
            step.note(Kind.REPAIRED, "an action of OCPP 1.6", "quirks.other-version", "action")
        if form is None:
            return payload if step.off or self._strict else validity.without_empty(payload, action, response, step)
        if form.version is Version.V16 and not self.manner.meter and (self._strict or schemas.fits(action, response, payload)):
            return payload
        read = objects.read(payload, form.shape, step)
        if self.manner.meter and not response and not step.off:
            meters.dress(read, self.manner.meter, step)
        return read

    def _said(self, message: Call | Result, action: str, response: bool) -> Message:
        side = self.side if response else self.side.other
        if action not in known_actions(side):
            return message  # of a vendor
        form = validity.form_of(self.version, action, response, side)
        if form is None and not self._newest and not response:
            raise NotSupported(f"{action} does not exist in OCPP {self.version}", {"version": self.version, "transport": "json"})
        step = Step(title_of(action, response), "", self.manner)
        payload = validity.valid(message.payload, action, response, side, step, self._strict)
        if form is not None and not self._plain:
            payload = objects.write(payload, form.shape, step)
        if self._strict:
            refuse_repairs(step.said())
        return message if payload is message.payload else _with(message, action, payload, step.said())


@lru_cache(maxsize=256)
def tongue(version: Version, side: Side, manner: Manner) -> Tongue | None:
    """The tongue that speaks so, the same for all who do; None where there is nothing to translate and nothing to judge."""
    return None if version is Version.V16 and manner.validation == "off" else Tongue(version, side, manner)


def _known(action: str, side: Side) -> str:
    """The action as the contract spells it; empty for one that is not addressed to this side."""
    return action if action in known_actions(side) else _folded(side).get(action.casefold(), "")


@cache
def _folded(side: Side) -> Mapping[str, str]:
    return MappingProxyType({action.casefold(): action for action in known_actions(side)})


def _with(message: Call | Result, action: str, payload: Payload, remarks: tuple[Remark, ...]) -> Message:
    if isinstance(message, Result):
        return Result(payload, message.id, action, remarks)
    return Call(action, payload, message.id, message.identity, message.side, remarks)

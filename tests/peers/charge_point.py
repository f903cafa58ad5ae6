"""A charge point made with spyne: the ChargePointService of OCPP 1.2, 1.5 and 1.6 over HTTP, on a thread of its own.

The contracts stand here as tables: `?` marks what may be absent, `*` what may be repeated.
"""

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from socketserver import ThreadingMixIn
from types import MappingProxyType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # spyne's imports are from another time
    from spyne import AnyUri, Application, Boolean, ComplexModel, DateTime, Fault, Integer32, Service, Unicode, rpc
    from spyne import Decimal as Number
    from spyne.protocol.soap import Soap12
    from spyne.server.wsgi import WsgiApplication

Payload = dict[str, Any]

NAMESPACES: Mapping[str, str] = MappingProxyType(
    {"1.2": "urn://Ocpp/Cp/2010/08/", "1.5": "urn://Ocpp/Cp/2012/06/", "1.6": "urn://Ocpp/Cp/2015/10/"}
)
WSA = "http://www.w3.org/2005/08/addressing"
_ATOMS: Mapping[str, Any] = MappingProxyType(
    {"int": Integer32, "text": Unicode, "time": DateTime, "uri": AnyUri, "bool": Boolean, "number": Number}
)

# Request and answer of each operation; the types are those of _ATOMS and _TYPES.
_CORE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ChangeAvailability": ("connectorId int, type text", "status text"),
        "ChangeConfiguration": ("key text, value text", "status text"),
        "ClearCache": ("", "status text"),
        "GetDiagnostics": (
            "location uri, startTime time?, stopTime time?, retries int?, retryInterval int?",
            "fileName text?",
        ),
        "RemoteStartTransaction": ("idTag text, connectorId int?", "status text"),
        "RemoteStopTransaction": ("transactionId int", "status text"),
        "Reset": ("type text", "status text"),
        "UnlockConnector": ("connectorId int", "status text"),
        "UpdateFirmware": ("retrieveDate time, location uri, retries int?, retryInterval int?", ""),
    }
)
_LISTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "CancelReservation": ("reservationId int", "status text"),
        "DataTransfer": ("vendorId text, messageId text?, data text?", "status text, data text?"),
        "GetConfiguration": ("key text*", "configurationKey KeyValue*, unknownKey text*"),
        "GetLocalListVersion": ("", "listVersion int"),
        "ReserveNow": (
            "connectorId int, expiryDate time, idTag text, parentIdTag text?, reservationId int",
            "status text",
        ),
        "SendLocalList": (
            "updateType text, listVersion int, localAuthorisationList AuthorisationData*, hash text?",
            "status text, hash text?",
        ),
    }
)
_SMART: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "ClearChargingProfile": (
            "id int?, connectorId int?, chargingProfilePurpose text?, stackLevel int?",
            "status text",
        ),
        "GetCompositeSchedule": (
            "connectorId int, duration int, chargingRateUnit text?",
            "status text, connectorId int?, scheduleStart time?, chargingSchedule ChargingSchedule?",
        ),
        "RemoteStartTransaction": ("connectorId int?, idTag text, chargingProfile ChargingProfile?", "status text"),
        "SendLocalList": (
            "listVersion int, localAuthorizationList AuthorizationData*, updateType text",
            "status text",
        ),
        "SetChargingProfile": ("connectorId int, csChargingProfiles ChargingProfile", "status text"),
        "TriggerMessage": ("requestedMessage text, connectorId int?", "status text"),
    }
)
OPERATIONS: Mapping[str, Mapping[str, tuple[str, str]]] = MappingProxyType(
    {"1.2": _CORE, "1.5": {**_CORE, **_LISTS}, "1.6": {**_CORE, **_LISTS, **_SMART}}
)
_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "IdTagInfo": "status text, expiryDate time?, parentIdTag text?",
        "AuthorisationData": "idTag text, idTagInfo IdTagInfo?",
        "AuthorizationData": "idTag text, idTagInfo IdTagInfo?",
        "KeyValue": "key text, readonly bool, value text?",
        "ChargingSchedulePeriod": "startPeriod int, limit number, numberPhases int?",
        "ChargingSchedule": (
            "duration int?, startSchedule time?, chargingRateUnit text, "
            "chargingSchedulePeriod ChargingSchedulePeriod*, minChargingRate number?"
        ),
        "ChargingProfile": (
            "chargingProfileId int, transactionId int?, stackLevel int, chargingProfilePurpose text, "
            "chargingProfileKind text, recurrencyKind text?, validFrom time?, validTo time?, "
            "chargingSchedule ChargingSchedule"
        ),
    }
)


class ChargePoint:
    """The charger. `heard` is what it was told: action, identity of the header, payload; `fault` is thrown at callers."""

    def __init__(self, version: str) -> None:
        self.version = version
        self._answers: dict[str, Payload] = {}
        self.heard: list[tuple[str, str, Payload]] = []
        self.fault: tuple[str, str] | None = None
        self.port = 0
        self._namespace = NAMESPACES[version]
        self._models: dict[str, Any] = {}
        self.application = WsgiApplication(self._application())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ocpp"

    def forget(self) -> None:
        """As new."""
        self.fault = None
        self._answers.clear()
        self.heard.clear()

    def answer(self, action: str, payload: Payload) -> None:
        """Say what answers a command; without this it is an Accepted."""
        self._answers[action] = payload

    def take(self, action: str, identity: str, request: Any) -> Payload:
        """Keep one call and say what answers it."""
        self.heard.append((action, identity, _plain(request)))
        if self.fault:
            raise Fault(*self.fault)
        return self._answers.get(action, {"status": "Accepted"})

    # --- the contract as spyne wants it

    def _application(self) -> Application:
        header = self._header()
        operations = {action: self._operation(action, *shapes, header) for action, shapes in OPERATIONS[self.version].items()}
        service = type("ChargePointService", (Service,), operations)
        return Application(
            [service], self._namespace, in_protocol=Soap12(validator="soft"), out_protocol=Soap12(), name="ChargePointService"
        )

    def _header(self) -> Any:
        fields = {"__namespace__": self._namespace, "__type_name__": "chargeBoxIdentity"}
        return type("ChargeBoxIdentity", (Unicode,), fields)

    def _operation(self, action: str, request: str, answer: str, header: Any) -> Any:
        taken = [self._model(f"{action}Request", request)] if request else []  # no empty model may be asked for
        given = self._model(f"{action}Response", answer)
        element = f"{{{self._namespace}}}{action[0].lower()}{action[1:]}"

        def take(ctx: Any, request: Any) -> Any:
            return self._made(given, self.take(action, ctx.in_header, request))

        def take_nothing(ctx: Any) -> Any:
            return take(ctx, {})

        operation = take if taken else take_nothing

        operation.__name__ = action
        return rpc(
            *taken,
            _returns=given,
            _body_style="bare",
            _in_message_name=f"{element}Request",
            _out_message_name=f"{element}Response",
            _in_header=(header,),
        )(operation)

    def _model(self, name: str, fields: str) -> Any:
        if name not in self._models:
            members = [self._member(*field.split()) for field in fields.split(", ") if field]
            spelt = {"__namespace__": self._namespace, "__type_name__": name, "_type_info": members}
            self._models[name] = type(ComplexModel)(name, (ComplexModel,), spelt)
        return self._models[name]

    def _member(self, name: str, kind: str) -> tuple[str, Any]:
        bare = kind.rstrip("?*")
        model = _ATOMS[bare] if bare in _ATOMS else self._model(bare, _TYPES[bare])
        most = Decimal("inf") if kind.endswith("*") else 1
        return name, model.customize(min_occurs=0 if kind != bare else 1, max_occurs=most)

    def _made(self, model: Any, payload: Payload) -> Any:
        types = model._type_info
        return (model.__orig__ or model)(**{name: self._value(types[name], value) for name, value in payload.items()})

    def _value(self, model: Any, value: Any) -> Any:
        if isinstance(value, list):
            return [self._value(model, item) for item in value]
        if isinstance(value, dict):
            return self._made(model, value)
        if issubclass(model, DateTime):
            return datetime.fromisoformat(value)
        return Decimal(str(value)) if issubclass(model, Number) and not issubclass(model, Integer32) else value


def _plain(value: Any) -> Any:
    """What spyne read, as canonical JSON would have it."""
    if isinstance(value, ComplexModel):
        read = {name: getattr(value, name, None) for name in value.get_flat_type_info(type(value))}
        return {name: _plain(inner) for name, inner in read.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return float(value) if isinstance(value, Decimal) else value


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


@contextmanager
def served(point: ChargePoint) -> Iterator[ChargePoint]:
    """The charge point, listening on a free port."""
    with make_server("127.0.0.1", 0, point.application, server_class=_Server, handler_class=_Quiet) as server:
        point.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield point
        finally:
            server.shutdown()
            thread.join(5)

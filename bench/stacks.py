"""The same BootNotification by spyne (the answering end) and by zeep (the asking end). Both belong to the extra `test`."""

from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

from translations.contracts import wsdl_text
from translations.messages import Payload, Side, Version

_NAMESPACE = "urn://Ocpp/Cs/2012/06/"
_BOOT = (
    "chargePointVendor",
    "chargePointModel",
    "chargePointSerialNumber",
    "chargeBoxSerialNumber",
    "firmwareVersion",
    "iccid",
    "imsi",
    "meterType",
    "meterSerialNumber",
)


def spyne_answer() -> Callable[[bytes], bytes]:
    """What spyne makes of a request's bytes: checked by its soft validator and answered. Raises ImportError."""
    from spyne import Application, MethodContext
    from spyne.protocol.soap import Soap12
    from spyne.server import ServerBase

    wire = Soap12(validator="soft"), Soap12()
    server = ServerBase(Application([_spyne_service()], _NAMESPACE, in_protocol=wire[0], out_protocol=wire[1]))

    def answer(data: bytes) -> bytes:
        begun = MethodContext(server, MethodContext.SERVER)
        begun.in_string = [data]
        context = server.generate_contexts(begun)[0]
        for step in (server.get_in_object, server.get_out_object, server.get_out_string):
            step(context)
            if context.in_error or context.out_error:
                raise RuntimeError(f"expected an answer of spyne, got {context.in_error or context.out_error}")
        return b"".join(context.out_string)

    return answer


def _spyne_service() -> Any:
    from spyne import ComplexModel, DateTime, Integer, Service, Unicode, rpc

    identity = type("ChargeBoxIdentity", (Unicode,), {"__namespace__": _NAMESPACE, "__type_name__": "chargeBoxIdentity"})
    names = {name: Unicode(max_len=50) for name in _BOOT}
    boot = type("BootNotificationRequest", (ComplexModel,), {"__namespace__": _NAMESPACE, **names})
    fields = {"status": Unicode, "currentTime": DateTime, "heartbeatInterval": Integer}
    accepted = type("BootNotificationResponse", (ComplexModel,), {"__namespace__": _NAMESPACE, **fields})

    def boot_notification(context: Any, request: Any) -> Any:
        return accepted(status="Accepted", currentTime=datetime.now(UTC), heartbeatInterval=300)

    name = f"{{{_NAMESPACE}}}bootNotification"
    style = {"_body_style": "bare", "_in_message_name": f"{name}Request", "_out_message_name": f"{name}Response"}
    operation = rpc(boot, _returns=accepted, **style)(boot_notification)
    return type("CentralSystem", (Service,), {"__in_header__": identity, "boot_notification": operation})


def zeep_message(action: str, payload: Payload) -> Callable[[], bytes]:
    """Zeep's envelope of a request, from our contract. Raises ImportError."""
    import zeep
    from lxml import etree

    client = zeep.Client(BytesIO(wsdl_text(Version.V15, Side.CENTRAL_SYSTEM)))
    header = {"chargeBoxIdentity": "CP-0001"}

    def message() -> bytes:
        return etree.tostring(client.create_message(client.service, action, _soapheaders=header, **payload))

    return message

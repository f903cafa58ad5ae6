"""translations.soap: envelopes as peers and the specification want them, and faults of every shape."""

from typing import Any

import pytest
from lxml import etree

from tests.judges import Tree, tree
from tests.peers.envelopes import envelope
from translations import soap
from translations.contracts import wsdl_text
from translations.errors import OcppError
from translations.messages import Call, Error, Payload, Result, Side, Version
from translations.soap import SOAP11, SOAP12, WSA, Addresses, Manner, Written

DRAFT = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
CS, CP = Side.CENTRAL_SYSTEM, Side.CHARGE_POINT
V12, V15, V16 = Version
ANONYMOUS = f"{WSA}/anonymous"
BEAT = Call("Heartbeat", {}, "m-1")


def root_of(written: Written) -> etree._Element:
    return etree.fromstring(written.body)


def headers(written: Written) -> list[tuple[str, str]]:
    """Local names and texts, in order; of an address, the address."""
    (header, _) = root_of(written)
    return [(etree.QName(node).localname, "".join(map(str, node.itertext()))) for node in header]


def error_of(fault: str, soap_ns: str = SOAP12) -> Error:
    text = f'<s:Envelope xmlns:s="{soap_ns}" xmlns:cs="urn://Ocpp/Cs/2012/06/"><s:Body>{fault}</s:Body></s:Envelope>'
    _, message = soap.decode(text.encode())
    assert isinstance(message, Error)
    return message


def refusal_of(call: Any, *args: Any, **kwargs: Any) -> tuple[str, str]:
    with pytest.raises(OcppError) as caught:
        call(*args, **kwargs)
    return caught.value.code, caught.value.text


# --- writing -----------------------------------------------------------------------------------------------------------


def test_a_request_has_the_headers_of_the_specification() -> None:
    written = soap.encode(BEAT, V16, CS, identity="CP-1", addresses=Addresses("m-2", "", "http://cs/", "http://cp/"))
    assert headers(written) == [
        ("Action", "/Heartbeat"),
        ("chargeBoxIdentity", "CP-1"),
        ("MessageID", "m-2"),
        ("From", "http://cp/"),
        ("ReplyTo", ANONYMOUS),
        ("To", "http://cs/"),
    ]


def test_an_answer_has_the_headers_of_the_specification() -> None:
    answer = Result({"currentTime": "2024-05-01T10:00:00Z"}, "m-1", "Heartbeat")
    written = soap.encode(answer, V15, CS, addresses=Addresses("m-2", "urn:uuid:1"))
    assert headers(written) == [
        ("Action", "/HeartbeatResponse"),
        ("MessageID", "m-2"),
        ("RelatesTo", "urn:uuid:1"),
        ("To", ANONYMOUS),
    ]


def test_an_answer_to_nothing_relates_to_nothing() -> None:
    for message in (Result({}, "m-1", "StatusNotification"), Error("InternalError", "x", id="m-1")):
        written = soap.encode(message, V15, CS, addresses=Addresses("m-2"))
        assert "RelatesTo" not in dict(headers(written))


@pytest.mark.parametrize(
    ("version", "side", "prefix"), [(V12, CS, "Cs/2010/08"), (V15, CP, "Cp/2012/06"), (V16, CP, "Cp/2015/10")]
)
def test_payload_and_identity_are_in_the_namespace_of_the_service(version: Version, side: Side, prefix: str) -> None:
    call = Call("Heartbeat" if side is CS else "ClearCache", {}, "1")
    header, body = root_of(soap.encode(call, version, side, identity="CP-1"))
    namespaces = {str(etree.QName(node).namespace) for node in (header[1], body[0])}
    assert namespaces == {f"urn://Ocpp/{prefix}/"}


def test_no_identity_is_no_header() -> None:
    assert "chargeBoxIdentity" not in dict(headers(soap.encode(BEAT, V16, CS)))


@pytest.mark.parametrize(
    ("wsa", "nobody", "action"),
    [
        (WSA, "http://www.w3.org/2005/08/addressing/anonymous", "http://www.w3.org/2005/08/addressing/soap/fault"),
        (DRAFT, f"{DRAFT}/role/anonymous", f"{DRAFT}/fault"),
    ],
)
def test_each_edition_of_addressing_has_its_own_words(wsa: str, nobody: str, action: str) -> None:
    manner = Manner(SOAP12, wsa)
    called = dict(headers(soap.encode(BEAT, V16, CS, manner=manner)))
    assert {called[name] for name in ("From", "ReplyTo", "To")} == {nobody}
    said = dict(headers(soap.fault(Error("InternalError", "x"), V16, manner=manner)))
    assert (said["Action"], said["To"]) == (action, nobody)


@pytest.mark.parametrize(("soap_ns", "wsa"), [(SOAP12, DRAFT), (SOAP11, WSA), (SOAP11, DRAFT)])
def test_everything_is_said_in_the_manner_of_the_peer(soap_ns: str, wsa: str) -> None:
    manner = Manner(soap_ns, wsa)
    for written in (soap.encode(BEAT, V16, CS, manner=manner), soap.fault(Error("InternalError", "x"), V16, manner=manner)):
        root = root_of(written)
        assert etree.QName(root).namespace == soap_ns
        assert {etree.QName(node).namespace for node in root[0]} == {wsa}
        assert (SOAP12.encode() in written.body, WSA.encode() in written.body) == (soap_ns == SOAP12, wsa == WSA)


def test_markup_in_headers_is_escaped() -> None:
    written = soap.encode(BEAT, V16, CS, identity="<&>\"' é", addresses=Addresses("a&b", "", "http://x/?a&b", "<"))
    said = dict(headers(written))
    assert (said["chargeBoxIdentity"], said["MessageID"], said["To"], said["From"]) == ("<&>\"' é", "a&b", "http://x/?a&b", "<")


@pytest.mark.parametrize("identity", ["a\x00", "\ud800", "\uffff"])
def test_an_identity_that_xml_cannot_say_is_refused(identity: str) -> None:
    assert refusal_of(soap.encode, BEAT, V16, CS, identity=identity)[0] == "PropertyConstraintViolation"


@pytest.mark.parametrize(
    ("action", "version", "side", "code", "text"),
    [
        ("SetChargingProfile", V15, CP, "NotSupported", "SetChargingProfile does not exist in OCPP 1.5 over SOAP"),
        ("DataTransfer", V12, CS, "NotSupported", "DataTransfer does not exist in OCPP 1.2 over SOAP"),
        ("GetLog", V16, CP, "NotSupported", "GetLog does not exist in OCPP 1.6 over SOAP"),
        ("Reset", V16, CS, "NotSupported", "Reset is not addressed to the central-system"),
        ("Authorize", V16, CP, "NotSupported", "Authorize is not addressed to the charge-point"),
        ("NotifyEvent", V16, CS, "NotImplemented", "expected an action of OCPP 1.6, got 'NotifyEvent'"),
        ("", V16, CS, "NotImplemented", "expected an action of OCPP 1.6, got ''"),
    ],
)
def test_an_action_that_cannot_be_said_has_its_own_refusal(
    action: str, version: Version, side: Side, code: str, text: str
) -> None:
    assert refusal_of(soap.encode, Call(action, {}), version, side) == (code, text)


def test_a_refusal_of_an_action_tells_version_and_transport() -> None:
    with pytest.raises(OcppError) as caught:
        soap.find_form("TriggerMessage", False, V12, CP)
    assert caught.value.details == {"version": "1.2", "transport": "soap"}


# --- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message_id", "frame_id"),
    [
        ("7230", "7230"),
        ("uuid:12", "uuid:12"),
        ("urn:uuid:8c8a8e52-2f0c-4d84-9ff5-0c8a7a1f0001", "8c8a8e52-2f0c-4d84-9ff5-0c8a7a1f0001"),
        ("uuid:8c8a8e52-2f0c-4d84-9ff5-0c8a7a1f0001", "8c8a8e52-2f0c-4d84-9ff5-0c8a7a1f0001"),
        ("x" * 40, "x" * 36),
        ("", ""),
    ],
)
def test_a_message_id_fits_into_a_frame(message_id: str, frame_id: str) -> None:
    assert soap.frame_id(message_id) == frame_id
    opened, message = soap.decode(envelope(message_id=message_id))
    assert (opened.message_id, message.id) == (message_id, frame_id)


@pytest.mark.parametrize(("message_id", "rules"), [("", ["quirks.no-id"]), ("1", [])])
def test_a_missing_id_is_remarked(message_id: str, rules: list[str]) -> None:
    _, message = soap.decode(envelope(message_id=message_id))
    assert [r.rule for r in message.remarks] == rules


def test_a_response_is_a_result_of_its_request() -> None:
    body = "<heartbeatResponse><currentTime>2024-05-01T10:00:00Z</currentTime></heartbeatResponse>"
    _, message = soap.decode(envelope(body).replace(b"MessageID", b"RelatesTo"))
    assert message == Result({"currentTime": "2024-05-01T10:00:00Z"}, "urn:uuid:1", "Heartbeat")


@pytest.mark.parametrize(
    ("body", "namespace", "code", "text"),
    [
        ("<triggerMessageRequest/>", "", "NotSupported", "TriggerMessage is not an operation of this service in OCPP 1.5"),
        ("<frobnicateRequest/>", "", "NotImplemented", "expected an operation of OCPP 1.5, got 'frobnicateRequest'"),
        ("<heartbeat/>", "", "NotSupported", "Heartbeat is not an operation of this service in OCPP 1.5"),
        (
            "<x/>",
            "urn://Ocpp/Cs/2099/01/",
            "ProtocolError",
            "expected a namespace of OCPP 1.2, 1.5 or 1.6, got 'urn://Ocpp/Cs/2099/01/'",
        ),
    ],
)
def test_what_is_no_operation_has_its_own_refusal(body: str, namespace: str, code: str, text: str) -> None:
    assert refusal_of(soap.decode, envelope(body, namespace=namespace)) == (code, text)


@pytest.mark.parametrize(
    ("body", "action"), [("<resetRequest><type>Hard</type></resetRequest>", "Reset"), ("<clearCacheRequest/>", "ClearCache")]
)
def test_an_operation_of_the_charge_point_is_known_in_the_namespace_of_the_other(body: str, action: str) -> None:
    opened, message = soap.decode(envelope(body))
    assert (message.action, opened.side) == (action, Side.CHARGE_POINT)
    assert "quirks.namespace" in [remark.rule for remark in message.remarks]


def stopped(timestamp: str) -> bytes:
    said = f"<transactionId>1</transactionId><timestamp>{timestamp}</timestamp><meterStop>1</meterStop>"
    return envelope(f"<stopTransactionRequest>{said}</stopTransactionRequest>")


@pytest.mark.parametrize("timestamp", ["2022-02-29T00:00:00Z", "2024-04-31T00:00:00Z", "2024-04-30T00:00:00+15:00", "soon"])
def test_a_date_that_cannot_be_is_refused_where_nobody_knows_the_time(timestamp: str) -> None:
    text = f"StopTransaction.req timestamp: expected a date and time, got {timestamp!r}"
    assert refusal_of(soap.decode, stopped(timestamp)) == ("TypeConstraintViolation", text)


def test_a_date_that_cannot_be_becomes_the_time_of_receipt() -> None:
    _, message = soap.decode(stopped("2022-02-29T00:00:00Z"), received="2024-05-06T07:08:09Z")
    assert isinstance(message, Call)
    assert message.payload["timestamp"] == "2024-05-06T07:08:09Z"
    assert [(remark.kind, remark.path) for remark in message.remarks][-1] == ("assumed", "timestamp")


def test_a_leap_day_is_a_day() -> None:
    _, message = soap.decode(stopped("2024-02-29T12:00:00Z"))
    assert isinstance(message, Call)
    assert message.payload["timestamp"] == "2024-02-29T12:00:00Z"
    assert not any(remark.path == "timestamp" for remark in message.remarks)


# --- faults in -----------------------------------------------------------------------------------------------------------

CODED = "<s:Fault><s:Code><s:Value>s:Sender</s:Value>{}</s:Code><s:Reason><s:Text>why</s:Text></s:Reason></s:Fault>"


@pytest.mark.parametrize(
    ("fault", "code", "subcode"),
    [
        (CODED.format("<s:Subcode><s:Value>cs:SecurityError</s:Value></s:Subcode>"), "SecurityError", "SecurityError"),
        (CODED.format("<cs:SubCode>cs:SecurityError</cs:SubCode>"), "SecurityError", "SecurityError"),
        (CODED.format("<Subcode><Value>NotSupported</Value></Subcode>"), "NotSupported", "NotSupported"),
        (CODED.format("<s:Subcode><s:Value>cs:SECURITYERROR</s:Value></s:Subcode>"), "SecurityError", "SECURITYERROR"),
        (CODED.format("<s:Subcode><s:Value>securityError</s:Value></s:Subcode>"), "SecurityError", "securityError"),
        (CODED.format("<s:Subcode><s:Value>\n ProtocolError \n</s:Value></s:Subcode>"), "ProtocolError", "ProtocolError"),
        (CODED.format("<s:Subcode><s:Value>a:ActionNotSupported</s:Value></s:Subcode>"), "NotSupported", "ActionNotSupported"),
        (CODED.format("<s:Subcode><s:Value>cs:IdentityMismatch</s:Value></s:Subcode>"), "GenericError", "IdentityMismatch"),
        (CODED.format("<s:Subcode><s:Value>cs:UrlMismatch</s:Value></s:Subcode>"), "GenericError", "UrlMismatch"),
        (
            CODED.format(
                "<s:Subcode><s:Value>cs:InternalError</s:Value><s:Subcode><s:Value>cs:NotSupported</s:Value></s:Subcode></s:Subcode>"
            ),
            "InternalError",
            "InternalError",
        ),
        (CODED.format("<s:Subcode><s:Value/></s:Subcode>"), "GenericError", ""),
        (CODED.format(""), "GenericError", ""),
    ],
)
def test_the_subcode_of_a_fault_decides(fault: str, code: str, subcode: str) -> None:
    error = error_of(fault)
    assert (error.code, error.text) == (code, "why")
    assert error.details == {"transport": "soap", "soapCode": "Sender", "subcode": subcode, "reason": "why"}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Receiver", "InternalError"),
        ("MustUnderstand", "ProtocolError"),
        ("VersionMismatch", "ProtocolError"),
        ("Odd", "GenericError"),
    ],
)
def test_without_a_subcode_the_code_decides(value: str, code: str) -> None:
    assert error_of(f"<s:Fault><s:Code><s:Value>s:{value}</s:Value></s:Code></s:Fault>").code == code


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("<faultcode>s:Client</faultcode><faultstring>why</faultstring>", "GenericError"),
        ("<faultcode>Server</faultcode><faultstring>why</faultstring>", "InternalError"),
        ("<faultcode>s:MustUnderstand</faultcode><faultstring>why</faultstring>", "ProtocolError"),
        (
            "<faultcode>s:Client</faultcode><faultstring>why</faultstring><detail><cs:SubCode>SecurityError</cs:SubCode></detail>",
            "SecurityError",
        ),
    ],
)
def test_faults_of_soap_1_1_are_read(fault: str, code: str) -> None:
    error = error_of(f"<s:Fault>{fault}</s:Fault>", SOAP11)
    assert (error.code, error.text) == (code, "why")


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("<Fault><Code/><reason>why</reason></Fault>", "GenericError", "why"),
        ("<fault/>", "", ""),
        ("<s:Fault/>", "GenericError", ""),
        ("<s:Fault><s:Code>s:Receiver</s:Code><s:Reason>why</s:Reason></s:Fault>", "InternalError", "why"),
        ('<s:Fault><s:Reason><s:Text lang="en">why</s:Text><s:Text>warum</s:Text></s:Reason></s:Fault>', "GenericError", "why"),
    ],
)
def test_faults_that_are_hardly_any_are_read(fault: str, code: str, text: str) -> None:
    if not code:
        assert refusal_of(error_of, fault)[0] == "ProtocolError"
        return
    error = error_of(fault)
    assert (error.code, error.text) == (code, text)


def test_a_long_fault_is_cut() -> None:
    error = error_of(CODED.replace("why", "x" * 1000).format(f"<cs:SubCode>{'y' * 1000}</cs:SubCode>"))
    assert (len(error.text), len(error.details["subcode"])) == (255, 60)


def test_of_several_reasons_the_english_one_is_taken() -> None:
    texts = '<s:Text xml:lang="de">warum</s:Text><s:Text xml:lang="en-GB">why</s:Text>'
    error = error_of(f"<s:Fault><s:Reason>{texts}</s:Reason></s:Fault>")
    assert (error.text, error.details["reason"]) == ("why", "why")
    assert [(r.kind, r.path) for r in error.remarks] == [("lost", "errorDescription")]


def test_the_detail_of_a_fault_is_lost_and_told() -> None:
    detail = "<s:Detail><x>1</x><cs:SubCode>SecurityError</cs:SubCode><Reason>no</Reason></s:Detail>"
    error = error_of(CODED.format("").replace("</s:Fault>", f"{detail}</s:Fault>"))
    assert (error.code, error.text) == ("SecurityError", "why")
    assert [(r.kind, r.path) for r in error.remarks] == [("lost", "errorDetails")]


def test_remarks_are_bounded_and_the_last_counts_the_others() -> None:
    inner = "<x/>" * 1000
    remarks = soap.decode(envelope(f"<heartbeatRequest>{inner}</heartbeatRequest>"))[1].remarks
    assert len(remarks) == 101
    assert (remarks[-1].kind, remarks[-1].detail, remarks[-1].rule) == ("lost", "and 900 more remarks", "quirks.more")


# --- faults out ----------------------------------------------------------------------------------------------------------


def test_a_fault_is_what_the_specification_draws() -> None:
    written = soap.fault(Error("SecurityError", "who <are> you"), V15, CP, Addresses(relates_to="m-1"))
    (fault,) = root_of(written)[1]
    s, reason = f"{{{SOAP12}}}", {"{http://www.w3.org/XML/1998/namespace}lang": "en"}
    subcode: Tree = (f"{s}Subcode", "", {}, [(f"{s}Value", "f:SecurityError", {}, [])])
    code: Tree = (f"{s}Code", "", {}, [(f"{s}Value", "s:Sender", {}, []), subcode])
    assert tree(fault) == (f"{s}Fault", "", {}, [code, (f"{s}Reason", "", {}, [(f"{s}Text", "who <are> you", reason, [])])])
    assert fault.nsmap["f"] == "urn://Ocpp/Cp/2012/06/"
    assert headers(written) == [("Action", f"{WSA}/soap/fault"), ("RelatesTo", "m-1"), ("To", ANONYMOUS)]


def test_a_fault_of_soap_1_1_has_its_own_shape() -> None:
    (fault,) = root_of(soap.fault(Error("NotSupported", "no"), V16, manner=Manner(SOAP11)))[1]
    said = {node.tag: "".join(map(str, node.itertext())) for node in fault}
    assert said == {"faultcode": "s:Server", "faultstring": "no", "detail": "NotSupported"}


def test_what_a_fault_cannot_say_is_told_in_its_text() -> None:
    written = soap.fault(Error("FormationViolation", "bad"))
    assert b"FormationViolation: bad</s:Text>" in written.body
    assert [(r.kind, r.path, r.detail) for r in written.remarks] == [
        ("changed", "errorCode", "FormationViolation became ProtocolError")
    ]
    assert soap.fault(Error("ProtocolError", "bad")).remarks == ()


def test_details_that_a_fault_cannot_say_are_told() -> None:
    written = soap.fault(Error("ProtocolError", "bad", {"secret": "s3cret"}))
    assert [(r.kind, r.path) for r in written.remarks] == [("lost", "errorDetails")]
    assert "s3cret" not in str(written)


def test_a_fault_says_nothing_that_xml_cannot() -> None:
    written = soap.fault(Error("InternalError", "a\x00\ud800\r\nb"), addresses=Addresses(relates_to="\x1b<"))
    root = root_of(written)
    assert root.findtext(f".//{{{SOAP12}}}Text") == "a    b"
    assert dict(headers(written))["RelatesTo"] == " <"


# --- the contract for others ---------------------------------------------------------------------------------------------


def test_the_document_tells_where_the_service_lies() -> None:
    root = etree.fromstring(soap.wsdl_at(wsdl_text(V15, CS), "http://gw:9000/soap?a&b"))
    (address,) = root.iter("{http://schemas.xmlsoap.org/wsdl/soap12/}address")
    assert address.get("location") == "http://gw:9000/soap?a&b"


@pytest.mark.parametrize("payload", [{"idTag": "<&>"}, {"idTag": "\N{ELECTRIC PLUG}"}])
def test_an_envelope_is_read_as_it_was_written(payload: Payload) -> None:
    call = Call("Authorize", payload, "m-1", "CP-1")
    assert soap.decode(soap.encode(call, V16, CS, identity="CP-1").body)[1] == call

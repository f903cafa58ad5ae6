"""What hostile envelopes cost: of the size that is let in, each is taken or refused in a moment and a few dozen MiB."""

import base64
import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import pytest

from tests.cost import LIMIT, Meter, meter
from translations import soap
from translations.messages import Call

SOAP = "http://www.w3.org/2003/05/soap-envelope"
CS = {"1.2": "urn://Ocpp/Cs/2010/08/", "1.5": "urn://Ocpp/Cs/2012/06/", "1.6": "urn://Ocpp/Cs/2015/10/"}
XSI = "http://www.w3.org/2001/XMLSchema-instance"

Make = Callable[[], bytes]


def envelope(body: str, header: str = "", version: str = "1.6", more: str = "") -> str:
    opening = f'<s:Envelope xmlns:s="{SOAP}" {more}><s:Header>{header}</s:Header><s:Body xmlns="{CS[version]}">'
    return f"{opening}{body}</s:Body></s:Envelope>"


def said(text: str) -> bytes:
    """As much of it as is let in, which must be all."""
    data = text.encode()
    assert len(data) <= LIMIT
    return data


def filled(before: str, unit: str | Callable[[int], str], after: str = "", **options: str) -> Make:
    """An envelope with a body that repeats `unit` until it has the size that is let in."""

    def make() -> bytes:
        room = LIMIT - len(envelope(before + after, **options).encode())
        return said(envelope(before + _repeated(unit, room) + after, **options))

    return make


def headed(before: str, unit: str | Callable[[int], str], after: str = "") -> Make:
    """The same with the header."""

    def make() -> bytes:
        room = LIMIT - len(envelope(HEARTBEAT, before + after).encode())
        return said(envelope(HEARTBEAT, before + _repeated(unit, room) + after))

    return make


def _repeated(unit: str | Callable[[int], str], room: int) -> str:
    if isinstance(unit, str):
        return unit * (room // len(unit.encode()))
    parts: list[str] = []
    size = 0
    while size + len(part := unit(len(parts))) <= room:
        parts.append(part)
        size += len(part)
    return "".join(parts)


def halves(left: str, right: str) -> Make:
    """Nesting: half of the room opens it, half closes it."""
    count = (LIMIT - 600) // len(left + right)
    return lambda: said(envelope(left * count + right * count))


HEARTBEAT = "<heartbeatRequest/>"
SAMPLE = "<values><timestamp>2024-05-01T10:00:00Z</timestamp>{}</values>"
METER = "<meterValuesRequest><connectorId>1</connectorId>"
TRANSFER = "<dataTransferRequest><vendorId>V</vendorId><data>"
TRANSFERRED = "</data></dataTransferRequest>"
TAG = "<authorizeRequest><idTag>{}</idTag></authorizeRequest>"
ATTRIBUTE: Callable[[int], str] = " a{:x}=''".format
LAUGHS = "".join(f"<!ENTITY l{i + 1} '" + f"&l{i};" * 10 + "'>" for i in range(12))


def many(unit: Callable[[int], str], count: int) -> str:
    return "".join(map(unit, range(count)))


def encoded(name: str, text: str, declared: bool = True) -> Make:
    return lambda: ((f'<?xml version="1.0" encoding="{name}"?>' if declared else "") + text).encode(name)


def squeezed(data: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        data = gzip.compress(data)
    return data


DTD: Mapping[str, Make] = MappingProxyType(
    {
        "entities, billion laughs": lambda: said(f'<!DOCTYPE s [<!ENTITY l0 "ha">{LAUGHS}]>{envelope("&l12;")}'),
        "entities, quadratic": lambda: said(f'<!DOCTYPE s [<!ENTITY a "{"a" * 500_000}">]>{envelope("&a;" * 100_000)}'),
        "entities, external": lambda: said(f'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///dev/zero">]>{envelope("&x;")}'),
        "entities, parameter": lambda: said(f'<!DOCTYPE s [<!ENTITY % x SYSTEM "file:///dev/zero"> %x;]>{envelope(HEARTBEAT)}'),
        "DOCTYPE after 1 MiB of comment": lambda: said(f"<!--{'x' * 1_000_000}--><!DOCTYPE s []>{envelope(HEARTBEAT)}"),
        "DOCTYPE in UTF-16": encoded("utf-16", "<!DOCTYPE s []>" + envelope(HEARTBEAT)),
        "DOCTYPE in UTF-32": encoded("utf-32", "<!DOCTYPE s []>" + envelope(HEARTBEAT)),
        "DOCTYPE in UTF-7": encoded("utf-7", "<!DOCTYPE s []>" + envelope(HEARTBEAT)),
        "DOCTYPE in EBCDIC": encoded("cp037", "<!DOCTYPE s []>" + envelope(HEARTBEAT)),
        "undefined entities": filled("", "&x;"),
        "undefined entities in an idTag": filled("<authorizeRequest><idTag>", "&x;", "</idTag></authorizeRequest>"),
        "character references": filled(TRANSFER, "&#65;", TRANSFERRED),
        "character references of NUL": filled(TRANSFER, "&#0;", TRANSFERRED),
    }
)
STRUCTURE: Mapping[str, Make] = MappingProxyType(
    {
        "depth": filled("", "<a>"),
        "depth, closed": halves("<a>", "</a>"),
        "depth of 250, many times": filled("", "<a>" * 250 + "</a>" * 250),
        "elements in the body": filled("", "<a/>"),
        "elements in a message": filled("<heartbeatRequest>", "<a/>", "</heartbeatRequest>"),
        "elements of names of their own": filled("<heartbeatRequest>", lambda i: f"<a{i:x}/>", "</heartbeatRequest>"),
        "messages in the body": filled("", HEARTBEAT),
        "attributes": filled("<heartbeatRequest", lambda i: f" a{i:x}=''", "/>"),
        "the same attribute": filled("<heartbeatRequest", " a=''", "/>"),
        "attributes of a value": filled(
            f"{METER}<meterValue><timestamp>2024-05-01T10:00:00Z</timestamp><value",
            lambda i: f" a{i:x}=''",
            ">1</value></meterValue></meterValuesRequest>",
        ),
        "attributes of an idTag": lambda: said(envelope(TAG.replace(">{}", many(ATTRIBUTE, 85_000) + ">TAG1"))),
        "attributes of a value of 1.5": lambda: said(
            envelope(
                METER + SAMPLE.format(f"<value{many(ATTRIBUTE, 85_000)}>1</value>") + "</meterValuesRequest>",
                version="1.5",
            )
        ),
        "attributes of a header": lambda: said(
            envelope(HEARTBEAT, f"<chargeBoxIdentity{many(ATTRIBUTE, 85_000)}>CP-1</chargeBoxIdentity>")
        ),
        "attributes of undeclared prefixes": lambda: said(
            envelope(TAG.replace(">{}", many(lambda i: f" p{i:x}:a=''", 75_000) + ">TAG1"))
        ),
        "attributes of an undeclared prefix": lambda: said(
            envelope(TAG.replace(">{}", many(lambda i: f" p:a{i:x}=''", 75_000) + ">TAG1"))
        ),
        "attributes in a short document": lambda: said(envelope(TAG.replace(">{}", many(ATTRIBUTE, 2_900) + ">TAG1"))),
        "attributes of many elements": filled(
            f"{METER}<values><timestamp>2024-05-01T10:00:00Z</timestamp>",
            f"<value{many(ATTRIBUTE, 99)}>1</value>",
            "</values></meterValuesRequest>",
            version="1.5",
        ),
        "tags, more than are let in": lambda: said(envelope(f"<heartbeatRequest>{'<a/>' * 50_001}</heartbeatRequest>")),
        "namespaces": filled("<heartbeatRequest", lambda i: f" xmlns:n{i:x}='u'", "/>"),
        "namespaces of their own": filled("<heartbeatRequest", lambda i: f" xmlns:n{i:x}='u:{i:x}'", "/>"),
        "namespaces, nested": filled("<heartbeatRequest>", lambda i: f"<a xmlns='u:{i:x}'/>", "</heartbeatRequest>"),
        "headers": headed("", "<a/>"),
        "headers that must be understood": headed("", "<a s:mustUnderstand='1'/>"),
        "identities": headed("", "<chargeBoxIdentity>CP-1</chargeBoxIdentity>"),
        "identities in the body": lambda: said(envelope("<chargeBoxIdentity/>" * 49_900 + HEARTBEAT)),
        "different identities in the body": lambda: said(
            envelope(many(lambda i: f"<chargeBoxIdentity>{i}</chargeBoxIdentity>", 20_000) + HEARTBEAT)
        ),
        "identities in the payload": filled("<heartbeatRequest>", "<chargeBoxIdentity/>", "</heartbeatRequest>"),
        "an identity": headed("<chargeBoxIdentity>", "x", "</chargeBoxIdentity>"),
        "addresses": headed("<From xmlns='http://www.w3.org/2005/08/addressing'>", "<Address/>", "</From>"),
        "a message id": headed("<MessageID xmlns='http://www.w3.org/2005/08/addressing'>", "x", "</MessageID>"),
        "comments": filled("", "<!---->", HEARTBEAT),
        "processing instructions": filled("", "<?a?>", HEARTBEAT),
        "CDATA sections": filled(TRANSFER, "<![CDATA[x]]>", TRANSFERRED),
        "comments in text": filled(TRANSFER, "x<!---->", TRANSFERRED),
        "XInclude": filled("", '<i:include xmlns:i="http://www.w3.org/2001/XInclude" href="file:///dev/zero"/>'),
        "schemaLocation": lambda: said(envelope(HEARTBEAT, more=f'xmlns:i="{XSI}" i:schemaLocation="{SOAP} file:///dev/zero"')),
    }
)
VALUES: Mapping[str, Make] = MappingProxyType(
    {
        "a text": filled(TRANSFER, "x", TRANSFERRED),
        "a text of four-byte characters": filled(TRANSFER, "\U0001f50c", TRANSFERRED),
        "an idTag": filled("<authorizeRequest><idTag>", "x", "</idTag></authorizeRequest>"),
        "white space around an idTag": filled("<authorizeRequest><idTag>TAG1", " ", "</idTag></authorizeRequest>"),
        "white space before the envelope": lambda: b" " * (LIMIT - 1000) + said(envelope(HEARTBEAT)),
        "white space in a tag": filled("<heartbeatRequest", " ", "/>"),
        "white space between elements": filled("<heartbeatRequest>", "\n", "</heartbeatRequest>"),
        "a name": filled("<", "a", "/>"),
        "a prefix": filled("<", "a", ":b/>"),
        "a namespace": filled("<heartbeatRequest xmlns='urn:", "x", "'/>"),
        "an attribute": filled("<heartbeatRequest a='", "x", "'/>"),
        "an attribute with line breaks": filled("<heartbeatRequest a='", "\n", "'/>"),
        "an integer": filled("<meterValuesRequest><connectorId>", "9", "</connectorId></meterValuesRequest>"),
        "an integer of zeros": filled("<meterValuesRequest><connectorId>", "0", "</connectorId></meterValuesRequest>"),
        "an integer with a fraction": filled("<meterValuesRequest><connectorId>1.", "0", "</connectorId></meterValuesRequest>"),
        "a date": filled(
            "<stopTransactionRequest><transactionId>1</transactionId><timestamp>",
            "2",
            "</timestamp><meterStop>1</meterStop></stopTransactionRequest>",
        ),
        "a date with a fraction": filled(
            "<statusNotificationRequest><connectorId>1</connectorId><status>Available</status><errorCode>NoError</errorCode>"
            "<timestamp>2024-05-01T10:00:00.",
            "1",
            "Z</timestamp></statusNotificationRequest>",
        ),
        "a status": filled("<statusNotificationRequest><status>", "x", "</status></statusNotificationRequest>"),
        "base64": lambda: base64.b64encode(os.urandom(LIMIT * 3 // 4 - 10)),
        "noise": lambda: os.urandom(LIMIT),
        "NUL": lambda: bytes(LIMIT),
        "a charset": lambda: f"<?xml version='1.0' encoding='{'x' * 1_000_000}'?>".encode() + said(envelope(HEARTBEAT)),
        "a declaration without an end": lambda: b"<?xml " + b"x" * (LIMIT - 6),
        "half an envelope": filled("", "<a><b/></a>", "<"),
        "UTF-16": lambda: filled(TRANSFER, "x", TRANSFERRED)()[: LIMIT // 2 - 100].decode().encode("utf-16"),
    }
)
OCPP: Mapping[str, Make] = MappingProxyType(
    {
        "unknown elements": filled("<bootNotificationRequest>", "<x>1</x>", "</bootNotificationRequest>"),
        "fields in another namespace": filled("<bootNotificationRequest>", "<iccid xmlns='u'/>", "</bootNotificationRequest>"),
        "fields in another case": filled("<bootNotificationRequest>", "<ICCID/>", "</bootNotificationRequest>"),
        "a field again": filled("<bootNotificationRequest>", "<iccid>1</iccid>", "</bootNotificationRequest>"),
        "padded fields": filled("<bootNotificationRequest>", "<iccid> 1</iccid>", "</bootNotificationRequest>"),
        "meter values": filled(METER, "<meterValue/>", "</meterValuesRequest>"),
        "meter values with a time": filled(
            METER,
            "<meterValue><timestamp>2024-05-01T10:00:00Z</timestamp><sampledValue><value>1</value></sampledValue></meterValue>",
            "</meterValuesRequest>",
        ),
        "samples": filled(
            f"{METER}<meterValue><timestamp>2024-05-01T10:00:00Z</timestamp>",
            "<sampledValue><value>1</value></sampledValue>",
            "</meterValue></meterValuesRequest>",
        ),
        "samples of unknown words": filled(
            f"{METER}<meterValue><timestamp>2024-05-01T10:00:00Z</timestamp>",
            "<sampledValue><value>1</value><unit>x</unit></sampledValue>",
            "</meterValue></meterValuesRequest>",
        ),
        "values of 1.5": filled(
            f"{METER}<values><timestamp>2024-05-01T10:00:00Z</timestamp>",
            "<value>1</value>",
            "</values></meterValuesRequest>",
            version="1.5",
        ),
        "values of 1.5 without any": filled(METER, "<values/>", "</meterValuesRequest>", version="1.5"),
        "values of 1.2": filled(METER, SAMPLE.format("<value>1</value>"), "</meterValuesRequest>", version="1.2"),
        "values of 1.2 without a use": filled(METER, SAMPLE.format("<value>x</value>"), "</meterValuesRequest>", version="1.2"),
        "transaction data of 1.5": filled(
            "<stopTransactionRequest><transactionId>1</transactionId><timestamp>2024-05-01T10:00:00Z</timestamp>"
            "<meterStop>1</meterStop>",
            "<transactionData/>",
            "</stopTransactionRequest>",
            version="1.5",
        ),
        "markup in a DataTransfer": filled(TRANSFER, "<a/>", TRANSFERRED),
        "markup with text": filled(TRANSFER, "<a>x</a>y", TRANSFERRED),
        "markup with namespaces": filled(TRANSFER, lambda i: f"<a xmlns:n{i:x}='u'/>", TRANSFERRED),
        "markup below namespaces": lambda: said(
            envelope(TRANSFER + "<a/>" * 100_000 + TRANSFERRED, more=" ".join(f"xmlns:n{i}='urn:{i}'" for i in range(20_000)))
        ),
        "markup that uses namespaces": lambda: said(
            envelope(
                TRANSFER + "".join(f"<n{i % 9_000}:a/>" for i in range(50_000)) + TRANSFERRED,
                more=" ".join(f"xmlns:n{i}='urn:{i}'" for i in range(9_000)),
            )
        ),
        "markup that says much": filled(TRANSFER, "<a b='&lt;'/>", TRANSFERRED),
        "markup that is quoted": filled(TRANSFER, "<a>&gt;</a>", TRANSFERRED),
        "markup in an idTag": filled("<authorizeRequest><idTag>", "<a/>", "</idTag></authorizeRequest>"),
        "markup in an integer": filled("<meterValuesRequest><connectorId>1", "<a/>", "</connectorId></meterValuesRequest>"),
        "a fault": filled("<s:Fault>", "<s:Reason><s:Text>x</s:Text></s:Reason>", "</s:Fault>"),
        "a fault, deep": filled("<s:Fault>", "<a>" * 200 + "x" + "</a>" * 200, "</s:Fault>"),
        "a fault, names of their own": filled("<s:Fault>", lambda i: f"<a{i:x}>x</a{i:x}>", "</s:Fault>"),
        "a fault with namespaces": filled("<s:Fault>", lambda i: f"<a xmlns='u:{i:x}'/>", "</s:Fault>"),
    }
)
PACKED: Mapping[str, Make] = MappingProxyType(
    {
        "gzip, 64 MiB of zeros": lambda: squeezed(bytes(2**26)),
        "gzip, 1 MiB of members of 1 MiB": lambda: squeezed(bytes(LIMIT)) * (LIMIT // len(squeezed(bytes(LIMIT)))),
        "gzip, members of nothing": lambda: (squeezed(b"") * (LIMIT // 20))[:LIMIT],
        "gzip of gzip of gzip": lambda: squeezed(bytes(2**25), 3),
        "gzip of an envelope of 1 MiB": lambda: squeezed(filled("<heartbeatRequest>", "<a/>", "</heartbeatRequest>")()),
        "gzip that ends early": lambda: squeezed(os.urandom(LIMIT - 100))[: LIMIT - 100],
        "gzip and then zeros": lambda: squeezed(b"") + bytes(LIMIT - 20),
        "noise as gzip": lambda: b"\x1f\x8b\x08\x00" + os.urandom(LIMIT - 4),
    }
)
ENVELOPES: Mapping[str, Make] = MappingProxyType({**DTD, **STRUCTURE, **VALUES, **OCPP})


@pytest.fixture(scope="module")
def measuring(pytestconfig: pytest.Config) -> Iterator[Meter]:
    with meter(pytestconfig) as measuring:
        yield measuring


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_of_the_largest_size_costs_little(measuring: Meter, name: str) -> None:
    measuring.check(name, "soap", ENVELOPES[name]())


@pytest.mark.parametrize("name", PACKED)
def test_a_packed_body_costs_no_more_than_one_of_the_largest_size(measuring: Meter, name: str) -> None:
    measuring.check(name, "gzip", PACKED[name]())


@pytest.mark.parametrize("name", [*DTD, "XInclude"])
def test_what_has_no_place_in_an_envelope_is_refused(measuring: Meter, name: str) -> None:
    assert measuring.costs.get(name) or measuring.measure(name, "soap", ENVELOPES[name]())
    assert measuring.costs[name].refused == (name != "character references")


@pytest.mark.parametrize("name", ["an integer", "an integer of zeros", "an idTag", "markup in an idTag"])
def test_a_value_that_is_none_is_refused(measuring: Meter, name: str) -> None:
    assert measuring.measure(name, "soap", ENVELOPES[name]()).refused


@pytest.mark.parametrize(
    "name",
    [
        "attributes",
        "attributes of a value",
        "attributes of an idTag",
        "attributes of a value of 1.5",
        "attributes of a header",
        "attributes of undeclared prefixes",
        "attributes of an undeclared prefix",
        "tags, more than are let in",
        "different identities in the body",
    ],
)
def test_more_than_any_message_has_is_refused(measuring: Meter, name: str) -> None:
    assert measuring.measure(name, "soap", ENVELOPES[name]()).refused


def test_the_text_of_a_data_transfer_is_taken_whole() -> None:
    said = soap.decode(VALUES["a text"]())[1]
    assert isinstance(said, Call)
    assert len(said.payload["data"]) > LIMIT - 1000


def test_the_meter_tells_of_a_process_that_did_not_survive(measuring: Meter) -> None:
    cost = Meter.measure(measuring, "the end", "end", b"")
    del measuring.costs["the end"]
    assert cost.outcome.startswith("died of ")

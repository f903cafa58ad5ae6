"""translations.envelopes: what peers send is opened, and what attackers send is refused at once."""

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from lxml import etree

from translations import envelopes
from translations.envelopes import SOAP11, Envelope, Malformed, parse
from translations.errors import ProtocolError
from translations.manners import SOAP12, WSA
from translations.messages import Side, Version

CS16 = "urn://Ocpp/Cs/2015/10/"
DRAFT = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
BODY = f'<heartbeatRequest xmlns="{CS16}"/>'

MANY = "expected at most 100 attributes of an element, and as many namespaces"
SECONDS, MEGABYTES = 5, 300  # what a refusal may cost at most; it takes a hundredth of that


def envelope(header: str = "", body: str = BODY, soap: str = SOAP12) -> str:
    return f'<s:Envelope xmlns:s="{soap}" xmlns:a="{WSA}"><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>'


def opened(text: str, role: Side | None = None) -> Envelope:
    return parse(text.encode(), role=role)


def refusal_of(data: bytes | str, charset: str | None = None) -> Malformed:
    with pytest.raises(Malformed) as caught:
        parse(data.encode() if isinstance(data, str) else data, charset)
    return caught.value


# --- headers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        f'<chargeBoxIdentity xmlns="{CS16}">CP 1</chargeBoxIdentity>',
        '<chargeBoxIdentity xmlns="urn://Ocpp/Cp/2012/06/">CP 1</chargeBoxIdentity>',
        "<a:chargeBoxIdentity>CP 1</a:chargeBoxIdentity>",
        "<chargeBoxIdentity>CP 1</chargeBoxIdentity>",
        f'<c:CHARGEBOXIDENTITY xmlns:c="{CS16}">CP 1</c:CHARGEBOXIDENTITY>',
        f'<c:ChargeBoxIdentity xmlns:c="{CS16}" s:mustUnderstand="true">\n\t CP 1 \n</c:ChargeBoxIdentity>',
        f'<chargeBoxIdentity xmlns="{CS16}"><![CDATA[CP 1]]></chargeBoxIdentity>',
        f'<chargeBoxIdentity xmlns="{CS16}">CP<!-- the --> 1</chargeBoxIdentity>',
    ],
)
def test_identity_is_found_in_any_namespace_case_and_padding(header: str) -> None:
    assert opened(envelope(header)).identity == "CP 1"


@pytest.mark.parametrize("second", ["A", " a ", "", " "])
def test_an_identity_may_be_said_twice(second: str) -> None:
    header = f"<chargeBoxIdentity>A</chargeBoxIdentity><chargeBoxIdentity>{second}</chargeBoxIdentity>"
    assert opened(envelope(header)).identity == "A"


@pytest.mark.parametrize("first", ["", " ", "\n\t"])
def test_an_identity_that_is_empty_does_not_count(first: str) -> None:
    header = f"<chargeBoxIdentity>{first}</chargeBoxIdentity><chargeBoxIdentity>A</chargeBoxIdentity>"
    assert opened(envelope(header)).identity == "A"


def test_space_that_is_none_of_xml_is_part_of_an_identity() -> None:
    assert opened(envelope("<chargeBoxIdentity> A\u00a0 </chargeBoxIdentity>")).identity == "A\u00a0"


IDENTITY = '<chargeBoxIdentity xmlns="urn://Ocpp/Cs/2012/06/">{}</chargeBoxIdentity>'
CALL = '<authorizeRequest xmlns="urn://Ocpp/Cs/2012/06/">{}<idTag>T</idTag></authorizeRequest>'


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (IDENTITY.format("A"), IDENTITY.format("B") + CALL.format("")),
        (IDENTITY.format("A"), CALL.format(IDENTITY.format("B"))),
        ("", IDENTITY.format("A") + CALL.format(IDENTITY.format("B"))),
        ("", IDENTITY.format("A") + IDENTITY.format("B") + CALL.format("")),
        ("", CALL.format(IDENTITY.format("A") + IDENTITY.format("B"))),
    ],
)
def test_two_different_identities_are_refused_wherever_they_stand(header: str, body: str) -> None:
    assert refusal_of(envelope(header, body=body)).text == "expected one chargeBoxIdentity, found two different ones"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (IDENTITY.format("A"), IDENTITY.format(" a ") + CALL.format("")),
        (IDENTITY.format("A"), CALL.format(IDENTITY.format("A"))),
        (IDENTITY.format("A"), CALL.format(IDENTITY.format(""))),
        (IDENTITY.format("A"), CALL.format(f"<x>{IDENTITY.format('B')}</x>")),
        ("", IDENTITY.format("A") + CALL.format("")),
        ("", CALL.format(IDENTITY.format("A"))),
    ],
)
def test_the_same_identity_may_stand_anywhere_and_another_deeper_inside(header: str, body: str) -> None:
    assert opened(envelope(header, body=body)).identity == "A"


def test_two_different_identities_are_refused() -> None:
    refused = refusal_of(
        envelope("<chargeBoxIdentity>A</chargeBoxIdentity><x:ChargeBoxIdentity xmlns:x='x'>B</x:ChargeBoxIdentity>")
    )
    assert refused.text == "expected one chargeBoxIdentity, found two different ones"
    assert refused.envelope is not None
    assert refused.envelope.identity == ""


@pytest.mark.parametrize(
    "header",
    [
        "<MyChargeBoxIdentity>A</MyChargeBoxIdentity>",
        "<a:From><a:NoAddress>http://10.0.0.1/</a:NoAddress></a:From>",
        "<a:From><NoAddress>http://10.0.0.1/</NoAddress></a:From>",
    ],
)
def test_names_that_only_end_like_others_are_not_read(header: str) -> None:
    read = opened(envelope(header))
    assert (read.identity, read.sender) == ("", "")


def test_only_a_body_is_a_body_and_only_a_header_a_header() -> None:
    more = f'<s:NoBody>{BODY}</s:NoBody><s:NoHeader><MessageID xmlns="{WSA}">A</MessageID></s:NoHeader>'
    read = opened(f'<s:Envelope xmlns:s="{SOAP12}">{more}<s:Body>{BODY}</s:Body></s:Envelope>')
    assert read.message_id == ""
    assert read.form is not None


@pytest.mark.parametrize(("mark", "paths"), [("true", ["Security"]), ("1", ["Security"]), ("0", []), ("false", [])])
def test_an_unknown_header_that_must_be_understood_is_remarked(mark: str, paths: list[str]) -> None:
    known = '<a:Action s:mustUnderstand="1">/Heartbeat</a:Action><chargeBoxIdentity s:mustUnderstand="1">A</chargeBoxIdentity>'
    read = opened(envelope(f'{known}<w:Security xmlns:w="urn:w" s:mustUnderstand="{mark}"/>'))
    assert [r.path for r in read.remarks] == paths
    assert {(r.kind, r.rule) for r in read.remarks} <= {("lost", "quirks.must-understand")}


def test_headers_that_must_be_understood_are_remarked_within_bounds() -> None:
    assert len(opened(envelope('<w:X xmlns:w="urn:w" s:mustUnderstand="1"/>' * 1000)).remarks) == 100


@pytest.mark.parametrize("name", ["To", "Action", "RelatesTo", "From"])
def test_any_header_tells_the_draft_of_addressing(name: str) -> None:
    assert opened(envelope(f'<x:{name} xmlns:x="{DRAFT}">7</x:{name}>')).wsa == DRAFT


@pytest.mark.parametrize(
    ("header", "sender"),
    [
        ("<a:From><a:Address>http://10.0.0.1:8080/x</a:Address></a:From>", "http://10.0.0.1:8080/x"),
        ("<a:From>\n<a:Address>\nhttp://10.0.0.1/\n</a:Address>\n</a:From>", "http://10.0.0.1/"),
        ("<a:From>http://10.0.0.1/</a:From>", "http://10.0.0.1/"),
        ("<a:From><a:Address/></a:From>", ""),
        ("<a:From/>", ""),
        ("", ""),
    ],
)
def test_from_may_be_an_address_or_bare_text(header: str, sender: str) -> None:
    assert opened(envelope(header)).sender == sender


def test_no_header_is_needed() -> None:
    plain = opened(f'<s:Envelope xmlns:s="{SOAP12}"><s:Body>{BODY}</s:Body></s:Envelope>')
    assert (plain.identity, plain.message_id, plain.relates_to, plain.sender, plain.reply_to) == ("", "", "", "", "")
    assert (plain.version, plain.side, plain.wsa) == (Version.V16, Side.CENTRAL_SYSTEM, WSA)


def test_addressing_is_read() -> None:
    header = (
        "<a:MessageID> urn:uuid:1 </a:MessageID><a:RelatesTo>0</a:RelatesTo><a:To>tab\tgarbage</a:To>"
        "<a:ReplyTo><a:Address>http://r/</a:Address></a:ReplyTo><a:FaultTo>x</a:FaultTo><a:Action>/WrongOne</a:Action>"
    )
    read = opened(envelope(header))
    assert (read.message_id, read.relates_to, read.reply_to) == ("urn:uuid:1", "0", "http://r/")
    assert read.form is not None
    assert read.form.action == "Heartbeat"


@pytest.mark.parametrize(("soap", "wsa"), [(SOAP12, WSA), (SOAP12, DRAFT), (SOAP11, WSA), (SOAP11, DRAFT)])
def test_the_dialect_of_the_envelope_is_remembered(soap: str, wsa: str) -> None:
    read = opened(envelope(f'<x:MessageID xmlns:x="{wsa}">7</x:MessageID>', soap=soap))
    assert (read.soap, read.wsa, read.message_id) == (soap, wsa, "7")


# --- which message -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "action", "remarks"),
    [
        ('<heartbeatRequest xmlns="urn://Ocpp/Cs/2012/06/"/>', "Heartbeat", []),
        ('<heartbeatRequest xmlns="urn://Ocpp/Cs/2012/06"/>', "Heartbeat", ["quirks.namespace"]),
        ('<HeartbeatRequest xmlns="urn://Ocpp/Cs/2012/06/"/>', "Heartbeat", ["quirks.case"]),
        ('<v:HEARTBEATREQUEST xmlns:v="urn://Ocpp/Cs/2012/06"/>', "Heartbeat", ["quirks.case", "quirks.namespace"]),
    ],
)
def test_the_body_says_what_it_is(body: str, action: str, remarks: list[str]) -> None:
    read = opened(envelope(body=body))
    assert read.form is not None
    assert (read.form.action, read.version, [r.rule for r in read.remarks]) == (action, Version.V15, remarks)


def test_the_namespace_of_the_wrong_service_is_turned_by_the_role() -> None:
    body = '<dataTransferRequest xmlns="urn://Ocpp/Cp/2012/06/"><vendorId>V</vendorId></dataTransferRequest>'
    assert opened(envelope(body=body)).side is Side.CHARGE_POINT
    turned = opened(envelope(body=body), Side.CENTRAL_SYSTEM)
    assert (turned.side, [r.rule for r in turned.remarks]) == (Side.CENTRAL_SYSTEM, ["quirks.namespace"])


def test_what_only_the_other_service_has_stays_with_it() -> None:
    body = '<resetRequest xmlns="urn://Ocpp/Cp/2012/06/"><type>Hard</type></resetRequest>'
    assert opened(envelope(body=body), Side.CENTRAL_SYSTEM).side is Side.CHARGE_POINT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected XML: Document is empty, line 1, column 1 (<string>, line 1)"),
        ("<a/>", "expected a SOAP envelope, got 'a'"),
        (f'<Envelope xmlns="{WSA}"/>', "expected a SOAP envelope, got 'Envelope'"),
        ("<html><body>log in</body></html>", "expected a SOAP envelope, got 'html'"),
        (envelope(body=""), "expected one element in the body, found 0"),
        (envelope(body=BODY + BODY), "expected one element in the body, found 2"),
        (envelope(body='<a xmlns="urn:x"/>'), "expected a namespace of OCPP 1.2, 1.5 or 1.6, got 'urn:x'"),
        (envelope(body="<a/>"), "expected a namespace of OCPP 1.2, 1.5 or 1.6, got ''"),
        (envelope(body="<"), "expected XML: StartTag: invalid element name"),
        (envelope(body="&x;"), "expected XML: Entity 'x' not defined"),
        (envelope(body="\x00"), "expected XML: "),
        (envelope(body="<i:nil/>"), "expected a namespace of OCPP 1.2, 1.5 or 1.6, got ''"),
        (envelope(body="<i:nil>"), "expected XML: "),
    ],
)
def test_what_cannot_be_opened_is_a_protocol_error(text: str, said: str) -> None:
    refused = refusal_of(text)
    assert refused.text.startswith(said)
    assert refused.code == "ProtocolError"
    assert "\n" not in refused.text


def test_a_refusal_remembers_what_was_read() -> None:
    refused = refusal_of(envelope("<a:MessageID>7</a:MessageID><chargeBoxIdentity>CP</chargeBoxIdentity>", body=""))
    assert refused.envelope is not None
    assert (refused.envelope.message_id, refused.envelope.identity) == ("7", "CP")


def attributed(count: int, length: int) -> str:
    """An envelope of a length whose message has so many attributes."""
    marks = "".join(f' a{i}=""' for i in range(count))
    return envelope(body=f'<heartbeatRequest xmlns="urn://Ocpp/Cs/2012/06/"{marks}/>').ljust(length)


@pytest.mark.parametrize(("count", "length"), [(100, 40_000), (101, 20_000)])
def test_attributes_are_bounded_in_long_documents_alone(count: int, length: int) -> None:
    assert opened(attributed(count, length)).form is not None


def test_more_attributes_than_any_message_has_are_refused() -> None:
    assert refusal_of(attributed(101, 40_000)).text == MANY


# --- bytes -------------------------------------------------------------------------------------------------------------

NAMED = envelope("<chargeBoxIdentity>Säule</chargeBoxIdentity>")


@pytest.mark.parametrize(
    "data",
    [
        NAMED.encode(),
        b"\xef\xbb\xbf" + NAMED.encode(),
        f"<?xml version='1.0'?>{NAMED}".encode(),
        f'<?xml version="1.0" encoding="utf-8" standalone="yes"?>\n{NAMED}'.encode(),
        b"\xef\xbb\xbf" + f'<?xml version="1.0" encoding="UTF-8"?>{NAMED}'.encode(),
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{NAMED}'.encode("latin-1"),
        f"<?xml version='1.0' encoding='windows-1252'?>{NAMED}".encode("cp1252"),
        NAMED.encode("utf-16"),
        NAMED.encode("utf-16-le"),
        NAMED.encode("utf-16-be"),
        f'<?xml version="1.0" encoding="utf-16"?>{NAMED}'.encode("utf-16"),
        f'<?xml version="1.0" encoding="UTF-16LE"?>{NAMED}'.encode("utf-16-le"),
        b"\xfe\xff" + f'<?xml version="1.0" encoding="utf-16"?>{NAMED}'.encode("utf-16-be"),
    ],
)
def test_good_bodies_are_read_in_their_encoding(data: bytes) -> None:
    read = parse(data)
    assert (read.identity, read.remarks) == ("Säule", ())


@pytest.mark.parametrize("charset", ["iso-8859-1", "ISO-8859-1", "latin1", "windows-1252"])
def test_the_charset_of_the_transport_counts_where_the_document_says_nothing(charset: str) -> None:
    assert parse(NAMED.encode("latin-1"), charset).identity == "Säule"


def test_what_the_document_says_counts_more() -> None:
    assert parse(f'<?xml version="1.0" encoding="iso-8859-1"?>{NAMED}'.encode("latin-1"), "utf-8").identity == "Säule"


@pytest.mark.parametrize("before", [b"\n", b"\r\n \t", b"\xef\xbb\xbf\n"])
def test_white_space_before_the_declaration_is_repaired(before: bytes) -> None:
    read = parse(before + b'<?xml version="1.0" encoding="UTF-8"?>' + NAMED.encode())
    assert (read.identity, [r.rule for r in read.remarks]) == ("Säule", ["quirks.leading-text"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (NAMED.encode("latin-1"), "expected XML: "),
        (b"\xff\xfe<", "expected text in 'utf-16-le', got other bytes"),
        (b'<?xml version="1.0" encoding="ascii"?>' + NAMED.encode(), "expected text in 'ascii', got other bytes"),
        (b'<?xml version="1.0" encoding="iso-8859-99"?>' + NAMED.encode(), "expected text in 'iso-8859-99', got other bytes"),
    ],
)
def test_bytes_that_are_not_in_their_encoding_are_refused(data: bytes, said: str) -> None:
    assert refusal_of(data).text.startswith(said)


@pytest.mark.parametrize("name", ["utf-7", "idna", "punycode", "undefined", "unicode_escape", "hex", "rot13", "nonsense"])
def test_only_charsets_of_xml_are_decoded(name: str) -> None:
    said = f"expected UTF-8 or another charset of XML, got {name!r}"
    assert refusal_of(f'<?xml version="1.0" encoding="{name}"?>{NAMED}').text == said
    assert refusal_of(f"\n{NAMED}", name).text == said


@pytest.mark.parametrize("name", ["nonsense", "x-user-defined", "iso-8859-99"])
def test_a_charset_that_nobody_knows_does_no_harm_to_ascii(name: str) -> None:
    declared = parse(f'<?xml version="1.0" encoding="{name}"?>{envelope()}'.encode())
    assert [remark.rule for remark in declared.remarks] == ["quirks.charset"]
    assert parse(envelope().encode(), name).form is not None


@pytest.mark.parametrize("name", ["utf-7", "rot13", "idna"])
def test_a_charset_in_which_ascii_means_something_else_is_refused_all_the_same(name: str) -> None:
    assert refusal_of(f'<?xml version="1.0" encoding="{name}"?>{envelope()}').text.startswith("expected UTF-8 or another")


@pytest.mark.parametrize("charset", ["", "a\x00b", "ü", "x" * 5000])
def test_an_odd_charset_of_the_transport_does_no_harm(charset: str) -> None:
    with suppress(Malformed):
        parse(b"\n" + NAMED.encode(), charset)


# --- attacks -----------------------------------------------------------------------------------------------------------

DOCTYPES = [
    "<!DOCTYPE s>",
    '<!DOCTYPE s SYSTEM "file:///etc/hostname">',
    '<!DOCTYPE s [<!ENTITY x "y">]>',
    "<!DOCTYPE\ns\n[]>",
]


@pytest.mark.parametrize("doctype", DOCTYPES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "utf-32"])
@pytest.mark.parametrize("declared", [False, True])
def test_doctype_is_refused_in_every_encoding(doctype: str, encoding: str, declared: bool) -> None:
    declaration = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>' if declared else ""
    refused = refusal_of(f"{declaration}{doctype}{envelope()}".encode(encoding))
    assert "DOCTYPE" in refused.text or encoding == "utf-32"


@pytest.mark.parametrize("disguise", [b"+ADwAIQ-DOCTYPE s+AD4-", b"\x4c\x5a\xc4\xd6\xc3\xe3\xe8\xd7\xc5\x40\xa2\x6e"])
@pytest.mark.parametrize("name", ["utf-7", "cp037", "ibm037", "utf-8"])
def test_doctype_is_not_smuggled_by_a_charset(disguise: bytes, name: str) -> None:
    refusal_of(f'<?xml version="1.0" encoding="{name}"?>'.encode() + disguise + envelope().encode())


@contextmanager
def fifo(path: Path) -> Iterator[Callable[[], bool]]:
    """A file that tells whether somebody opened it."""
    os.mkfifo(path)
    touched = threading.Event()

    def write() -> None:
        with path.open("wb"):
            if not done.is_set():
                touched.set()

    done, writer = threading.Event(), threading.Thread(target=write, daemon=True)
    writer.start()
    yield lambda: touched.wait(0.2)
    done.set()
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    writer.join(SECONDS)


ENTITIES = [
    '<!DOCTYPE s SYSTEM "{url}"><s/>',
    '<!DOCTYPE s [<!ENTITY x SYSTEM "{url}">]><s>&x;</s>',
    '<!DOCTYPE s [<!ENTITY % x SYSTEM "{url}"> %x;]><s/>',
    '<!DOCTYPE s [<!ENTITY x SYSTEM "{url}">]><s a="&x;"/>',
    '<s xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="{url}"/></s>',
    '<?xml-stylesheet href="{url}"?><s/>',
]


@pytest.mark.parametrize("document", ENTITIES)
def test_entities_never_open_a_file(document: str, tmp_path: Path) -> None:
    with fifo(tmp_path / "watched") as was_opened:
        refusal_of(document.format(url=f"file://{tmp_path}/watched"))
        assert not was_opened()


@pytest.mark.parametrize("document", ENTITIES)
def test_the_parser_alone_opens_no_file_either(document: str, tmp_path: Path) -> None:
    # The second line of defence: what if a DOCTYPE passed the scan.
    with fifo(tmp_path / "watched") as was_opened:
        with suppress(etree.XMLSyntaxError, ProtocolError):
            etree.fromstring(document.format(url=f"file://{tmp_path}/watched").encode(), envelopes._tables().parser)
        assert not was_opened()


def test_the_watched_file_tells_when_it_is_opened(tmp_path: Path) -> None:
    with fifo(tmp_path / "watched") as was_opened:
        (tmp_path / "watched").read_bytes()
        assert was_opened()


@contextmanager
def bounded() -> Iterator[None]:
    """Fails where the block costs more than a refusal may."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    yield
    assert time.perf_counter() - start < SECONDS
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES


LAUGHS = "".join(f"<!ENTITY l{i + 1} '" + f"&l{i};" * 10 + "'>" for i in range(12))
BOMBS = {
    "depth": envelope(body="<a>" * 200_000),
    "closed depth": envelope(body="<a>" * 100_000 + "</a>" * 100_000),
    "attributes": envelope(body="<a" + "".join(f" b{i}='1'" for i in range(100_000)) + "/>"),
    "the same attribute": envelope(body="<a" + " b='1'" * 100_000 + "/>"),
    "namespaces": envelope(body="<a" + "".join(f" xmlns:b{i}='urn:{i}'" for i in range(30_000)) + "/>"),
    "billion laughs": f'<!DOCTYPE s [<!ENTITY l0 "ha">{LAUGHS}]><s>&l12;</s>',
    "a long name": envelope(body=f"<{'a' * 5_000_000}/>"),
    "a long text": envelope(body="x" * 12_000_000),
    "many elements": envelope(body="<a/>" * 300_000),
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_bombs_are_refused_at_once(bomb: str) -> None:
    with bounded():
        assert len(refusal_of(bomb).text) < 300


@pytest.mark.parametrize("name", ["l12", "x"])
def test_the_parser_alone_does_not_laugh_either(name: str) -> None:
    document = f'<!DOCTYPE s [<!ENTITY l0 "ha">{LAUGHS}<!ENTITY x "&x;">]><s a="&{name};"/>'
    with bounded(), suppress(etree.XMLSyntaxError):
        etree.fromstring(document.encode(), envelopes._tables().parser)


@pytest.mark.parametrize("count", [3_000, 30_000])
def test_more_namespaces_than_any_message_has_are_refused_at_once(count: int) -> None:
    names = " ".join(f'xmlns:b{i}="urn:{i}"' for i in range(count))
    with bounded():
        assert refusal_of(envelope(body=f"<s:Fault {names}>{'<a/>' * 10_000}</s:Fault>")).text == MANY


@pytest.mark.parametrize(
    "fault",
    [
        '<s:Fault xmlns:f="urn://Ocpp/Cp/2012/06/"/>',
        '<s:Fault xmlns="urn://Ocpp/Cp/2012/06"/>',
        '<s:Fault><Code xmlns=""><b xmlns:f="urn://Ocpp/Cp/2012/06/"/></Code></s:Fault>',
    ],
)
def test_the_version_of_a_fault_is_that_of_a_namespace_in_scope(fault: str) -> None:
    assert opened(envelope(body=fault)).version == Version.V15


def test_a_message_of_the_central_system_in_the_charge_point_namespace_is_known_without_being_told() -> None:
    body = '<diagnosticsStatusNotificationRequest xmlns="urn://Ocpp/Cp/2012/06/"/>'
    opened = parse(f'<s:Envelope xmlns:s="{SOAP12}"><s:Body>{body}</s:Body></s:Envelope>'.encode())
    assert opened.form is not None
    assert (opened.form.action, opened.side) == ("DiagnosticsStatusNotification", Side.CENTRAL_SYSTEM)
    assert [remark.rule for remark in opened.remarks] == ["quirks.namespace"]


def test_a_prefix_that_nobody_declared_is_found_behind_a_warning_too() -> None:
    read = opened(envelope(body=f'<heartbeatRequest xmlns="{CS16}"><q:x/><x xmlns="no/address"/></heartbeatRequest>'))
    assert "quirks.undeclared-prefix" in [remark.rule for remark in read.remarks]

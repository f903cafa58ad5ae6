"""SOAP by hand: envelopes as text, and what an HTTP exchange came to. For messages that no toolkit would send."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape

import aiohttp
from lxml import etree

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
NAMESPACES = MappingProxyType({"1.2": "urn://Ocpp/Cs/2010/08/", "1.5": "urn://Ocpp/Cs/2012/06/", "1.6": "urn://Ocpp/Cs/2015/10/"})
SOAP_TYPE = "application/soap+xml; charset=utf-8"


def envelope(
    body: str = "<heartbeatRequest/>",
    *,
    identity: str = "CP-1",
    version: str = "1.5",
    namespace: str = "",
    sender: str = "",
    soap: str = SOAP12,
    message_id: str = "urn:uuid:1",
) -> bytes:
    """A request; `body` is XML in the namespace of the version's central system service."""
    ns = namespace or NAMESPACES[version]
    name = f'<chargeBoxIdentity xmlns="{ns}">{escape(identity)}</chargeBoxIdentity>' if identity else ""
    source = f"<a:From><a:Address>{escape(sender)}</a:Address></a:From>" if sender else ""
    return (
        f'<s:Envelope xmlns:s="{soap}" xmlns:a="{WSA}"><s:Header>{name}<a:MessageID>{message_id}</a:MessageID>{source}'
        f'</s:Header><s:Body xmlns="{ns}">{body}</s:Body></s:Envelope>'
    ).encode()


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault says; QNames as `{namespace}name`."""

    code: str
    subcode: str
    reason: str
    relates_to: str


@dataclass(frozen=True, slots=True)
class Response:
    """What an HTTP exchange came to."""

    status: int
    content_type: str
    body: bytes

    @property
    def xml(self) -> Any:
        return etree.fromstring(self.body)

    @property
    def fault(self) -> Fault:
        """The fault, of the shape that SOAP 1.2 part 1, 5.4, demands."""
        root, names = self.xml, {"s": SOAP12, "a": WSA}
        (fault,) = root.findall("s:Body/s:Fault", names)
        assert [etree.QName(child).localname for child in fault] == ["Code", "Reason"]
        return Fault(
            _qname(fault.find("s:Code/s:Value", names)),
            _qname(fault.find("s:Code/s:Subcode/s:Value", names)),
            fault.findtext("s:Reason/s:Text", namespaces=names),
            root.findtext("s:Header/a:RelatesTo", default="", namespaces=names),
        )


def _qname(node: Any) -> str:
    prefix, _, name = node.text.partition(":")
    return f"{{{node.nsmap[prefix]}}}{name}"


async def post(port: int, body: Any, path: str = "/soap", method: str = "POST", **headers: str) -> Response:
    """One request on a connection of its own. Underlines in the names of headers stand for hyphens."""
    told = {"Content-Type": SOAP_TYPE} | {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://127.0.0.1:{port}{path}"
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.request(method, url, data=body, headers=told, allow_redirects=False) as response,
    ):
        return Response(response.status, response.headers.get("Content-Type", ""), await response.read())

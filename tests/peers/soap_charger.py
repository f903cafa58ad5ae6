"""A SOAP charger made with zeep from the contract that the gateway serves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, cast

import requests
import zeep
from lxml import etree
from zeep.helpers import serialize_object
from zeep.plugins import Plugin
from zeep.transports import Transport

Payload = dict[str, Any]

WSA = "http://www.w3.org/2005/08/addressing"
# zeep gives the only field of an answer in place of the answer.
_ONLY_FIELD: Mapping[str, str] = MappingProxyType(
    {"Authorize": "idTagInfo", "Heartbeat": "currentTime", "StopTransaction": "idTagInfo"}
)


def contract_url(port: int, version: str, service: str = "CentralSystemService") -> str:
    return f"http://127.0.0.1:{port}/soap?wsdl&version={version}&service={service}"


class _Addressed(Plugin):  # type: ignore[misc]
    """zeep tells no wsa:From; chargers tell their callback address there."""

    def __init__(self, callback: str) -> None:
        self.callback = callback

    def egress(self, envelope: Any, http_headers: Any, operation: Any, binding_options: Any) -> tuple[Any, Any]:
        if self.callback:
            sender = etree.SubElement(envelope[0], f"{{{WSA}}}From")
            etree.SubElement(sender, f"{{{WSA}}}Address").text = self.callback
        return envelope, http_headers


class SoapCharger:
    """The charger. `make` calls the central system; raises zeep's Fault."""

    def __init__(self, port: int, version: str, identity: str = "CP-S", callback: str = "") -> None:
        self.identity, self.version = identity, version
        self._http = requests.Session()
        self._http.trust_env = False
        self._client = zeep.Client(
            contract_url(port, version),
            transport=Transport(session=self._http, operation_timeout=20),
            plugins=[_Addressed(callback)],
        )

    @property
    def operations(self) -> set[str]:
        """What the contract offers."""
        return set(self._client.service._operations)

    async def make(self, action: str, payload: Payload) -> Payload:
        """Make a call in the names of the version, and give the answer in them."""
        return await asyncio.to_thread(self._make, action, payload)

    def _make(self, action: str, payload: Payload) -> Payload:
        operation = getattr(self._client.service, action)
        # By the name of the part: a list of header elements raises ValueError where the contract declares the header.
        parsed = operation(_soapheaders={"chargeBoxIdentity": self.identity}, **payload)
        if parsed is None:
            return {}
        if action in _ONLY_FIELD:
            parsed = {_ONLY_FIELD[action]: parsed}
        return cast(Payload, plain(serialize_object(parsed, dict)))

    def close(self) -> None:
        self._http.close()


def plain(value: Any) -> Any:
    """A parsed value as canonical JSON would have it: times as text, absent fields absent."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


@asynccontextmanager
async def soap_charger(port: int, version: str, identity: str = "CP-S", callback: str = "") -> AsyncIterator[SoapCharger]:
    """A charger that has read its contract."""
    charger = await asyncio.to_thread(SoapCharger, port, version, identity, callback)
    try:
        yield charger
    finally:
        charger.close()

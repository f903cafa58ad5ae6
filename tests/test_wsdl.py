"""The contracts in wsdl/: sound for toolkits, equal to the published ones on the wire and different in wording."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import zeep
from lxml import etree

WSDL_DIR = Path(__file__).parents[1] / "wsdl"
SHARED = Path(__file__).parents[2] / "shared"
COMPARE = SHARED / "tools" / "compare_contracts.py"
PUBLISHED = {"CentralSystemService": "centralsystem", "ChargePointService": "chargepoint"}

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SCHEMA = "{http://www.w3.org/2001/XMLSchema}schema"
WSAW_ACTION = "{http://www.w3.org/2006/05/addressing/wsdl}Action"
WSDL = "{http://schemas.xmlsoap.org/wsdl/}"

CONTRACTS = [
    ("1.2", "CentralSystemService", "urn://Ocpp/Cs/2010/08/", 9),
    ("1.2", "ChargePointService", "urn://Ocpp/Cp/2010/08/", 9),
    ("1.5", "CentralSystemService", "urn://Ocpp/Cs/2012/06/", 10),
    ("1.5", "ChargePointService", "urn://Ocpp/Cp/2012/06/", 15),
    ("1.6", "CentralSystemService", "urn://Ocpp/Cs/2015/10/", 10),
    ("1.6", "ChargePointService", "urn://Ocpp/Cp/2015/10/", 19),
]
each_contract = pytest.mark.parametrize(
    ("version", "service", "namespace", "operations"), CONTRACTS, ids=[f"{c[0]}-{c[1]}" for c in CONTRACTS]
)

READING_15 = {
    "connectorId": 1,
    "values": [{"timestamp": "2024-05-01T10:00:00Z", "value": [{"_value_1": "230", "measurand": "Voltage", "unit": "Volt"}]}],
}
READING_16 = {
    "connectorId": 1,
    "meterValue": [{"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "230", "measurand": "Voltage"}]}],
}
PROFILE = {
    "chargingProfileId": 7,
    "stackLevel": 0,
    "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Relative",
    "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": "16.0"}]},
}
MESSAGES: list[tuple[str, str, str, dict[str, object]]] = [
    ("1.2", "CentralSystemService", "Heartbeat", {}),
    ("1.2", "ChargePointService", "ChangeConfiguration", {"key": "HeartBeatInterval", "value": "60"}),
    ("1.5", "CentralSystemService", "MeterValues", READING_15),
    ("1.5", "ChargePointService", "SendLocalList", {"updateType": "Full", "listVersion": 3}),
    ("1.6", "CentralSystemService", "MeterValues", READING_16),
    ("1.6", "ChargePointService", "SetChargingProfile", {"connectorId": 1, "csChargingProfiles": PROFILE}),
]


def contract(version: str, service: str) -> Path:
    return WSDL_DIR / version / f"{service}.wsdl"


def embedded_schemas(path: Path) -> list[etree._Element]:
    """The schemas of a WSDL, each as a document of its own."""
    return [etree.fromstring(etree.tostring(schema)) for schema in etree.parse(path).iter(SCHEMA)]


def long_texts(path: Path) -> set[str]:
    """Lines of comments and documentation that are long enough to be somebody's wording."""
    root = etree.parse(path)
    nodes = [*root.iter(etree.Comment), *root.iter("{*}documentation")]
    lines = {re.sub(r"\s+", " ", line).strip() for node in nodes for line in (node.text or "").splitlines()}
    sentences = {re.sub(r"\s+", " ", node.text or "").strip() for node in nodes}
    return {text.lower() for text in lines | sentences if len(text) > 40}


@each_contract
def test_zeep_finds_every_operation(version: str, service: str, namespace: str, operations: int) -> None:
    client = zeep.Client(str(contract(version, service)))
    port = client.wsdl.services[service].ports[f"{service}Soap12"]
    assert len(port.binding._operations) == operations


@each_contract
def test_embedded_schema_compiles(version: str, service: str, namespace: str, operations: int) -> None:
    (schema,) = embedded_schemas(contract(version, service))
    etree.XMLSchema(schema)
    assert (schema.get("targetNamespace"), schema.get("elementFormDefault")) == (namespace, "qualified")


@each_contract
def test_only_versions_after_1_2_name_the_response_action(version: str, service: str, namespace: str, operations: int) -> None:
    for operation in etree.parse(contract(version, service)).iterfind(f"{WSDL}portType/{WSDL}operation"):
        (output,) = operation.iterfind(f"{WSDL}output")
        expected = None if version == "1.2" else f"/{operation.get('name')}Response"
        assert output.get(WSAW_ACTION) == expected


@pytest.mark.parametrize(("version", "service", "operation", "fields"), MESSAGES, ids=[f"{m[0]}-{m[2]}" for m in MESSAGES])
def test_message_built_by_zeep_is_valid(version: str, service: str, operation: str, fields: dict[str, object]) -> None:
    path = contract(version, service)
    client = zeep.Client(str(path))
    message = client.create_message(client.service, operation, **fields, _soapheaders={"chargeBoxIdentity": "CP1"})
    header, payload = message.find(f"{{{SOAP12}}}Header"), message.find(f"{{{SOAP12}}}Body")[0]
    (schema,) = embedded_schemas(path)
    etree.XMLSchema(schema).assertValid(etree.fromstring(etree.tostring(payload)))
    assert header.findtext(f"{{{schema.get('targetNamespace')}}}chargeBoxIdentity") == "CP1"


@pytest.mark.skipif(not COMPARE.exists(), reason=f"no published contracts to compare with: {COMPARE} does not exist")
def test_contracts_equal_the_published_ones_on_the_wire() -> None:
    done = subprocess.run([sys.executable, str(COMPARE), str(WSDL_DIR)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.fullmatch(r"0 differences, [1-9]\d* facts compared", done.stdout.strip().splitlines()[-1])


@each_contract
def test_wording_is_our_own(version: str, service: str, namespace: str, operations: int) -> None:
    published = SHARED / "contracts" / f"ocpp-{version}-{PUBLISHED[service]}.wsdl"
    if not published.exists():
        pytest.skip(f"no published contract to compare with: {published} does not exist")
    ours, theirs = long_texts(contract(version, service)), long_texts(published)
    assert ours, "the wording of our contract was not found"
    assert theirs, "the wording of the published contract was not found"
    assert not ours & theirs

"""What the benches send: envelopes of real chargers from the vectors, without their indentation, and one big MeterValues."""

import re
from pathlib import Path

from translations import soap
from translations.messages import Call, Payload, Side, Version

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"
SMALL = ("Heartbeat", "StartTransaction", "BootNotification", "StatusNotification")
VERSIONS = (Version.V15, Version.V16)
IDENTITY = "CP-0001"
_IDENTITY = re.compile(rb"(chargeBoxIdentity[^>]*>)[^<]*")


def small(action: str, version: Version) -> bytes:
    """The vector of a request as it goes over the wire: no charger indents, and white space would flatter the ratio."""
    text = (VECTORS / version / "centralsystem" / f"{action}.req.xml").read_bytes()
    return re.sub(rb">\s+<", b"><", text).strip()


def from_charger(envelope: bytes, identity: str) -> bytes:
    """The same envelope from another charger."""
    return _IDENTITY.sub(rb"\g<1>" + identity.encode(), envelope, count=1)


def meter_values(version: Version) -> bytes:
    """40 samples in 4 groups, each with all that a thorough meter says."""
    call = Call("MeterValues", _readings(version), "urn:uuid:3c586557-6abc-463e-a58e-6e22a6d73bb0", IDENTITY)
    return soap.encode(call, version, Side.CENTRAL_SYSTEM, identity=IDENTITY).body


def _readings(version: Version) -> Payload:
    groups = [
        {"timestamp": f"2024-09-17T12:{15 * group:02}:00Z", "sampledValue": [_sample(n, version) for n in range(10)]}
        for group in range(4)
    ]
    return {"connectorId": 1, "transactionId": 900113, "meterValue": groups}


def _sample(n: int, version: Version) -> Payload:
    measurand, unit = (("Energy.Active.Import.Register", "Wh"), ("Current.Import", "A"), ("Voltage", "V"))[n % 3]
    sample = {"value": f"{230 + n}.{n}", "context": "Sample.Periodic", "measurand": measurand}
    if version is Version.V16:
        sample["phase"] = f"L{n % 3 + 1}"
    return {**sample, "location": "Outlet", "unit": unit}

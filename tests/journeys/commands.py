"""Every command that a CSMS can send, in canonical form, and what a SOAP charger of each version hears and answers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Payload = dict[str, Any]
V12 = ("1.2", "1.5", "1.6")
V15 = ("1.5", "1.6")
V16 = ("1.6",)

SCHEDULE = {
    "duration": 86400,
    "startSchedule": "2024-05-01T00:00:00Z",
    "chargingRateUnit": "A",
    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0, "numberPhases": 3}, {"startPeriod": 60, "limit": 6.5}],
    "minChargingRate": 0.5,
}
PROFILE = {
    "chargingProfileId": 31,
    "stackLevel": 2,
    "chargingProfilePurpose": "TxProfile",
    "chargingProfileKind": "Recurring",
    "recurrencyKind": "Weekly",
    "validFrom": "2024-05-01T00:00:00Z",
    "validTo": "2024-12-31T23:59:59Z",
    "chargingSchedule": SCHEDULE,
}
LOCAL_LIST = [
    {"idTag": "B4F62CEF", "idTagInfo": {"status": "Accepted", "expiryDate": "2026-12-31T23:59:59Z", "parentIdTag": "P-7"}},
    {"idTag": "0099AABB"},
]
RETRIES = {"retries": 0, "retryInterval": 60}


class Command(NamedTuple):
    """`said` and `answered` are canonical. Where a version's charger hears or gives other words, they stand in the maps."""

    action: str
    versions: tuple[str, ...]
    said: Payload
    answered: Payload
    heard: Mapping[str, Payload] = MappingProxyType({})
    given: Mapping[str, Payload] = MappingProxyType({})


COMMANDS = [
    Command("CancelReservation", V15, {"reservationId": 55}, {"status": "Rejected"}),
    Command("ChangeAvailability", V12, {"connectorId": 0, "type": "Inoperative"}, {"status": "Scheduled"}),
    Command("ChangeConfiguration", V12, {"key": "A key", "value": " <1> "}, {"status": "NotSupported"}),
    Command("ClearCache", V12, {}, {"status": "Rejected"}),
    Command("ClearChargingProfile", V16, {"id": 0, "stackLevel": 2}, {"status": "Unknown"}),
    Command("DataTransfer", V15, {"vendorId": "org.example", "data": "{'a': 1.50}"}, {"status": "Accepted", "data": "<ä&>"}),
    Command(
        "GetCompositeSchedule",
        V16,
        {"connectorId": 1, "duration": 600, "chargingRateUnit": "W"},
        {"status": "Accepted", "connectorId": 1, "scheduleStart": "2024-05-01T12:00:00+00:00"}
        | {"chargingSchedule": SCHEDULE | {"startSchedule": "2024-05-01T00:00:00+00:00"}},
    ),
    Command(
        "GetConfiguration",
        V15,
        {"key": ["A key", "Frobnicate"]},
        {"configurationKey": [{"key": "A key", "readonly": False, "value": "007"}], "unknownKey": ["Frobnicate"]},
    ),
    Command(
        "GetDiagnostics",
        V12,
        {"location": "ftp://a:b@files.example.com/in?x=1&y=2", "startTime": "2024-05-01T00:00:00Z"} | RETRIES,
        {"fileName": "diagnostics 1.zip"},
    ),
    Command("GetLocalListVersion", V15, {}, {"listVersion": -1}),
    Command(
        "RemoteStartTransaction",
        V12,
        {"idTag": "B4F62CEF", "connectorId": 1, "chargingProfile": PROFILE},
        {"status": "Accepted"},
        heard={version: {"idTag": "B4F62CEF", "connectorId": 1} for version in ("1.2", "1.5")},
    ),
    Command("RemoteStopTransaction", V12, {"transactionId": -(2**31)}, {"status": "Accepted"}),
    Command(
        "ReserveNow",
        V15,
        {"connectorId": 0, "expiryDate": "2024-05-01T16:30:00Z", "idTag": "A", "parentIdTag": "B", "reservationId": 5},
        {"status": "Occupied"},
    ),
    Command("Reset", V12, {"type": "Soft"}, {"status": "Accepted"}),
    Command(
        "SendLocalList",
        V15,
        {"listVersion": 12, "updateType": "Differential", "localAuthorizationList": LOCAL_LIST},
        {"status": "VersionMismatch"},
        heard={"1.5": {"listVersion": 12, "updateType": "Differential", "localAuthorisationList": LOCAL_LIST}},
    ),
    Command(
        "SetChargingProfile",
        V16,
        {"connectorId": 1, "csChargingProfiles": PROFILE | {"transactionId": 4711}},
        {"status": "NotSupported"},
    ),
    Command("TriggerMessage", V16, {"requestedMessage": "MeterValues", "connectorId": 1}, {"status": "NotImplemented"}),
    Command(
        "UnlockConnector",
        V12,
        {"connectorId": 2},
        {"status": "UnlockFailed"},
        given={version: {"status": "Rejected"} for version in ("1.2", "1.5")},
    ),
    Command(
        "UpdateFirmware",
        V12,
        {"retrieveDate": "2024-05-01T03:00:00Z", "location": "https://files.example.com/fw.bin"} | RETRIES,
        {},
    ),
]

# The security extension, which no SOAP charger has.
HASH = {"hashAlgorithm": "SHA256", "issuerNameHash": "a1", "issuerKeyHash": "b2", "serialNumber": "c3"}
SECURITY = [
    Command("CertificateSigned", (), {"certificateChain": "PEM"}, {"status": "Accepted"}),
    Command("DeleteCertificate", (), {"certificateHashData": HASH}, {"status": "NotFound"}),
    Command("ExtendedTriggerMessage", (), {"requestedMessage": "SignChargePointCertificate"}, {"status": "NotImplemented"}),
    Command("GetInstalledCertificateIds", (), {"certificateType": "CentralSystemRootCertificate"}, {"status": "NotFound"}),
    Command(
        "GetLog",
        (),
        {"logType": "SecurityLog", "requestId": 7, "log": {"remoteLocation": "https://files.example.com/"}},
        {"status": "Accepted", "filename": "security.log"},
    ),
    Command(
        "InstallCertificate",
        (),
        {"certificateType": "ManufacturerRootCertificate", "certificate": "PEM"},
        {"status": "Rejected"},
    ),
    Command(
        "SignedUpdateFirmware",
        (),
        {
            "requestId": 8,
            "firmware": {
                "location": "https://files.example.com/fw.bin",
                "retrieveDateTime": "2024-05-01T03:00:00Z",
                "signingCertificate": "PEM",
                "signature": "c2ln",
            },
        },
        {"status": "AcceptedCanceled"},
    ),
]

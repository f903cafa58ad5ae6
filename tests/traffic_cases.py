"""Exchanges in a log, for the commands that read it: a transaction from its card to its stop, and what should not be told."""

import contextlib
import json
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.traffic.exchanges import Exchange, Finding
from gateway.traffic.writer import LogWriter
from tests.excerpts import AT, json_exchange


def store(path: Path, *exchanges: Exchange) -> None:
    """Into the log, each as a new one."""
    fresh = [deepcopy(exchange) for exchange in exchanges]
    for exchange in fresh:
        exchange.id = 0
    with contextlib.closing(LogWriter(path)) as log:
        log.write(fresh)


def said(action: str, payload: Any, result: Any, after: float, **facts: Any) -> Exchange:
    """A call of CP-7 and its answer, so many seconds into the story."""
    call = json.dumps([2, f"m-{after}", action, payload]).encode()
    answer = json.dumps([3, f"m-{after}", result]).encode()
    given = {"charger": "CP-7", "action": action, "name": f"{action}-{after}", **facts}
    return json_exchange(call, answer, at=AT + after, **given)


def iso(after: float) -> str:
    """The time so many seconds into the story."""
    return datetime.fromtimestamp(AT + after, UTC).isoformat().replace("+00:00", "Z")


def sampled(after: float, energy: str) -> dict[str, Any]:
    """Meter values."""
    values = [{"value": energy}, {"value": "7200", "measurand": "Power.Active.Import", "unit": "W"}]
    return {"connectorId": 1, "transactionId": 4711, "meterValue": [{"timestamp": iso(after), "sampledValue": values}]}


def status(name: str, code: str, after: float, connector: int = 1) -> Exchange:
    """What a connector says of itself."""
    payload = {"connectorId": connector, "status": name, "errorCode": code}
    return said("StatusNotification", payload, {}, after, connector=connector)


_BOOT = {"chargePointVendor": "Acme", "chargePointModel": "Wall 2", "firmwareVersion": "1.2.3"}
_START = {"connectorId": 1, "idTag": "TAG1", "meterStart": 1000, "timestamp": iso(20)}
_STOP = {"transactionId": 4711, "meterStop": 13345, "timestamp": iso(3740), "reason": "Local"}
_ACCEPTED = {"idTagInfo": {"status": "Accepted"}}

BOOT = said("BootNotification", _BOOT, {"status": "Accepted", "interval": 300}, -1000)
SESSION = (
    status("Preparing", "NoError", 1),
    status("Preparing", "NoError", 5, 2),
    said("Authorize", {"idTag": "TAG1"}, _ACCEPTED, 10),
    said("Authorize", {"idTag": "TAG2"}, _ACCEPTED, 15),
    said("StartTransaction", _START, {"transactionId": 4711, **_ACCEPTED}, 20, transaction=4711, connector=1),
    status("Charging", "NoError", 21),
    said("MeterValues", sampled(900, "4000"), {}, 900, transaction=4711, connector=1),
    said("Heartbeat", {}, {"currentTime": iso(901)}, 901),
    said("UnlockConnector", {"connectorId": 1}, {"status": "NotSupported"}, 1000, up=False, connector=1),
    status("Faulted", "GroundFailure", 2000),
    said("StopTransaction", _STOP, _ACCEPTED, 3740, transaction=4711),
)
SESSION[-1].findings = (Finding("no-meter-values", "note", "transaction 4711 of 62 min without meter values"),)
LATER = status("Available", "NoError", 9000)
STORY = (BOOT, *SESSION, LATER)

SECRET = "PLANTED04"
AUTHORIZE = said("Authorize", {"idTag": SECRET}, _ACCEPTED, 1)

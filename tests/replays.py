"""Recorded exchanges for tests of replays: a charger's calls, and what it was answered."""

import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.writer import Keeping, LogWriter

START = 1_714_557_600.0  # 2024-05-01T10:00:00Z
NOW = "2024-05-01T10:00:00Z"
ACCEPTED = {"idTagInfo": {"status": "Accepted", "expiryDate": "2026-12-31T23:00:00Z", "parentIdTag": "FLEET-7"}}
METER = {"connectorId": 1, "transactionId": 7, "meterValue": [{"timestamp": NOW, "sampledValue": [{"value": "1"}]}]}


def frame(answer: Any) -> bytes:
    """An answer as a frame: a payload, or the code of an error."""
    error = isinstance(answer, str)
    return json.dumps([4, "m", answer, "", {}] if error else [3, "m", answer], separators=(",", ":")).encode()


def passed(
    action: str, payload: Any, answer: Any = None, at: float = 0, *, charger: str = "CP-1", up: bool = True, **others: Any
) -> Exchange:
    """One exchange on the charger's leg, `at` seconds after START; `others` are answers of backends by their names."""
    call = Half(START + at, json.dumps([2, "m", action, payload], separators=(",", ":")).encode(), message_id="m")
    outcome = "" if answer is None else answer if isinstance(answer, str) else "ok"
    said = None if answer is None else Half(START + at + 0.1, frame(answer), message_id="m")
    legs = [Leg("charger", up, "json", "1.6", "192.0.2.1:4000", call, said, outcome, latency=0.1 if said else None)]
    legs += [Leg(name, not up, "json", "1.6", "", call, Half(START + at, frame(each)), "ok") for name, each in others.items()]
    number = payload.get("transactionId") or (answer.get("transactionId") if isinstance(answer, dict) else None)
    name = f"{charger}-{action}-{at:g}"
    latency = 0.1 if said else None
    return Exchange(0, name, START + at, charger, "", action, up, outcome, latency, payload.get("connectorId"), number, legs)


def session(charger: str = "CP-1", tag: str = "TAG1", number: int = 7) -> list[Exchange]:
    """A charger boots, charges once, and is told to unlock."""
    start = {"connectorId": 1, "idTag": tag, "meterStart": 0, "timestamp": NOW}
    stop = {"transactionId": number, "meterStop": 9, "timestamp": "2024-05-01T10:00:03Z", "idTag": tag}
    boot = {"chargePointVendor": "V", "chargePointModel": "M"}
    return [
        passed("BootNotification", boot, {"status": "Accepted", "currentTime": "x", "interval": 300}, charger=charger),
        passed("StartTransaction", start, {"transactionId": number, **ACCEPTED}, 1, charger=charger),
        passed("MeterValues", {**METER, "transactionId": number}, {}, 2, charger=charger),
        passed("UnlockConnector", {"connectorId": 1}, {"status": "Unlocked"}, 2.5, charger=charger, up=False),
        passed("StopTransaction", stop, dict(ACCEPTED), 3, charger=charger),
    ]


def write(path: Path, exchanges: Iterable[Exchange]) -> Path:
    """Into the log, as the gateway does."""
    with closing(LogWriter(path, Keeping())) as log:
        log.write(list(exchanges))
    return path

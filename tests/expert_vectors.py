"""Vectors of the expert rules: scripts of exchanges as people write them, made into exchanges.

A line is an exchange: seconds, which way, the action, what it says, and how it was answered. Lines that are set in are the legs
of backends. `boot` is a BootNotification that was accepted. In texts `@60` is the date sixty seconds after the start.

    0   boot
    60  up StartTransaction {"connectorId": 1, ...} = {"transactionId": 7, ...} | remark=repaired:quirks.case
        csms-a {"transactionId": 7, ...} | latency=6.5
    90  down Reset {"type": "Hard"} ! GenericError | note=no answer in 30 s

Behind `=` stands a result, behind `!` the code of an error, behind `x` that of a refusal; `?` says that nothing was answered.
What else there is to say comes behind `|`, apart by `;`: charger, tenant, wire, version, peer, latency, note, and remark
(kind:rule:path). `times` and `every` (seconds) say an exchange again. `leg=none` and `call=none` leave out the charger's leg, or
its call.
"""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.record import CHARGER_LEG
from translations.messages import Kind, Remark

HERE = Path(__file__).parent / "vectors" / "expert"
START = 1_767_268_800.0  # 2026-01-01T12:00:00Z
BOOT = (
    '{"chargePointVendor": "Example", "chargePointModel": "M1"} = {"status": "Accepted", "currentTime": "@0", "interval": 86400}'
)
_LINE = re.compile(r"(?P<at>\d+)\s+(?P<way>up|down|boot)\s*(?P<action>\w*)\s*(?P<rest>.*)")
_LEG = re.compile(r"\s+(?P<name>csms-\w)\s+(?P<rest>.*)")


class Vector(NamedTuple):
    """A script, and what is to be found in it: seconds, rule, text."""

    name: str
    rule: str
    script: str
    found: list[list[Any]]


@cache
def vectors() -> tuple[Vector, ...]:
    """All of them."""
    return tuple(vector for path in sorted(HERE.glob("*.toml")) for vector in _read(path))


def _read(path: Path) -> Iterator[Vector]:
    table = tomllib.loads(path.read_text())
    for each in table["case"]:
        yield Vector(f"{path.stem}: {each['name']}", path.stem, each["script"], each["found"])


def exchanges(script: str) -> list[Exchange]:
    """What passed, by a script."""
    made: list[Exchange] = []
    for line in script.strip("\n").splitlines():
        if found := _LEG.fullmatch(line):
            made[-1].legs.append(_leg(made[-1], found["name"], not made[-1].up, found["rest"]))
        elif found := _LINE.fullmatch(line.strip()):
            made.append(_exchange(len(made) + 1, found))
            _repeat(made, _facts(_parts(found["rest"])["facts"]))
        else:
            raise ValueError(f"expected seconds, way and action, got {line!r}")
    return made


def _repeat(made: list[Exchange], facts: dict[str, str]) -> None:
    first = made[-1]
    for each in range(1, int(facts.get("times", 1))):
        made.append(replace(first, id=first.id + each, at=first.at + each * float(facts["every"])))


def _exchange(number: int, found: re.Match[str]) -> Exchange:
    at, boot = START + float(found["at"]), found["way"] == "boot"
    rest = f"{BOOT} {found['rest']}" if boot else found["rest"]
    action = "BootNotification" if boot else found["action"].removeprefix("nothing")
    exchange = Exchange(number, f"x{number}", at, "CP1", "", action, found["way"] != "down")
    facts = _facts(_parts(rest)["facts"])
    exchange.charger, exchange.tenant = facts.get("charger", "CP1"), facts.get("tenant", "")
    if "leg" not in facts:
        leg = _leg(exchange, CHARGER_LEG, exchange.up, rest)
        exchange.legs.append(leg)
        exchange.outcome, exchange.latency = leg.outcome, leg.latency
    return exchange


def _leg(exchange: Exchange, name: str, inward: bool, rest: str) -> Leg:
    parts, at = _parts(rest), exchange.at
    facts, how, answer = _facts(parts["facts"]), parts["how"] or "?", (parts["answer"] or "").strip()
    if name != CHARGER_LEG and parts["how"] is None:
        how, answer = "=", parts["payload"] or "{}"  # what a backend was told stands on the charger's leg
    remarks = tuple(_remark(each) for each in facts.get("remark", "").split(",") if each)
    frame = f'[2,"{exchange.name}","{exchange.action}",{_dated(parts["payload"] or "{}")}]'
    leg = Leg(name, inward, facts.get("wire", "json"), facts.get("version", "1.6"), facts.get("peer", "192.0.2.1:5000"))
    leg.call = Half(at, frame.encode(), remarks=remarks)
    leg.latency = float(facts["latency"]) if "latency" in facts else None
    leg.outcome, leg.refused = ("ok" if how == "=" else answer), how == "x"
    if how in "=!":
        said = f'[3,"{exchange.name}",{_dated(answer)}]' if how == "=" else f'[4,"{exchange.name}","{answer}","",{{}}]'
        leg.answer = Half(at + (leg.latency or 0), said.encode(), note=facts.get("note", ""))
    elif how == "x" and leg.inward:
        leg.call.note = facts.get("note", "")
    elif how == "x":  # an answer that was not taken
        leg.refused, leg.answer = False, Half(at, f'[3,"{exchange.name}",{{}}]'.encode(), note=facts.get("note", ""))
    if facts.get("call") == "none":
        leg.call = None
    return leg


def _parts(rest: str) -> dict[str, Any]:
    """Payload, how it was answered, the answer, and facts; JSON is read as JSON, for braces stand in texts too."""
    found: dict[str, Any] = {"payload": None, "how": None, "answer": None, "facts": None}
    rest = rest.strip().removeprefix("-").strip()
    if rest.startswith("{"):
        end = json.JSONDecoder().raw_decode(rest)[1]
        found["payload"], rest = rest[:end], rest[end:].strip()
    if rest[:1] in tuple("=!x?"):
        found["how"], rest = rest[0], rest[1:].strip()
        end = json.JSONDecoder().raw_decode(rest)[1] if rest.startswith("{") else (rest + "|").index("|")
        found["answer"], rest = rest[:end], rest[end:].strip()
    found["facts"] = rest.removeprefix("|").strip()
    return found


def _facts(text: str) -> dict[str, str]:
    return dict(each.strip().split("=", 1) for each in text.split(";") if each.strip())


def _remark(text: str) -> Remark:
    kind, rule, path = (text.strip() + ":").split(":")[:3]
    return Remark(Kind(kind), path, "", rule)


def _dated(text: str) -> str:
    """Dates in place of `@60`."""
    return re.sub(r'"@(-?\d+)"', lambda found: f'"{_date(START + int(found[1]))}"', text)


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")

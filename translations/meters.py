"""What a bare meter value means where a charger is known to mean something else than OCPP does."""

from collections.abc import Iterable, Iterator
from typing import Any

from translations.messages import Kind, Payload
from translations.step import Step

_LISTS = ("meterValue", "transactionData")
_ORDER = ("value", "context", "format", "measurand", "phase", "location", "unit")


def dress(payload: Payload, meaning: Iterable[tuple[str, str]], step: Step) -> None:
    """Give the samples of a canonical payload that say neither measurand nor unit what the charger means by them."""
    said = dict(meaning)
    for path, sample in _samples(payload):
        if sample.keys().isdisjoint(("measurand", "unit")):
            missing = {name: word for name, word in said.items() if name not in sample}
            whole = missing | sample
            sample.clear()
            sample.update({name: whole[name] for name in _ORDER if name in whole})
            step.note(Kind.ASSUMED, f"not given, taken as {', '.join(missing.values())}", "quirks.meter", path)


def leave_out(payload: Payload, faults: Iterable[list[str | int]], step: Step) -> None:
    """Leave out the samples of a canonical payload that its schema does not take; the rest may be worth money.

    The schema of StopTransaction, unlike that of MeterValues, has no Hertz; but that is what a Frequency is in, said or not
    (OCPP 1.6 errata, 3.84).
    """
    places = {place: str(path[-1]) for path in faults if (place := _place(path))}
    for (name, i, j), field in sorted(places.items(), reverse=True):
        group = payload[name][i]["sampledValue"]
        path = f"{name}[{i}].sampledValue[{j}]"
        if (group[j].get("measurand"), group[j].get(field)) == ("Frequency", "Hertz"):
            del group[j][field]
            step.note(Kind.REPAIRED, "left out: a frequency is in hertz anyway", "quirks.invalid-sample", f"{path}.{field}")
        else:
            del group[j]
            step.note(Kind.LOST, f"left out: {field} is not valid in this message", "quirks.invalid-sample", path)
        if not group:
            del payload[name][i]
    if "transactionData" in payload and not payload["transactionData"]:
        del payload["transactionData"]


def _place(path: list[str | int]) -> tuple[str, int, int] | None:
    match path:
        case [("meterValue" | "transactionData") as name, int(i), "sampledValue", int(j), str()]:
            return name, i, j
    return None


def _samples(payload: Payload) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in _LISTS:
        for i, group in enumerate(payload.get(name, ())):
            for j, sample in enumerate(group["sampledValue"]):
                yield f"{name}[{i}].sampledValue[{j}]", sample

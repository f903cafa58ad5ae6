"""gateway.traffic.unnamed: a filter is kept without those whom it looks for."""

import pytest

from gateway.config import Config
from gateway.redaction.redactor import Redactor
from gateway.traffic.language import parsed
from gateway.traffic.tree import written
from gateway.traffic.unnamed import unnamed

REDACTOR = Redactor(Config(), bytes(32))


@pytest.mark.parametrize(
    "expression",
    [
        '"TAG4711"',
        "text ~ TAG4711",
        "note ~ TAG4711 or charger == CP-7",
        "not payload.idTag == TAG4711",
        "payload.idTag in (TAG4711, TAG4711X)",
        "payload.idTag ~ TAG4711",
        "result.idTagInfo.parentIdTag == TAG4711",
        "payload.localAuthorizationList[0].idTag == TAG4711",
        "payload.value == TAG4711",
        "payload.authorizationKey != TAG4711 and since 10m",
    ],
)
def test_whom_a_filter_looks_for_is_a_pseudonym(expression: str) -> None:
    told = written(unnamed(parsed(expression), REDACTOR))
    assert ("TAG4711" in told, "idtag:" in told or "secret:" in told) == (False, True)
    parsed(told)


def test_a_number_that_is_an_id_tag_is_one_too() -> None:
    told = written(unnamed(parsed("payload.idTag == 4711"), REDACTOR))
    assert told == f'payload.idTag == "{REDACTOR.tag("4711")}"'


@pytest.mark.parametrize("expression", ["charger == CP-7", "payload.status == Accepted", "latency > 2s", "remark.lost"])
def test_everything_else_stays(expression: str) -> None:
    assert unnamed(parsed(expression), REDACTOR) == parsed(expression)

"""gateway.terms: what the rows and the route say of one charger, at hand for each of its messages."""

from typing import Any

import pytest

from gateway import terms as made
from gateway.config import Config, Embedded, Quirk, Route
from gateway.roster import LONGEST_BOOT, Roster
from gateway.terms import Terms
from translations.messages import Version

CONFIG = Config(
    quirks=(Quirk(name="north", identity="NORTH-*", zone="Europe/Paris"), Quirk(name="acme", maker="ACME", date="seconds")),
    backends=(Embedded(kind="embedded", name="csms"),),
    routes=(
        Route(chargers="LAB-*", answer=("csms",), validation="strict"),
        Route(tenant="acme", answer=("csms",), validation="off"),
        Route(answer=("csms",)),
    ),
)
BOOT = {"chargePointVendor": "ACME", "chargePointModel": "Old Faithful"}


@pytest.fixture
def roster() -> Roster:
    return Roster()


def booted(roster: Roster, identity: str, payload: dict[str, Any]) -> None:
    roster.booted(roster.heard(identity, Version.V15, "10.0.0.7:1", ""), payload)


def test_a_charger_that_nobody_knows_is_dealt_with_by_its_identity(roster: Roster) -> None:
    manner = Terms(CONFIG, roster)("north-1", "1.5")
    assert (manner.zone, manner.date, manner.validation) == ("Europe/Paris", "as-given", "repair")


def test_the_route_says_how_strictly(roster: Roster) -> None:
    assert Terms(CONFIG, roster)("LAB-1", "1.5").validation == "strict"


def test_the_route_is_that_of_the_tenant_by_whose_path_it_comes(roster: Roster) -> None:
    terms = Terms(CONFIG, roster)
    assert [terms("CP-1", "1.5", tenant).validation for tenant in ("acme", "", "ACME", "other")] == [
        *("off", "repair"),
        *("off", "repair"),
    ]


def test_without_a_path_the_tenant_is_that_under_which_it_came(roster: Roster) -> None:
    terms = Terms(CONFIG, roster)
    assert terms("CP-1", "1.5").validation == "repair"
    roster.heard("CP-1", Version.V15, "10.0.0.7:1", "", tenant="acme")
    assert terms("CP-1", "1.5").validation == "off"


def test_the_maker_counts_from_the_boot_on(roster: Roster) -> None:
    terms = Terms(CONFIG, roster)
    assert terms("CP-1", "1.5").date == "as-given"
    booted(roster, "CP-1", BOOT)
    assert terms("CP-1", "1.5").date == "seconds"


def test_another_boot_counts_at_once(roster: Roster) -> None:
    terms = Terms(CONFIG, roster)
    booted(roster, "CP-1", BOOT)
    assert terms("CP-1", "1.5") is terms("CP-1", "1.5")
    booted(roster, "CP-1", {**BOOT, "chargePointVendor": "Other"})
    assert terms("CP-1", "1.5").date == "as-given"


def test_the_manners_at_hand_are_bounded(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "MOST", 2)
    terms = Terms(CONFIG, roster)
    assert len({terms(f"NORTH-{i}", "1.5").zone for i in range(5)}) == 1


@pytest.mark.parametrize("vendor", ["x" * LONGEST_BOOT, 5, None, ["ACME"]])
def test_a_maker_that_is_no_name_fits_no_row(roster: Roster, vendor: Any) -> None:
    booted(roster, "CP-1", {"chargePointVendor": vendor})
    assert Terms(CONFIG, roster)("CP-1", "1.5").date == "as-given"


def test_a_boot_that_is_longer_than_any_is_not_kept(roster: Roster) -> None:
    booted(roster, "CP-1", {"chargePointVendor": "x" * LONGEST_BOOT})
    charger = roster.get("CP-1")
    assert charger is not None
    assert charger.boot is None

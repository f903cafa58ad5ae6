"""How the gateway deals with one charger: by the rows for its maker, model, firmware and identity, and by its route."""

from functools import lru_cache

from gateway.config import Config
from gateway.roster import Roster
from translations.manners import Manner, Quirk, Who, manner_of

_SAID = ("chargePointVendor", "chargePointModel", "firmwareVersion")


class Terms:
    """Called with an identity and the version it speaks (empty where that is not known yet), gives the manner."""

    def __init__(self, config: Config, roster: Roster) -> None:
        self._config, self._roster = config, roster
        self._quirks = rows(config)
        self._validation = lru_cache(maxsize=65_536)(self._validation_of)

    def __call__(self, identity: str, version: str) -> Manner:
        charger = self._roster.get(identity)
        boot = (charger.boot if charger else None) or {}
        maker, model, firmware = (str(boot.get(name) or "") for name in _SAID)
        who = Who(identity, maker, model, firmware, str(version))
        return manner_of(who, self._quirks, self._validation(identity))

    def _validation_of(self, identity: str) -> str:
        route = self._config.route(identity)
        return route.validation if route else "repair"


def rows(config: Config) -> tuple[Quirk, ...]:
    """The operator's rows."""
    return tuple(Quirk.from_row(row.model_dump(exclude_none=True)) for row in config.quirks)

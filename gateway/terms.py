"""How the gateway deals with one charger: by the rows for its maker, model, firmware and identity, and by its route."""

from typing import Any

from gateway.config import Config
from gateway.roster import Roster
from translations.manners import Manner, Quirk, Who, manner_of
from translations.messages import Payload

MOST = 100_000  # chargers whose manner is at hand
_WORD = 255  # characters of a name that count
_SAID = ("chargePointVendor", "chargePointModel", "firmwareVersion")


class Terms:
    """Called with an identity, the version it speaks (empty where that is not known yet) and the tenant under which it comes,
    gives the manner. Without a tenant it is that of the roster."""

    def __init__(self, config: Config, roster: Roster) -> None:
        self._config, self._roster = config, roster
        self._quirks = rows(config)
        self._found: dict[tuple[str, str], tuple[Payload | None, str, Manner]] = {}

    def __call__(self, identity: str, version: str, tenant: str | None = None) -> Manner:
        charger = self._roster.get(identity)
        boot = charger.boot if charger else None
        if tenant is None:
            tenant = charger.tenant if charger else ""
        known = self._found.get((identity, version))
        if known is not None and known[0] is boot and known[1] == tenant:
            return known[2]
        if len(self._found) >= MOST:
            self._found.clear()
        manner = self._manner(identity, version, tenant, boot or {})
        self._found[identity, version] = boot, tenant, manner
        return manner

    def _manner(self, identity: str, version: str, tenant: str, boot: Payload) -> Manner:
        maker, model, firmware = (_word(boot.get(name)) for name in _SAID)
        route = self._config.route(identity, tenant)
        who = Who(identity, maker, model, firmware, str(version))
        return manner_of(who, self._quirks, route.validation if route else "repair")


def _word(value: Any) -> str:
    return value[:_WORD] if isinstance(value, str) else ""


def rows(config: Config) -> tuple[Quirk, ...]:
    """The operator's rows."""
    return tuple(Quirk.from_row(row.model_dump(exclude_none=True)) for row in config.quirks)

"""Which version a charger wants to speak, by the subprotocols it offers: exactly those of OCPP-J, or what is meant by them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from translations.messages import Version

SUBPROTOCOLS: Mapping[str, Version] = MappingProxyType({f"ocpp{version}": version for version in Version})
WANTED = "ocpp1.6, ocpp1.5 or ocpp1.2"
_NAMES = {name.replace(point, ""): version for name, version in SUBPROTOCOLS.items() for point in ("", ".")}  # seen: ocpp16


def chosen(offers: Iterable[str]) -> tuple[Version | None, str | None]:
    """The first version in the charger's order of preference that we speak, and what to echo of its offer.

    RFC 6455, 4.1: a client fails the connection over a subprotocol that it did not offer, so what is echoed is an offer as
    it was written, and nothing where it cannot be told what that was.
    """
    for offer in offers:
        for name in offer.split():
            if version := _NAMES.get(name.casefold()):
                return version, name if name == offer else None
    return None, None


def shown(offers: Iterable[str]) -> str:
    """What was offered, as a close reason can hold it."""
    offered = ", ".join(name for name in offers if name)
    return offered.encode("ascii", "replace").decode()[:65] or "none"

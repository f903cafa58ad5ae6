"""What fields are called that hold something personal or secret. The table that one edits to have more hidden."""

import re
from functools import lru_cache

TAG, SECRET, HOST = "idtag", "secret", "host"

# Names without case, hyphens, points and underlines: those of OCPP, and what makers are likely to write in a DataTransfer.
_TAGS = frozenset({"idtag", "parentidtag", "idtoken", "parentidtoken", "groupidtoken", "groupidtag", "tagid", "taguid"})
_CARDS = frozenset(
    {"rfid", "rfidtag", "rfidcard", "rfiduid", "carduid", "cardid", "cardnumber", "cardno", "emaid", "evccid", "contractid"}
)
_SECRETS = frozenset({"pw", "pwd", "pass", "pin", "puk", "token", "jwt", "psk", "bearer", "cookie", "credential", "credentials"})
_STRONG = re.compile(
    r"password|passwd|passwort|^authorization$|passphrase|passcode|secret|authorizationkey|authorisationkey|authkey|privatekey|apikey|accesskey|sharedkey"
    r"|sessionkey|encryptionkey|wifikey|wpakey|wpapsk|simpin|pincode|(?:access|auth|api|bearer|refresh|session|security)token"
)
_QUERY = frozenset(["key", "sig", "signature", "code", "auth", "user", "username", "login", "sas"])
_ADDRESSES = frozenset(["address", "to", "from", "replyto", "faultto"])
_HEADERS = frozenset(["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-auth-token", "api-key"])

# Of each text that a pattern could find anything in, one of these is a part, in lower case. Most messages have none of them.
MARKS = (
    *(
        "://",
        ":\\/",
        "idtag",
        "id_tag",
        "id-tag",
        "id tag",
        "token",
        "tagid",
        "taguid",
        "tag_",
        "tag-",
        "rfid",
        "card",
        "emaid",
        "evccid",
    ),
    *(
        "contract",
        "pass",
        "pwd",
        "pw=",
        "pw:",
        'pw"',
        "pw>",
        "secret",
        "key",
        "psk",
        "pin",
        "puk",
        "credential",
        "authorization",
        "auth=",
        "auth%3d",
        "bearer",
        "basic",
        "cookie",
        "jwt",
    ),
    *("private", "%3a%2f", "sig", "user=", "login=", "code=", "sas=", "name=", "\\u"),
)


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str:
    """What a field of that name holds: TAG, SECRET, or nothing that is hidden."""
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _TAGS or plain in _CARDS:
        return TAG
    return SECRET if plain in _SECRETS or _STRONG.search(plain) else ""


@lru_cache(maxsize=4096)
def in_query(name: str) -> str:
    """The same of a parameter in the query of a URL, where a key and a signature are as good as a password."""
    return kind_of(name) or (SECRET if name.lower() in _QUERY else "")


@lru_cache(maxsize=4096)
def is_address(name: str) -> bool:
    """Whether an element of a SOAP header is called like one that says where somebody can be called (WS-Addressing)."""
    return name.lower() in _ADDRESSES


def is_credential(header: str) -> bool:
    """Whether an HTTP header shows who somebody is."""
    return header.lower() in _HEADERS

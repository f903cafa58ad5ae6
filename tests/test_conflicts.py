"""gateway.conflicts: what works against itself in a configuration, told with the path of its key."""

from itertools import product
from pathlib import Path

import pytest

from gateway.config import ConfigError
from gateway.loading import load
from gateway.rules.globs import covers, fits, meet

NAMES = ("a", "b", "c")
ROUTE = '[[routes]]\nanswer = ["a", "b"]\nlisten = ["c"]\n'
DROP = '[[policies]]\ndo = "drop"\n'
SET = '[[rewrites]]\nname = "r"\nset = { "data" = "v" }\nactions = ["DataTransfer"]\n'


def three(**more: str) -> str:
    """Three backends, a, b and c, each with what is said of it."""
    rows = [f'[[backends]]\nkind = "ocppj"\nname = "{name}"\nurl = "ws://{name}/{{identity}}"\n' for name in NAMES]
    return "".join(row + f"{more.get(name, '')}\n" for name, row in zip(NAMES, rows, strict=True))


def rewrite(text: str, name: str = "r") -> str:
    return f'[[rewrites]]\nname = "{name}"\n{text}\n'


def answer(action: str, payload: str, more: str = "") -> str:
    return f'[[policies]]\nactions = ["{action}"]\ndo = "answer"\npayload = {payload}\n{more}\n'


PATHS = '[server]\njson_paths = ["/{tenant}/{identity}"]\n'
NO_TENANT = "expected {tenant} in server.soap_paths or server.json_paths too"
OF_ROUTE = "expected a backend of the route (a, b, c), got d"
LEFT = "expected {} that {}[0] leaves, it comes first and takes all of these"
SAID_TWICE = "expected no {}: r (rewrites[0]) has the say on it"
TAG = "expected text of 1 to 20 characters for an idTag"

ROUTES = [
    (three() + ROUTE + 'authorize = "first-accept"\nauthorizers = ["a", "d"]', "routes[0].authorizers", OF_ROUTE),
    (
        three() + ROUTE + 'authorizers = ["a", "b"]',
        "routes[0].authorizers",
        'expected none, or authorize = "first-accept", got authorize = "primary"',
    ),
    (
        three() + '[[routes]]\nanswer = ["a"]\nauthorize = "first-accept"',
        "routes[0].authorize",
        "expected at least two backends to ask, in authorizers or in answer, found one",
    ),
    (
        three() + ROUTE + 'authorize = "first-accept"\nauthorizers = ["c"]',
        "routes[0].authorize",
        "expected at least two backends to ask, in authorizers or in answer, found one",
    ),
    (three() + ROUTE + 'authorize = "prefix"\nprefixes = { "DE*X" = "d" }', "routes[0].prefixes.DE*X", OF_ROUTE),
    (
        three() + ROUTE + f'authorize = "prefix"\nprefixes = {{ {"X" * 21} = "b" }}',
        f"routes[0].prefixes.{'X' * 21}",
        "expected at most 20 characters, no idTag is longer",
    ),
    (
        three() + ROUTE + 'authorize = "prefix"\nprefixes = { "DE" = "a", "de" = "b" }',
        "routes[0].prefixes",
        "expected prefixes that differ by more than case, got de again",
    ),
    (
        three() + ROUTE + 'prefixes = { "DE" = "a" }',
        "routes[0].prefixes",
        'expected none, or authorize = "prefix", got authorize = "primary"',
    ),
    (three() + ROUTE + 'authorize = "prefix"', "routes[0].authorize", "expected prefixes too, which say what backend is asked"),
    (three() + '[[routes]]\nanswer = ["a", "a"]', "routes[0].answer", "expected each backend once, got a again"),
    (three() + ROUTE + 'tenant = "t*"', "routes[0].tenant", NO_TENANT),
    (three(a='identity = "{tenant}-{identity}"'), "backends[0].identity", NO_TENANT),
    (three().replace("//b/", "//b/{tenant}/"), "backends[1].url", NO_TENANT),
    (three() + ROUTE + '[[routes]]\nchargers = "X*"\nanswer = ["a"]', "routes[1]", LEFT.format("chargers", "routes")),
]

OWNED = "expected no SendLocalList: {} may send that to chargers of routes[0] too"
ANY_COMMAND = 'commands = ["*"]'
LISTS = 'commands = ["SendLocal*"]'
BACKENDS = [
    (three(b=LISTS) + ROUTE, "backends[1].commands", OWNED.format("a")),
    (three(a=LISTS) + ROUTE, "backends[0].commands", OWNED.format("b")),
    (three(a='commands = ["Reset"]', b=LISTS, c=LISTS) + ROUTE, "backends[2].commands", OWNED.format("b")),
    (
        three(c=ANY_COMMAND) + '[[routes]]\nanswer = ["a"]\nlisten = ["c"]',
        "backends[2].commands",
        OWNED.format("a").replace("SendLocalList", "ChangeConfiguration and no SendLocalList and no UpdateFirmware"),
    ),
    (
        three(b=LISTS) + ROUTE + DROP + 'backends = ["a"]\ndirection = "down"\nactions = ["Reset"]',
        "backends[1].commands",
        OWNED.format("a"),
    ),
    (
        three().replace("//b/", "//a/") + ROUTE,
        "backends[1].url",
        "expected another url or identity than a, with which it stands in routes[0]",
    ),
    (
        three(b='commands = ["Reset", "Restart"]') + ROUTE,
        "backends[1].commands[1]",
        "expected a glob on actions that chargers know, got Restart",
    ),
    (
        three(c='hear = "both"') + '[[routes]]\nanswer = ["c"]',
        "backends[2].hear",
        "expected a route that has it in listen; as it is, it hears nothing",
    ),
    (
        three(c='unknown_transaction = "drop"') + '[[routes]]\nanswer = ["a"]',
        "backends[2].unknown_transaction",
        "expected a route that has it in answer or in listen",
    ),
    (three(a='id_tags_file = "/nowhere"'), "backends[0].id_tags_file", "expected a file, /nowhere is none"),
]

POLICIES = [
    (three() + '[[policies]]\ndo = "answer"', "policies[0].payload", 'expected a payload, with do = "answer"'),
    (three() + DROP + "payload = {}", "policies[0].payload", 'expected none, or do = "answer", got do = "drop"'),
    (three() + DROP + 'code = "NotSupported"', "policies[0].code", 'expected none, or do = "error", got do = "drop"'),
    (three() + DROP + 'text = "no"', "policies[0].text", 'expected none, or do = "error", got do = "drop"'),
    (
        three() + answer("Heartbeat", "{}"),
        "policies[0].payload",
        "expected an answer to Heartbeat: Heartbeat.conf currentTime: expected it, found none",
    ),
    (
        three() + answer("Reset", '{ status = "Perhaps" }', 'direction = "down"'),
        "policies[0].payload",
        "expected an answer to Reset: Reset.conf status: expected Accepted or Rejected, got another text",
    ),
    (
        three() + DROP + 'backends = ["a", "d*"]',
        "policies[0].backends[1]",
        "expected a glob on the names of backends (a, b, c), got d*",
    ),
    (three() + DROP + 'actions = ["Reset"]', "policies[0].actions[0]", "expected a glob on actions that go up, got Reset"),
    (
        three() + DROP + 'actions = ["Heartbeat"]\ndirection = "down"',
        "policies[0].actions[0]",
        "expected a glob on actions that go down, got Heartbeat",
    ),
    (three() + DROP + DROP, "policies[1]", LEFT.format("messages", "policies")),
    (
        three()
        + DROP
        + 'actions = ["Meter*", "Status*"]\n'
        + DROP
        + 'actions = ["MeterValues"]\nchargers = "X-*"\nbackends = ["a"]',
        "policies[1]",
        LEFT.format("messages", "policies"),
    ),
    (
        three() + DROP + 'backends = ["a", "b", "c"]\n' + DROP + 'backends = ["*"]\nchargers = "X?"',
        "policies[1]",
        LEFT.format("messages", "policies"),
    ),
]

BOOT = 'actions = ["BootNotification"]\n'
REWRITES = [
    (three() + SET + SET.replace("data", "vendorId"), "rewrites[1].name", "expected another name, r is taken"),
    (three() + rewrite(""), "rewrites[0]", "expected at least one of copies, map, set and remove"),
    (
        three() + rewrite('actions = ["Boot"]\nremove = ["x"]'),
        "rewrites[0].actions[0]",
        "expected a glob on actions that go up, got Boot",
    ),
    (
        three() + rewrite('remove = ["x"]\nbackends = ["d"]'),
        "rewrites[0].backends[0]",
        "expected a glob on the names of backends (a, b, c), got d",
    ),
    (
        three() + rewrite(BOOT + 'remove = ["serial"]'),
        "rewrites[0].remove",
        "expected a path in BootNotification.req, got serial: there is no serial",
    ),
    (
        three() + rewrite(BOOT + 'copies = { "iccid" = "sim" }'),
        "rewrites[0].copies",
        "expected a path in BootNotification.req, got sim: there is no sim",
    ),
    (
        three() + rewrite(BOOT + 'message = "answer"\nset = { "iccid" = "1" }'),
        "rewrites[0].set",
        "expected a path in BootNotification.conf, got iccid: there is no iccid",
    ),
    (
        three() + rewrite('direction = "down"\nactions = ["Reset"]\nremove = ["kind"]'),
        "rewrites[0].remove",
        "expected a path in Reset.req, got kind: there is no kind",
    ),
    (
        three() + rewrite('actions = ["MeterValues"]\nremove = ["meterValue[*].sampledValue.unit"]'),
        "rewrites[0].remove",
        "expected a path in MeterValues.req, got meterValue[*].sampledValue.unit: [*] or a number is missing before unit",
    ),
    (
        three() + rewrite(BOOT + 'remove = ["iccid[0]"]'),
        "rewrites[0].remove",
        "expected a path in BootNotification.req, got iccid[0]: [0] is for lists",
    ),
    (
        three() + rewrite(BOOT + 'remove = ["iccid.x"]'),
        "rewrites[0].remove",
        "expected a path in BootNotification.req, got iccid.x: there is no x",
    ),
    (
        three() + rewrite('copies = { "a[*].b" = "a" }'),
        "rewrites[0].copies",
        "expected as many [*] in a as in a[*].b",
    ),
    (
        three() + rewrite('actions = ["StartTransaction"]\nset = { meterStart = "much" }'),
        "rewrites[0].set.meterStart",
        "StartTransaction.req meterStart: expected integer, got text",
    ),
    (
        three() + rewrite('actions = ["Authorize"]\nmessage = "answer"\nmap = { "idTagInfo.status" = { "Blocked" = "No" } }'),
        "rewrites[0].map.idTagInfo.status",
        "Authorize.conf idTagInfo.status: expected Accepted or Blocked or Expired or Invalid or ConcurrentTx, got another text",
    ),
    (
        three() + rewrite('actions = ["BootNotification"]\nremove = ["chargePointModel"]'),
        "rewrites[0].remove",
        "BootNotification.req chargePointModel: expected it, found none",
    ),
    (three() + rewrite(f'set = {{ "idTag" = "{"X" * 21}" }}'), "rewrites[0].set.idTag", TAG),
    (three() + rewrite('set = { "idTagInfo.parentIdTag" = 5 }'), "rewrites[0].set.idTagInfo.parentIdTag", TAG),
    (three() + rewrite(f'map = {{ "idTag" = {{ "TAG1" = "{"X" * 21}" }} }}'), "rewrites[0].map.idTag", TAG),
    (
        three() + rewrite('set = { "iccid" = "1" }\nremove = ["iccid"]'),
        "rewrites[0].remove",
        "expected no iccid, set says what it is",
    ),
    (
        three() + rewrite('set = { "iccid" = "1" }') + rewrite(BOOT + 'set = { "iccid" = "2" }', "s"),
        "rewrites[1].set",
        SAID_TWICE.format("iccid"),
    ),
    (
        three()
        + rewrite('chargers = "A*"\nset = { "iccid" = "1" }')
        + rewrite('chargers = "*B"\nremove = ["iccid"]\nbackends = ["a"]', "s"),
        "rewrites[1].remove",
        SAID_TWICE.format("iccid"),
    ),
]

FINE = {
    "both that answer are one CSMS": three() + ROUTE,
    "a listener may command what nobody owns": three(c='commands = ["SetChargingProfile", "ClearChargingProfile"]') + ROUTE,
    "a plain listener may send nothing": three(a=ANY_COMMAND) + '[[routes]]\nanswer = ["a"]\nlisten = ["c"]',
    "owners of different chargers": three(a=LISTS) + '[[routes]]\nchargers = "X*"\nanswer = ["a"]\n[[routes]]\nanswer = ["b"]',
    "a policy takes it from one of them": three(c=LISTS)
    + '[[routes]]\nanswer = ["a"]\nlisten = ["c"]\n[[policies]]\nbackends = ["a"]\ndirection = "down"\n'
    + 'actions = ["SendLocalList"]\ndo = "error"',
    "one CSMS under two identities": three(b='identity = "b-{identity}"').replace("//b/", "//a/") + ROUTE,
    "stored without an answer about idTags": three(a='away = "store"') + ROUTE,
    "first-accept of all that answer": three() + ROUTE + 'authorize = "first-accept"',
    "prefixes": three() + ROUTE + 'authorize = "prefix"\nprefixes = { "DE*A" = "a", "DE*B" = "c" }',
    "narrow before wide": three() + '[[routes]]\nchargers = "X*"\nanswer = ["a"]\n[[routes]]\nanswer = ["b"]',
    "tenants apart": PATHS + three() + '[[routes]]\ntenant = "t"\nanswer = ["a"]\n[[routes]]\nanswer = ["b"]',
    "an exception before its rule": three() + DROP + 'actions = ["MeterValues"]\n' + DROP,
    "directions apart": three() + DROP + DROP + 'direction = "down"',
    "a valid answer": three() + answer("Authorize", '{ idTagInfo = { status = "Blocked" } }'),
    "an action of JSON alone": three() + rewrite('actions = ["SecurityEventNotification"]\nremove = ["techInfo"]'),
    "a path through lists": three() + rewrite('actions = ["MeterValues"]\nremove = ["meterValue[*].sampledValue[0].unit"]'),
    "messages apart": three() + SET + SET.replace('"r"', '"s"') + 'message = "answer"\n[[rewrites]]\nname = "t"\nremove = ["x"]',
    "chargers apart": three() + SET + 'chargers = "A*"\n' + SET.replace('"r"', '"s"') + 'chargers = "B*"',
    "backends apart": three() + SET + 'backends = ["a"]\n' + SET.replace('"r"', '"s"') + 'backends = ["b", "c"]',
    "a map of what another row copies": three()
    + rewrite('copies = { "iccid" = "imsi" }')
    + rewrite('map = { "iccid" = { "1" = "2" } }', "s"),
}


def complaints(path: Path, text: str) -> list[str]:
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        load(path)
    return [line.removeprefix(f"{path}: ") for line in refused.value.complaints]


@pytest.mark.parametrize(("text", "where", "what"), [*ROUTES, *BACKENDS, *POLICIES, *REWRITES])
def test_what_works_against_itself_is_a_complaint(tmp_path: Path, text: str, where: str, what: str) -> None:
    assert complaints(tmp_path / "gateway.toml", text) == [f"{where}: {what}"]


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_goes_together_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "gateway.toml").write_text(text, "utf-8")
    assert load(tmp_path / "gateway.toml").backends


# --- globs


def test_globs_are_told_apart_by_the_names_that_they_take() -> None:
    names = ["".join(letters) for size in range(7) for letters in product("ab", repeat=size)]
    globs = ["".join(signs) for size in range(1, 4) for signs in product("ab*?", repeat=size)]
    taken = {glob: {name for name in names if fits(glob, name)} for glob in globs}
    assert [(a, b) for a, b in product(taken, repeat=2) if meet(a, b) != bool(taken[a] & taken[b])] == []
    assert [(a, b) for a, b in product(taken, repeat=2) if covers(a, b) and not taken[a] >= taken[b]] == []


@pytest.mark.parametrize(
    ("wide", "narrow", "covered", "met"),
    [
        ("*", "[ab]", True, True),
        ("[ab]", "[AB]", True, True),
        ("X-[12]", "x-1", True, True),
        ("X-1", "x-[12]", False, True),
        ("X-*", "x-??", True, True),
        ("X-?", "x-*", False, True),
        ("*1", "[12]", False, False),  # not easily seen
        ("X-*", "Y-*", False, False),
    ],
)
def test_what_globs_have_in_common(wide: str, narrow: str, covered: bool, met: bool) -> None:
    assert (covers(wide, narrow), meet(wide, narrow)) == (covered, met)

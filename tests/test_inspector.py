"""The doors of the admin port: chargers, calls, probes, pages, and that the description says what there is."""

import json
import re
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from starlette.routing import Route

from gateway.config import Config
from gateway.inspector.api import admin_app
from gateway.inspector.pages import openapi
from gateway.inspector.replies import STATUSES
from gateway.inspector.situation import Situation, Tie
from gateway.roster import Roster
from gateway.state.numbers import Transaction
from tests.admin import REDACTOR, Asked, admin, alone, no_letters
from translations.errors import WIRES
from translations.messages import Answer, Call, Error, Result, Side

JSON = "application/json"
CALLS = "/api/v1/chargers/CP-1/calls"


def schema(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for({**openapi(), "$ref": f"#/components/schemas/{name}"})


# --- chargers


async def test_a_charger_is_shown_with_what_it_told() -> None:
    async with admin() as ask:
        charger = (await ask("/api/v1/chargers/CP-1")).json
    assert charger == {
        "identity": "CP-1",
        "tenant": None,
        "wire": "soap",
        "version": "1.5",
        "state": "here",
        "lastSeen": "2024-05-01T10:00:00.000Z",
        "peer": "192.0.2.1:4000",
        "callback": REDACTOR.address("http://192.0.2.1:8080/"),
        "registration": "Accepted",
        "interval": 300,
        "vendor": "Volt",
        "model": "A1",
        "firmware": "1.2.3",
        "backends": [],
        "transactions": [],
    }


async def test_a_charger_is_shown_with_its_backends_and_transactions() -> None:
    ties = [Tie("csms", "answer", True, False, 1_714_557_600.0, 3), Tie("audit", "listen", False, True, 1_714_557_601.5, 0)]
    begun = Transaction("cp-1", 17, 1, "csms", 1_714_557_600.0, ids={"csms": 4711})
    async with admin(look=lambda identity: Situation(ties, [begun])) as ask:
        charger = (await ask("/api/v1/chargers/cp-1")).json
    schema("WholeCharger").validate(charger)
    away = {"backend": "csms", "role": "answer", "seat": True, "up": False, "since": "2024-05-01T10:00:00.000Z", "letters": 3}
    up = {"backend": "audit", "role": "listen", "seat": False, "up": True, "since": "2024-05-01T10:00:01.500Z", "letters": 0}
    assert charger["backends"] == [away, up]
    assert charger["transactions"] == [
        {"number": 17, "connector": 1, "owner": "csms", "begun": "2024-05-01T10:00:00.000Z", "ids": {"csms": 4711}}
    ]


async def test_chargers_are_listed_by_identity_as_the_description_says() -> None:
    async with admin() as ask:
        chargers = (await ask("/api/v1/chargers")).json["chargers"]
    assert [c["identity"] for c in chargers] == ["CP-1", "DC/2"]
    for charger in chargers:
        schema("Charger").validate(charger)
        assert set(charger) == set(openapi()["components"]["schemas"]["Charger"]["properties"])


@pytest.mark.parametrize(("asked", "found"), [("acme", ["DC/2"]), ("other", []), ("", ["CP-1", "DC/2"])])
async def test_chargers_of_one_tenant_are_listed(asked: str, found: list[str]) -> None:
    async with admin() as ask:
        chargers = (await ask(f"/api/v1/chargers?tenant={asked}")).json["chargers"]
    assert [c["identity"] for c in chargers] == found
    assert [c["tenant"] for c in chargers if c["tenant"]] == ["Acme"] * (len(found) > 0)


@pytest.mark.parametrize("asked", ["tenat=acme", "tenant=a&tenant=b"])
async def test_what_is_no_filter_of_chargers_is_refused(asked: str) -> None:
    async with admin() as ask:
        assert (await ask(f"/api/v1/chargers?{asked}")).status == 400


async def test_no_chargers_are_an_empty_list() -> None:
    async with admin(roster=Roster()) as ask:
        assert (await ask("/api/v1/chargers")).json == {"chargers": []}


@pytest.mark.parametrize("path", ["DC%2F2", "dc%2f2", "%44C%2F2"])
async def test_an_identity_is_percent_decoded_and_may_have_a_slash(path: str) -> None:
    async with admin() as ask:
        assert (await ask(f"/api/v1/chargers/{path}")).json["identity"] == "DC/2"


async def test_an_unknown_charger_is_not_found() -> None:
    async with admin() as ask:
        reply = await ask("/api/v1/chargers/CP-9")
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")
    assert reply.json == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "expected a charger that has been here, got CP-9",
    }


# --- calls


async def test_a_call_reaches_the_charger_and_its_result_comes_back() -> None:
    asked = Asked()
    async with admin(call=asked) as ask:
        reply = await ask("/api/v1/chargers/cp-1/calls/Reset?timeout=5", "POST", b'{"type":"Soft"}', Content_Type=JSON)
    assert (reply.status, reply.body) == (200, b'{"result":{"status":"Accepted"}}')
    assert asked.calls == [(Call("Reset", {"type": "Soft"}, identity="CP-1", side=Side.CHARGE_POINT), 5.0)]


async def test_numbers_keep_their_digits_both_ways() -> None:
    asked = Asked(Result({"limit": Decimal("1.50")}))
    async with admin(call=asked) as ask:
        reply = await ask(f"{CALLS}/Reset", "POST", b'{"limit":16.10}', Content_Type=JSON)
    assert str(asked.calls[0][0].payload["limit"]) == "16.10"
    assert reply.body == b'{"result":{"limit":1.50}}'


@pytest.mark.parametrize("headers", [{}, {"Content_Type": "application/json; charset=utf-8"}])
async def test_no_body_is_an_empty_payload(headers: dict[str, Any]) -> None:
    asked = Asked()
    async with admin(call=asked) as ask:
        assert (await ask(f"{CALLS}/ClearCache", "POST", **headers)).status == 200
    assert asked.calls[0][0].payload == {}
    assert asked.calls[0][1] == Config().callbacks.timeout


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "detail"),
    [
        (f"{CALLS}/Reset", b"{", JSON, 400, "expected a JSON object: input data was truncated"),
        (f"{CALLS}/Reset", b"[]", JSON, 400, "expected a JSON object: expected `object`, got `array`"),
        (f"{CALLS}/Reset", b"\xff", JSON, 400, "expected a JSON object: "),
        (f"{CALLS}/Reset", b'{"a":' * 100_000, JSON, 400, "expected a JSON object, got one that is too deep"),
        (f"{CALLS}/Reset", b" " * (1 << 20) + b"{}", JSON, 413, "expected at most 1048576 bytes"),
        (f"{CALLS}/Reset", b"a=1", "application/x-www-form-urlencoded", 415, "got application/x-www-form-urlencoded"),
        (f"{CALLS}/Reset", b"{}", "text/plain;application/json", 415, "got text/plain"),
        (f"{CALLS}/Re%0aset", b"{}", JSON, 400, "expected the name of an action, got Re%0aset"),
        (f"{CALLS}/Reset?timeout=0", b"{}", JSON, 400, "timeout: expected seconds above 0, 300 at most, got 0"),
        (f"{CALLS}/Reset?timeout=nan", b"{}", JSON, 400, "timeout: "),
        (f"{CALLS}/Reset?timeout=301", b"{}", JSON, 400, "timeout: "),
        (f"{CALLS}/Reset?timeout=soon", b"{}", JSON, 400, "timeout: "),
        ("/api/v1/chargers/CP-9/calls/Reset", b"{}", JSON, 404, "got CP-9"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_request_calls_nobody(path: str, body: bytes, kind: str, status: int, detail: str) -> None:
    asked = Asked()
    async with admin(call=asked) as ask:
        reply = await ask(path, "POST", body, Content_Type=kind)
    assert reply.status == reply.json["status"] == status
    assert detail in reply.json["detail"]
    assert asked.calls == []


async def test_a_body_without_a_content_type_is_not_taken() -> None:
    async with admin() as ask:
        assert (await ask(f"{CALLS}/Reset", "POST", b"{}")).status == 415


@pytest.mark.parametrize(
    ("code", "status"),
    [("NotImplemented", 501), ("GenericError", 502), ("SecurityError", 403), ("TypeConstraintViolation", 422), ("Odd", 502)],
)
async def test_an_error_is_a_problem_with_its_code(code: str, status: int) -> None:
    async with admin(call=Asked(Error(code, "out of order", {"n": Decimal("1.0")}))) as ask:
        reply = await ask(f"{CALLS}/Reset", "POST")
    assert (reply.status, reply.headers["Content-Type"]) == (status, "application/problem+json")
    assert reply.json | {"title": ""} == {
        "type": "about:blank",
        "title": "",
        "status": status,
        "detail": "out of order",
        "code": code,
        "details": {"n": 1.0},
    }
    schema("Problem").validate(reply.json)


def test_every_error_code_has_a_status() -> None:
    assert set(STATUSES) == set(WIRES)


async def test_no_answer_in_time_is_a_gateway_timeout() -> None:
    async def late(call: Call, timeout: float) -> Answer:
        raise TimeoutError

    async with admin(call=late) as ask:
        reply = await ask(f"{CALLS}/Reset?timeout=0.01", "POST")
    assert (reply.status, reply.json["code"], reply.json["detail"]) == (504, "GenericError", "no answer in 0.01 s")


async def test_an_answer_that_json_can_hardly_say_is_still_told() -> None:
    async with admin(call=Asked(Error("GenericError", "half \ud83d", {"big": 2**70}))) as ask:
        reply = await ask(f"{CALLS}/Reset", "POST")
    assert (reply.json["detail"], reply.json["details"]) == ("half \ud83d", {"big": 2**70})


async def test_a_mistake_of_ours_tells_no_details() -> None:
    async def broken(call: Call, timeout: float) -> Answer:
        raise ZeroDivisionError("secret")

    async with admin(call=broken) as ask:
        reply = await ask(f"{CALLS}/Reset", "POST")
    assert (reply.status, reply.json["detail"]) == (500, "the gateway failed")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


# --- probes


async def test_health_is_a_word() -> None:
    async with admin() as ask:
        reply = await ask("/healthz")
    assert (reply.status, reply.body) == (200, b"ok\n")


@pytest.mark.parametrize(("reasons", "status", "body"), [([], 200, b"ok\n"), (["no disk", "no log"], 503, b"no disk\nno log\n")])
async def test_readiness_gives_its_reasons(reasons: list[str], status: int, body: bytes) -> None:
    async with admin(ready=lambda: reasons) as ask:
        reply = await ask("/readyz")
    assert (reply.status, reply.body) == (status, body)


async def test_metrics_are_text_for_prometheus() -> None:
    async with admin() as ask:
        reply = await ask("/metrics")
    assert (reply.body, reply.headers["Content-Type"]) == (b"up 1\n", "text/plain; version=0.0.4; charset=utf-8")


# --- pages


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_loads_nothing_from_elsewhere(path: str) -> None:
    async with admin() as ask:
        page = (await ask(path)).body.decode()
        for source in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert (await ask(source)).status == 200
    assert "<script>" not in page
    assert " style=" not in page


@pytest.mark.parametrize(
    ("name", "kind"), [("index.js", "text/javascript; charset=utf-8"), ("style.css", "text/css; charset=utf-8")]
)
async def test_scripts_and_styles_come_with_their_type(name: str, kind: str) -> None:
    async with admin() as ask:
        reply = await ask(f"/static/{name}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize("path", ["/static/..%2fapi.py", "/static/index.html", "/static/", "/nothing", "/api/v1/chargers/"])
async def test_what_is_not_there_is_a_problem(path: str) -> None:
    async with admin() as ask:
        reply = await ask(path)
    assert (reply.status, reply.headers["Content-Type"]) == (404, "application/problem+json")
    assert reply.json["detail"].startswith("expected ")


async def test_a_wrong_method_is_told_the_right_one() -> None:
    async with admin() as ask:
        reply = await ask(f"{CALLS}/Reset")
    assert (reply.status, reply.headers["Allow"], reply.json["detail"]) == (405, "POST", "expected POST, got GET")


# --- the description


def routes() -> set[tuple[str, str]]:
    config, roster = Config(), Roster()
    behind: Any = {"look": alone, "letters": no_letters(), "call": Asked()}
    app = admin_app(config=config, roster=roster, traffic=None, ready=list, metrics=bytes, redactor=REDACTOR, **behind)
    found = [route for route in app.routes if isinstance(route, Route)]
    assert len(found) == len(app.routes)
    return {(route.path, method.lower()) for route in found for method in route.methods or () if method != "HEAD"}


def test_the_description_has_each_route_and_no_other() -> None:
    said = {(path, method) for path, item in openapi()["paths"].items() for method in item if method != "parameters"}
    assert said == routes()


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for each in value.values() for ref in references(each)]
    return [ref for each in value for ref in references(each)] if isinstance(value, list) else []


def test_every_reference_in_the_description_leads_somewhere() -> None:
    for reference in references(openapi()):
        found: Any = openapi()
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]


async def test_the_description_is_served_as_it_is() -> None:
    async with admin() as ask:
        reply = await ask("/api/openapi.json")
    assert (reply.json, json.loads(reply.body)["openapi"]) == (openapi(), "3.1.0")

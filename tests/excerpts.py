"""Exchanges to hand out: what chargers and backends said, from the vectors, and what would do harm."""

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from gateway.traffic.exchanges import OK, Exchange, Finding, Half, Leg
from tests.strategies import Form, forms
from translations.messages import Kind, Remark, Side, Version

VECTORS = Path(__file__).parent / "vectors"
AT = 1_714_557_600.0  # 2024-05-01T10:00:00Z
LOST = Remark(Kind.LOST, "reason", "no field for it", "delta")
ESCAPES = "\x1b[31m\x07<script>alert(1)</script>\x00\u202e\u2028\x9b=1+1"
SOAP_HEADERS = (("content-type", "application/soap+xml; charset=utf-8"), ("host", "gateway.example:9000"))


def vector(form: Form) -> tuple[bytes, list[Any]]:
    """The envelope of a message, and the frame that it says."""
    name = f"{form.action}.{'conf' if form.response else 'req'}"
    folder = VECTORS / form.version / form.side.replace("-", "")
    frame = json.loads((folder / f"{name}.json").read_text())["frame"]
    return (folder / f"{name}.xml").read_bytes(), frame


def _packed(frame: list[Any]) -> bytes:
    return json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode()


def soap_exchange(action: str = "StartTransaction", version: Version = Version.V15, at: float = AT, **facts: Any) -> Exchange:
    """A SOAP charger's call and what became of it: one leg over SOAP, one over JSON."""
    up = any(form.action == action for form in forms(version) if form.side is Side.CENTRAL_SYSTEM)
    side = Side.CENTRAL_SYSTEM if up else Side.CHARGE_POINT
    (asked, call), (said, result) = (vector(Form(version, side, action, response)) for response in (False, True))
    call[1] = result[1] = "x-1"
    charger = Leg("charger", up, "soap", version, "10.0.0.9:4711" if up else "http://10.0.0.9:8080/ocpp?a=1", outcome=OK)
    charger.call = Half(at, asked, _packed(call), "urn:uuid:1", (LOST,), headers=SOAP_HEADERS)
    charger.answer = Half(at + 0.25, said, _packed(result), "urn:ocpp:x-1", headers=SOAP_HEADERS[:1])
    backend = Leg("csms", not up, "json", "1.6", "ws://198.51.100.7/ocpp", outcome=OK, latency=0.125)
    backend.call = Half(at + 0.0625, _packed(call), message_id="x-1")
    backend.answer = Half(at + 0.1875, _packed(result), message_id="x-1")
    charger.latency = 0.25
    legs = [charger, backend] if up else [backend, charger]
    given: dict[str, Any] = {
        "name": "x-1",
        "charger": "CP-1",
        "action": action,
        "up": up,
        "outcome": OK,
        "latency": legs[0].latency,
    }
    return Exchange(7, at=at, legs=legs, **given | facts)


def json_exchange(call: bytes, answer: bytes | None, *, at: float = AT, up: bool = True, **facts: Any) -> Exchange:
    """One leg of a JSON charger; `facts` are those of the exchange."""
    outcome = "" if answer is None else OK if answer[:2] == b"[3" else "GenericError"
    leg = Leg("charger", up, "json", "1.6", "[2001:db8::9]:4711", outcome=outcome)
    leg.call = Half(at, call, message_id=_id(call))
    if answer is not None:
        leg.answer, leg.latency = Half(at + 0.5, answer, message_id=_id(answer)), 0.5
    given: dict[str, Any] = {"name": "j-1", "charger": "CP-2", "action": "Heartbeat", "latency": leg.latency}
    return Exchange(8, at=at, up=up, outcome=outcome, legs=[leg], **given | facts)


def _id(frame: bytes) -> str:
    try:
        return str(json.loads(frame)[1])
    except (ValueError, LookupError):
        return ""


BEAT = json_exchange(b'[2,"a","Heartbeat",{}]', b'[3, "a", {"currentTime": "2024-05-01T10:00:00Z"}]')
FAILED = json_exchange(b'[2,"b","Reset",{"type":"Hard"}]', b'[4,"b","GenericError","no",{"a":1.50}]', up=False, action="Reset")
PENDING = json_exchange(b'[2,"c","Heartbeat",{}]', None, name="j-3")
SAMPLES = (soap_exchange(), soap_exchange("Reset", Version.V16, AT + 1, name="x-2"), BEAT, FAILED, PENDING)


def refused(raw: bytes, wire: str = "json", note: str = "frame: expected JSON") -> Exchange:
    """What was no message."""
    leg = Leg("charger", True, wire, "", "10.0.0.9:4711", outcome="FormationViolation", refused=True)
    leg.call = Half(AT, raw, note=note)
    return Exchange(9, "r-1", AT, "CP-3", outcome="FormationViolation", legs=[leg])


def hostile() -> list[Exchange]:
    """What a peer may say to do harm to whoever reads it."""
    text = json.dumps([2, "1", "DataTransfer", {"vendorId": ESCAPES}], ensure_ascii=False).encode()
    told = json_exchange(text, b'[4,"1","GenericError","\\u001b[31m",{}]', charger=ESCAPES, action=ESCAPES, name=ESCAPES)
    told.findings = (Finding("x", "error", ESCAPES),)
    told.legs[0].peer = ESCAPES
    half = told.legs[0].call
    assert half is not None
    half.note, half.headers = ESCAPES, (("x\r\ny", f"a\r\nb: {ESCAPES}"),)
    half.remarks = (Remark(Kind.REPAIRED, ESCAPES, ESCAPES, "quirks.x"),)
    posted = refused(f"<a>{ESCAPES}</a>".encode(), "soap", ESCAPES)
    posted.legs[0].call = half
    return [told, posted, refused(b"\xff\xfe\x00[2"), refused(b"\xff<", "soap"), refused(b""), refused(b"[2,1,\n2]")]


# --- grown -------------------------------------------------------------------------------------------------------------

_texts = st.text(max_size=20)
_names = st.text(st.characters(categories=("L", "N"), include_characters="-_.:"), min_size=1, max_size=12)
_times = st.integers(10**15, 2 * 10**15).map(lambda micros: micros / 10**6)
_numbers = st.none() | st.integers(-1, 2**60)
_lengths = st.none() | st.floats(0, 1000)
_remarks = st.lists(st.builds(Remark, st.sampled_from(Kind), _texts, _texts, _names), max_size=3).map(tuple)
_canonical = st.sampled_from([vector(form)[1] for form in forms(Version.V15)]).map(_packed) | st.just(
    b'[3,"a",{"\xe2\x80\xae":1}]'
)
_raws = (
    st.sampled_from([vector(form)[0] for form in forms(Version.V12, Version.V15)])
    | _canonical
    | st.binary(max_size=30)
    | _texts.map(lambda text: json.dumps([2, text, "Heartbeat", {"a": text}], indent=1).encode())
)
_halves = st.builds(
    Half,
    _times,
    _raws,
    st.none() | _canonical | st.binary(min_size=1, max_size=10),
    _texts,
    _remarks,
    _texts,
    st.lists(st.tuples(_names, _texts), max_size=2).map(tuple),
)


@st.composite
def _legs(draw: st.DrawFn, name: str) -> Leg:
    call, answer = draw(st.tuples(st.none() | _halves, _halves) | st.tuples(_halves, st.none() | _halves))
    wire, facts = draw(st.sampled_from(["soap", "json", ""])), draw(st.tuples(st.booleans(), _names, _texts))
    outcome = draw(st.sampled_from(["", OK, "GenericError"]))
    return Leg(name, facts[0], wire, facts[1], facts[2], call, answer, outcome, draw(st.booleans()), draw(_lengths))


@st.composite
def exchanges(draw: st.DrawFn) -> list[Exchange]:
    """Exchanges with whatever may stand in them."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        legs = [draw(_legs(name)) for name in draw(st.lists(_names, min_size=1, max_size=3, unique=True))]
        connector, transaction = draw(st.tuples(_numbers, _numbers))
        findings = tuple(draw(st.lists(st.builds(Finding, _names, st.sampled_from(["note", "error"]), _texts), max_size=2)))
        name = draw(st.sampled_from(["", f"n-{number}"]))
        exchange = Exchange(0, name, draw(_times), legs=legs, findings=findings, connector=connector, transaction=transaction)
        exchange.charger, exchange.tenant, exchange.action, exchange.outcome = draw(st.tuples(_texts, _texts, _texts, _names))
        exchange.up, exchange.latency = draw(st.tuples(st.booleans(), _lengths))
        made.append(exchange)
    return made

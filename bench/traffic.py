"""Group `traffic`: how fast a log of a million exchanges answers, how many it takes, and what it costs the gateway."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from rich.console import Console

from bench import load, processes
from bench.csms import csms
from bench.processes import Cores, affinity
from bench.report import Figure, Target, show
from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.filters import Filter
from gateway.traffic.language import parsed
from gateway.traffic.query import LogFile, follow, open_to_read
from gateway.traffic.record import Record
from gateway.traffic.store import TrafficStore
from gateway.traffic.writer import Keeping, LogWriter
from translations.messages import Kind, Remark

EXCHANGES, QUICK = 1_000_000, 50_000
BATCH = 5_000
CHARGERS = 10_000
SPAN = 7 * 86_400.0  # seconds in which they passed
INDEXED = Target(100, unit=" ms")
FULL_TEXT = Target(500, unit=" ms")
TAKEN = Target(2_000, most=False, unit="/s")
SHARE = Target(0.85, most=False)
REPEATS = 7

_MIX = (("Heartbeat", 35), ("StatusNotification", 25), ("MeterValues", 25), ("Authorize", 6), ("StartTransaction", 3))
_MORE = (("StopTransaction", 3), ("BootNotification", 2), ("RemoteStartTransaction", 1))
_PAYLOADS = {
    "Heartbeat": '{"n":%d}',
    "StatusNotification": '{"connectorId":1,"status":"Available","errorCode":"NoError","info":"%d"}',
    "MeterValues": '{"connectorId":1,"transactionId":4711,"meterValue":[{"timestamp":"2026-05-01T10:00:00Z","sampledValue":'
    '[{"value":"%d","measurand":"Energy.Active.Import.Register","unit":"Wh"}]}]}',
    "Authorize": '{"idTag":"TAG%08d"}',
    "StartTransaction": '{"connectorId":1,"idTag":"TAG%08d","meterStart":100,"timestamp":"2026-05-01T10:00:00Z"}',
    "StopTransaction": '{"transactionId":%d,"meterStop":2000,"timestamp":"2026-05-01T11:00:00Z"}',
    "BootNotification": '{"chargePointVendor":"Volt","chargePointModel":"A1","chargePointSerialNumber":"SN%08d"}',
    "RemoteStartTransaction": '{"connectorId":1,"idTag":"TAG%08d"}',
}
_ENVELOPE = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header>'
    '<c:chargeBoxIdentity xmlns:c="urn://Ocpp/Cs/2012/06/">%s</c:chargeBoxIdentity><a:Action>/%s</a:Action><a:MessageID>%s'
    "</a:MessageID></s:Header><s:Body>%s</s:Body></s:Envelope>"
)
_QUESTIONS = (
    ("charger", 'charger == "CP-00777"', INDEXED),
    ("charger and action", 'charger == "CP-00777" and action in (StartTransaction, StopTransaction)', INDEXED),
    ("action, rare", "action == RemoteStartTransaction", INDEXED),
    ("outcome, rare", "outcome == SecurityError", INDEXED),
    ("not ok", "not ok", INDEXED),
    ("time", "since 3d and until 2d", INDEXED),
    ("transaction", "transaction == 500001", INDEXED),
    ("severity", "expert.severity >= warning", INDEXED),
    ("leg and outcome", 'leg == "csms-b" and outcome == InternalError', INDEXED),
    ("leg and latency", 'leg == "csms-b" and latency > 5s', INDEXED),
    ("leg, nothing found", 'leg == "csms-c" and outcome == InternalError', INDEXED),
    ("latency", "latency > 5s", INDEXED),
    ("lost", "remark.lost", INDEXED),
    ("charger and leg", 'charger == "CP-00777" and leg == csms and not ok', INDEXED),
    ("text, found once", '"TAG00500123"', FULL_TEXT),
    ("text, everywhere", '"Energy.Active"', FULL_TEXT),
    ("text, nowhere", '"no such words"', FULL_TEXT),
)


def run(console: Console, quick: bool) -> None:
    """Measure and print."""
    many = QUICK if quick else EXCHANGES
    cores = Cores.mine()
    with processes.folder() as folder:
        path = folder / "traffic.db"
        begin = time.perf_counter()
        fill(path, many, Keeping(full_text=True))
        took = time.perf_counter() - begin
        size = path.stat().st_size
        notes = [f"{many:,} exchanges written in {took:.0f} s with full text, {size / many:,.0f} bytes each on disk"]
        with closing(open_to_read(path)) as log:
            figures = [_asked(log, *question) for question in _QUESTIONS]
        show(console, f"The newest 50 of {many:,} exchanges", ("slowest", "median", "slowest"), figures, notes)
        figures = [_followed(folder), _pruned(path, many)]
    show(console, "The writer, beside a tail that reads all of it", ("taken", "offered", "rate"), figures)
    with affinity(cores.asking):
        load.run(_shares(console, cores, *((3, 2.0) if quick else (7, 3.0))))


# --- questions


def _asked(log: LogFile, name: str, expression: str, target: Target) -> Figure:
    wanted = Filter(tree=parsed(expression), limit=50)
    took = [_timed(lambda: log.newest(wanted)) for _ in range(REPEATS)]
    found = len(log.newest(wanted).exchanges)
    slowest, middle = 1000 * max(took), 1000 * median(took)
    return Figure(name, f"{slowest:.1f} ms", f"{middle:.1f} ms", slowest, " ms", target, f"{found} found: {expression}")


def _timed(ask: Callable[[], object]) -> float:
    begin = time.perf_counter()
    ask()
    return time.perf_counter() - begin


# --- writing


def _followed(folder: Path) -> Figure:
    """A second of records at twice the rate that is aimed at, and how long it takes until a tail has seen them all."""
    offered = 20_000
    LogWriter(folder / "followed.db").close()  # so that there is something to follow
    store = TrafficStore(folder / "followed.db", queue=10 * offered)
    store.open()
    seen = threading.Event()
    tail = threading.Thread(target=_tail, args=(folder / "followed.db", offered, seen))
    tail.start()
    records = [list(_records(n)) for n in range(offered)]
    begin = time.perf_counter()
    for n, some in enumerate(records):
        for record in some:
            store.record(record)
        if n % 100 == 0:  # 4,000 a second
            time.sleep(max(begin + n / 4_000 - time.perf_counter(), 0))
    seen.wait(60)
    took = time.perf_counter() - begin
    store.close()
    return Figure("exchanges/s", f"{offered:,}", "4,000/s", offered / took, "/s", TAKEN, f"{store.shed} records shed")


def _tail(path: Path, many: int, seen: threading.Event) -> None:
    with closing(open_to_read(path)) as log:
        told = follow(log, Filter(after_id=0), wait=_paused)
        for _ in zip(range(many), told, strict=False):
            pass
    seen.set()


def _paused() -> bool:
    time.sleep(0.05)
    return True


def _pruned(path: Path, many: int) -> Figure:
    """How many of the oldest go in a second."""
    with closing(LogWriter(path, Keeping(full_text=True))) as log:
        removed, begin = 0, time.perf_counter()
        while removed < many // 10:
            removed += log.prune(1e12, 1 << 40, 5_000)
        took = time.perf_counter() - begin
    return Figure("pruned/s", f"{removed:,}", "", removed / took, "/s", TAKEN, "with full text")


async def _shares(console: Console, cores: Cores, repeats: int, seconds: float) -> None:
    """The same load with and without the log, by turns."""
    async with csms() as port:
        with (
            processes.gateway(cores.serving, port) as logging,
            processes.gateway(cores.serving, port, traffic="enabled = false") as silent,
        ):
            rates = []
            for _ in range(repeats):
                pair = []
                for gateway in (logging, silent):
                    reached = await load.keep_alive(gateway.port, 64, seconds)
                    pair.append(reached.per_second)
                    gateway.drained()
                rates.append(pair)
            shed = logging.metric("ocpp_gateway_traffic_shed_total")
    ours, theirs = (median(side) for side in zip(*rates, strict=True))
    share = median(a / b for a, b in rates)
    figure = Figure("SOAP chargers", f"{ours:,.0f}", f"{theirs:,.0f}", share, target=SHARE, note=f"{shed:,.0f} records shed")
    show(console, "Calls/s on one core with the log / without it", ("with", "without", "share"), [figure])


# --- what is in the log


def fill(path: Path, many: int, keeping: Keeping) -> None:
    """A log of that many exchanges in the proportions of a fleet, up to now."""
    dice = random.Random(4711)  # noqa: S311 - the same each time
    now = time.time()
    with closing(LogWriter(path, keeping)) as log:
        batch: list[Exchange] = []
        for n in range(many):
            batch.append(_exchange(dice, n, now - SPAN + SPAN * n / many))
            if len(batch) == BATCH:
                log.write(batch)
                batch = []
        log.write(batch)


def _exchange(dice: random.Random, n: int, at: float) -> Exchange:
    mix = (*_MIX, *_MORE)
    action = dice.choices([name for name, _ in mix], [weight for _, weight in mix])[0]
    charger, up = f"CP-{dice.randrange(CHARGERS):05}", action != "RemoteStartTransaction"
    failed = dice.random() < 0.001
    latency = dice.expovariate(20) + (6 if dice.random() < 0.0003 else 0)
    outcome = dice.choice(("SecurityError", "InternalError", "GenericError")) if failed else "ok"
    remarks = (Remark(Kind.LOST, "iccid", "not in 1.2", "drop"),) if dice.random() < 0.002 else ()
    frame, answer = _frames(action, n, failed)
    soap = _ENVELOPE % (charger, action, n, frame.decode())
    first = Leg(
        "charger", up, "soap", "1.5", "192.0.2.1:4000", Half(at, soap.encode(), frame, f"m-{n}", remarks), outcome=outcome
    )
    first.answer, first.latency = Half(at + latency, soap.encode(), answer, f"a-{n}"), latency
    legs = [first, *(_backend(name, frame, answer, at, latency, outcome, n) for name in ("csms", "csms-b")[: 1 + (n % 4 == 0)])]
    transaction = n if action in ("StartTransaction", "StopTransaction") else 500_001 if n % 200_000 == 7 else None
    return Exchange(0, f"x-{n}", at, charger, "", action, up, outcome, latency, 1, transaction, legs)


def _frames(action: str, n: int, failed: bool) -> tuple[bytes, bytes]:
    call = f'[2,"x-{n}","{action}",{_PAYLOADS[action] % n}]'
    answer = f'[4,"x-{n}","InternalError","",{{}}]' if failed else f'[3,"x-{n}",{{"currentTime":"2026-05-01T10:00:00Z"}}]'
    return call.encode(), answer.encode()


def _backend(name: str, frame: bytes, answer: bytes, at: float, latency: float, outcome: str, n: int) -> Leg:
    call, said = Half(at, frame, message_id=f"x-{n}"), Half(at + latency, answer, message_id=f"x-{n}")
    return Leg(name, False, "json", "1.6", "", call, said, outcome, False, latency)


def _records(n: int) -> Iterator[Record]:
    frame, answer = _frames("StatusNotification", n, False)
    soap = (_ENVELOPE % (f"CP-{n % CHARGERS:05}", "StatusNotification", n, frame.decode())).encode()
    payload = {"connectorId": 1, "status": "Available", "errorCode": "NoError", "info": str(n)}
    at, name = time.time(), f"x-{n}"
    call = Record(at, name, f"CP-{n % CHARGERS:05}", "charger", "<", "soap", "1.5", "call", "StatusNotification", f"m-{n}", soap)
    sent = call._replace(leg="csms", direction=">", wire="json", version="1.6", message_id=name, raw=frame)
    yield call._replace(canonical=[2, name, "StatusNotification", payload])
    yield sent
    yield sent._replace(direction="<", kind="result", raw=answer, outcome="ok", latency=0.01)
    yield call._replace(direction=">", kind="result", canonical=[3, name, {}], outcome="ok", latency=0.02)

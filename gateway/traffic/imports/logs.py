"""Logs of OCPP-J frames: a frame a line, and before it what logs put there: a time, a charger, a direction.

Seen in the logs of mobilityhouse/ocpp, of SteVe, of simulators, of proxies. Whose log it is shows in who makes which call.
"""

import json
import re

from gateway.traffic.imports.found import Found, frame, refusal, time_in
from gateway.traffic.imports.pairing import Pairing

_FRAME = re.compile(r"\[\s*[234]\s*,")
_JSON = json.JSONDecoder()
_TRIES = 4  # places of a line that look like the start of a frame
_BEFORE = 500  # characters before a frame that are looked at

_PEERS = r"(?:cp|charger|charge[ _-]?(?:point|box)|station|evse|client)"
_CENTRE = r"(?:csms|cs|server|central[ _-]?system|backend|cpms)"
_TO = r"\s*(?:-+>|=+>|→|>+|to|-to-|_to_)\s*"
# Who speaks to whom, said in full.
_TO_CSMS = re.compile(rf"\b(?:{_PEERS}{_TO}{_CENTRE}|from[ _-]{_PEERS}|to[ _-]{_CENTRE})\b", re.IGNORECASE)
_TO_CHARGER = re.compile(rf"\b(?:{_CENTRE}{_TO}{_PEERS}|to[ _-]{_PEERS}|from[ _-]{_CENTRE})\b", re.IGNORECASE)
# As whoever wrote the log has it.
_CAME = re.compile(r"\b(?:receiv(?:ed?|es|ing)|recv|rx|in|incoming|inbound|got)\b|<|←", re.IGNORECASE)
_WENT = re.compile(r"\b(?:sen[dt]|sends|sending|tx|out|outgoing|outbound|wrote)\b|>|→", re.IGNORECASE)

_NAMED = re.compile(
    r"\b(?:charge[_ ]?box[_ ]?id(?:entity)?|charge[_ ]?point(?:[_ ]?id)?|charger(?:[_ ]?id)?|cp[_ ]?id|station(?:[_ ]?id)?"
    r"|identity)\"?\s*[=:]\s*\"?([^\s,;\]\)\"']{1,100})",
    re.IGNORECASE,
)
_OCPP_LIBRARY = re.compile(r"([^\s:]+): (?:receive message|send|received?|sending)\b")  # mobilityhouse/ocpp
_WORD = re.compile(r"[A-Za-z0-9][\w.@*+:-]{0,99}")
_NO_CHARGER = re.compile(
    rf"(?:trace|debug|info|notice|warn(?:ing)?|error|critical|message|msg|frame|ocpp(?:j|1\.6|16)?|json|ws|wss|websocket|root|data|call"
    rf"|callresult|callerror|result|request|response|receiv\w*|recv|rx|in|incoming|inbound|got|send\w*|sent|tx|out|outgoing|outbound|wrote"
    rf"|to|from|utc|z|bytes|text|{_PEERS}|{_CENTRE})",
    re.IGNORECASE,
)


class Log:
    """The lines of one log. `at` is the last time that it told, at first that of the file."""

    def __init__(self, pairing: Pairing, at: float) -> None:
        self._pairing, self.at = pairing, at
        self._of_charger: bool | None = None  # whose words are used
        self._charger = ""
        self._other, self._first = 0, 0

    def read(self, text: bytes, number: int) -> None:
        """Take a line."""
        line = text.decode("utf-8", "surrogateescape")
        starts = [found.start() for found in _FRAME.finditer(line)][:_TRIES]
        if not starts and "[" not in line and "{" not in line:
            self._first = self._first or number
            self._other += 1
            return
        found, before = self._frame(line, starts, f"line {number}")
        self._dress(found, before)
        self._pairing.add(found)

    def end(self) -> None:
        """Tell of the lines that were none of this."""
        if self._other:
            text = f"{self._other} lines without a frame were left out, the first is line {self._first}"
            self._pairing.add(refusal(self.at, b"", text))

    def _frame(self, line: str, starts: list[int], where: str) -> tuple[Found, str]:
        """The first frame of a line that can be read, and what stands before it."""
        wrong: Found | None = None
        for start in starts:
            found = frame(self.at, _bytes(line[start : _end(line, start)]), where)
            if found.message is not None:
                return found, line[:start]
            wrong = wrong or found
        if wrong is None:
            return refusal(self.at, _bytes(line), f"{where}: expected a frame"), ""
        wrong.raw = _bytes(line[starts[0] :])
        return wrong, line[: starts[0]]

    def _dress(self, found: Found, before: str) -> None:
        before = before[:_BEFORE].encode("utf-8", "replace").decode()
        told = time_in(before)
        if told:
            self.at, (start, end) = told
            before = f"{before[:start]} {before[end:]}"
        found.at, found.timed = self.at, told is not None
        found.charger = _charger(before)
        self._direct(found, before)

    def _direct(self, found: Found, before: str) -> None:
        if _TO_CSMS.search(before) or _TO_CHARGER.search(before):
            said: bool | None = _TO_CSMS.search(before) is not None
        else:
            came, went = _CAME.search(before) is not None, _WENT.search(before) is not None
            said = None if came == went else came
            if said is not None and found.to_csms is not None:
                self._of_charger = said is not found.to_csms
            if said is not None and self._of_charger:
                said = not said
        if found.to_csms is None:
            found.to_csms = said


def _end(line: str, start: int) -> int:
    """Where the JSON ends that begins there; the end of the line where it does not end."""
    try:
        return _JSON.raw_decode(line, start)[1]
    except (ValueError, RecursionError):
        return len(line)


def _charger(before: str) -> str:
    """Whose frame it is, as far as the words before it tell."""
    if named := _NAMED.search(before) or _OCPP_LIBRARY.search(before):
        return named[1]
    words = [word.strip(":-.") for word in _WORD.findall(before)]
    words = [word for word in words if word and not _NO_CHARGER.fullmatch(word)]
    with_digit = [word for word in words if any(c.isdigit() for c in word)]
    return with_digit[0] if with_digit else words[0] if len(words) == 1 else ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

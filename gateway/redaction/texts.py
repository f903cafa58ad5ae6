"""What is hidden in text that nobody can parse: logs, errors, notes, broken messages. In doubt too much.

Every pattern is bounded in what it tries, so that the time grows with the length of the text only.
"""

import re
from base64 import b64decode
from collections.abc import Iterable
from functools import lru_cache, partial

from gateway.redaction.fields import HOST, MARKS, SECRET, TAG, in_query, kind_of
from gateway.redaction.pseudonyms import FORM, Pseudonyms

KEY_GONE = "private-key:removed"
_SHORT = 200

_ANY = re.IGNORECASE
_PEM = re.compile(
    r"-----BEGIN(?:[ +]|%20)(?:[A-Z0-9]+(?:[ +]|%20))*PRIVATE(?:[ +]|%20)KEY.*?(?:-----END[^-]{0,80}-----|\Z)", _ANY | re.DOTALL
)
_USER = re.compile(r"(?P<before>[a-z][a-z0-9+.-]{0,20}:(?:\\?/){2})(?P<value>[^\s/?#<>\"'\\]+)(?=@)", _ANY)
# A password that is cut off before the host: what stands after the colon is no port.
_CUT_USER = re.compile(
    r"(?P<before>[a-z][a-z0-9+.-]{0,20}:(?:\\?/){2})(?P<value>[^\s/?#<>\"'\\:\[\]@]+:(?!\d{1,5}(?:[\s,;:.)\]}/?#\"'<>\\]|\Z))"
    r"[^\s/?#<>\"'\\@]+)(?=[\s/?#<>\"'\\]|\Z)",
    _ANY,
)
_ENCODED_USER = re.compile(r"(?P<before>%3A%2F%2F)(?P<value>(?:(?!%2F|%40)[^\s&\"'<>])+)(?=%40)", _ANY)
_QUERY = re.compile(
    r"(?P<before>(?:[?&;]|%3F|%26)(?:amp;)?(?P<name>[\w.~-]{1,60})(?:=|%3D))(?P<value>(?:(?!%26)[^\s&#\"'<>\\])+)", _ANY
)
_HEADER = re.compile(
    r"(?P<before>\b(?:authorization\\*[\"']?\s{0,3}[:=]\s{0,3}\\*[\"']?(?:(?:basic|bearer|digest|token)\s+)?"
    r"|(?:set-)?cookie\\*[\"']?\s{0,3}[:=]\s{0,3}\\*[\"']?))(?P<value>(?!\s|expected\b|with\b|(?:basic|bearer)\b)[^\r\n\"'<>\\]+)",
    _ANY,
)
_BASIC = re.compile(r"(?P<before>\bbasic(?:\s+|%20|\+))(?P<value>[a-z0-9+/_-]{4,}={0,2})", _ANY)
_BEARER = re.compile(r"(?P<before>\bbearer(?:\s+|%20|\+))(?P<value>(?=[a-z]{0,99}[\d._~+/-])[\w.~+/-]{8,}=*)", _ANY)
_HOSTS = re.compile(
    r"(?P<before>\b(?:https?|wss?)://(?:[^\s/@]*@)?)(?!www\.w3\.org\b|schemas\.xmlsoap\.org\b)(?P<value>\[[0-9a-f:.]+\]|[^\s/?#:<>\"'\\@,;)]+)",
    _ANY,
)
_HOST = re.compile(r"(\s*)(\[[^\]\s]+\]|[^\s:/]+|[0-9a-fA-F]*(?::[0-9a-fA-F.]*){2,})((?::\d+)?(?:/.*)?\s*)", re.DOTALL)

_NAME = re.compile(
    r"(?:id[_ -]?tag|id[_-]?token|tag[_-]?(?:u?id)|rfid|card[_-]?(?:id|number|no|uid)|emaid|evccid|contract[_-]?id"
    r"|pass(?:word|wd|phrase|code|wort)?\b|password|passphrase|\bpw\b|pwd|secret|token|jwt|credential|psk|\bpin\b|\bpuk\b"
    r"|(?:authori[sz]ation|auth|private|api|access|shared|session|encryption|wifi|wpa)[_-]?key|sim[_-]?pin|pin[_-]?code)"
    r"[\w-]{0,20}",
    _ANY,
)
_BEGINNING = re.compile(r"[\w.:-]{0,60}\Z")
_ASSIGNED = re.compile(r"(?:\\*[\"']|&quot;|&apos;|&#3[49];)?\s{0,3}(?:=>|==?|!=|:|%3D)\s{0,3}", _ANY)
_OPEN = re.compile(r"(?:<|&lt;)\Z")
_TAG_END = re.compile(r"(?=[\s>&])(?:(?!&gt;)[^<>]){0,500}(?:>|&gt;)")
_VALUE = re.compile(
    r"\"(?:[^\"\\]|\\.)*(?:\"|\Z)|'[^']*(?:'|\Z)|(?P<quote>\\+[\"']|&quot;|&apos;|&#3[49];).*?(?:(?P=quote)|\Z)"
    r"|(?!(?:expected|none|null|true|false)(?:[\s,;.}\]]|\Z))[^\s\"'<>,}\]\[{\\]+",
    re.DOTALL,
)
_SAID = re.compile(r"\s{1,3}(?=[\"']?[\w.:-]{0,99}\d)[\"']?[\w.:-]+[\"']?")
# A setting, told by its name, with its value beside it.
_SEPARATOR = r"\\*[\"']?\s{0,3}(?::|=|>)\s{0,3}"
_KEY_BEFORE = re.compile(rf"\bkey{_SEPARATOR}\\*[\"']?\Z", _ANY)
_VALUE_AFTER = re.compile(rf"[^{{}}]{{0,200}}?\bvalue{_SEPARATOR}", _ANY)
_VALUE_BEFORE = re.compile(rf"\bvalue{_SEPARATOR}", _ANY)
_FORM = re.compile(rf"{FORM}|{KEY_GONE}")
_QUOTED = re.compile(r"^(\\*[\"']|&quot;|&apos;|&#3[49];)?(.*?)(\\*[\"']|&quot;|&apos;|&#3[49];)?$", re.DOTALL)
_ESCAPED = re.compile(r"\\u00([2-7][0-9a-f])", _ANY)

Span = tuple[int, int]


def marked(lowered: str) -> bool:
    """Whether there may be anything to hide. The text is in lower case."""
    return any(mark in lowered for mark in MARKS)


def unescaped(text: str) -> str:
    """JSON text whose escapes of plain ASCII are undone, but for quotes and backslashes."""
    return _ESCAPED.sub(lambda found: found[0] if found[1].lower() in ("22", "5c", "7f") else chr(int(found[1], 16)), text)


class Texts:
    """Hides what a text tells. `paths` are the templates of paths in which chargers show a token."""

    def __init__(self, names: Pseudonyms, paths: Iterable[str] = ()) -> None:
        self._names = names
        self._tokens = tuple(_token_in(path) for path in paths if "{token}" in path)
        self._short = lru_cache(maxsize=8192)(self._hidden)  # fields, words and addresses come again and again

    def hidden(self, text: str, hosts: bool = False) -> str:
        """The text without what it should not tell; itself where there is nothing. `hosts`: those of URLs are hidden too."""
        return self._short(text, hosts) if len(text) <= _SHORT else self._hidden(text, hosts)

    def _hidden(self, text: str, hosts: bool) -> str:
        if marked(text.lower()):
            text = self._secrets(_PEM.sub(KEY_GONE, text))
            text = self._named(text)
            text = _QUERY.sub(self._parameter, text)
        elif self._tokens:
            text = self._shown(text)
        return _HOSTS.sub(partial(self._put, HOST), text) if hosts and "://" in text else text

    def host(self, address: str) -> str:
        """A URL, or a host with or without port, with a pseudonym for the host. What stands for nobody is kept."""
        if "addressing" in address and address.rstrip().endswith(("/anonymous", "/none")):
            return address
        if "://" in address:
            return self.hidden(address, hosts=True)
        found = _HOST.fullmatch(address)
        return f"{found[1]}{self.of(HOST, found[2])}{self.hidden(found[3])}" if found else self.of(HOST, address)

    def of(self, kind: str, value: str) -> str:
        """What stands for a value; what stands for one already stays, and so does the want of one."""
        if not value.strip() or _FORM.fullmatch(value):
            return value
        return KEY_GONE if "PRIVATE KEY-----" in value else self._names.of(kind, value)

    def _secrets(self, text: str) -> str:
        """What is told by its form."""
        for pattern in (_USER, _CUT_USER, _ENCODED_USER):
            text = pattern.sub(partial(self._put, SECRET), text)
        text = self._shown(text)
        for pattern in (_HEADER, _BEARER):
            text = pattern.sub(partial(self._put, SECRET), text)
        return _BASIC.sub(self._basic, text)

    def _shown(self, text: str) -> str:
        for pattern in self._tokens:
            text = pattern.sub(self._token, text)
        return text

    def _put(self, kind: str, found: re.Match[str]) -> str:
        return f"{found['before']}{self.of(kind, found['value'])}"

    def _parameter(self, found: re.Match[str]) -> str:
        kind = in_query(found["name"])
        return self._put(kind, found) if kind else found[0]

    def _basic(self, found: re.Match[str]) -> str:
        """Only what is a name and a password: the word Basic may stand before any other."""
        value = found["value"].translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        try:
            said = b64decode(value + "=" * (-len(value) % 4))
        except ValueError:
            return found[0]
        return self._put(SECRET, found) if b":" in said else found[0]

    def _token(self, found: re.Match[str]) -> str:
        start, (first, last) = found.start(), found.span("token")
        return f"{found[0][: first - start]}{self.of(SECRET, found['token'])}{found[0][last - start :]}"

    # --- what is told by a name before it

    def _named(self, text: str) -> str:
        parts: list[str] = []
        at = look = 0
        while name := _NAME.search(text, look):
            if form := _FORM.match(text, name.start()):  # it stands for something already
                look = form.end()
                continue
            look = name.end()
            kind, start = _kind(text, at, name)
            if span := _hidden_by(text, at, start, look, kind) if kind else None:
                parts += text[at : span[0]], self._quoted(kind, text[slice(*span)])
                at, look = span[1], max(span[1], look)
        return "".join((*parts, text[at:])) if parts else text

    def _quoted(self, kind: str, value: str) -> str:
        found = _QUOTED.match(value)
        before, inner, after = (found[1] or "", found[2], found[3] or "") if found else ("", value, "")
        return f"{before}{self.of(kind, inner)}{after}"


def _kind(text: str, at: int, name: re.Match[str]) -> tuple[str, int]:
    """What the name at that place stands for, and where it begins, with its prefix."""
    before = _BEGINNING.search(text, max(at, name.start() - 60), name.start())
    start = before.start() if before else name.start()
    whole = text[start : name.end()]
    return next(
        (kind for part in (whole, *whole.rpartition(".")[2:], whole.rpartition(":")[2], name[0]) if (kind := kind_of(part))), ""
    ), start


def _hidden_by(text: str, at: int, start: int, end: int, kind: str) -> Span | None:
    """Where the value is that a name from `start` to `end` stands for; nothing before `at`."""
    if (before := text[max(at, start - 6) : start]) and _OPEN.search(before):
        return _in_element(text, start, end)
    if _KEY_BEFORE.search(text, max(at, start - 40), start):
        return _of_setting(text, at, start, end)
    if assigned := _ASSIGNED.match(text, end):
        found = _VALUE.match(text, assigned.end())
        return found.span() if found else None
    said = _SAID.match(text, end) if kind == TAG else None
    return (said.end() - len(said[0].lstrip()), said.end()) if said else None


def _in_element(text: str, start: int, end: int) -> Span | None:
    opened = _TAG_END.match(text, end)
    if opened is None or text[opened.end() - 2] == "/":
        return None
    closed = _closing(text[start:end].rpartition(":")[2].lower()).search(text, opened.end())
    return opened.end(), closed.start() if closed else len(text)


@lru_cache(maxsize=256)
def _closing(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?:<|&lt;)/\s{{0,9}}(?:[\w.-]{{1,60}}:)?{re.escape(name)}(?![\w.-])", _ANY)


def _of_setting(text: str, at: int, start: int, end: int) -> Span | None:
    after = _VALUE_AFTER.match(text, end)
    if after is None:
        first = text.rfind("{", max(at, start - 800), start)
        after = _VALUE_BEFORE.search(text, max(at, first, start - 800), start)
    if after is None:
        return None
    if text[after.end() - 1 : after.end()] == ">":
        closed = text.find("<", after.end())
        return after.end(), closed if closed >= 0 else len(text)
    found = _VALUE.match(text, after.end())
    return found.span() if found else None


def _token_in(template: str) -> re.Pattern[str]:
    """Finds paths of that template, after the host of a URL or alone."""
    one = "[^/\\s?#\"'<>]{1,300}"
    parts = [f"(?P<token>{one})" if p == "{token}" else one if p[:1] == "{" else re.escape(p) for p in template.split("/")[1:]]
    return re.compile(r"(?:://[^/\s?#\"'<>]{1,300}|(?<![\w/.:-]))/" + "/".join(parts), _ANY)

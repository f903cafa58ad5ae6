"""The bytes of an XML document as UTF-8, whatever they say they are. The one place that decodes what peers send as XML."""

import codecs
import re
from collections.abc import Iterator

from translations.errors import ProtocolError
from translations.messages import Kind, Remark

_USUAL = tuple(f"<?xml version={q}1.0{q} encoding={q}{name}{q}?>".encode() for q in ("'", '"') for name in ("UTF-8", "utf-8"))
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Only these: others that Python knows are no charsets of XML, and some take quadratic time.
_CHARSETS = re.compile(
    r"utf[_-]?(?:8|16|32)(?:[_-]?[lb]e)?|(?:us-)?ascii|(?:iso[_-]?8859|windows|cp)[_-]?\d{1,4}"
    r"|latin-?1|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-(?:jp|kr)"
)
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_ENDS = (b">", b">\n", b">\r\n")
_BEFORE = 1000  # characters in front of a document that are passed over


def as_utf8(data: bytes, charset: str | None) -> tuple[bytes, tuple[Remark, ...]]:
    """A document as UTF-8 without anything before its first `<`. `charset` is what the transport says. Raises ProtocolError."""
    if (charset is None or charset == "utf-8") and data.endswith(_ENDS) and (data.startswith(_USUAL) or _is_utf8(data)):
        return data, ()
    text, remarks = _decoded(data, charset)
    start = text[:_BEFORE].find("<")
    if start > 0:
        what = "text" if text[:start].strip() else "white space"
        remarks = (*remarks, Remark(Kind.REPAIRED, "", f"{what} before the envelope", "quirks.leading-text"))
    document = re.sub(r"^<\?xml[^>]*\?>", "", text[max(start, 0) :].rstrip("\x00"))
    return document.encode("utf-8", "surrogatepass"), remarks


def _is_utf8(data: bytes) -> bool:
    """Whether a document says, or lets be assumed, that it is UTF-8."""
    if data[:5] != b"<?xml":
        return data[:1] == b"<" and data[1:2] != b"\x00"
    declared = _DECLARED.match(data)
    return declared is None or declared[1].lower() in (b"utf-8", b"us-ascii")


def _decoded(data: bytes, charset: str | None) -> tuple[str, tuple[Remark, ...]]:
    declared = _DECLARED.search(data[: _BEFORE + 300])
    said = [name for name in (declared[1].decode("ascii").lower() if declared else None, charset) if name]
    sure = _shown(data)
    for name in (sure,) if sure else said:
        # A name that nobody knows does no harm where there is nothing but ASCII.
        if not _CHARSETS.fullmatch(name.lower()) and not (data.isascii() and _is_unknown(name)):
            raise ProtocolError(f"expected UTF-8 or another charset of XML, got {name[:40]!r}")
    for name in (sure,) if sure else _plausible(data, said):
        try:
            text = data.decode(name).lstrip("\ufeff")
        except (LookupError, UnicodeDecodeError):
            continue
        # ASCII is the same in all of them.
        same = data.isascii() and not any(_is_unknown(each) or _is_wide(each) for each in said)
        return text, () if same else _contradiction(name, said)
    raise ProtocolError(f"expected text in {(sure or ' or '.join(said) or 'utf-8')[:40]!r}, got other bytes")


def _shown(data: bytes) -> str | None:
    """The encoding that the first bytes leave no doubt of."""
    marked = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if marked is None and b"\x00" in data[:4]:
        return "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
    return marked


def _plausible(data: bytes, said: list[str]) -> Iterator[str]:
    """The encodings to try, in order. Text that is valid UTF-8 by accident is hardly ever anything else."""
    # A declaration that could be read byte by byte is not in UTF-16 or UTF-32, whatever it says.
    narrow = data.lstrip()[:1] == b"<"
    names = [name for name in said if not (data.isascii() and _is_unknown(name)) and not (narrow and _is_wide(name))]
    if not names or "utf-8" in map(_codec, names):
        yield "utf-8"
    yield from names


def _contradiction(used: str, said: list[str]) -> tuple[Remark, ...]:
    others = [name for name in said if _codec(name) != _codec(used)]
    ascii_only = all(_codec(name) == "ascii" for name in others)
    if not others or (ascii_only and _codec(used) == "utf-8"):
        return ()
    return (Remark(Kind.REPAIRED, "", f"said to be {' and '.join(said)[:80]}, read as {used}", "quirks.charset"),)


def _is_wide(name: str) -> bool:
    return _codec(name).startswith(("utf-16", "utf-32"))


def _is_unknown(name: str) -> bool:
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        return True
    return False


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return name

"""What is hidden in XML: envelopes, and XML within texts. Elements go by their local names, whatever the version."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

from lxml import etree

from gateway.redaction.fields import HOST, is_address, kind_of
from gateway.redaction.frames import Nested
from gateway.redaction.job import SIGNED, Hiding, Job
from translations.charsets import as_utf8
from translations.errors import ProtocolError

_MOST_TAGS = 50_000
_ADDRESS = Hiding("pseudonym", HOST)


class Documents:
    """Hides in XML. `nested` is asked for texts."""

    def __init__(self, nested: Nested) -> None:
        self._nested = nested

    def hidden(self, raw: bytes, job: Job) -> bytes | None:
        """The document without what it should not tell, in UTF-8; itself where that is nothing, None where it is none."""
        try:
            text, _ = as_utf8(raw, None)
        except ProtocolError:
            return None
        if b"<!DOCTYPE" in text or text.count(b"<") > _MOST_TAGS:
            return None
        try:
            root = etree.fromstring(text, _parser())
        except (etree.XMLSyntaxError, ValueError):
            return None
        if not _Walk(job, self._nested, aside=b"<!" in text or text.count(b"<?") > text.startswith(b"<?xml")).all(root):
            return raw
        return etree.tostring(root.getroottree(), encoding="utf-8", xml_declaration=raw.startswith(b"<?xml"))


@lru_cache(maxsize=1)
def _parser() -> etree.XMLParser:
    # As strict as the one in translations.envelopes, but that it keeps comments: what a peer wrote is shown whole.
    return etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False, encoding="utf-8")


@lru_cache(maxsize=4096)
def _local(tag: str) -> tuple[str, str, bool]:
    """Local name, kind, and whether it holds an address."""
    name = tag.rpartition("}")[2]
    return name, kind_of(name), is_address(name)


class _Walk:
    """One walk; elements are changed in place."""

    def __init__(self, job: Job, nested: Nested, aside: bool) -> None:
        self._job, self._nested, self._aside = job, nested, aside
        self._changed = False
        self._free: list[tuple[Any, str]] = []  # texts that name nothing, looked at together

    def all(self, root: Any) -> bool:
        """Whether anything was hidden."""
        for node in self._nodes(root):
            tag = node.tag
            if isinstance(tag, str):
                self._element(node, *_local(tag))
            else:
                self._put(node, "text", self._nested(node.text or "", self._job))
                self._tail(node)
        self._texts()
        return self._changed

    def _nodes(self, root: Any) -> Iterator[Any]:
        if not self._aside:
            return iter(root.iter())
        return chain(root.itersiblings(preceding=True), root.iter(), root.itersiblings())

    def _element(self, node: Any, name: str, kind: str, address: bool) -> None:
        if node.attrib:
            self._attributes(node)
        self._tail(node)
        if kind or self._job.particular:
            hiding = self._job.of_field(name, _path(node) if self._job.particular else (), False)
            if hiding is not None:
                self._hide(node, hiding)
                return
        if name == "key" and kind_of((node.text or "").strip()):
            self._setting(node)
        if address and node.text:
            self._put(node, "text", self._job.address(node.text))
        elif node.text and len(node.text) > 3:
            self._free.append((node, "text"))

    def _tail(self, node: Any) -> None:
        if (tail := node.tail) and not tail.isspace():
            self._free.append((node, "tail"))

    def _attributes(self, node: Any) -> None:
        for name, value in node.attrib.items():
            hiding = self._job.of_field(_local(name)[0], (), False)
            put = self._job.put(hiding, value) if hiding else self._nested(value, self._job)
            if put != value:
                node.set(name, put)
                self._changed = True

    def _hide(self, node: Any, hiding: Hiding) -> None:
        """The element and all below it."""
        for each in node.iter():
            for place in ("text", "tail") if each is not node else ("text",):
                if text := getattr(each, place):
                    self._put(each, place, self._job.put(hiding, text))

    def _setting(self, key: Any) -> None:
        hiding = self._job.of_field(key.text.strip(), (), False)
        for beside in chain(key.itersiblings(), key.itersiblings(preceding=True)):
            if hiding and isinstance(beside.tag, str) and _local(beside.tag)[0] == "value":
                self._hide(beside, hiding)
                return

    def _texts(self) -> None:
        texts = [getattr(node, place) or "" for node, place in self._free]
        if self._job.quiet("\n".join(texts).lower()):
            return
        for (node, place), text in zip(self._free, texts, strict=True):
            if not (place == "text" and _signed(node)):
                self._put(node, place, self._nested(text, self._job))

    def _put(self, node: Any, place: str, text: str) -> None:
        if text != (getattr(node, place) or ""):
            setattr(node, place, text)
            self._changed = True


def _path(node: Any) -> tuple[str, ...]:
    """Names from the payload's root down to the element."""
    names = [_local(node.tag)[0]]
    for above in node.iterancestors():
        name = _local(above.tag)[0]
        if name == "Body":
            return tuple(reversed(names[:-1]))
        names.append(name)
    return tuple(reversed(names))


def _signed(node: Any) -> bool:
    """Whether it is a signed meter value: in 1.5 an attribute says so, in 1.6 the element beside it."""
    if not isinstance(node.tag, str) or _local(node.tag)[0] != "value":
        return False
    above = node.getparent()
    return node.get("format") == SIGNED or (
        above is not None and any(each.text == SIGNED for each in above.iterchildren("{*}format"))
    )

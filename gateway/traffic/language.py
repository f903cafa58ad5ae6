"""The filter language: from text, or from options, to a typed tree; what is wrong, where, and what could stand there.

    charger == CP7 and action in (StartTransaction, StopTransaction) and latency > 2s and not ok

`tree` has what comes out, `fields` what can be asked for.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from gateway.traffic import fields
from gateway.traffic.fields import FIELDS, Moment, Type, Value, ValueProblem, Word, shown
from gateway.traffic.tree import AT, EVERYTHING, TEXT, And, Compare, Has, In, Name, Not, Or, Tree

LENGTH = 2_000  # characters
DEPTH = 32  # parentheses and "not"s within each other
TERMS = 200  # conditions, and values in lists

_GRAMMAR = r"""
start: [_any]
_any: any_of
?any_of: all_of (_OR all_of)*
?all_of: _one (_AND _one)*
_one: negated | condition
negated: NOT _one
?condition: LPAR any_of _RPAR -> group
    | FIELD -> has
    | FIELD OPERATOR _value -> compared
    | FIELD IN _LIST _value (_COMMA _value)* _RPAR -> one_of
    | (SINCE | UNTIL) _value -> bounded
    | QUOTED -> found
_value: QUOTED | BARE

_OR.2: /or(?![A-Za-z0-9_.])|\|\|/i
_AND.2: /and(?![A-Za-z0-9_.])|&&/i
NOT.2: /not(?![A-Za-z0-9_.])|!(?!=)/i
IN.2: /in(?![A-Za-z0-9_.])/i
SINCE.2: /since(?![A-Za-z0-9_.])/i
UNTIL.2: /until(?![A-Za-z0-9_.])/i
FIELD: /[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_-]*|\[[0-9]{1,6}\])*/
OPERATOR: /==?|!=|<=?|>=?|~/
QUOTED: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
BARE: /(?!(?:and|or|not|in)(?![^\s()"',=!<>~&|]))[^\s()"',=!<>~&|]+/i
LPAR: "("
_LIST: "("
_RPAR: ")"
_COMMA: ","
%ignore /[ \t\r\n]+/
"""

_SAID = (
    (("FIELD",), "a field"),
    (("QUOTED", "BARE"), "a value"),
    (("QUOTED",), "a text in quotes"),
    (("OPERATOR",), '"==", "!=", "<", "<=", ">", ">=", "~"'),
    (("IN",), '"in"'),
    (("_AND",), '"and"'),
    (("_OR",), '"or"'),
    (("NOT",), '"not"'),
    (("SINCE",), '"since"'),
    (("UNTIL",), '"until"'),
    (("LPAR",), '"("'),
    (("_LIST",), '"("'),
    (("_RPAR",), '")"'),
    (("_COMMA",), '","'),
    (("$END",), "the end"),
)
_ESCAPES = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_PLAIN_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "n": "\n", "r": "\r", "t": "\t"}
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_WINDOW = 50  # characters before and after what is wrong


class FilterError(ValueError):
    """No filter. `problem` says in a line what was expected; `position` is the place in `text`, counted from 0.

    As text: the problem, the expression, and a caret under the character.
    """

    def __init__(self, problem: str, text: str, position: int) -> None:
        self.problem = problem
        self.text = text
        self.position = position
        super().__init__(f"{problem}, at character {position + 1}\n{_pointed(text, position)}")


def _pointed(text: str, position: int) -> str:
    start = max(position - _WINDOW, 0)
    line = "".join(char if char.isprintable() else "·" for char in text[start : position + _WINDOW])
    before = sum(_width(char) for char in line[: position - start])
    return f"{line}\n{' ' * before}^"


def _width(char: str) -> int:
    return 0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1


# --- from text ---------------------------------------------------------------------------------------------------------


def parsed(text: str) -> Tree:
    """The tree of an expression; of an empty one, the tree that always holds. FilterError."""
    _expect_harmless(text)
    parser = _parser().parse_interactive(text)
    try:
        for token in parser.iter_parse():
            if token.type == "FIELD":
                _name(token)
        node: _Node = parser.feed_token(Token("$END", "", len(text)))
    except ValueProblem as problem:
        raise FilterError(str(problem), text, problem.at) from None
    except UnexpectedToken as error:
        raise _unexpected(text, _place(error.token)) from None
    except UnexpectedCharacters as error:
        raise _unexpected(text, error.pos_in_stream or 0) from None
    return node.tree


def _expect_harmless(text: str) -> None:
    if len(text) > LENGTH:
        raise FilterError(f"expected at most {LENGTH} characters, got {len(text)}", text, LENGTH)
    for position, char in enumerate(text):
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\r\n":
            raise FilterError(f"expected text, got the character U+{ord(char):04X}", text, position)


def _unexpected(text: str, position: int) -> FilterError:
    if text[position : position + 1] in ('"', "'") and position < len(text) and not _closed(text[position:]):
        return FilterError(f"expected a closing {text[position]}", text, position)
    expected = fields.listed(_said(_accepted(text, position)))
    return FilterError(f"expected {expected}, got {_got(text, position)}", text, position)


def _accepted(text: str, position: int) -> set[str]:
    """What can come at this place. A parser that has met what is wrong no longer knows all of it."""
    parser = _parser().parse_interactive(text)
    with suppress(UnexpectedInput):
        for token in parser.iter_parse():
            if _place(token) >= position:
                break
    accepted: set[str] = parser.accepts()  # type: ignore[no-untyped-call]
    return accepted


def _closed(text: str) -> bool:
    return re.match(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", text, re.DOTALL) is not None


def _said(accepted: set[str]) -> Iterator[str]:
    for terminals, said in _SAID:
        if accepted.issuperset(terminals):
            accepted.difference_update(terminals)
            yield said


def _got(text: str, position: int) -> str:
    found = re.match(r"[^\s()\"',=!<>~&|]+|[=!<>~&|]+|.", text[position:], re.DOTALL)
    return shown(found[0]) if found else "the end"


class _Node(NamedTuple):
    tree: Tree
    at: int
    depth: int = 0
    terms: int = 1


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="contextual", transformer=_Builder(), maybe_placeholders=False)


class _Builder(Transformer[Token, _Node]):
    """Builds while the text is read, so that neither depth nor size are ever more than allowed."""

    def start(self, parts: list[_Node]) -> _Node:
        return parts[0] if parts else _Node(EVERYTHING, 0)

    def any_of(self, parts: list[_Node]) -> _Node:
        return _joined(Or, parts)

    def all_of(self, parts: list[_Node]) -> _Node:
        return _joined(And, parts)

    def negated(self, parts: tuple[Token, _Node]) -> _Node:
        return _deeper(parts[0], parts[1], Not(parts[1].tree))

    def group(self, parts: tuple[Token, _Node]) -> _Node:
        return _deeper(parts[0], parts[1], parts[1].tree)

    def has(self, parts: list[Token]) -> _Node:
        return _Node(_has(_name(parts[0]), parts[0]), _place(parts[0]))

    def compared(self, parts: list[Token]) -> _Node:
        field, operator, word = parts
        return _Node(_compared(_name(field), operator, _word(word)), _place(field))

    def one_of(self, parts: list[Token]) -> _Node:
        field, operator, *words = parts
        values = tuple(_value(_name(field), operator, _word(word)) for word in words)
        return _Node(In(_name(field), values), _place(field), terms=len(values))

    def bounded(self, parts: list[Token]) -> _Node:
        return _Node(_compared(AT, Token("OPERATOR", _BOUNDS[parts[0].lower()]), _word(parts[1])), _place(parts[0]))

    def found(self, parts: list[Token]) -> _Node:
        return _Node(_compared(TEXT, Token("OPERATOR", "~"), _word(parts[0])), _place(parts[0]))


_BOUNDS = {"since": ">=", "until": "<"}


def _joined(kind: type[And] | type[Or], parts: list[_Node]) -> _Node:
    terms = 0
    for part in parts:
        terms += part.terms
        if terms > TERMS:
            raise ValueProblem(f"expected at most {TERMS} conditions and values", part.at)
    return _Node(kind(tuple(part.tree for part in parts)), parts[0].at, max(part.depth for part in parts), terms)


def _deeper(opening: Token, inner: _Node, tree: Tree) -> _Node:
    if inner.depth == DEPTH:
        raise ValueProblem(f'expected at most {DEPTH} parentheses and "not"s within each other', _place(opening))
    return _Node(tree, _place(opening), inner.depth + 1, inner.terms)


def _place(token: Token) -> int:
    return token.start_pos or 0


def _name(token: Token) -> Name:
    """The longest field that the words begin with; only of JSON may there be more, and must be."""
    head, *rest = re.split(r"(?=[.\[])", token)
    if FIELDS.get(head) and FIELDS[head].type is Type.JSON:
        return Name(FIELDS[head], _path(head, rest, token))
    if token in FIELDS:
        return Name(FIELDS[token])
    raise ValueProblem(_no_field(token), _place(token))


def _path(head: str, rest: list[str], token: Token) -> tuple[str | int, ...]:
    if not rest:
        raise ValueProblem(f"expected a path after {head}, like {head}.{_LIKELY[head]}", _place(token) + len(head))
    steps = (_STEP.fullmatch(step) for step in rest)
    return tuple(step[1] or int(step[2]) for step in steps if step)


_LIKELY = {"payload": "idTag", "result": "status"}


def _no_field(token: str) -> str:
    near = get_close_matches(token.lower(), FIELDS, n=1, cutoff=0.7)
    if not near:
        return f"expected a field, like charger, action, ok or latency, or a text in quotes, got {shown(token)}"
    return f"expected a field, got {shown(token)}; did you mean {near[0]}?"


def _has(name: Name, token: Token) -> Tree:
    if name.field.type in (Type.TIME, Type.DIRECTION, Type.FREE):
        raise ValueProblem(_needs(name), _place(token) + len(token))
    return Has(name)


def _needs(name: Name) -> str:
    operators = fields.listed(f'"{operator}"' for operator in fields.OPERATORS[name.field.type])
    return f"expected {operators} after {name}, which is {name.field.type.value}"


def _compared(name: Name, operator: Token, word: Word) -> Tree:
    sign = "==" if operator == "=" else str(operator)
    found = _value(name, operator, word)
    if name.field.type is Type.BOOLEAN:  # never missing, so that these are the same
        return Has(name) if (found is True) == (sign == "==") else Not(Has(name))
    return Compare(name, sign, found)


def _value(name: Name, operator: Token, word: Word) -> Value:
    sign = "==" if operator == "=" else str(operator).lower()
    if sign not in fields.OPERATORS[name.field.type]:
        raise ValueProblem(_needs(name), _place(operator))
    return fields.value(name.field, sign, word)


def _word(token: Token) -> Word:
    place = _place(token)
    if token.type != "QUOTED":
        return Word(str(token), place)
    return Word(_ESCAPES.sub(lambda found: _unescaped(found, place + 1), token[1:-1]), place, quoted=True)


def _unescaped(found: re.Match[str], place: int) -> str:
    char = chr(int(found[1], 16)) if found[1] else _PLAIN_ESCAPES.get(found[2])
    if char is None or char == "\0" or unicodedata.category(char) == "Cs":
        raise ValueProblem(rf"expected \", \\, \n, \t or \u00e9, got {shown(found[0])}", place + found.start())
    return char


# --- from options ------------------------------------------------------------------------------------------------------


def from_options(
    *,
    charger: str = "",
    action: str = "",
    leg: str = "",
    failed: bool = False,
    remark: str = "",
    since: float | str | None = None,
    until: float | str | None = None,
    tenant: str = "",
    outcome: str = "",
    exchange: str = "",
    text: str = "",
) -> Tree:
    """The tree of what options ask for, all of it; what is empty or None asks for nothing.

    Times are unix seconds, or as the language has them; `remark` is a kind; `outcome` may be "failed"; `exchange` is the name
    or the number of one. FilterError.
    """
    texts = {"charger": charger, "action": action, "leg": leg, "tenant": tenant}
    parts = [option(name, "==", given) for name, given in texts.items() if given]
    if failed or outcome == "failed":
        parts.append(option("outcome", "!=", "ok"))
    elif outcome:
        parts.append(option("outcome", "==", outcome))
    if remark:
        parts.append(Has(_remark(remark)))
    parts += [_bound(word, given) for word, given in (("since", since), ("until", until)) if given is not None]
    if exchange:
        parts.append(_exchange(exchange))
    if text:
        parts.append(option("text", "~", text))
    return all_of(*parts)


def all_of(*trees: Tree) -> Tree:
    """The tree that holds where all of these do."""
    parts = tuple(tree for tree in trees if tree != EVERYTHING)
    return parts[0] if len(parts) == 1 else And(parts)


def option(name: str, operator: str, given: str) -> Tree:
    """One condition, its value as it is, without quotes or escapes. FilterError."""
    _expect_harmless(given)
    try:
        return _compared(Name(FIELDS[name]), Token("OPERATOR", operator), Word(given, quoted=True))
    except ValueProblem as problem:
        raise FilterError(str(problem), given, problem.at) from None


def _remark(kind: str) -> Name:
    found = FIELDS.get(f"remark.{kind}")
    if found is None or found.type is not Type.COUNT:
        raise FilterError(f"expected lost, changed, assumed or repaired, got {shown(kind)}", kind, 0)
    return Name(found)


def _bound(word: str, given: float | str) -> Tree:
    if isinstance(given, str):
        return option("at", _BOUNDS[word], given)
    return Compare(AT, _BOUNDS[word], Moment(round(given, 6)))


def _exchange(given: str) -> Tree:
    named = option("name", "==", given)
    if given.isascii() and given.isdecimal() and len(given) <= 18:
        return Or((named, option("id", "==", given)))
    return named

"""gateway.paths: which paths a template stands for, and who they name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Server
from gateway.paths import Paths, Way, takes_in, usable

SOAP, JSON = Paths(Server().soap_paths), Paths(Server().json_paths)
NAMED = Paths(["/soap/{tenant}/{token}/{identity}", "/soap/{identity}", "/soap"])


@pytest.mark.parametrize(
    "path",
    ["/soap", "/soap/", "/soap/a", "/soap/a/b%2Fc/", "/SOAP", "/Soap/CentralSystemService", "//soap", "/%73oap/x", "/soap/%FF"],
)
def test_a_plain_template_stands_for_itself_and_all_below_it(path: str) -> None:
    assert SOAP.match(path.encode()) == Way()


@pytest.mark.parametrize("path", ["", "/", "/soapy", "/soap.", "/x/soap", "/soap%2Fa", "/%73%6Fa/p", "*"])
def test_a_plain_template_stands_for_nothing_else(path: str) -> None:
    assert SOAP.match(path.encode()) is None


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("/ocpp/CP-1", "CP-1"),
        ("/OCPP/CP-1", "CP-1"),
        ("/ocpp/CP-1/", "CP-1"),
        ("/ocpp//CP-1", "CP-1"),  # an address that was typed with a slash at its end
        ("/ocpp/RDAM%20123", "RDAM 123"),  # OCPP-J 1.6, 3.1.1
        ("/ocpp/a%2Fb", "a/b"),
        ("/ocpp/100%2525", "100%25"),
        ("/ocpp/100%", "100%"),
        ("/ocpp/00:13:F6:01:02:03", "00:13:F6:01:02:03"),
        ("/ocpp/S%C3%A4ule", "Säule"),
        ("/ocpp/" + "%C3%A4" * 255, "ä" * 255),
    ],
)
def test_the_identity_is_one_part_decoded_once(path: str, identity: str) -> None:
    assert JSON.match(path.encode()) == Way(identity)


@pytest.mark.parametrize("part", ["", "%20", "%FF", "a%00b", "a%7Fb", "a%0Ab", ".", "..", "%2E%2e", "x" * 256, "%ED%A0%80"])
def test_what_cannot_be_written_is_no_identity(part: str) -> None:
    assert JSON.match(b"/ocpp/" + part.encode()) is None


@pytest.mark.parametrize("part", ["CP-7%20", "%20CP-7", "x%2F..%2FCP-7", ".%2FCP-7", "CP-7%2F.", "CP-7%E2%80%8B", "CP-7%C2%A0"])
def test_who_is_almost_another_is_nobody(part: str) -> None:
    assert JSON.match(b"/ocpp/" + part.encode()) is None


# As Unicode names them: what a reader, or a CSMS that trims, does not tell from CP-7.
ALMOST = {
    "\N{NO-BREAK SPACE}": "CP-7{}",
    "\N{IDEOGRAPHIC SPACE}": "{}CP-7",
    "\N{ZERO WIDTH SPACE}": "CP{}-7",
    "\N{ZERO WIDTH JOINER}": "CP{}-7",
    "\N{ZERO WIDTH NO-BREAK SPACE}": "{}CP-7",
    "\N{RIGHT-TO-LEFT OVERRIDE}": "CP{}-7",
    "\N{LINE SEPARATOR}": "CP-7{}",
    "\N{COMBINING GRAPHEME JOINER}": "CP-7{}",
    "\N{HANGUL FILLER}": "CP-7{}",
    "\N{HALFWIDTH HANGUL FILLER}": "CP-7{}",
    "\N{BRAILLE PATTERN BLANK}": "{}CP-7",
    "\N{VARIATION SELECTOR-16}": "CP-7{}",
    "\N{VARIATION SELECTOR-256}": "CP-7{}",
    "\t": "CP-7{}",
    " ": "CP-7{}",
}


@pytest.mark.parametrize("unseen", ALMOST, ids=ascii)
def test_what_nobody_sees_is_in_no_identity(unseen: str) -> None:
    assert not usable(ALMOST[unseen].format(unseen))


@pytest.mark.parametrize(
    "identity", ["RDAM 123", "a/b", "a..b", "..a", "v1.6", "...", "Säule", "充電器", "{identity}", "x" * 255]
)
def test_what_tells_a_charger_from_all_others_is_usable(identity: str) -> None:
    assert usable(identity)


@given(st.text())
def test_whatever_is_usable_is_the_same_when_it_is_trimmed_and_its_path_resolved(text: str) -> None:
    if usable(text):
        assert text == text.strip() != ""
        assert text.isprintable()
        assert not {".", ".."} & set(text.split("/"))


@pytest.mark.parametrize("path", ["/ocpp/tenant/CP-1", "/ocpp", "/CP-1", "/other/CP-1"])
def test_as_many_parts_are_needed_as_the_template_has(path: str) -> None:
    assert JSON.match(path.encode()) is None


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/soap/acme/s3cret/CP-1", Way("CP-1", "acme", "s3cret")),
        ("/SOAP/Acme/S3cret/CP-1", Way("CP-1", "Acme", "S3cret")),  # what is named keeps its case
        ("/soap/LAFON001", Way("LAFON001")),
        ("/soap", Way()),
        ("/soap/a/b", Way()),
        ("/soap/acme//CP-1", Way()),
        ("/soap/acme/%20/CP-1", Way()),
    ],
)
def test_the_template_that_fits_names_the_charger(path: str, way: Way) -> None:
    assert NAMED.match(path.encode()) == way


@pytest.mark.parametrize(
    ("template", "path", "way"),
    [
        ("/", "/", Way()),
        ("/", "/anything/below", Way()),
        ("/{identity}", "/CP-1", Way("CP-1")),
        ("/soap/", "/soap", Way()),
        ("/ocpp/{identity}/v16", "/ocpp/CP-1/V16", Way("CP-1")),
        ("/ocpp/{identity}/v16", "/ocpp/CP-1/v15", None),
        ("/säule/{identity}", "/S%C3%84ULE/CP-1", Way("CP-1")),
        ("/a%20b/{identity}", "/a%20b/CP-1", Way("CP-1")),
        ("/a b", "/a%20b/c", Way()),
    ],
)
def test_templates_may_be_any_path(template: str, path: str, way: Way | None) -> None:
    assert Paths([template]).match(path.encode()) == way


@pytest.mark.parametrize(
    ("path", "way"),
    [
        ("/soap/at/CP-1", Way("CP-1")),
        ("/soap/acme/t", Way("", "acme", "t")),
        ("/soap/at", Way()),
        ("/soap/acme/t/more", Way()),
        ("/a/b/CP-1", Way("CP-1", "", "a")),
        ("/a/c/CP-1", Way("CP-1", "a", "c")),
    ],
)
@pytest.mark.parametrize("turn", range(5))
def test_text_comes_before_placeholders_in_whatever_order_the_templates_are(path: str, way: Way, turn: int) -> None:
    templates = [
        "/soap",
        "/soap/{tenant}/{token}",
        "/soap/at/{identity}",
        "/{tenant}/{token}/{identity}",
        "/{token}/b/{identity}",
    ]
    assert Paths(templates[turn:] + templates[:turn]).match(path.encode()) == way


@pytest.mark.parametrize(
    ("outer", "inner", "whole"),
    [
        ("/", "/ocpp/{identity}", True),
        ("/ocpp", "/ocpp/{identity}", True),
        ("/OCPP/", "/ocpp/{identity}", True),
        ("/%6Fcpp", "/ocpp/{identity}", True),
        ("/x/{token}", "/x/{identity}", True),
        ("/x/{token}", "/x/y", True),
        ("/soap", "/ocpp/{identity}", False),
        ("/ocpp/soap", "/ocpp/{identity}", False),
        ("/ocpp/{identity}", "/ocpp", False),
        ("/ocpp/{token}", "/ocpp/{tenant}/{identity}", False),
        ("/x/y", "/x/{identity}", False),
    ],
)
def test_a_template_can_take_in_all_that_another_stands_for(outer: str, inner: str, whole: bool) -> None:
    assert takes_in(outer, inner) is whole


def test_without_templates_nothing_matches() -> None:
    assert Paths([]).match(b"/") is None


def test_a_path_of_nothing_but_slashes_is_told_quickly() -> None:
    assert NAMED.match(b"/" * 60_000) is None

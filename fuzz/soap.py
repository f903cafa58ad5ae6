"""Envelopes of strangers: `python -m fuzz.soap`."""

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["translations"]):
    from fuzz import mutations
    from fuzz.contract import STAMP, check, check_writing, made
    from fuzz.run import envelopes, start
    from translations import soap
    from translations.messages import Side


def one_input(data: bytes) -> None:
    """Whoever it was sent to, it is a message or an OcppError."""
    for role in (None, *Side):
        read = made(lambda r=role: soap.decode(data, None, STAMP, r))  # type: ignore[misc]
        if read is not None:
            _, message = read
            check(message)
            check_writing(message)


if __name__ == "__main__":
    start("soap", one_input, envelopes(), mutations.envelope)

"""The command `ocpp-gateway call`: asks a running gateway to call a charger."""

import sys
from typing import Annotated

import msgspec
import typer

from gateway.asking import ApiUrl, ConfigPath, TokenEnv, answered, payload, quoted, reached, understood
from gateway.traffic import export

LONGEST = 300.0
GRACE = 5.0  # the gateway keeps the deadline; this is for the case that it does not


class _Answer(msgspec.Struct):
    result: msgspec.Raw


def call(
    identity: Annotated[str, typer.Argument(help="The charger's identity.")],
    action: Annotated[str, typer.Argument(help="The action, such as Reset.")],
    said: Annotated[str, typer.Argument(metavar="[JSON]", help="The payload, OCPP 1.6 JSON.")] = "{}",
    api: ApiUrl = "",
    token_env: TokenEnv = "",
    config: ConfigPath = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=LONGEST, help="Seconds to wait for the charger's answer.")] = 30.0,
) -> None:
    """Call a charger through a running gateway, and print its answer."""
    body = payload(said)
    door = reached(api, token_env, config)
    path = f"/api/v1/chargers/{quoted(identity)}/calls/{quoted(action)}?timeout={timeout:g}"
    answer = understood(door, answered(door, "POST", path, body, timeout + GRACE), _Answer)
    sys.stdout.buffer.write(export.line(msgspec.Raw(msgspec.json.format(answer.result, indent=-1))))
    sys.stdout.buffer.flush()

"""`python -m bench [names...]`: measures the groups that are named, or all of them."""

import argparse
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rich.console import Console

from bench import fanout, memory, stored, throughput, traffic, translations
from bench.report import machine

WIDTH = 150  # where no terminal says better
GROUPS: Mapping[str, Callable[[Console, bool], None]] = MappingProxyType(
    {
        "translations": translations.run,
        "throughput": throughput.run,
        "fanout": fanout.run,
        "replay": stored.replay,
        "restart": stored.restart,
        "memory": memory.run,
        "traffic": traffic.run,
    }
)


def main() -> None:
    """Run the groups."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed and memory of the gateway, as tables.")
    parser.add_argument("names", nargs="*", metavar="group", help=f"{', '.join(GROUPS)}; without any, all")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 1,000 chargers: to try, not to quote")
    chosen = parser.parse_args()
    if wrong := [name for name in chosen.names if name not in GROUPS]:
        parser.error(f"expected {', '.join(GROUPS)}, got {', '.join(wrong)}")
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(machine(), highlight=False)
    console.print()
    for name in chosen.names or GROUPS:
        GROUPS[name](console, chosen.quick)


if __name__ == "__main__":
    main()

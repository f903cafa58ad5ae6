"""Reads the configuration: a TOML file and, over it, environment variables `OCPP_GATEWAY_<SECTION>__<KEY>`.

Every complaint carries the path of its key, and all of them come at once.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_settings import EnvSettingsSource, SettingsError

from gateway.complaints import NO_SUCH_KEY, Complaint, cross_checks, unknown_variables, wish
from gateway.config import PREFIX, Config, ConfigError

DEFAULT_FILE = Path("gateway.toml")


def found(path: Path | None) -> Path | None:
    """The configuration file: the one named, or gateway.toml where that lies in the working directory, or none."""
    return path or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def load(path: Path | None, *, secrets: bool = True) -> Config:
    """Read the configuration, or the defaults without a path. Raises ConfigError with every complaint at once.

    `secrets=False` is for those who need none and may not be able to read them.
    """
    written, environment = _file(path) if path else {}, _environment()
    values = _merged(written, environment)
    sections, complaints = _sections(values)
    faulty = {str(complaint.place[0]) for complaint in complaints}
    complaints += unknown_variables(PREFIX, Config.model_fields, values)
    complaints += cross_checks(Config.model_construct(**sections), faulty, secrets)
    if complaints:
        raise ConfigError([f"{_source(each, path, environment)}: {each}" for each in complaints])
    return Config.model_construct(**sections)


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {(error.strerror or str(error)).lower()}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: expected UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: expected TOML: {error}"]) from None
    except (ValueError, RecursionError):  # sys.get_int_max_str_digits, sys.getrecursionlimit
        raise ConfigError([f"{path}: expected TOML without integers of thousands of digits and without deep nesting"]) from None


def _environment() -> dict[str, Any]:
    try:
        return EnvSettingsSource(Config)()
    except SettingsError as error:
        section = re.search(r'field "(\w+)"', str(error))
        where = section[1] if section else PREFIX
        raise ConfigError([f'environment: {where}: expected lists and tables as JSON, such as ["10.0.0.0/8"]']) from None


def _merged(written: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """What was written in the file and, over it, key by key, what the environment says."""
    values = {**written, **environment}
    for name in written.keys() & environment.keys():
        if isinstance(written[name], dict) and isinstance(environment[name], dict):
            values[name] = {**written[name], **environment[name]}
    return values


def _sections(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Complaint]]:
    """The sections that are as they should be, and what is wrong with the others."""
    sections: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for name, field in Config.model_fields.items():
        if name in values:
            try:
                annotation: Any = field.annotation
                sections[name] = TypeAdapter(annotation).validate_python(values[name])
            except ValidationError as error:
                complaints += [Complaint((name, *each["loc"]), wish(each)) for each in _first_causes(error)]
    return sections, complaints + [Complaint((name,), NO_SUCH_KEY) for name in values if name not in Config.model_fields]


def _first_causes(error: ValidationError) -> list[Any]:
    """What is wrong, without lists that are too short only because what is in them is wrong."""
    faults = error.errors()
    within = {each["loc"][:-1] for each in faults}
    return [each for each in faults if each["type"] != "too_short" or each["loc"] not in within]


def _source(complaint: Complaint, path: Path | None, environment: Mapping[str, Any]) -> str:
    """Where that is written which is complained about: in the file, unless the environment says it."""
    section, *keys = complaint.place
    told = environment.get(str(section))
    over = keys[0] in told if isinstance(told, dict) and keys else told is not None
    return str(path) if path and not over and not str(section).upper().startswith(PREFIX) else "environment"

"""Which store of exchanges the configuration asks for, opened."""

from gateway.config import Traffic, secret
from gateway.traffic import postgres, query
from gateway.traffic.log import BoundedReader, LogError, TrafficWriter
from gateway.traffic.writer import Keeping, LogWriter


def open_to_read(config: Traffic) -> BoundedReader:
    """The log, beside whoever writes it. Raises LogError."""
    return query.open_to_read(config.path) if config.kind == "sqlite" else postgres.open_to_read(url(config))


def open_to_write(config: Traffic) -> TrafficWriter:
    """The log, for the one thread that writes; what is not there yet is made. Raises LogError."""
    if config.kind == "sqlite":
        return LogWriter(config.path, Keeping(config.full_text, config.compress))
    return postgres.open_to_write(url(config), full_text=config.full_text, compress=config.compress)


def url(config: Traffic) -> str:
    """The connection string; a secret. Read anew each time, so that a password can change. Raises LogError."""
    try:
        found = secret(config.url_env, config.url_file)
    except (OSError, UnicodeDecodeError):
        raise LogError(f"traffic.url_file: expected a readable file, {config.url_file} is none") from None
    if not found:
        raise LogError("expected a connection string from traffic.url_file or traffic.url_env, found none")
    return found

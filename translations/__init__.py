"""OCPP messages to and from bytes. Pure: no event loop, no socket, no clock, no configuration."""

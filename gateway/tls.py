"""How connections to a backend are secured: by which certificates, and from which version of TLS on."""

import ssl
from pathlib import Path


def tls(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """What connections are opened with. Raises OSError, of which ssl.SSLError is one, for files that are of no use."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert:
        context.load_cert_chain(client_cert, client_key, password="")  # nobody is there to be asked for one
    return context

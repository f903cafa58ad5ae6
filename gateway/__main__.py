"""`python -m gateway` is `ocpp-gateway`."""

from gateway.cli import main

main()

"""The gateway: everything that waits."""

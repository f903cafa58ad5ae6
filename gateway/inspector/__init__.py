"""The door for people and their programs: the page and the HTTP API over the roster and the traffic."""

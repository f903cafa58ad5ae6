"""The log of what passed: recorded at the wires, stored off the event loop, shown in the terminal."""

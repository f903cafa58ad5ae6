"""What `make bench` runs: speed and memory, as ratios to what the same machine does at the same time without the gateway."""

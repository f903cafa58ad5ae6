"""Fuzzing of all that reads what strangers send: `make fuzz`, or `python -m fuzz.soap -max_total_time=600`.

What comes is a message or an OcppError, and nothing else; and what is taken is valid by the published schema, and can be
written again. Seeds and words are made of `tests/vectors` and the contracts when a run starts.
"""

"""What a committed command does to the user's keys, as a deterministic model in Python.

The native state machine must agree with it, golden script by golden script.
"""

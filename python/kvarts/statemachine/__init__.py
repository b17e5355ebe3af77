"""What a committed command does, deterministically.

Commands on the user's keys are native: here is their model, with which the native state machine must agree, golden
script by golden script. Python commands (`system_keys`) are carried out here; their writes go to system keys.
"""

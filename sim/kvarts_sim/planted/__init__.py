"""Bugs that others have had, as switches in the simulator's build of the core: the alarm must ring for each."""

"""Floor 2: a store on this machine's disk, or in its memory. The native module does the work; this room chooses it."""

//! What a turn of the replicator asks for, carried out without blocking; and what came of it.

"""All replicas of a node, deciding in one turn: events in, a Turn out. Pure: others carry it out.

The loop is the same in production and in the simulator:

    turn = replicator.turn(muscle.poll(until))
    muscle.perform(turn)

A turn sees terms, indexes, sizes and handles, never the bytes of a plain write.
"""

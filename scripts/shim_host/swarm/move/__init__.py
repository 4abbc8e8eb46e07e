"""One service of a Swarm moves to another version, and is watched until it has it."""

"""The Swarm: connection, versions, services."""

"""The host side of docker-secrets-shim: from `.env` to `./secrets` to the Swarm, and back from any mistake."""

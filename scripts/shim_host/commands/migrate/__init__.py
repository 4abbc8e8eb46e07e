"""From a Compose file and a `.env` with values to the same services with secrets."""

"""A Compose file and its `.env` become one with secrets."""

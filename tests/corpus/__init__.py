"""Folders of other people's Compose projects, migrated and judged: `python -m tests.corpus FOLDER`."""

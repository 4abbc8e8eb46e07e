"""Encrypted backups: the two commands."""

"""Encrypted backups of the secrets, and their return."""

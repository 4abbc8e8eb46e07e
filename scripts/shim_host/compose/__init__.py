"""A Compose project, as files and as what runs."""

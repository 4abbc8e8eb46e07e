"""The door to what folder.py and the way to exec need of files: the start code's functions, or their twins."""

try:
    from _kernel import (
        list_folder,
        open_at,
        open_beneath,
        open_folder,
        open_path,
        read_at,
        read_link_at,
        read_open,
        read_plain,
        status,
        status_at,
    )
except ImportError:
    from shim.files_unfrozen import (
        list_folder,
        open_at,
        open_beneath,
        open_folder,
        open_path,
        read_at,
        read_link_at,
        read_open,
        read_plain,
        status,
        status_at,
    )

__all__ = [
    "list_folder",
    "open_at",
    "open_beneath",
    "open_folder",
    "open_path",
    "read_at",
    "read_link_at",
    "read_open",
    "read_plain",
    "status",
    "status_at",
]

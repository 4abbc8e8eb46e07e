"""The door to what a start reads: files, the environment, a schema; the start code's functions, or their twins."""

try:
    from _kernel import (
        environ_without,
        is_ordinary_json,
        list_folder,
        open_at,
        open_beneath,
        open_folder,
        open_path,
        ordinary_blocks,
        read_at,
        read_link_at,
        read_open,
        read_plain,
        status,
        status_at,
        variables,
    )
except ImportError:
    from shim.files_unfrozen import (
        environ_without,
        is_ordinary_json,
        list_folder,
        open_at,
        open_beneath,
        open_folder,
        open_path,
        ordinary_blocks,
        read_at,
        read_link_at,
        read_open,
        read_plain,
        status,
        status_at,
        variables,
    )

__all__ = [
    "environ_without",
    "is_ordinary_json",
    "list_folder",
    "open_at",
    "open_beneath",
    "open_folder",
    "open_path",
    "ordinary_blocks",
    "read_at",
    "read_link_at",
    "read_open",
    "read_plain",
    "status",
    "status_at",
    "variables",
]

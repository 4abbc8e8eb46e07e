"""The door: `python -m shim`, the installed command, and the freezer's entry script."""

from shim.main import run


def main() -> None:
    """Start a service with its secrets; see `shim --help`."""
    run()


if __name__ == "__main__":
    main()

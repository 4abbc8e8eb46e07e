"""The door: `python -m shim`, and the installed command. The frozen shim's start code calls `shim.main.run` itself."""


def main() -> None:
    """Start a service with its secrets; see `shim --help`."""
    from shim.kernel_unfrozen import take_signals

    take_signals()
    from shim.main import run

    run()


if __name__ == "__main__":
    main()

"""How an init stays: what its options come to, as numbers, seconds and lists."""


class Staying:
    """How to stay; an option that was not given has its default."""

    def __init__(self) -> None:
        self.rewritten: dict[int, int] = {}  # signal -> what is sent instead; 0: nothing
        self.exit_codes: dict[int, int] = {}
        self.grace_seconds = 0.0  # 0: never
        self.parent_death = 0
        self.on_change = ""  # "restart", "signal", "exit" or ""
        self.change_signal = 0
        self.ready_descriptor = -1
        self.pre: list[list[bytes]] = []
        self.pre_root: list[list[bytes]] = []

"""Signals by name and number (signal(7), the same on x86-64 and arm64), and what `--signal` makes of them."""

_LOW = "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU"
_HIGH = "URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
_NAMES = ["", *_LOW.split(), *_HIGH.split()]  # its place is its number
_ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29, "UNUSED": 31}

INT, QUIT, KILL, PIPE, TERM, CHLD, CONT, TSTP, TTIN, TTOU, WINCH = 2, 3, 9, 13, 15, 17, 18, 20, 21, 22, 28
RTMIN, RTMAX = 34, 64  # glibc's and musl's: the kernel's first two belong to their threads

_MOST_DIGITS = 9

# Where si_code (sigaction(2)) says that a process sent it, with or without a value.
SENT_WITH_VALUE = -1


def signal_number(text: str) -> int:
    """Return the number of the signal that *text* names: `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`; 0 for none."""
    name = text.strip().upper()
    if name.isascii() and name.isdigit():
        number = int(name[:_MOST_DIGITS])
        return number if number <= RTMAX and len(name) <= _MOST_DIGITS else 0
    if name.startswith("SIG"):
        name = name[3:]
    if name in _NAMES:
        return _NAMES.index(name)  # the empty one is 0
    if name in _ALIASES:
        return _ALIASES[name]
    for base, start in (("RTMIN", RTMIN), ("RTMAX", RTMAX)):
        if name.startswith(base):
            return _real_time(name[5:], start)
    return 0


def _real_time(offset: str, start: int) -> int:
    if not offset:
        return start
    if offset[0] not in "+-" or len(offset) > _MOST_DIGITS or not (offset[1:].isascii() and offset[1:].isdigit()):
        return 0
    number = start + int(offset)
    return number if RTMIN <= number <= RTMAX else 0

"""Call the start code's functions with what nobody should give them; run under sanitizers by test_frozen_build.py."""

import os
import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

sys.path.insert(0, sys.argv[1])
import _kernel

POSIX: Any = vars(_kernel)["posix"]  # its own, quick one
ROUNDS = int(sys.argv[3])
random.seed(1)
os.chdir(sys.argv[2])

os.mkdir("folder")
for number in range(300):
    open(f"folder/{'n' * (number % 250)}{number}", "w").close()
os.symlink("folder", "link")
os.symlink("x" * 4000, "long")
os.mkfifo("fifo")
for name, size in (("empty", 0), ("page", 4096), ("more", 4097), ("large", 300_000), ("sparse", 1 << 40)):
    with open(name, "wb") as file:
        file.truncate(size)
try:
    with open("largest", "wb") as file:
        file.truncate((1 << 63) - 1)
except OSError:
    pass  # not every file system takes it

NUMBERS: list[Any] = [
    0,
    1,
    2,
    3,
    -1,
    100,
    4095,
    4096,
    4097,
    65_536,
    1 << 20,
    1 << 30,
    (1 << 30) + 1,
    1 << 31,
    -(1 << 31),
]
NUMBERS += [(1 << 32) - 1, 1 << 62, (1 << 63) - 1, -(1 << 63), 1 << 64, True, 1.5, None]
PATHS: list[Any] = [
    b"",
    b".",
    b"..",
    b"/",
    b"link",
    b"long",
    b"fifo",
    b"empty",
    b"page",
    b"more",
    b"large",
    b"sparse",
    b"largest",
]
PATHS += [
    b"folder",
    b"folder/none",
    b"link/n1",
    b"x" * 5000,
    b"a\0b",
    b"/proc/self/status",
    b"/proc/self/mem",
    "text",
    5,
]
TEXTS: list[Any] = [
    b"",
    b"a",
    b"ab",
    b"aab" * 50,
    b"a" * 5000,
    bytes(range(256)),
    b"\0" * 70,
    os.urandom(300),
    "text",
    None,
]
HERE = os.open(".", os.O_RDONLY)
FOLDERS: list[Any] = [
    HERE,
    os.open("folder", os.O_RDONLY),
    os.open("large", os.O_RDONLY),
    -100,
    -1,
    9999,
    1 << 40,
    None,
]


def some(*pools: Sequence[Any]) -> list[Any]:
    return [random.choice(pool) for pool in pools]


def strings() -> Any:
    return random.choice([[text for text in random.choices(TEXTS, k=random.randrange(6)) if text], TEXTS, None, ()])


done = 0


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    global done
    try:
        found = function(*arguments)
        done += 1
        return found
    except (OSError, TypeError, ValueError, OverflowError, SystemError, MemoryError):
        return None


CALLS: list[Callable[[], Any]] = [
    lambda: call(_kernel.read_file, *some(PATHS, NUMBERS, [True, False])),
    lambda: call(_kernel.read_at, *some(FOLDERS, PATHS, NUMBERS)),
    lambda: call(_kernel.read_open, *some(FOLDERS, NUMBERS)),
    lambda: call(_kernel.list_folder, *some(FOLDERS)),
    lambda: call(_kernel.read_link_at, *some(FOLDERS, PATHS)),
    lambda: call(_kernel.status, *some(FOLDERS)),
    lambda: call(_kernel.status_at, *some(FOLDERS, PATHS)),
    lambda: call(_kernel.filesystem_type, random.choice([*FOLDERS, *PATHS])),
    lambda: call(POSIX.listdir, *some(PATHS)),
    lambda: call(POSIX.readlink, *some(PATHS)),
    lambda: call(_kernel.disposition, *some(NUMBERS)),
    lambda: call(_kernel.forget_variable, *some(TEXTS)),
    lambda: call(_kernel.capabilities),
    lambda: call(
        _kernel.variables, random.choice([[b"=", b"A=1=2", b"=x", b"A=", b"B", b"\xff_FILE=", *TEXTS], strings()])
    ),
    lambda: call(
        _kernel.environ_without,
        random.choice([[b"A=1", b"SHIM_X", b"=x", b"\xff=", b"B=", *TEXTS[:8]], [*TEXTS], strings()]),
        {"A", ""},
        random.choice([{}, {"A": b"1"}, {"": b""}, {"B": b"", "A": b"1"}, {"\udcff": b"", "B": b""}, {1: b""}, None]),
    ),
    lambda: call(_kernel.read_plain, *some(FOLDERS, PATHS, NUMBERS)),
]


def opened() -> None:
    function: Any = random.choice([_kernel.open_folder, _kernel.open_path, _kernel.open_at, _kernel.open_beneath])
    pools = [PATHS, [True]] if function is _kernel.open_folder else [FOLDERS, PATHS]
    found = call(function, *some(*pools), *([True] if function is _kernel.open_at else []))
    if isinstance(found, int) and found > 2:
        os.close(found)


def masked() -> None:
    patterns = call(_kernel.mask_patterns, strings())
    for _ in range(3):
        data = random.choice([text for text in TEXTS if isinstance(text, bytes)]) * random.randrange(4)
        call(_kernel.mask, patterns, data, random.choice(NUMBERS), *some([True, False], [True, False]))
        if patterns is not None:
            call(_kernel.mask, patterns, data, random.randrange(len(data) + 1), *some([True, False], [True, False]))


for _ in range(ROUNDS):
    random.choice([*CALLS, opened, masked])()
os.write(1, f"went through, {done} calls did something\n".encode())

"""Let CPython live on the start code's memory for small objects and see that none is lost; run by test_frozen_build.py.

What was allocated before the switch goes back to malloc(3) afterwards, so the switch is made in a new interpreter
whose memory comes from there.
"""

import ctypes
import importlib
import os
import random
import sys
from typing import Any

if os.environ.get("PYTHONMALLOC") != "malloc":
    argv = [sys.executable, "-s", "-S", "-P", "-B", *sys.argv]
    os.execve(sys.executable, argv, {**os.environ, "PYTHONMALLOC": "malloc"})
sys.path.insert(0, sys.argv[1])
_kernel: Any = importlib.import_module("_kernel")  # it has two functions more here

ROUNDS = int(sys.argv[3])
random.seed(1)
_kernel.use_blocks()


def unused(row: list[Any]) -> bytes:
    """Return the memory that *row* has for items to come (listobject.h)."""
    start = ctypes.c_size_t.from_address(id(row) + 24).value
    room = ctypes.c_ssize_t.from_address(id(row) + 32).value
    return ctypes.string_at(start + 8 * len(row), 8 * (room - len(row)))


for size in range(8, 480, 8):  # a value is gone, and a list that grows gets its memory
    values = [b"\xa5" * size for _ in range(40)]
    del values
    for count in range(1, 40):
        row: list[Any] = []
        for _ in range(count):
            row.append(None)
        assert b"\xa5" not in unused(row), (size, count)

held: list[tuple[Any, int, int]] = []
grown: list[bytearray] = []
for number in range(ROUNDS):
    size = random.choice([random.randrange(64), random.randrange(700), random.randrange(5_000)])
    letter = number % 256
    kind = random.choice([bytes, bytearray, tuple, list])
    held.append((kind(bytes([letter]) * size), letter, size))
    if random.random() < 0.3:
        grown.append(bytearray())
    for item in random.sample(grown, min(3, len(grown))):
        if random.random() < 0.7:
            item += bytes([len(item) % 256]) * random.randrange(90)
        else:
            del item[random.randrange(len(item) + 1) :]
    while len(held) > random.randrange(1_500, 60_000):
        value, letter, size = held.pop(random.randrange(len(held)))
        assert len(value) == size
        assert all(found == letter for found in value)
    if number % 1_000 == 0:
        _kernel.wipe_free_blocks()
for value, letter, size in held:
    assert len(value) == size
    assert all(found == letter for found in value)
os.write(1, f"went through, {len(held)} left\n".encode())

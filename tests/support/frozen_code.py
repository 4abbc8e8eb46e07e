"""A package in the place of `shim` that holds every kind of code: a binary of it and plain CPython report the same."""

from pathlib import Path

START = "from shim.main import run; run()"
EVERY_KIND_OF_CODE = r"""
import sys


def constants():
    yield from (0, 1, -1, 255, 256, 257, -6, 2**30 - 1, 2**30, -(2**61), 10**50, -(10**50))
    yield from (0.0, -0.0, 1.5, -1e-300, 1e999, -1e999, True, False, None, ...)
    yield from ("", "a", "text", "\u00e4", "\u20ac uro", "\U0001f511 key", "\x00", "\ud800", "\x7f\x80\xff")
    yield from (b"", b"a", b"\x00\xff\x80", (), (1,), ((), (1.0, 1, True), ("a", (b"a",))))
    yield from ([1] in ([1], [2]), "x" in {"x", "\u00e4"}, 3 in {1, 2}, (1, 2) in {(1, 2), b"", None})


def arguments(a, /, b, *c, d, e=5, **f):
    return a, b, c, d, e, f


def counter(start):
    count = start

    def add(step=1):
        nonlocal count
        count += step
        return count, start, __name__

    return add


def cells(a, b):
    return [lambda: (a, b, i) for i in range(2)][1](), {k: v for k, v in zip((a,), (b,))}


class Base:
    __slots__ = ("value",)
    limit = 3

    def __init__(self, value=limit):
        self.value = value

    @property
    def twice(self):
        return self.value * 2

    @classmethod
    def made(cls):
        return cls(7)


class Derived(Base):
    def __init__(self):
        super().__init__(4)

    def __repr__(self):
        return f"{type(self).__name__}<{self.value!r:>4}|{self.twice:03d}>"


def fails(depth):
    try:
        if depth:
            return fails(depth - 1)
        raise KeyError("deep")
    finally:
        depth -= 1


def traced():
    try:
        fails(2)
    except (ValueError, KeyError) as error:
        lines, trace = [], error.__traceback__
        while trace:
            lines.append((trace.tb_frame.f_code.co_name, trace.tb_lineno))
            trace = trace.tb_next
        return repr(error), lines


class Real(float):
    pass


def types_that_wait():
    numbers, empty = {"a": 1, "b": 2}, {}
    yield from (range(3), [*reversed(range(9, 5, -1))], [*enumerate("ab", 1)], [*zip("ab", b"ab"), *map(str, (1,))])
    yield from (numbers.keys() & {"a"}, numbers.items() - {("a", 1)}, [*reversed(numbers)], [*filter(None, (0, 1))])
    yield from (frozenset("a") | {"b"} == {"a", "b"}, hash(frozenset((1,))), {frozenset(): 1}, slice(1, 2), "abcd"[1:3])
    yield from (float("2.5").is_integer(), f"{1.25:.1f}", 7 / 2, Real(3).hex(), Real("1") + complex(0, 1))
    yield from (complex(1, 2).conjugate(), bytearray(b"ab").upper(), memoryview(b"abc")[1:].tobytes())
    yield from (bytes(bytearray(3)), b"".join((bytearray(2),)), isinstance(1.5, float), issubclass(Real, float))
    yield from (type(iter([])), [*iter([].copy, [])], list[int], int | str, vars(Base)["limit"], [].append.__self__)
    yield from (Base.made.__func__.__name__, (lambda: empty).__closure__[0].cell_contents, Base.twice.fget.__name__)
    yield from (str.join.__name__, Base.value.__name__, float.__add__(1.0, 2), dict.fromkeys("a"))
    yield from ([*list[int]], [*memoryview(b"ab")], [*fails.__code__.co_lines()][0])
    yield len([*fails.__code__.co_positions()])
    yield from (sorted(name for name in sys._getframe().f_locals if name != "self"), [*iter((1, 2))], [*iter({3})])


def report():
    add = counter(10)
    found = [*map(repr, types_that_wait()), *map(repr, constants()), arguments(1, 2, 3, d=4, g=6)]
    found += [[add(), add(5)], cells("p", "q")]
    found += [Derived(), Base.made().twice, Base().value, traced(), constants.__qualname__]
    found += [Derived.__init__.__qualname__, counter.__code__.co_cellvars, arguments.__code__.co_varnames]
    for _ in range(3000):
        add()
    return "\n".join(map(repr, [*found, add(), hash("text") == hash("te" + "xt"[:2]), add.__code__.co_freevars]))
"""


def write_package(folder: Path) -> None:
    """Write the package `shim` into *folder*: its report of what its code gives is all that it does."""
    package = folder / "shim"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "code.py").write_text(EVERY_KIND_OF_CODE)
    (package / "main.py").write_text(
        "import posix\nfrom shim import code\n\n\ndef run():\n"
        '    posix.write(1, code.report().encode("utf-8", "surrogatepass"))\n    posix._exit(0)\n'
    )

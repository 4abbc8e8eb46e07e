"""Code objects as C: what unmarshalling would build at every start lies ready in the executable. Used by freeze.py.

What CPython's headers define differently in each release is in python313.py. A string, number or tuple
that several functions share is written once. Nothing is interned and no hash is known yet: CPython adds both where it
wants them.

What only a traceback, a debugger or a mistake looks at (line tables, the names of local variables) lies apart, so that
no page of it is ever copied. So do the constants and names of functions that no usual start calls (called.txt).
On the other pages CPython writes the hashes of names and rewrites the bytecode that it executes. So the code that every
start executes lies side by side, and so do the names in it; what only some starts execute follows.
"""

import importlib
import opcode
import sys
from collections.abc import Collection, Iterable, Iterator
from types import CodeType

release = importlib.import_module(f"python{sys.version_info.major}{sys.version_info.minor}")

_LOCAL, _CELL, _FREE = 0x20, 0x40, 0x80  # CO_FAST_* of pycore_code.h
_RESUME = opcode.opmap["RESUME"]
_DIGIT_BITS = 30
# What a start may look at: nothing of an object, itself alone, or also what it holds.
_NOTHING, _ITSELF, _ALL = 0, 1, 2


class StaticObjects:
    """The C definitions of objects, each before those that point to it."""

    def __init__(self, always: Collection[str], sometimes: Collection[str]) -> None:
        """Take the functions that every start calls, and those that some call, as `file.py:qualified.name`."""
        self._always = always
        self._sometimes = sometimes
        self._definitions: dict[str, tuple[str, str]] = {}  # name -> declaration, initial value
        self._looked_at: dict[str, int] = {}  # name -> _NOTHING, _ITSELF or _ALL
        self._written: dict[str, str] = {}  # name -> the section of what CPython writes to
        self._names: dict[object, str] = {}
        self._codes: list[CodeType] = []  # kept, so that no two have one id
        self._frozensets: list[tuple[str, str]] = []

    def code(self, code: CodeType) -> str:
        """Return the C expression of a pointer to *code*."""
        self._codes.append(code)
        return self._reference(code)

    def lines(self) -> list[str]:
        """Return the definitions."""
        return [
            f"static {declaration} {_place(self._section(name))} = {{{values}}};"
            for name, (declaration, values) in self._definitions.items()
        ]

    def frozensets(self) -> list[tuple[str, str]]:
        """Return (place, items) of each frozenset since the last call: C has no constant for one (hot.c makes it)."""
        found, self._frozensets = self._frozensets, []
        return found

    def _section(self, name: str) -> str:
        return ".data.unused" if self._looked_at[name] == _NOTHING else self._written.get(name, ".data.constants")

    def _reference(self, value: object, looked_at: int = _ALL) -> str:
        """Return the C expression of a pointer to *value*, which is defined when it is new."""
        for singleton, expression in ((None, "Py_None"), (True, "Py_True"), (False, "Py_False"), (..., "Py_Ellipsis")):
            if value is singleton:
                return expression
        constant: str | None = release.constant(value)
        if constant is not None:
            return constant
        key = self._key(value)
        name = self._names.setdefault(key, f"object_{len(self._names)}")
        if looked_at > self._looked_at.get(name, -1):
            self._looked_at[name] = looked_at
            self._define(name, value, looked_at)
        return f"(PyObject *)&{self._names[key]}" + (".object" if isinstance(value, tuple) else "")

    def _key(self, value: object) -> object:
        if isinstance(value, tuple):
            return tuple, tuple(self._key(item) for item in value)
        if isinstance(value, CodeType):
            return CodeType, id(value)
        return type(value), repr(value)  # 0.0 and -0.0, 1 and 1.0 are equal, and not the same

    def _define(self, name: str, value: object, looked_at: int) -> None:
        if isinstance(value, CodeType):
            self._define_code(name, value, looked_at)
        elif isinstance(value, str):
            self._define_text(name, value)
        elif isinstance(value, bytes):
            self._struct(
                name,
                f"PyObject_VAR_HEAD Py_hash_t hash; char bytes[{len(value) + 1}];",
                f"{_head('PyBytes_Type', len(value))}, -1, {_bytes(value)}",
            )
        elif isinstance(value, int):
            digits = [abs(value) >> shift & (1 << _DIGIT_BITS) - 1 for shift in range(0, abs(value).bit_length(), 30)]
            members, values = release.integer_head(len(digits), (value > 0) - (value < 0))
            self._struct(
                name,
                f"{members} digit digits[{max(1, len(digits))}];",
                f"{values}, {{{', '.join(map(str, digits or [0]))}}}",
            )
        elif isinstance(value, float):
            number = value.hex().replace("inf", "HUGE_VAL")
            self._struct(name, "PyObject_HEAD double value;", f"{_head('PyFloat_Type')}, {number}")
        elif isinstance(value, tuple):
            self._define_tuple(name, value, _ALL if looked_at == _ALL else _NOTHING)
        else:
            raise TypeError(f"no C for a constant of type {type(value).__name__}: {value!r}")

    def _define_text(self, name: str, text: str) -> None:
        if text.isascii():
            self._struct(
                name,
                f"PyASCIIObject object; char text[{len(text) + 1}];",
                f"{release.text_head(len(text), 1, True)}, {_bytes(text.encode())}",
            )
            return
        kind = 1 if max(text) <= "\xff" else 2 if max(text) <= "\uffff" else 4
        points = ", ".join(str(ord(character)) for character in text)
        self._struct(
            name,
            f"PyCompactUnicodeObject object; Py_UCS{kind} text[{len(text) + 1}];",
            f"{{{release.text_head(len(text), kind, False)}, {release.NO_UTF8}}}, {{{points}, 0}}",
        )

    def _define_tuple(self, name: str, items: tuple[object, ...], looked_at: int) -> None:
        pointers = []
        for place, item in enumerate(items):
            if isinstance(item, frozenset):
                pointers.append("NULL")
                members = self._reference(tuple(sorted(item, key=repr)))
                self._frozensets.append((f"{name}.object.items[{place}]", members))
            else:
                pointers.append(self._reference(item, looked_at))
        # A garbage collection looks at what precedes a tuple, and finds it untracked.
        self._struct(
            name,
            f"uintptr_t collector[2]; struct {{ PyObject_VAR_HEAD PyObject *items[{max(1, len(items))}]; }} object;",
            f"{{0}}, {{{_head('PyTuple_Type', len(items))}, {{{', '.join(pointers) or 'NULL'}}}}}",
        )

    def _define_code(self, name: str, code: CodeType, looked_at: int) -> None:
        place = f"{code.co_filename}:{code.co_qualname}"
        is_always = looked_at > _NOTHING and place in self._always
        is_called = is_always or (looked_at > _NOTHING and place in self._sometimes)
        if is_called:
            self._written[name] = ".data.executed" if is_always else ".data.executed_sometimes"
        variables = dict.fromkeys([*code.co_varnames, *code.co_cellvars, *code.co_freevars])
        kinds = bytes(
            (_LOCAL | release.variable_kind(code) if variable in code.co_varnames else 0)
            | (_CELL if variable in code.co_cellvars else 0)
            | (_FREE if variable in code.co_freevars else 0)
            for variable in variables
        )
        numbers = {
            "co_flags": code.co_flags,
            "co_argcount": code.co_argcount,
            "co_posonlyargcount": code.co_posonlyargcount,
            "co_kwonlyargcount": code.co_kwonlyargcount,
            "co_stacksize": code.co_stacksize,
            "co_firstlineno": code.co_firstlineno,
            "co_nlocalsplus": len(variables),
            "co_nlocals": code.co_nlocals,
            "co_ncellvars": len(code.co_cellvars),
            "co_nfreevars": len(code.co_freevars),
            "_co_firsttraceable": code.co_code[::2].index(_RESUME),
            **release.code_numbers(code, len(variables)),
        }
        # To make a function of it, CPython looks at its names and for a docstring.
        used = {
            "co_consts": (code.co_consts, _ALL if is_called else min(looked_at, _ITSELF)),
            "co_names": (code.co_names, _ALL if is_called else _NOTHING),
            "co_name": (code.co_name, looked_at),
            "co_qualname": (code.co_qualname, looked_at),
        }
        unused = {
            "co_exceptiontable": code.co_exceptiontable,
            "co_localsplusnames": tuple(variables),
            "co_localspluskinds": kinds,
            "co_filename": code.co_filename,
            "co_linetable": code.co_linetable,
        }
        fields = [f".{field} = {number}" for field, number in numbers.items()]
        fields += [f".{field} = {self._reference(value, how)}" for field, (value, how) in used.items()]
        fields += [f".{field} = {self._reference(value, _NOTHING)}" for field, value in unused.items()]
        if is_called:
            hashed = [*code.co_names, *(_keys(code.co_consts) if code.co_name == "<module>" else ())]
            self._write_names(hashed, ".data.names" if is_always else ".data.names_sometimes")
        size = len(code.co_code)
        self._definitions[name] = (
            f"struct _PyCode_DEF({size}) {name}",
            f"\n    .ob_base = {_head('PyCode_Type', size // 2)},\n    "
            + ",\n    ".join([*fields, f".co_code_adaptive = {_bytes(release.instructions(code))}"]),
        )

    def _write_names(self, names: Iterable[str], section: str) -> None:
        for text in names:
            name = self._names.get(self._key(text), "")  # CPython's own constants have none here
            if self._written.get(name) != ".data.names":
                self._written[name] = section

    def _struct(self, name: str, members: str, values: str) -> None:
        self._definitions[name] = f"struct {{ {members} }} {name}", values


def _keys(constants: Iterable[object]) -> Iterator[str]:
    """Yield what may be a key of a set or dictionary among a module's constants: no text has no space."""
    for constant in constants:
        if isinstance(constant, tuple | frozenset):
            yield from _keys(constant)
        elif isinstance(constant, str) and " " not in constant:
            yield constant


def _place(section: str) -> str:
    """Return where an object lies; 8 is what it needs, and more than that is what a compiler would like."""
    return f'__attribute__((aligned(8), section("{section}")))'


def _head(type_name: str, size: int | None = None) -> str:
    head: str = release.head(type_name)
    return head if size is None else f"{{{head}, {size}}}"


def _bytes(value: bytes) -> str:
    """Return the values of a C array of char; what is not named at its end is 0."""
    return "{" + (", ".join(str(byte - 256 if byte > 127 else byte) for byte in value) or "0") + "}"

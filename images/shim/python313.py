"""How CPython 3.13 lays out what static_code.py and freeze.py write as C (its headers define these structures)."""

import dis
import inspect
import marshal
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import CodeType

# The addresses of CPython's own constants.
INCLUDES = ("#define Py_BUILD_CORE 1", "#include <internal/pycore_runtime.h>", "#include <internal/pycore_long.h>")

_GLOBAL_STRINGS = Path(sysconfig.get_path("include"), "internal", "pycore_global_strings.h").read_text()
_IDENTIFIERS = frozenset(re.findall(r"\n +STRUCT_FOR_ID\((\w+)\)", _GLOBAL_STRINGS))
_LITERALS = {text: name for name, text in re.findall(r'STRUCT_FOR_STR\((\w+), "([^"\\]+)"\)', _GLOBAL_STRINGS)}
# An object with this count is immortal: CPython does not write to it (object.h).
_REFERENCES = 0xFFFFFFFF
# What a text that is not ASCII has between its head and its characters, as long as nobody asks for them in UTF-8.
NO_UTF8 = "0, NULL"
_IS_COMPACT, _IS_STATIC = 1, 0  # what is static would have to be interned before anything runs
_HIDDEN = 0x10  # CO_FAST_HIDDEN of pycore_code.h
_FRAME_SPECIALS = 9  # FRAME_SPECIALS_SIZE of pycore_frame.h
# Countdowns in the bytecode until an instruction is rewritten for speed (pycore_backoff.h): value << 4 | backoff.
_WARMUP = 1 << 4 | 1
_LOOP = 16 << 4 | 4
_NEITHER_WAY_YET = 0x5555  # which way a jump went, a bit each time
_PLACES = 4096  # of the table of interned strings, which is a third full
_SIGN = {1: 0, 0: 1, -1: 2}


def constant(value: object) -> str | None:
    """Return the expression of CPython's own object of that value: it compares some of them by their addresses."""
    if type(value) is str:
        if not value:
            return "&_Py_STR(empty)"
        if len(value) == 1 and ord(value) < 128:
            return f"(PyObject *)&_Py_SINGLETON(strings).ascii[{ord(value)}]"
        if len(value) == 1 and ord(value) < 256:
            return f"(PyObject *)&_Py_SINGLETON(strings).latin1[{ord(value) - 128}]"
        if value in _IDENTIFIERS:
            return f"&_Py_ID({value})"
        if value in _LITERALS:
            return f"&_Py_STR({_LITERALS[value]})"
    if type(value) is int and -5 <= value <= 256:
        return f"(PyObject *)&_PyLong_SMALL_INTS[_PY_NSMALLNEGINTS + ({value})]"
    if value == () and type(value) is tuple:
        return "(PyObject *)&_Py_SINGLETON(tuple_empty)"
    if type(value) is bytes and len(value) < 2:
        return (
            f"(PyObject *)&_Py_SINGLETON(bytes_characters[{value[0]}])"
            if value
            else "(PyObject *)&_Py_SINGLETON(bytes_empty)"
        )
    return None


def head(type_name: str) -> str:
    """Return the first values of an object."""
    return f"{{{{{_REFERENCES}}}, &{type_name}}}"


def text_head(length: int, kind: int, is_ascii: bool) -> str:
    """Return the value of a PyASCIIObject."""
    state = f"{{0, {kind}, {_IS_COMPACT}, {int(is_ascii)}, {_IS_STATIC}}}"
    return f"{{{head('PyUnicode_Type')}, {length}, -1, {state}}}"


def integer_head(digits: int, sign: int) -> tuple[str, str]:
    """Return what comes before the digits of an int: its members, and their values."""
    return "PyObject_HEAD uintptr_t tag;", f"{head('PyLong_Type')}, {digits << 3 | _SIGN[sign]}"


def code_numbers(code: CodeType, variables: int) -> dict[str, int]:
    """Return the fields of a code object that only this release has."""
    return {"co_framesize": variables + code.co_stacksize + _FRAME_SPECIALS}


def instructions(code: CodeType) -> bytes:
    """Return the bytecode as the interpreter begins with it: with the countdowns of what it may rewrite."""
    ready = bytearray(code.co_code)
    for instruction in dis.get_instructions(code, show_caches=False):
        if not instruction.cache_info:
            continue
        name = instruction.opname
        count = _LOOP if name == "JUMP_BACKWARD" else _NEITHER_WAY_YET if name.startswith("POP_JUMP_") else _WARMUP
        ready[instruction.cache_offset : instruction.cache_offset + 2] = count.to_bytes(2, "little")
    return bytes(ready)


def variable_kind(code: CodeType) -> int:
    """Return what is added to the kind of a local variable of *code*: a module's are those of its comprehensions."""
    return 0 if code.co_flags & inspect.CO_OPTIMIZED else _HIDDEN


def tables() -> list[str]:
    """Return the table of all strings that CPython has interned from the beginning."""
    places = ["NULL"] * _PLACES
    for text in sorted(_IDENTIFIERS | set(_LITERALS)):
        place = 0
        for byte in text.encode():
            place = (place * 33 ^ byte) & 0xFFFFFFFF
        while places[place % _PLACES] != "NULL":
            place += 1
        places[place % _PLACES] = str(constant(text))
    return [f"PyObject *const shim_interned[] = {{{', '.join(places)}}};"]


def frozen_row(name: str, is_package: bool, code: CodeType, _ready: Callable[[str, CodeType], str]) -> tuple[str, str]:
    """Return a row of CPython's table of frozen modules, and what it needs: the marshalled code."""
    symbol = name.replace(".", "_")
    data = marshal.dumps(code)
    values = f"static const unsigned char data_{symbol}[] = {{{', '.join(map(str, data))}}};"
    return f'{{"{name}", data_{symbol}, {len(data)}, {int(is_package)}}}', values

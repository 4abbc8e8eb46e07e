"""How CPython 3.11 lays out what static_code.py and freeze.py write as C (its headers define these structures)."""

from collections.abc import Callable
from types import CodeType

# Nothing here is ever freed: the count only has to stay above what references can come and go.
_REFERENCES = 999_999_999
# How often a function runs before the interpreter rewrites it for speed (pycore_code.h).
_WARMUP = -8
# The bits of PyASCIIObject.state after `kind`: compact, ascii, ready.
_IS_COMPACT, _IS_READY = 1, 1

INCLUDES = ()
# What a text that is not ASCII has between its head and its characters, as long as nobody asks for them in UTF-8.
NO_UTF8 = "0, NULL, 0"


def constant(_value: object) -> str | None:
    """Return None: this release does not mind a second object of a value."""
    return None


def head(type_name: str) -> str:
    """Return the first values of an object."""
    return f"{{{_REFERENCES}, &{type_name}}}"


def text_head(length: int, kind: int, is_ascii: bool) -> str:
    """Return the value of a PyASCIIObject."""
    state = f"{{0, {kind}, {_IS_COMPACT}, {int(is_ascii)}, {_IS_READY}}}"
    return f"{{{head('PyUnicode_Type')}, {length}, -1, {state}, NULL}}"


def integer_head(digits: int, sign: int) -> tuple[str, str]:
    """Return what comes before the digits of an int: its members, and their values."""
    return "PyObject_VAR_HEAD", f"{{{head('PyLong_Type')}, {sign * digits}}}"


def code_numbers(code: CodeType, _variables: int) -> dict[str, int]:
    """Return the fields of a code object that only this release has."""
    return {
        "co_warmup": _WARMUP,
        "co_nplaincellvars": len(set(code.co_cellvars).difference(code.co_varnames)),
    }


def instructions(code: CodeType) -> bytes:
    """Return the bytecode as the interpreter begins with it."""
    return code.co_code


def variable_kind(_code: CodeType) -> int:
    """Return what is added to the kind of a local variable."""
    return 0


def tables() -> list[str]:
    """Return what else the header of the release needs: nothing."""
    return []


def frozen_row(name: str, is_package: bool, code: CodeType, ready: Callable[[str, CodeType], str]) -> tuple[str, str]:
    """Return a row of CPython's table of frozen modules, and what it needs: a function that gives the code object."""
    symbol = name.replace(".", "_")
    module = f"static const struct hot_module {symbol} = {ready(name, code)};"
    getter = f"static PyObject *get_{symbol}(void) {{ return shim_code_of(&{symbol}); }}"
    return f'{{"{name}", NULL, 0, {int(is_package)}, get_{symbol}}}', f"{module}\n{getter}"

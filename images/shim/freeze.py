"""Freeze the way to exec: every hot module of `shim` becomes a part of the executable. Run by `build`.

Rules, checked here, so that a slow import or a missing extension module is an error of the build and not of a start:

- A module of `shim` is hot unless `COLD` names it.
- A hot module imports, at its top, only hot modules and C modules built into the interpreter's core.
- A hot module names no exception that core.c leaves for later (the header of the release lists them).
- Whatever else a module of `shim` imports anywhere must be importable with the built-in C modules alone: a static
  interpreter has no ssl, no ctypes, no _json.

Docstrings and annotations are dropped on the way; the interpreter would build them at every start.
"""

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))  # -I leaves it out
from static_code import StaticObjects, release  # type: ignore[import-not-found]

# Never needed on the way to exec; imported from the archive, once the interpreter is complete (hot.c).
COLD = ("deadline", "explain", "fingerprint", "help", "install", "ps", "stdout")
# The twins of `_kernel` for an interpreter that was not frozen, its door, and what applications import; not in the
# executable at all.
UNFROZEN = ("__main__", "application", "by_path", "files_unfrozen", "kernel_unfrozen", "settings")
# Built in, but only of use once the interpreter is complete: importing it in the core alone crashes.
NOT_IN_THE_CORE = ("_signal",)
# Built into libpython, and of no use to the shim: they and what they pull in stay out of the executable.
LEFT_OUT = ("_csv", "_elementtree", "_statistics", "_symtable", "pyexpat", "syslog", "xxsubtype")
# The functions that make a built-in module are PyInit_NAME, but for these; CPython's core makes its own two itself.
INIT_FUNCTIONS = {"marshal": "PyMarshal_Init", "_warnings": "_PyWarnings_Init", "builtins": "NULL", "sys": "NULL"}
# What completing the interpreter imports before the archive can be read.
ENCODINGS = ("encodings", "encodings.aliases", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")

_IMPORT_ALL = """
import sys, types
sys.path[:] = [path for path in sys.path if not path.endswith("lib-dynload")] + [sys.argv[1]]
sys.modules.update(dict.fromkeys(sys.argv[2].split()))
kernel = types.ModuleType("_kernel")
kernel.__getattr__ = lambda name: lambda *arguments: None
sys.modules["_kernel"] = kernel
for name in sys.argv[3:]:
    try:
        __import__(name)
    except ImportError as error:
        print(f"{name}: {error}")
"""


class Import(NamedTuple):
    """One name that a module imports, and where."""

    name: str
    line: int
    is_at_top: bool
    is_optional: bool


def main() -> int:
    """Write the header of frozen modules; return 1 and say why when a rule is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the folder of the package `shim`")
    parser.add_argument("header", type=Path, help="the C header to write")
    arguments = parser.parse_args()
    trees = {
        _module_name(path): ast.parse(path.read_bytes(), path.name)
        for path in sorted(arguments.package.glob("*.py"))
        if path.stem not in UNFROZEN
    }
    hot = [name for name in in_order_of_need(trees) if name.rpartition(".")[2] not in COLD]
    late = exceptions_for_later((Path(__file__).parent / f"{release.__name__}.h").read_text())
    mistakes = [*slow_imports(trees, hot), *early_names(trees, hot, late), *missing_modules(trees, arguments.package)]
    if mistakes:
        sys.stderr.write("\n".join([*mistakes, ""]))
        return 1
    arguments.header.write_text(header(trees, hot))
    return 0


def in_order_of_need(trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules as a start meets them, so that what is used together lies together."""
    order: dict[str, None] = dict.fromkeys(name for name in trees if name in ("shim", "shim.main"))
    for is_at_top in (True, False):
        for name in (todo := list(order)):
            needed = [found.name for found in imports(trees[name], trees) if found.is_at_top >= is_at_top]
            todo += [found for found in needed if found in trees and found not in order]
            order.update(dict.fromkeys(todo))
    return [*order, *(name for name in trees if name not in order)]


def slow_imports(trees: dict[str, ast.Module], hot: list[str]) -> Iterator[str]:
    """Yield a line for each import at the top of a hot module that neither is hot nor built into the core."""
    fast = {*hot, "_kernel", "sys", *sys.builtin_module_names}.difference(NOT_IN_THE_CORE)
    for name in hot:
        for found in imports(trees[name], trees):
            if found.is_at_top and found.name not in fast:
                yield (
                    f"{name}, line {found.line}: imports {found.name} on the way to exec, where only built-in C "
                    "modules and hot modules of shim are; import it where it is used, or list the module as COLD"
                )


def exceptions_for_later(source: str) -> set[str]:
    """Return the names of the exceptions that *source*, a header of a release, leaves for the rest of CPython."""
    return set(re.findall(r"&PyExc_(\w+)", source))


def early_names(trees: dict[str, ast.Module], hot: list[str], late: set[str]) -> Iterator[str]:
    """Yield a line for each place where a hot module names one of the exceptions *late*."""
    for name in hot:
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.Name) and node.id in late:
                yield f"{name}, line {node.lineno}: names {node.id}, which is not ready then; see core.c"


def missing_modules(trees: dict[str, ast.Module], package: Path) -> Iterator[str]:
    """Yield a line for each module that somebody imports and that needs what a static interpreter does not have."""
    wanted = {found.name for tree in trees.values() for found in imports(tree, trees) if not found.is_optional}
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _IMPORT_ALL,
            str(package.parent),
            " ".join(LEFT_OUT),
            *sorted(wanted | set(trees)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        yield f"the import of everything ended with {done.returncode}: {done.stderr}"
    for line in done.stdout.splitlines():
        yield f"not importable with the built-in C modules alone: {line}"


def imports(
    node: ast.AST, known: dict[str, ast.Module], is_at_top: bool = True, is_optional: bool = False
) -> Iterator[Import]:
    """Yield what *node* imports; not what only a type checker sees, nor what replaces a failed import."""
    if isinstance(node, ast.Import):
        yield from (Import(alias.name, node.lineno, is_at_top, is_optional) for alias in node.names)
        return
    if isinstance(node, ast.ImportFrom):
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield Import(inner if inner in known else str(node.module), node.lineno, is_at_top, is_optional)
        return
    if isinstance(node, ast.If) and _is_type_checking(node.test):
        return
    is_optional = is_optional or (isinstance(node, ast.Try) and any(map(_catches_import_error, node.handlers)))
    is_at_top = is_at_top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.ExceptHandler) and _catches_import_error(child)):
            yield from imports(child, known, is_at_top, is_optional)


def _is_type_checking(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"


def _catches_import_error(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.type, ast.Name) and handler.type.id in ("ImportError", "ModuleNotFoundError")


def _module_name(path: Path) -> str:
    return "shim" if path.stem == "__init__" else f"shim.{path.stem}"


class _Stripped(ast.NodeTransformer):
    """Drops docstrings, annotations and what only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST:
        if _is_type_checking(node.test) and not node.orelse:
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], self.visit(node.value)), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._without_docstring(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def _without_docstring(self, node: ast.Module | ast.ClassDef | ast.FunctionDef) -> ast.AST:
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        self.generic_visit(node)
        if not node.body and not isinstance(node, ast.Module):
            node.body.append(ast.Pass())
        return node


def stripped_code(tree: ast.Module, file_name: str) -> CodeType:
    """Return *tree* as code without docstrings and annotations."""
    bare = ast.fix_missing_locations(_Stripped().visit(tree))
    code: CodeType = compile(bare, file_name, "exec", dont_inherit=True, optimize=2)
    return code


def header(trees: dict[str, ast.Module], hot: list[str]) -> str:
    """Return the C tables of the hot modules, and of the encodings as CPython's own table of frozen modules."""
    library = Path(ast.__file__).parent
    called = [line for line in (Path(__file__).parent / "called.txt").read_text().splitlines() if line[0] != "#"]
    objects = StaticObjects(
        {line for line in called if line[0] != " "}, {line.strip() for line in called if line[0] == " "}
    )
    lines, hot_table, frozen_table = [], [], []

    def ready(name: str, code: CodeType) -> str:
        pointer = objects.code(code)
        sets = [f"    {{(PyObject **)&{place}, {items}}}," for place, items in objects.frozensets()]
        symbol = name.replace(".", "_")
        lines.extend([f"static const struct set_constant {symbol}_sets[] = {{", *sets, "    {NULL, NULL},", "};"])
        return f'{{"{name}", {pointer}, {symbol}_sets}}'

    for name in hot:
        file_name = "shim/" + ("__init__" if name == "shim" else name[5:]) + ".py"
        hot_table.append(f"    {ready(name, stripped_code(trees[name], file_name))},")
    for name in ENCODINGS:
        is_package = name == "encodings"
        file_name = name.replace(".", "/") + ("/__init__.py" if is_package else ".py")
        code = stripped_code(ast.parse((library / file_name).read_bytes()), file_name)
        row, needed = release.frozen_row(name, is_package, code, ready)
        lines.append(needed)
        frozen_table.append(f"    {row},")
    built_in = [(name, INIT_FUNCTIONS.get(name, f"PyInit_{name}")) for name in sys.builtin_module_names]
    built_in = [(name, function) for name, function in built_in if name not in LEFT_OUT]
    return "\n".join(
        [
            "/* Written by freeze.py. */",
            *release.INCLUDES,
            *release.tables(),
            *objects.lines(),
            *lines,
            "static const struct hot_module shim_hot_modules[] = {",
            *hot_table,
            "};",
            "static const struct _frozen shim_frozen_modules[] = {",
            *frozen_table,
            "    {NULL},",
            "};",
            *(f"PyObject *{function}(void);" for _, function in built_in if function != "NULL"),
            "struct _inittab _PyImport_Inittab[] = {",
            *(f'    {{"{name}", {function}}},' for name, function in built_in),
            "    {NULL, NULL},",
            "};",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

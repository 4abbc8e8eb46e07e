"""What a module imports, as it is written: deferred and type-only imports count, too."""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path


def imports(path: Path, known: Collection[str] = ()) -> Iterator[str]:
    """Yield the modules that *path* imports, wherever in the file; one that is *known* by its own name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module

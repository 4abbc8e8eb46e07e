"""Build what is installed: the folder `shim` under a name that no other distribution has.

The package index has another `shim`, with a command of that name, and pip lets the later of two distributions overwrite
the files of the earlier. So the folder is installed as `docker_secrets_shim`, and every import
of it is rewritten on the way. In an editable installation both names lead to the checkout, and nothing is rewritten.
"""

import ast
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE, INSTALLED = "shim", "docker_secrets_shim"
_IMPORT = re.compile(rf"^([ \t]*(?:from|import)[ \t]+){HERE}(?=[.\s])", re.MULTILINE)


class BuildRenamed(build_py):
    """Copies the modules, and lets them import the package by its installed name."""

    def run(self) -> None:
        """Start from an empty folder: what an older build left there would be installed too."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
            self.packages = [name for name in self.packages or () if name != HERE]
        super().run()

    def build_module(self, module: str, module_file: str, package: str) -> "tuple[str, bool]":
        """Copy one module, and rewrite its imports."""
        outfile, is_copied = super().build_module(module, module_file, package)
        written = Path(outfile)
        text = _IMPORT.sub(rf"\g<1>{INSTALLED}", written.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [str(node.module)]
            if HERE in [name.partition(".")[0] for name in names]:
                raise SystemExit(f"{module_file}: an import of {HERE} would stay as it is")
        written.write_text(text, encoding="utf-8", newline="\n")
        return outfile, is_copied


# All there are below scripts/: a list by hand would lose the next one. `find_packages` sees no folder without a module.
PACKAGES = [HERE, INSTALLED, *find_packages("scripts"), "shim_host.schemas"]
setup(packages=PACKAGES, cmdclass={"build_py": BuildRenamed})

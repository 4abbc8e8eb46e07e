"""The one script that PyInstaller's bootloader runs, when something asks for more than the core of Python.

It makes what is in the archive importable, and nothing else: no file of a disk is ever imported.
"""

import sys

import pyimod02_importers

pyimod02_importers.install()
# Without their neighbours, PyInstaller's finder has nothing to fall back to for what the archive does not hold.
sys.path_hooks[:] = [pyimod02_importers.PyiFrozenFinder.path_hook]
sys.path_importer_cache.clear()
sys.modules["shim"].__path__.append(f"{sys.path[0]}/shim")
sys.frozen = True

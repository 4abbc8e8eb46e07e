"""The one script that PyInstaller's bootloader runs, when something asks for more than the core of Python.

It makes what is in the archive importable, and nothing else: no file of a disk is ever imported.
"""

import sys

import pyimod02_importers

# Modules get paths below a file, where nothing can be. Below the executable's folder, where PyInstaller puts them, a
# binary that is called `shim` would itself take the place of the package, and the finder takes no file for one.
sys._MEIPASS = "/dev/null/modules"
sys.path[:] = [sys._MEIPASS]
pyimod02_importers._TOP_LEVEL_DIRECTORY_PATHS[:] = [sys._MEIPASS]

pyimod02_importers.install()
# Without their neighbours, PyInstaller's finder has nothing to fall back to for what the archive does not hold.
sys.path_hooks[:] = [pyimod02_importers.PyiFrozenFinder.path_hook]
sys.path_importer_cache.clear()
sys.modules["shim"].__path__.append(f"{sys.path[0]}/shim")
sys.frozen = True

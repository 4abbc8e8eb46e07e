"""What the kernel gives and takes: raw argv and environment, signals, exec, reading a file in one call.

The frozen shim has all of it in its static start code (`_kernel`, built by images/shim); `python -m shim` has the
same through the standard library. Everything else in this package is the same in both.
"""

import sys

try:
    import _kernel
except ImportError:
    from shim import kernel_unfrozen as _kernel  # type: ignore[no-redef]

IS_FROZEN = hasattr(sys, "frozen") or _kernel.__name__ == "_kernel"

argv: list[bytes] = _kernel.argv
environ: list[bytes] = _kernel.environ
birth_mask: int = _kernel.birth_mask
finish_interpreter = _kernel.finish_interpreter
end_on_stop_signals = _kernel.end_on_stop_signals
block_signals = _kernel.block_signals
restore_signals = _kernel.restore_signals
execve = _kernel.execve
read_file = _kernel.read_file
prctl = _kernel.prctl
setrlimit = _kernel.setrlimit
filesystem_type = _kernel.filesystem_type
close_range = _kernel.close_range
wait_signal = _kernel.wait_signal
disposition = _kernel.disposition
set_disposition = _kernel.set_disposition
set_mask = _kernel.set_mask
sigqueue = _kernel.sigqueue
signal_descriptor = _kernel.signal_descriptor
spawn = _kernel.spawn
inotify_open = _kernel.inotify_open
inotify_watch = _kernel.inotify_watch
monotonic = _kernel.monotonic
settle = _kernel.settle
mask_patterns = _kernel.mask_patterns
mask = _kernel.mask


class _StandardLibrary:
    """The last half of the interpreter, on demand.

    The frozen shim runs in CPython's core alone, which knows the C modules built into it and this package. The first
    import of anything else (`re` for a pattern, `json` for `--json`) completes the interpreter and goes on.
    """

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> object:
        if name.startswith("shim."):
            return None
        sys.meta_path.remove(cls)  # type: ignore[arg-type]
        finish_interpreter()
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target)  # type: ignore[arg-type]
            if spec is not None:
                return spec
        return None


if _kernel.__name__ == "_kernel":
    sys.meta_path.insert(1, _StandardLibrary)  # type: ignore[arg-type]  # behind the built-in modules' own finder

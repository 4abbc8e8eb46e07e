"""What the kernel gives and takes: raw argv and environment, signals, exec, reading a file in one call.

The frozen shim has all of it in its static start code (`_kernel`, built by images/shim); `python -m shim` has the
same through the standard library. Everything else in this package is the same in both. The frozen shim runs in
CPython's core alone; its start code completes the interpreter at the first import of anything that needs more.
"""

try:
    import _kernel

    IS_FROZEN = True
except ImportError:
    import sys

    from shim import kernel_unfrozen as _kernel  # type: ignore[no-redef]

    IS_FROZEN = hasattr(sys, "frozen")

argv: list[bytes] = _kernel.argv
environ: list[bytes] = _kernel.environ
birth_mask: int = _kernel.birth_mask
end_on_stop_signals = _kernel.end_on_stop_signals
block_signals = _kernel.block_signals
restore_signals = _kernel.restore_signals
execve = _kernel.execve
read_file = _kernel.read_file
prctl = _kernel.prctl
setrlimit = _kernel.setrlimit
capabilities = _kernel.capabilities
set_capabilities = _kernel.set_capabilities
give_up_reading = _kernel.give_up_reading
filesystem_type = _kernel.filesystem_type
close_range = _kernel.close_range
wait_signal = _kernel.wait_signal
disposition = _kernel.disposition
set_disposition = _kernel.set_disposition
set_mask = _kernel.set_mask
sigqueue = _kernel.sigqueue
signal_descriptor = _kernel.signal_descriptor
can_start_at_once = _kernel.can_start_at_once
spawn = _kernel.spawn
first_moment = _kernel.first_moment
inotify_open = _kernel.inotify_open
inotify_watch = _kernel.inotify_watch
monotonic = _kernel.monotonic
settle = _kernel.settle
wipe_what_is_freed = _kernel.wipe_what_is_freed
forget_variable = _kernel.forget_variable
mask_patterns = _kernel.mask_patterns
mask = _kernel.mask

/* What `--init` adds to the modules `_kernel` and `posix` (staying.c). */
#ifndef SHIM_STAYING_H
#define SHIM_STAYING_H

#include <Python.h>

/* Return -1 when memory runs out. */
int shim_add_staying(PyObject *kernel, PyObject *posix);

#endif

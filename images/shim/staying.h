/* What `--init` adds to the modules `_kernel` and `posix` (staying.c). */
#ifndef SHIM_STAYING_H
#define SHIM_STAYING_H

#include <Python.h>

/* Return -1 when memory runs out. */
int shim_add_staying(PyObject *kernel, PyObject *posix);

/* Give back what is not needed to sleep, once after `settle()`. */
void shim_before_long_sleep(void);

#endif

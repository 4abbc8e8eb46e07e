/* How much of CPython starts, and when the rest does (core.c). */
#ifndef SHIM_CORE_H
#define SHIM_CORE_H

#include <Python.h>

/* Ask for as little of the interpreter as can run Python code. -1: no memory. */
int shim_start_core(PyConfig *config);

/* The core runs Python code from here on. */
void shim_core_is_made(void);

/* Make importlib, which the core alone does without; what it imports then is built in or frozen. -1: an exception. */
int shim_add_importlib(void);

/* Make the rest: encodings, sys.stdout, imports from paths. */
PyStatus shim_add_main(void);

#endif

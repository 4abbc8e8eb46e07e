/* Memory for CPython's small objects (blocks.c). */
#ifndef SHIM_BLOCKS_H
#define SHIM_BLOCKS_H

/* Give CPython its small objects from here on; before anything of it is started. */
void shim_use_blocks(void);

/* Wipe all blocks that are free now. */
void shim_wipe_free_blocks(void);

#endif

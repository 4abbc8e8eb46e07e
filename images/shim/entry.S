/* The first instructions of the process: block every signal, keep the mask that was there, go on to libc's own start.
 *
 * The kernel drops a signal that PID 1 has not armed for, and the engine's first TERM can come at any moment: from here
 * on it waits. libc's start, which asks the processor for all it can do, takes longer in a virtual machine than all
 * that main() does before its first line of Python.
 */
        .section .rodata
        .balign 8
all_signals:
        .quad -1

        .text
        .globl shim_entry
        .type shim_entry, %function
shim_entry:

#if defined(__x86_64__)

        mov     %rdx, %rbx                      /* _start wants the stack and this register as they are */
        mov     $14, %eax                       /* rt_sigprocmask(SIG_SETMASK, &all_signals, &shim_birth_mask, 8) */
        mov     $2, %edi
        lea     all_signals(%rip), %rsi
        lea     shim_birth_mask(%rip), %rdx
        mov     $8, %r10d
        syscall
        mov     %rbx, %rdx
        jmp     _start

#elif defined(__aarch64__)

        mov     x19, x0                         /* _start wants the stack and this register as they are */
        mov     x8, #135                        /* rt_sigprocmask(SIG_SETMASK, &all_signals, &shim_birth_mask, 8) */
        mov     x0, #2
        adrp    x1, all_signals
        add     x1, x1, :lo12:all_signals
        adrp    x2, shim_birth_mask
        add     x2, x2, :lo12:shim_birth_mask
        mov     x3, #8
        svc     #0
        mov     x0, x19
        b       _start

#else
#error "entry.S knows x86-64 and arm64"
#endif

        .size shim_entry, . - shim_entry
        .section .note.GNU-stack, "", %progbits

/*
 * How ggml's threads wait for each other. They do it after every node of a graph, by spinning, for
 * as long as it takes: where another program has the core that one of them needs, the others burn
 * theirs until the scheduler comes round, some hundred times a second of audio. Here a thread that
 * has spun for some 20 microseconds lets others run. docs/benchmarks.md has what it is worth.
 *
 * The build scripts have the compiler include this before every C file, see CFLAGS in
 * scripts/tools.mjs. ggml-cpu.c defines `ggml_thread_cpu_relax(void)` and calls
 * `ggml_thread_cpu_relax()`: with the argument pasted to the name, the definition becomes another
 * function, and the calls are ours.
 */
#ifndef OPUSCRIBE_RELAX_H
#define OPUSCRIBE_RELAX_H

#if defined(__unix__) && !defined(__cplusplus)

/* Not <sched.h>: including a header of the system's here would settle which features it has. */
int sched_yield(void);

static inline void opuscribe_relax_(void) {
    static __thread unsigned spins;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
    if ((++spins & 0x3ff) == 0) {
        sched_yield();
    }
}

#define ggml_thread_cpu_relax(nothing) opuscribe_relax_##nothing()

#endif
#endif

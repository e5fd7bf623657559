/*
 * Who computes ggml's products of matrices. ggml-cpu.c offers each to `llamafile_sgemm`; here it is
 * offered to a function of src/whisper/product.rs, which takes the large ones and hands the others
 * on to `llamafile_sgemm`. docs/benchmarks.md has what it is worth.
 *
 * The build scripts have the compiler include this before every C file, see CFLAGS in
 * scripts/tools.mjs. What defines `llamafile_sgemm` is C++, and stays as it is. On other processors
 * nobody has measured which is faster.
 */
#ifndef OPUSCRIBE_PRODUCT_H
#define OPUSCRIBE_PRODUCT_H

#if defined(__x86_64__) && !defined(__cplusplus)
#define llamafile_sgemm opuscribe_product
#endif

#endif

/*
 * Who computes ggml's products of matrices. ggml-cpu.c offers each to `llamafile_sgemm`; here it is
 * offered to `opuscribe_product` of src/whisper/product/, which takes most of them and hands the
 * others on. What is linked without that has the one below, and with it ggml as it is.
 * It is hidden, or the addon would export it: two in one process would share one.
 * docs/benchmarks.md has what it is worth.
 *
 * The build scripts have the compiler include this before every C file, see CFLAGS in
 * scripts/tools.mjs. What defines `llamafile_sgemm` is C++, and stays as it is. On other processors
 * nobody has measured which is faster.
 */
#ifndef OPUSCRIBE_PRODUCT_H
#define OPUSCRIBE_PRODUCT_H

/* ggml's own definition, for ggml-cpu alone. */
#if defined(GGML_USE_LLAMAFILE) && defined(__x86_64__) && !defined(__cplusplus)

struct ggml_compute_params;

_Bool llamafile_sgemm(const struct ggml_compute_params *share, __INT64_TYPE__ m, __INT64_TYPE__ n,
                      __INT64_TYPE__ k, const void *a, __INT64_TYPE__ lda, const void *b,
                      __INT64_TYPE__ ldb, void *c, __INT64_TYPE__ ldc, int a_type, int b_type,
                      int c_type);

__attribute__((weak, visibility("hidden"))) _Bool opuscribe_product(
    const struct ggml_compute_params *share, __INT64_TYPE__ m, __INT64_TYPE__ n, __INT64_TYPE__ k,
    const void *a, __INT64_TYPE__ lda, const void *b, __INT64_TYPE__ ldb, void *c,
    __INT64_TYPE__ ldc, int a_type, int b_type, int c_type) {
    return llamafile_sgemm(share, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type);
}

#define llamafile_sgemm opuscribe_product

#endif
#endif

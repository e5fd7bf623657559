//! Products of matrices: large ones are two thirds of the encoder's time, and those with a single
//! vector most of the decoder's.
//!
//! ggml's own function for them keeps a sum per lane for each number of the result, converts both
//! sides from half precision wherever it reads them, and adds up the lanes at the end, which for the
//! 64 terms of attention is most of the work: it reaches a third of what a core can do. Here the
//! weights are converted once, and the product of single precision is a library's.
//!
//! `native/product.h` has ggml call [`opuscribe_product`] in place of its own. Built without it,
//! everything works as before.
// The names are those of ggml and of every library of this kind.
#![allow(unsafe_code, clippy::many_single_char_names)]

mod vector;

use std::cell::RefCell;
use std::ffi::{c_int, c_void};

use matrixmultiply::sgemm;
use whisper_rs::whisper_rs_sys as sys;

/// Fewer columns, but for a single one, are not worth the conversion of the weights.
const MIN_COLUMNS: i64 = 64;
/// Rows that are converted at a time: with 1536 terms, the most of tiny, 1.5 MB.
const ROWS_AT_ONCE: usize = 256;

/// The beginning of ggml's `ggml_compute_params`: which of how many threads this is.
#[repr(C)]
pub struct Share {
    thread: c_int,
    threads: c_int,
}

thread_local! {
    /// One for each side.
    static CONVERTED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

unsafe extern "C" {
    /// ggml's own, which says whether it took the product.
    fn llamafile_sgemm(
        share: *const Share,
        m: i64,
        n: i64,
        k: i64,
        a: *const c_void,
        lda: i64,
        b: *const c_void,
        ldb: i64,
        c: *mut c_void,
        ldc: i64,
        a_type: c_int,
        b_type: c_int,
        c_type: c_int,
    ) -> bool;
}

/// `c[j][i] = Σ a[i][l] b[j][l]`, of `m` rows of `a` and `n` of `b`, each of `k` numbers, which are
/// `lda`, `ldb` and `ldc` numbers apart. Every thread of the graph calls it with the same arguments but
/// its share, and computes that.
///
/// # Safety
///
/// The pointers and sizes are those of ggml tensors of these types, as ggml passes them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn opuscribe_product(
    share: *const Share,
    m: i64,
    n: i64,
    k: i64,
    a: *const c_void,
    lda: i64,
    b: *const c_void,
    ldb: i64,
    c: *mut c_void,
    ldc: i64,
    a_type: c_int,
    b_type: c_int,
    c_type: c_int,
) -> bool {
    let (half, single) = (
        sys::ggml_type_GGML_TYPE_F16 as c_int,
        sys::ggml_type_GGML_TYPE_F32 as c_int,
    );
    let known = a_type == half && (b_type == half || b_type == single) && c_type == single;
    let is_ours = n == 1 || n >= MIN_COLUMNS;
    if !known || !is_ours || k < 1 {
        // SAFETY: the arguments that ggml gave.
        return unsafe {
            llamafile_sgemm(
                share, m, n, k, a, lda, b, ldb, c, ldc, a_type, b_type, c_type,
            )
        };
    }
    // SAFETY: ggml passes its parameters, which begin so.
    let Share { thread, threads } = unsafe { share.read() };
    let part = |of: usize| {
        let upto = |number: c_int| of * number as usize / threads as usize;
        upto(thread)..upto(thread + 1)
    };
    let [m, n, k, lda, ldb, ldc] = [m, n, k, lda, ldb, ldc].map(|size| size as usize);
    let columns = part(n);
    CONVERTED.with_borrow_mut(|[left, right]| {
        if n == 1 {
            // SAFETY: ggml's matrices have the sizes that it gives, and every thread writes its own
            // rows. No model is loaded on a processor without AVX2, FMA and F16C: `CpuLevel::check`.
            unsafe {
                let b = if b_type == half {
                    to_single(b, 0..1, k, ldb, right)
                } else {
                    b.cast()
                };
                let b = std::slice::from_raw_parts(b, k);
                vector::rows(a.cast(), lda, part(m), b, c.cast());
            }
            return;
        }
        // SAFETY: ggml's matrices have the sizes that it gives; every thread writes its own columns.
        unsafe {
            let (b, ldb) = if b_type == half {
                (to_single(b, columns.clone(), k, ldb, right), k)
            } else {
                (b.cast::<f32>().add(columns.start * ldb), ldb)
            };
            let c = c.cast::<f32>().add(columns.start * ldc);
            for first in (0..m).step_by(ROWS_AT_ONCE) {
                let rows = first..m.min(first + ROWS_AT_ONCE);
                let count = rows.len();
                let a = to_single(a, rows, k, lda, left);
                sgemm(
                    count,
                    k,
                    columns.len(),
                    1.0,
                    a,
                    k as isize,
                    1,
                    b,
                    1,
                    ldb as isize,
                    0.0,
                    c.add(first),
                    1,
                    ldc as isize,
                );
            }
        }
    });
    true
}

/// `rows` of a matrix of half precision, `k` numbers each, one behind the other.
///
/// # Safety
///
/// The matrix has these rows, `stride` numbers apart.
unsafe fn to_single(
    matrix: *const c_void,
    rows: std::ops::Range<usize>,
    k: usize,
    stride: usize,
    converted: &mut Vec<f32>,
) -> *const f32 {
    converted.resize(rows.len() * k, 0.0);
    for (row, singles) in rows.zip(converted.chunks_exact_mut(k)) {
        // SAFETY: the row is one of the matrix's, and as long as `singles`.
        unsafe {
            let halves = matrix.cast::<sys::ggml_fp16_t>().add(row * stride);
            sys::ggml_cpu_fp16_to_fp32(halves, singles.as_mut_ptr(), k as i64);
        }
    }
    converted.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: c_int = sys::ggml_type_GGML_TYPE_F16 as c_int;
    const SINGLE: c_int = sys::ggml_type_GGML_TYPE_F32 as c_int;

    /// Whole numbers, which half precision has too.
    fn numbers(count: usize, modulo: usize) -> Vec<f32> {
        let number = |index| ((index * 7 + index / 11) % modulo) as f32 - 3.0;
        (0..count).map(number).collect()
    }

    fn halves(singles: &[f32]) -> Vec<sys::ggml_fp16_t> {
        let mut halves = vec![0; singles.len()];
        // SAFETY: both are as long as that.
        unsafe {
            // Fills the table that single numbers are converted with, once.
            sys::ggml_cpu_init();
            let count = singles.len() as i64;
            sys::ggml_cpu_fp32_to_fp16(singles.as_ptr(), halves.as_mut_ptr(), count);
        }
        halves
    }

    /// With a gap of `gap` numbers behind every row of every matrix.
    fn assert_right([m, n, k]: [usize; 3], gap: usize, b_type: c_int, threads: c_int) {
        let stride = k + gap;
        let (a, b) = (numbers(m * stride, 9), numbers(n * stride, 8));
        let (a_half, b_half) = (halves(&a), halves(&b));
        let b_data = if b_type == HALF {
            b_half.as_ptr().cast::<c_void>()
        } else {
            b.as_ptr().cast()
        };
        let mut c = vec![0.5; n * (m + gap)];
        for thread in 0..threads {
            let share = Share { thread, threads };
            // SAFETY: matrices of these sizes.
            let taken = unsafe {
                opuscribe_product(
                    &raw const share,
                    m as i64,
                    n as i64,
                    k as i64,
                    a_half.as_ptr().cast(),
                    stride as i64,
                    b_data,
                    stride as i64,
                    c.as_mut_ptr().cast(),
                    (m + gap) as i64,
                    HALF,
                    b_type,
                    SINGLE,
                )
            };
            assert!(taken);
        }
        for (j, column) in c.chunks(m + gap).enumerate() {
            for (i, found) in column.iter().enumerate() {
                let terms = |l: usize| a[i * stride + l] * b[j * stride + l];
                let expected = if i < m { (0..k).map(terms).sum() } else { 0.5 };
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{i}, {j}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn the_product_is_right_whatever_the_sizes_the_gaps_and_the_threads() {
        for (size, gap) in [
            ([1, 64, 1], 0),
            ([64, 100, 64], 0),
            ([300, 65, 33], 5),
            ([384, 64, 100], 1),
            ([7, 301, 257], 3),
            ([1, 1, 1], 0),
            ([300, 1, 64], 0),
            ([100, 1, 384], 8),
            ([65, 1, 47], 1),
        ] {
            for b_type in [SINGLE, HALF] {
                for threads in [1, 2, 3, 100] {
                    assert_right(size, gap, b_type, threads);
                }
            }
        }
    }

    /// The same numbers, whoever computes them: the text must not depend on the number of threads.
    #[test]
    fn what_is_small_or_of_another_type_is_left_to_ggml() {
        let share = Share {
            thread: 0,
            threads: 1,
        };
        let (a, b) = ([0_u16; 32], [0.0_f32; 64]);
        let mut c = [7.0_f32; 2];
        // SAFETY: one row and two columns of 32 numbers; ggml's own takes no single row.
        let taken = unsafe {
            opuscribe_product(
                &raw const share,
                1,
                2,
                32,
                a.as_ptr().cast(),
                32,
                b.as_ptr().cast(),
                32,
                c.as_mut_ptr().cast(),
                1,
                HALF,
                SINGLE,
                SINGLE,
            )
        };
        assert!(!taken);
        assert!((c[0] - 7.0).abs() < f32::EPSILON);
    }
}

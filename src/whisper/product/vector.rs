//! The product of a matrix and a vector, of which a token of the decoder takes about fifty.
//!
//! Its time is that of reading the matrix once: for tiny 58 MB a token, most of it the vocabulary.
//! ggml has the vector in half precision, too, converts it again for each row, and has its threads
//! take turns at small parts of the matrix.

use std::arch::x86_64::{
    __m256, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_loadu_si128, _mm_movehdup_ps, _mm_movehl_ps,
    _mm256_add_ps, _mm256_castps256_ps128, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_setzero_ps,
};
use std::ops::Range;

/// Numbers in a register.
const LANES: usize = 8;
/// Sums that do not wait for each other.
const SUMS: usize = 4;

/// `c[i] = Σ a[i][l] b[l]` for the rows `rows` of `a`, which are `lda` numbers apart.
///
/// # Safety
///
/// `a` has these rows of `b.len()` numbers of half precision each, `c` these numbers, and the
/// processor has AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub unsafe fn rows(a: *const u16, lda: usize, rows: Range<usize>, b: &[f32], c: *mut f32) {
    for row in rows {
        // SAFETY: the row is one of the matrix's, and as long as `b`; `c` has a number for it.
        unsafe { c.add(row).write(dot(a.add(row * lda), b)) };
    }
}

/// # Safety
///
/// `a` has as many numbers as `b`, and the processor what is needed.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot(a: *const u16, b: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); SUMS];
    let whole = b.len() - b.len() % LANES;
    let mut at = 0;
    // SAFETY: both have LANES numbers from each of these places on.
    let add = |sum: __m256, at: usize| unsafe {
        let halves = _mm_loadu_si128(a.add(at).cast());
        _mm256_fmadd_ps(
            _mm256_cvtph_ps(halves),
            _mm256_loadu_ps(b.as_ptr().add(at)),
            sum,
        )
    };
    while at + SUMS * LANES <= whole {
        for (index, sum) in sums.iter_mut().enumerate() {
            *sum = add(*sum, at + index * LANES);
        }
        at += SUMS * LANES;
    }
    while at < whole {
        sums[0] = add(sums[0], at);
        at += LANES;
    }
    if at < b.len() {
        let (mut halves, mut singles) = ([0_u16; LANES], [0.0_f32; LANES]);
        for (index, single) in b[at..].iter().enumerate() {
            // SAFETY: `a` is as long as `b`.
            halves[index] = unsafe { a.add(at + index).read() };
            singles[index] = *single;
        }
        // SAFETY: both are as long as a register.
        sums[1] = unsafe {
            let halves = _mm256_cvtph_ps(_mm_loadu_si128(halves.as_ptr().cast()));
            _mm256_fmadd_ps(halves, _mm256_loadu_ps(singles.as_ptr()), sums[1])
        };
    }
    let [one, two, three, four] = sums;
    sum(_mm256_add_ps(
        _mm256_add_ps(one, two),
        _mm256_add_ps(three, four),
    ))
}

/// Of all lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn sum(lanes: __m256) -> f32 {
    let four = _mm_add_ps(
        _mm256_castps256_ps128(lanes),
        _mm256_extractf128_ps::<1>(lanes),
    );
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

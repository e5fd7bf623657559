//! Sums and maxima over the logits of a whole vocabulary, some 50,000 numbers for each token. Pure.

use super::rules::index;

/// Probability of each token of `ids` among all of `logits`.
pub fn probabilities(logits: &[f32], ids: impl Iterator<Item = i32>) -> Vec<f32> {
    let highest = maximum(logits);
    let sum = exponentials(logits, highest);
    ids.map(|id| {
        logits
            .get(index(id))
            .map_or(0.0, |logit| (logit - highest).exp() / sum)
    })
    .collect()
}

/// Neighbours that are taken apart, so that the compiler takes several at once.
const LANES: usize = 16;

/// The largest value.
pub fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let rest = blocks.remainder().iter();
    lanes.iter().chain(rest).copied().fold(f32::MIN, f32::max)
}

/// Where it is first.
pub fn position_of_maximum(values: &[f32]) -> usize {
    let highest = maximum(values);
    values
        .iter()
        .position(|&value| value >= highest)
        .unwrap_or(values.len())
}

/// Sum of `exp(value - highest)`.
pub fn exponentials(values: &[f32], highest: f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut blocks = values.chunks_exact(LANES);
    for block in &mut blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += exponential(value - highest);
        }
    }
    let rest = blocks.remainder().iter();
    lanes.iter().sum::<f32>() + rest.map(|value| exponential(value - highest)).sum::<f32>()
}

/// `exp` for arguments up to 0, to five digits: enough for a sum, and without a call, so that the
/// compiler takes several at once. The 50,000 calls for a token take a tenth of the decoder's time.
fn exponential(value: f32) -> f32 {
    // 2^-126 is the smallest normal number.
    let power = (value * std::f32::consts::LOG2_E).max(-126.0);
    let whole = power.floor();
    let part = power - whole;
    // 2^part on [0, 1): least squares, with 0 and 1 met exactly.
    let fraction = 1.0
        + part
            * (0.693_152_3
                + part
                    * (0.240_156_1
                        + part * (0.055_823_2 + part * (0.008_990_06 + part * 0.001_878_32))));
    f32::from_bits((((whole as i32) + 127) as u32) << 23) * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_five_digits() {
        for step in 0..10_000 {
            let value = step as f32 * -0.009;
            let (ours, exact) = (exponential(value), value.exp());
            assert!(
                (ours - exact).abs() <= exact.mul_add(1e-5, 1e-37),
                "{value}"
            );
        }
        assert!(exponential(f32::NEG_INFINITY) < 1e-37);
        let shares = probabilities(&[1.0, 1.0, f32::NEG_INFINITY], [0, 2].into_iter());
        assert!((shares[0] - 0.5).abs() < 1e-5 && shares[1] < 1e-30);
    }
}

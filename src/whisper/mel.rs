//! Log-mel spectrogram (Whisper paper, section 2.2): 25 ms Hann windows every 10 ms. whisper.cpp has
//! one too, which takes a tenth of the time of a short utterance; this one takes a hundredth. Pure.

use std::f32::consts::TAU;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

/// 25 ms at 16 kHz.
const FFT_SAMPLES: usize = 400;
/// Bins of the spectrum, and columns of the model's filter bank.
pub const BINS: usize = FFT_SAMPLES / 2 + 1;
/// 10 ms at 16 kHz.
pub const HOP_SAMPLES: usize = 160;
/// Silence behind the audio, 30 s: the encoder may look as far as its full window.
const PADDING_FRAMES: usize = 3000;
/// The least power that is told from silence.
const FLOOR: f32 = 1e-10;
/// What lies further than this below the loudest is raised to it, in powers of ten.
const RANGE: f32 = 8.0;

/// Computes spectrograms with one model's filter bank.
pub struct LogMel {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    /// For each band the first bin that counts, and the weights from there on.
    bands: Vec<(usize, Vec<f32>)>,
}

impl LogMel {
    /// `filters` holds a row of [`BINS`] weights for each band, as the model file does.
    pub fn new(filters: &[f32]) -> Self {
        let band = |row: &[f32]| {
            let first = row.iter().position(|&weight| weight != 0.0).unwrap_or(0);
            let end = row.iter().rposition(|&weight| weight != 0.0);
            (
                first,
                row[first..end.map_or(first, |last| last + 1)].to_vec(),
            )
        };
        let hann = |index: usize| 0.5 * (1.0 - (TAU * index as f32 / FFT_SAMPLES as f32).cos());
        Self {
            fft: RealFftPlanner::new().plan_fft_forward(FFT_SAMPLES),
            window: (0..FFT_SAMPLES).map(hann).collect(),
            bands: filters.chunks_exact(BINS).map(band).collect(),
        }
    }

    /// Band by band, the audio's frames and then 30 s of silence, scaled as the model expects it.
    pub fn compute(&self, audio: &[f32]) -> Vec<f32> {
        let reach = FFT_SAMPLES / 2;
        // Centred frames: mirrored before the audio, silent behind it.
        let mut padded: Vec<f32> = (1..=reach)
            .rev()
            .map(|index| audio.get(index).copied().unwrap_or(0.0))
            .collect();
        padded.extend_from_slice(audio);
        let heard = padded.len().div_ceil(HOP_SAMPLES);
        padded.resize(heard * HOP_SAMPLES + FFT_SAMPLES, 0.0);

        // Two frames are one position of the encoder, and whisper-rs takes no odd number.
        let frames = (audio.len() / HOP_SAMPLES).next_multiple_of(2) + PADDING_FRAMES;
        let silence = FLOOR.log10();
        let mut mel = vec![silence; self.bands.len() * frames];
        let mut windowed = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = [0.0; BINS];
        let mut loudest = silence;
        for frame in 0..heard.min(frames) {
            let samples = &padded[frame * HOP_SAMPLES..][..FFT_SAMPLES];
            for ((out, sample), weight) in windowed.iter_mut().zip(samples).zip(&self.window) {
                *out = sample * weight;
            }
            // The only failure is a slice of another length, and all three are the transform's own.
            let _ = self
                .fft
                .process_with_scratch(&mut windowed, &mut spectrum, &mut scratch);
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = bin.norm_sqr();
            }
            for (band, (first, weights)) in self.bands.iter().enumerate() {
                let energy: f32 = power[*first..]
                    .iter()
                    .zip(weights)
                    .map(|(power, weight)| power * weight)
                    .sum();
                let level = energy.max(FLOOR).log10();
                loudest = loudest.max(level);
                mel[band * frames + frame] = level;
            }
        }
        let floor = loudest - RANGE;
        for level in &mut mel {
            *level = (level.max(floor) + 4.0) / 4.0;
        }
        mel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One band that takes bins 9 to 11, 360 to 440 Hz, and one that takes the rest above.
    fn two_bands() -> LogMel {
        let mut filters = vec![0.0; 2 * BINS];
        filters[9..12].fill(1.0);
        filters[BINS + 12..].fill(1.0);
        LogMel::new(&filters)
    }

    #[test]
    fn a_tone_is_in_its_band_and_nowhere_else() {
        let tone: Vec<f32> = (0..16_000)
            .map(|at| (TAU * 400.0 * at as f32 / 16_000.0).sin())
            .collect();
        let mel = two_bands().compute(&tone);
        let frames = mel.len() / 2;
        assert_eq!(frames, 100 + PADDING_FRAMES);
        // A sine of amplitude 1 under a Hann window: 10,000 in its bin, a quarter in those beside.
        let expected = (15_000.0_f32.log10() + 4.0) / 4.0;
        assert!((mel[50] - expected).abs() < 1e-3, "{} {expected}", mel[50]);
        assert!(mel[frames + 50] < mel[50] - 1.5);
        // Behind the audio nothing is left but the floor, 8 powers of ten below the loudest.
        let loudest = mel.iter().copied().fold(f32::MIN, f32::max);
        assert!((mel[200] - (loudest - RANGE / 4.0)).abs() < 1e-6);
    }

    #[test]
    fn silence_and_next_to_nothing_have_a_spectrogram() {
        for audio in [&[][..], &[0.5], &[0.0; 1000], &[0.0; 1130]] {
            let mel = two_bands().compute(audio);
            let frames = mel.len() / 2;
            assert!(frames >= audio.len() / HOP_SAMPLES + PADDING_FRAMES);
            assert!(frames.is_multiple_of(2));
            assert!(mel.iter().all(|level| level.is_finite()));
        }
    }
}

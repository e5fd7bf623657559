//! What the targets share: reading an input to its end as the engine does.

use opuscribe::audio::Source;
use opuscribe::media::{self, MediaAudio};

/// Ten minutes at 16 kHz: the engine's own limit is four hours, which would be slow to reach.
const MAX_SAMPLES: usize = 600 * 16_000;
/// Bytes that arrive at once on a live stream.
const ARRIVAL_BYTES: usize = 61;

/// Reads piece by piece. No step may give more than a few seconds at once, no sample may be what
/// no model can take, and what was read must be told.
pub fn drain(source: &mut dyn Source) {
    let mut pcm = Vec::new();
    let mut heard = 0;
    let mut share = 0.0;
    while let Ok(more) = source.read(&mut pcm) {
        assert!(
            pcm.len() <= 40 * 16_000,
            "{} samples in one step",
            pcm.len()
        );
        assert!(pcm.iter().all(|sample| sample.is_finite()));
        assert!(source.share() >= share && source.share() <= 1.0);
        share = source.share();
        heard += pcm.len();
        pcm.clear();
        if !more || heard > MAX_SAMPLES {
            break;
        }
    }
    let report = source.report();
    assert!(report.warnings.len() < 100, "{:?}", report.warnings);
}

/// Reads a file's bytes whole, and the same bytes as they arrive live.
pub fn media(bytes: &[u8]) {
    if let Ok(mut audio) = MediaAudio::open(media::Source::Bytes(bytes.to_vec())) {
        drain(&mut audio);
    }
    let arriving: Vec<Vec<u8>> = bytes.chunks(ARRIVAL_BYTES).map(<[u8]>::to_vec).collect();
    if let Ok(mut audio) = MediaAudio::open(media::Source::Live(Box::new(arriving.into_iter()))) {
        drain(&mut audio);
    }
}

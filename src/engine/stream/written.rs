//! How long what was written to a stream lasts, as its decoder will find it. Pure.

use crate::audio::{SAMPLE_RATE_HZ, samples_to_ms};
use crate::opus::{PacketList, samples_16k, samples_48k};

/// Of a lost packet, until one tells: what most encoders write.
pub const PACKET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;

/// Counts in whole packets and floats: what is rounded at every write drifts away from the audio.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Where the writing began.
    begun_ms: f64,
    /// Floats a second.
    rate: usize,
    floats: usize,
    /// Of packets, at 16 kHz.
    samples: usize,
    /// Length of the last packet that told it: lost ones are taken to be as long.
    last: Option<usize>,
    /// Packets that are no Opus, before the first that told its length: their place is as long as
    /// that, if it comes.
    leading: usize,
}

impl Written {
    /// Nothing yet. A second of sound has `rate` floats.
    pub fn new(begun_ms: f64, rate: usize) -> Self {
        Self {
            begun_ms,
            rate,
            floats: 0,
            samples: 0,
            last: None,
            leading: 0,
        }
    }

    /// Where the writing has come to.
    pub fn ms(&self) -> f64 {
        let floats_ms = self.floats as f64 * 1000.0 / self.rate as f64;
        self.begun_ms + samples_to_ms(self.samples) + floats_ms
    }

    /// How many samples at 16 kHz that is, without those before the beginning.
    pub fn samples(&self) -> usize {
        self.samples + self.floats * SAMPLE_RATE_HZ as usize / self.rate
    }

    /// So many more floats.
    pub fn add_floats(&mut self, count: usize) {
        self.floats += count;
    }

    /// More packets.
    pub fn add_packets(&mut self, packets: &PacketList) {
        for packet in packets.iter() {
            match (packet.map(samples_48k), self.last) {
                (Some(Ok(samples)), _) => {
                    let samples = samples_16k(samples);
                    self.samples += samples * (1 + std::mem::take(&mut self.leading));
                    self.last = Some(samples);
                }
                (_, Some(last)) => self.samples += last,
                (None, None) => self.samples += PACKET_SAMPLES,
                (Some(Err(_)), None) => self.leading += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_an_audio_worklet_do_not_drift() {
        for (rate_hz, channels) in [(48_000, 1), (44_100, 2), (16_000, 1)] {
            let mut written = Written::new(0.0, rate_hz * channels);
            let blocks = 10 * 60 * rate_hz / 128;
            let mut waiting = 0;
            for _ in 0..blocks {
                let before = written.samples();
                written.add_floats(128 * channels);
                waiting += written.samples() - before;
            }
            let exact = (blocks * 128) as f64 / rate_hz as f64;
            assert!((written.ms() - exact * 1000.0).abs() < 1e-6);
            assert_eq!(waiting, (exact * f64::from(SAMPLE_RATE_HZ)) as usize);
        }
    }

    #[test]
    fn the_writing_goes_on_from_where_it_began() {
        let mut written = Written::new(20.5, 16_000);
        written.add_floats(160);
        assert!((written.ms() - 30.5).abs() < 1e-9);
        assert_eq!(written.samples(), 160);
    }
}

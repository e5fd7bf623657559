//! Streams on the fake models, and all that they tell.

use std::sync::Arc;

use crossbeam_channel::{Receiver, unbounded};
use opuscribe::Result;
use opuscribe::engine::{Engine, StreamEvent, StreamHandle};
use opuscribe::options::StreamOptions;
use opuscribe::transcript::Transcript;

use super::{SECOND, Script, until};

pub fn script() -> Script {
    Script {
        every_word: true,
        ..Script::default()
    }
}

pub fn open(engine: &Engine, options: StreamOptions) -> (StreamHandle, Receiver<StreamEvent>) {
    let (told, events) = unbounded();
    let sink = Arc::new(move |event| drop(told.send(event)));
    (engine.open_stream(options, sink).unwrap(), events)
}

/// Levels of so many tenths of a second each.
pub fn audio(stretches: &[(u8, usize)]) -> Vec<f32> {
    let stretch = |&(level, tenths): &(u8, usize)| {
        std::iter::repeat_n(f32::from(level) / 100.0, tenths * SECOND / 10)
    };
    stretches.iter().flat_map(stretch).collect()
}

/// All that a stream told, once it has told its end, which came once.
pub struct Told {
    pub events: Vec<StreamEvent>,
    pub end: Result<()>,
}

impl Told {
    pub fn collect(events: &Receiver<StreamEvent>) -> Self {
        let mut told = Vec::new();
        let end = loop {
            match events.recv().unwrap() {
                StreamEvent::End(end) => break end,
                StreamEvent::Ready => {}
                event => told.push(event),
            }
        };
        // Nothing comes behind it.
        assert!(
            events
                .try_iter()
                .all(|event| matches!(event, StreamEvent::Ready))
        );
        Self { events: told, end }
    }

    pub fn finals(&self) -> Vec<&Transcript> {
        let transcripts = self.events.iter().filter_map(|event| match event {
            StreamEvent::Final { transcript, .. } => Some(&**transcript),
            _ => None,
        });
        transcripts.collect()
    }

    pub fn texts(&self) -> Vec<&str> {
        self.finals().iter().map(|f| f.text.as_str()).collect()
    }

    /// Starts and ends in milliseconds.
    pub fn speech(&self) -> Vec<(bool, f64)> {
        let speech = self.events.iter().filter_map(|event| match event {
            StreamEvent::SpeechStart { at_ms } => Some((true, *at_ms)),
            StreamEvent::SpeechEnd { at_ms } => Some((false, *at_ms)),
            _ => None,
        });
        speech.collect()
    }

    pub fn interims(&self, of: u32) -> Vec<(&str, &str)> {
        let interims = self.events.iter().filter_map(|event| match event {
            StreamEvent::Interim {
                utterance,
                committed,
                tentative,
            } if *utterance == of => Some((committed.as_str(), tentative.as_str())),
            _ => None,
        });
        interims.collect()
    }

    /// What was committed is how everything begins that comes later.
    pub fn assert_committed_only_grows(&self) {
        for (utterance, last) in self.finals().iter().enumerate() {
            let mut before = "";
            for (committed, tentative) in self.interims(utterance as u32) {
                assert!(committed.starts_with(before), "{before:?} {committed:?}");
                assert!(!committed.is_empty() || !tentative.starts_with(' '));
                before = committed;
            }
            assert!(last.text.starts_with(before), "{before:?} {:?}", last.text);
        }
    }
}

/// Writes it in packets of 20 ms, each as soon as the one before is heard.
pub fn write(stream: &StreamHandle, audio: &[f32]) {
    for packet in audio.chunks(SECOND / 50) {
        stream.push_pcm(packet.to_vec());
        until(|| stream.lag_ms() < 1000.0);
    }
}

pub fn told(engine: &Engine, options: StreamOptions, audio: &[f32]) -> Told {
    let (mut stream, events) = open(engine, options);
    write(&stream, audio);
    stream.end();
    Told::collect(&events)
}

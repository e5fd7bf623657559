//! A stream that goes on from another that could not: as if nothing had happened.

#![allow(clippy::unwrap_used)]

mod fakes;

use fakes::live::{Told, audio, open, script, write};
use fakes::{SECOND, until};
use opuscribe::engine::{Engine, StreamEvent};
use std::collections::BTreeMap;

use opuscribe::options::{Resume, StreamOptions, VadOverrides};

/// What the first stream told until it could not go on, and how the second has to begin.
struct Known {
    finals: Vec<String>,
    resume: Resume,
}

/// As the other side of a process would keep it.
fn known(events: &[StreamEvent]) -> Known {
    let (mut finals, mut committed) = (Vec::new(), BTreeMap::new());
    let mut kept = BTreeMap::from([(0, (0.0, false))]);
    let mut spoken = 0.0;
    for event in events {
        match event {
            StreamEvent::SpeechStart { at_ms } => spoken = *at_ms,
            StreamEvent::Interim {
                utterance,
                committed: text,
                ..
            } => drop(committed.insert(*utterance, text.clone())),
            StreamEvent::Final {
                utterance,
                transcript,
            } => {
                finals.push(transcript.text.clone());
                committed.remove(utterance);
                let (from_ms, _) = kept.remove(utterance).unwrap();
                let end_ms = from_ms + transcript.duration_ms;
                kept.entry(utterance + 1).or_insert((end_ms, false));
            }
            StreamEvent::Kept {
                utterance,
                from_ms,
                is_open,
            } => drop(kept.insert(*utterance, (*from_ms, *is_open))),
            _ => {}
        }
    }
    let (&utterance, &(from_ms, is_open)) = kept.first_key_value().unwrap();
    Known {
        resume: Resume {
            from_ms,
            utterance,
            spoken_ms: is_open.then(|| spoken.max(from_ms)),
            committed: (utterance..)
                .map_while(|number| (number < utterance + 3).then(|| committed.remove(&number)))
                .map(Option::unwrap_or_default)
                .collect(),
            // Nobody asked for it to be given to the model.
            previous: finals.last().cloned(),
            ..Resume::default()
        },
        finals,
    }
}

fn options(resume: Resume) -> StreamOptions {
    StreamOptions {
        vad: VadOverrides {
            max_speech_duration_s: Some(12.0),
            ..VadOverrides::default()
        },
        resume: Some(resume),
        ..StreamOptions::default()
    }
}

/// Writes up to there, waits until nothing more comes of it, and gives what was told.
fn interrupted(engine: &Engine, audio: &[f32]) -> (Vec<StreamEvent>, Known) {
    let (stream, events) = open(engine, options(Resume::default()));
    write(&stream, audio);
    until(|| stream.lag_ms() == 0.0);
    let told: Vec<StreamEvent> = events.try_iter().collect();
    let known = known(&told);
    (told, known)
}

fn resumed(engine: &Engine, audio: &[f32], mut resume: Resume, context_ms: f64) -> Told {
    // Whole packets of 20 ms.
    let packets = ((resume.from_ms - context_ms).max(0.0) / 20.0) as usize;
    resume.received = packets * SECOND / 50;
    resume.written_ms = packets as f64 * 20.0;
    let (mut stream, events) = open(engine, options(resume.clone()));
    assert!((stream.written_ms() - resume.written_ms).abs() < 0.1);
    write(&stream, &audio[resume.received..]);
    stream.end();
    Told::collect(&events)
}

#[test]
fn wherever_a_stream_breaks_off_another_goes_on_as_if_nothing_had_happened() {
    let engine = script().engine(4);
    let audio = audio(&[
        (0, 13),
        (20, 20),
        (0, 3),
        (22, 9),
        (0, 21),
        // Too long for one utterance, with a pause in which it is cut, and without one.
        (24, 60),
        (26, 50),
        (0, 4),
        (28, 70),
        (30, 80),
        (0, 17),
        (32, 4),
        (0, 20),
    ]);
    let whole = Told::collect(&{
        let (mut stream, events) = open(&engine, options(Resume::default()));
        write(&stream, &audio);
        stream.end();
        events
    });
    assert!(whole.finals().len() >= 5, "{:?}", whole.texts());
    for at in (SECOND / 2..audio.len()).step_by(13 * SECOND / 10 + 11) {
        let (before, Known { finals, resume }) = interrupted(&engine, &audio[..at]);
        let told = resumed(&engine, &audio, resume.clone(), 1000.0);
        told.end.as_ref().unwrap();
        let second = at as f64 / SECOND as f64;
        // The texts, their numbers and their places.
        let mut texts: Vec<&str> = finals.iter().map(String::as_str).collect();
        texts.extend(told.texts());
        assert_eq!(texts, whole.texts(), "at {second} s: {resume:?}");
        for (again, once) in told.finals().iter().rev().zip(whole.finals().iter().rev()) {
            assert_eq!(again.speech, once.speech, "at {second} s: {resume:?}");
            assert_eq!(again.id.rsplit('-').next(), once.id.rsplit('-').next());
        }
        // What was committed stays.
        for (committed, last) in resume.committed.iter().zip(told.finals()) {
            assert!(last.text.starts_with(committed), "at {second} s");
        }
        for event in &told.events {
            if let StreamEvent::Interim {
                utterance,
                committed,
                ..
            } = event
                && let Some(before) = resume
                    .committed
                    .get((utterance - resume.utterance) as usize)
            {
                assert!(committed.starts_with(before), "at {second} s");
            }
        }
        // A start that was told is not told again, and its end is.
        let starts = |events: &[StreamEvent]| {
            let is_start = |event: &&StreamEvent| matches!(event, StreamEvent::SpeechStart { .. });
            events.iter().filter(is_start).count()
        };
        let both = starts(&before) + starts(&told.events);
        assert_eq!(both, starts(&whole.events), "at {second} s: {resume:?}");
    }
}

/// An engine that closes, say, lets a stream end that has not got all of its audio again.
#[test]
fn a_stream_that_ends_before_it_is_where_the_other_was_ends_in_order() {
    let engine = script().engine(4);
    for spoken_ms in [None, Some(3000.0)] {
        let resume = Resume {
            written_ms: 1000.0,
            received: SECOND,
            from_ms: 3000.0,
            utterance: 2,
            spoken_ms,
            committed: vec!["w20".into()],
            ..Resume::default()
        };
        let (mut stream, events) = open(&engine, options(resume));
        write(&stream, &audio(&[(20, 10)]));
        stream.end();
        let told = Told::collect(&events);
        told.end.as_ref().unwrap();
        assert!(told.finals().iter().all(|f| f.duration_ms < 0.1));
        assert_eq!(told.finals().len(), usize::from(spoken_ms.is_some()));
    }
}

#[test]
fn the_words_of_a_text_that_keeps_what_was_committed_spell_it_or_there_are_none() {
    let engine = script().engine(4);
    for (committed, text, is_spelt) in [
        ("w20", "w20", true),
        ("W20", "W20", true),
        // More than what is heard, before it and behind it.
        ("w10 w20", "w10 w20", false),
        ("w20 w22 w24", "w20 w22 w24", false),
    ] {
        let mut options = options(Resume {
            spoken_ms: Some(0.0),
            committed: vec![committed.into()],
            ..Resume::default()
        });
        options.job.word_timestamps = true;
        let (mut stream, events) = open(&engine, options);
        write(&stream, &audio(&[(20, 10), (0, 10)]));
        stream.end();
        let told = Told::collect(&events);
        assert_eq!(told.texts(), [text]);
        let segment = &told.finals()[0].segments[0];
        let spelt = segment.words.as_ref().map(|words| {
            let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
            texts.join(" ")
        });
        assert_eq!(spelt.as_deref(), is_spelt.then_some(text));
    }
}

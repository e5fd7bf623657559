//! Live streams on models that are none: what of them the device does first, and what it does twice.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use fakes::live::{Told, audio, open};
use fakes::{Script, submit_batch, until, wait, word};
use opuscribe::engine::{StreamEvent, StreamHandle};
use opuscribe::options::{JobOptions, Priority, StreamOptions};

/// Longer than any test takes.
const LONG: Duration = Duration::from_mins(1);

fn until_speech_ends(events: &Receiver<StreamEvent>) {
    while !matches!(
        events.recv_timeout(LONG).unwrap(),
        StreamEvent::SpeechEnd { .. }
    ) {}
}

/// Somebody has spoken, and pauses for as long as an end of it would take along.
fn said_and_paused() -> Vec<f32> {
    audio(&[(20, 20), (0, 5)])
}

#[test]
fn a_rehearsal_becomes_the_final_text_though_that_is_asked_for_before_it_is_done() {
    for priority in [Priority::Interactive, Priority::Batch] {
        let (gated, works, open_gate) = Script::gated();
        let engine = gated.engine(4);
        let options = StreamOptions {
            job: JobOptions {
                priority,
                ..JobOptions::default()
            },
            ..StreamOptions::default()
        };
        let (mut stream, events) = open(&engine, options);
        stream.push_pcm(said_and_paused());
        works.recv_timeout(LONG).unwrap();
        stream.push_pcm(audio(&[(0, 6)]));
        // The silence is heard, and its window waits for its text.
        until(|| (2300.0..2500.0).contains(&stream.lag_ms()));
        for _ in 0..3 {
            open_gate.send(()).unwrap();
        }
        stream.end();
        let told = Told::collect(&events);
        told.end.as_ref().unwrap();
        assert_eq!(told.texts(), ["w20"]);
        assert_eq!(gated.seen(), ["w20"], "it is recognized once");
    }
}

#[test]
fn a_rehearsal_is_not_begun_again_for_the_final_text_of_another() {
    let (gated, works, open_gate) = Script::gated();
    let engine = gated.engine(4);
    let (mut stream, events) = open(&engine, StreamOptions::default());
    stream.push_pcm(said_and_paused());
    works.recv_timeout(LONG).unwrap();
    let without_interims = StreamOptions {
        interim: false,
        ..StreamOptions::default()
    };
    let (mut other, other_events) = open(&engine, without_interims);
    other.push_pcm(audio(&[(50, 20)]));
    other.end();
    until_speech_ends(&other_events);
    // The detector has handed it on when it hears what comes behind it.
    stream.push_pcm(audio(&[(0, 1)]));
    until(|| stream.lag_ms() == 0.0);
    for _ in 0..4 {
        open_gate.send(()).unwrap();
    }
    Told::collect(&other_events).end.unwrap();
    stream.end();
    let told = Told::collect(&events);
    told.end.as_ref().unwrap();
    assert_eq!(told.texts(), ["w20"]);
    assert_eq!(gated.seen(), ["w20", "w50"]);
}

#[test]
fn a_rehearsal_of_what_is_not_the_end_makes_way_for_the_final_text() {
    for priority in [Priority::Interactive, Priority::Batch] {
        let (gated, works, open_gate) = Script::gated();
        let engine = gated.engine(4);
        let options = StreamOptions {
            job: JobOptions {
                priority,
                ..JobOptions::default()
            },
            ..StreamOptions::default()
        };
        let (mut stream, events) = open(&engine, options);
        stream.push_pcm(said_and_paused());
        works.recv_timeout(LONG).unwrap();
        stream.push_pcm(audio(&[(30, 2)]));
        stream.idle();
        until_speech_ends(&events);
        // Nobody has let the rehearsal through.
        works.recv_timeout(LONG).unwrap();
        for _ in 0..3 {
            open_gate.send(()).unwrap();
        }
        stream.end();
        let told = Told::collect(&events);
        told.end.as_ref().unwrap();
        assert_eq!(told.texts(), ["w20"]);
        assert!((told.finals()[0].duration_ms - 2700.0).abs() < 0.1);
    }
}

#[test]
fn the_text_of_a_batch_stream_goes_before_the_interims_of_others() {
    let (gated, works, open_gate) = Script::gated();
    let engine = gated.engine(4);
    let batch = |interim| StreamOptions {
        job: JobOptions {
            priority: Priority::Batch,
            ..JobOptions::default()
        },
        interim,
        ..StreamOptions::default()
    };
    let busy = submit_batch(&engine, word(11));
    works.recv_timeout(LONG).unwrap();
    let (mut stream, events) = open(&engine, batch(true));
    stream.push_pcm(audio(&[(20, 20)]));
    until(|| stream.lag_ms() == 0.0);
    let (mut other, other_events) = open(&engine, batch(false));
    other.push_pcm(audio(&[(50, 20)]));
    other.end();
    until_speech_ends(&other_events);
    // The detector has handed it on when it hears what comes behind it.
    stream.push_pcm(audio(&[(20, 1)]));
    until(|| stream.lag_ms() == 0.0);
    for _ in 0..4 {
        open_gate.send(()).unwrap();
    }
    wait(&engine, busy).unwrap();
    Told::collect(&other_events).end.unwrap();
    stream.end();
    Told::collect(&events).end.unwrap();
    assert_eq!(gated.seen()[..3], ["w11", "w50", "w20"]);
}

/// Who lets a process end when nothing is owed any more asks at any time.
#[test]
fn a_text_is_owed_until_it_has_been_told() {
    let (gated, works, open_gate) = Script::gated();
    let engine = gated.engine(4);
    let stream = Arc::new(Mutex::new(None::<StreamHandle>));
    let (tell, lags) = unbounded();
    let told_by = Arc::clone(&stream);
    let sink = Arc::new(move |event| {
        if matches!(event, StreamEvent::Final { .. }) {
            let stream = told_by.lock().unwrap();
            tell.send(stream.as_ref().unwrap().lag_ms()).unwrap();
        }
    });
    let options = StreamOptions {
        interim: false,
        ..StreamOptions::default()
    };
    *stream.lock().unwrap() = Some(engine.open_stream(options, sink).unwrap());
    let lag_ms = || stream.lock().unwrap().as_ref().unwrap().lag_ms();
    let said = audio(&[(20, 20), (0, 10)]);
    stream.lock().unwrap().as_ref().unwrap().push_pcm(said);
    works.recv_timeout(LONG).unwrap();
    // All is heard, and its window waits for its text.
    until(|| lag_ms() < 2500.0);
    open_gate.send(()).unwrap();
    assert!(lags.recv_timeout(LONG).unwrap() > 0.0);
    until(|| lag_ms() == 0.0);
    // It is held by what it tells.
    drop(stream.lock().unwrap().take());
}

//! Stages that fail, and engines that close themselves, with fake models.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fakes::*;
use opuscribe::engine::{Engine, Models};
use opuscribe::options::{EngineOptions, JobOptions};
use opuscribe::{Error, ErrorKind};

/// What a later stage cannot use is not decoded to its end.
#[test]
fn a_file_whose_job_has_failed_is_not_read_on() {
    // What breaks the recognizer, and what breaks the detector.
    for level in [0.66, 2.0] {
        let engine = Script::default().engine(8);
        let samples = vec![level; 60 * 60 * SECOND];
        assert_eq!(
            kind(wait(&engine, submit(&engine, pcm(samples)))),
            ErrorKind::WorkerFailed
        );
        assert_eq!(
            wait(&engine, submit(&engine, word(30))).unwrap().text,
            "w30"
        );
        // Draining waits for every decoder.
        let stats = engine.stats();
        engine.close(true);
        let decoded_ms = stats.snapshot().audio_ms;
        assert!(decoded_ms < 10.0 * 60_000.0, "{decoded_ms}");
    }
}

/// A listener that panics is not the model's failure: the stage that told it is gone.
#[test]
fn an_engine_whose_stage_stops_closes_itself_and_says_why() {
    let engine = Script::default().engine(8);
    let listener = Box::new(|_| panic!("the listener broke on purpose"));
    let told = engine.submit(word(30), JobOptions::default(), Some(listener));
    assert_eq!(kind(wait(&engine, told.unwrap())), ErrorKind::WorkerFailed);
    // Once it has noticed; until then jobs come to nothing.
    let refused = (0..100_000).map(|_| {
        let submitted = engine.submit(word(30), JobOptions::default(), None);
        match submitted {
            Ok(job) => wait(&engine, job).unwrap_err(),
            Err(error) => error,
        }
    });
    let mut refused = refused.skip_while(|error| error.kind() == ErrorKind::WorkerFailed);
    let error = refused.next().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(
        error.message().contains("the listener broke on purpose"),
        "{error}"
    );
}

/// A limit that is found only while reading: the text so far is no success.
#[test]
fn a_long_input_with_a_broken_end_is_an_error_not_a_shorter_text() {
    let engine = Script::default().engine(8);
    let mut samples = vec![0.5; 90 * SECOND];
    samples[80 * SECOND] = 2.0;
    assert_eq!(
        kind(wait(&engine, submit(&engine, pcm(samples)))),
        ErrorKind::WorkerFailed
    );
    assert_eq!(engine.stats().snapshot().completed, 0);
}

/// Five failures in a row; what waits is answered, what comes later is told why, and both models
/// are freed although nobody has closed the engine.
#[test]
fn an_engine_whose_stage_keeps_failing_closes_itself_and_says_why() {
    let script = Script::default();
    let engine = script.engine(16);
    let mut jobs: Vec<_> = (0..7).map(|_| submit(&engine, word(66))).collect();
    jobs.push(submit(&engine, word(30)));
    for job in jobs {
        assert_eq!(kind(wait(&engine, job)), ErrorKind::WorkerFailed);
    }
    let late = engine.submit(word(30), JobOptions::default(), None);
    let error = late.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let why =
        "opuscribe-gpu failed 5 times in a row, the last time: the recognizer broke on purpose";
    assert!(error.message().contains(why), "{error}");
    until(|| script.vads_dropped.load(Ordering::SeqCst) == 1);
    let built = script.built.load(Ordering::SeqCst);
    assert_eq!(built, 5);
    until(|| script.dropped_on_owner.load(Ordering::SeqCst) == built);
    assert_eq!(engine.stats().snapshot().restarts, 4);
    assert!(script.seen().is_empty());
    engine.close(true);
}

#[test]
fn a_stage_that_fails_now_and_then_goes_on_for_ever() {
    let engine = Script::default().engine(8);
    for _ in 0..12 {
        assert_eq!(
            kind(wait(&engine, submit(&engine, word(66)))),
            ErrorKind::WorkerFailed
        );
        assert_eq!(
            wait(&engine, submit(&engine, word(30))).unwrap().text,
            "w30"
        );
    }
    assert_eq!(engine.stats().snapshot().restarts, 12);
}

/// The job whose turn it is then is told; the next one finds another try.
#[test]
fn a_model_that_cannot_be_rebuilt_at_once_is_tried_again() {
    let script = Script::default();
    let Models { vad, recognizer } = script.models();
    let built = Arc::new(AtomicUsize::new(0));
    let models = Models {
        vad,
        recognizer: Box::new(move || match built.fetch_add(1, Ordering::SeqCst) {
            1 => Err(Error::new(ErrorKind::ModelNotFound, "it is gone")),
            2 => panic!("the build broke on purpose"),
            _ => recognizer(),
        }),
    };
    let engine = Engine::open_with(EngineOptions::new("fake", "/fake"), models, None).unwrap();
    let run = |level| wait(&engine, submit(&engine, word(level)));
    assert_eq!(kind(run(66)), ErrorKind::WorkerFailed);
    let gone = run(30).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::WorkerFailed);
    assert!(gone.to_string().contains("it is gone"), "{gone}");
    assert_eq!(kind(run(30)), ErrorKind::WorkerFailed);
    assert_eq!(run(30).unwrap().text, "w30");
    assert_eq!(engine.stats().snapshot().restarts, 1);
}

#[test]
fn closing_in_the_pause_before_a_rebuild_builds_nothing_more() {
    let script = Script::default();
    let engine = script.engine(8);
    for _ in 0..4 {
        assert_eq!(
            kind(wait(&engine, submit(&engine, word(66)))),
            ErrorKind::WorkerFailed
        );
    }
    let waiting = submit(&engine, word(30));
    engine.close(false);
    assert_eq!(script.built.load(Ordering::SeqCst), 4);
    drop(waiting);
}

#[test]
fn an_engine_whose_model_cannot_be_built_does_not_open() {
    let broken: [fn() -> Models; 3] = [
        || Models {
            vad: Box::new(|| Err(Error::new(ErrorKind::ModelInvalid, "no detector"))),
            recognizer: Box::new(|| panic!("no recognizer either")),
        },
        || Models {
            vad: Box::new(|| Err(Error::new(ErrorKind::ModelInvalid, "no detector"))),
            recognizer: Box::new(|| Err(Error::new(ErrorKind::ModelNotFound, "no model"))),
        },
        || Models {
            vad: Script::default().models().vad,
            recognizer: Box::new(|| Err(Error::new(ErrorKind::ModelNotFound, "no model"))),
        },
    ];
    for models in broken {
        let options = EngineOptions::new("fake", "/fake");
        assert!(Engine::open_with(options, models(), None).is_err());
    }
}

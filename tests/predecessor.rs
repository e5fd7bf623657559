//! What the predecessor died of, as far as fake models show it; the rest is in
//! `__test__/predecessor.spec.ts`. Each test bears the failure's name.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::bounded;
use fakes::*;
use opuscribe::ErrorKind;
use opuscribe::options::JobOptions;
use opuscribe::transcript::EmptyReason;

#[test]
fn timed_out_work_does_not_keep_running() {
    let (script, _works, _open) = Script::gated();
    let engine = script.engine(8);
    let options = JobOptions {
        timeout: Some(Duration::from_millis(20)),
        ..JobOptions::default()
    };
    let jobs: Vec<_> = (30..33)
        .map(|level| engine.submit(word(level), options.clone(), None).unwrap())
        .collect();
    for job in jobs {
        assert_eq!(kind(wait(&engine, job)), ErrorKind::Timeout);
    }
    until_idle(&engine);
}

#[test]
fn no_caller_is_left_waiting_when_a_stage_dies_and_the_stage_comes_back() {
    let script = Script::default();
    let engine = script.engine(8);
    let mut poison = vec![0.5; SECOND];
    poison[700] = 2.0;
    for _ in 0..2 {
        assert_eq!(
            kind(wait(&engine, submit(&engine, word(66)))),
            ErrorKind::WorkerFailed
        );
        assert_eq!(
            wait(&engine, submit(&engine, word(30))).unwrap().text,
            "w30"
        );
        let broken_vad = wait(&engine, submit(&engine, pcm(poison.clone())));
        assert_eq!(kind(broken_vad), ErrorKind::WorkerFailed);
        assert_eq!(
            wait(&engine, submit(&engine, word(31))).unwrap().text,
            "w31"
        );
    }
    assert_eq!(engine.stats().snapshot().restarts, 4);
    assert_eq!(script.built.load(Ordering::SeqCst), 3);
}

#[test]
fn concurrent_use_of_one_whisper_context() {
    let script = Script::default();
    let engine = script.engine(512);
    // The recognizer panics when it is used twice at once or by another thread than its own.
    std::thread::scope(|scope| {
        for submitter in 0..8 {
            let engine = &engine;
            scope.spawn(move || {
                for level in 20..52 {
                    let handle = submit(engine, word(level));
                    let text = wait(engine, handle).unwrap().text;
                    assert_eq!(text, format!("w{level}"), "submitter {submitter}");
                }
            });
        }
    });
    assert_eq!(script.seen().len(), 8 * 32);
    assert_eq!(engine.stats().snapshot().restarts, 0);
}

/// While the recognizer stands still in a window, the detector answers others.
#[test]
fn vad_lock_held_across_inference() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(8);
    let running = submit(&engine, word(30));
    works.recv().unwrap();
    for _ in 0..10 {
        let silent = wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
        assert_eq!(silent.empty_reason, Some(EmptyReason::NoSpeech));
    }
    open.send(()).unwrap();
    assert_eq!(wait(&engine, running).unwrap().text, "w30");
}

#[test]
fn model_loaded_more_than_once() {
    let script = Script::default();
    let engine = script.engine(64);
    let jobs: Vec<_> = (20..60).map(|level| submit(&engine, word(level))).collect();
    for job in jobs {
        wait(&engine, job).unwrap();
    }
    engine.close(true);
    assert_eq!(script.built.load(Ordering::SeqCst), 1);
    assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
}

#[test]
fn ready_before_the_model_is() {
    let (finish, let_finish) = bounded(1);
    let (begin, has_begun) = bounded(1);
    let script = Script {
        building: Some((begin, let_finish)),
        ..Script::default()
    };
    let (opened, is_open) = bounded(1);
    let opener = std::thread::spawn({
        let script = script.clone();
        move || {
            let engine = script.engine(8);
            opened.send(script.built.load(Ordering::SeqCst)).unwrap();
            engine
        }
    });
    has_begun.recv().unwrap();
    assert!(is_open.try_recv().is_err());
    finish.send(()).unwrap();
    assert_eq!(
        is_open.recv().unwrap(),
        1,
        "open returned before the model was built"
    );
    let engine = opener.join().unwrap();
    assert_eq!(
        wait(&engine, submit(&engine, word(30))).unwrap().text,
        "w30"
    );
}

/// A person may really say it: text is never judged by its words.
#[test]
fn right_sentence_deleted_by_a_text_filter() {
    let engine = Script::default().engine(8);
    let transcript = wait(&engine, submit(&engine, word(88))).unwrap();
    assert_eq!(transcript.text, "Thank you.");
    assert_eq!(transcript.segments.len(), 1);
}

/// The result is plain data: the engine that made it is gone when it is read.
#[test]
fn lazy_segments_evaluated_outside_the_owner() {
    let script = Script::default();
    let engine = script.engine(8);
    let transcript = wait(&engine, submit(&engine, word(30))).unwrap();
    engine.close(false);
    assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
    let read = std::thread::spawn(move || transcript.segments[0].text.clone());
    assert_eq!(read.join().unwrap(), "w30");
}

/// Every sample of a long speech is in a window, and every window in the text.
#[test]
fn audio_over_30_s_cut_off() {
    let script = Script::default();
    let engine = script.engine(8);
    let mut samples = vec![0.3; 100 * SECOND];
    // So long that no window spans it.
    samples.extend(vec![0.0; 40 * SECOND]);
    samples.extend(vec![0.4; 2 * SECOND]);
    let transcript = wait(&engine, submit(&engine, pcm(samples))).unwrap();
    assert!(transcript.text.ends_with("w40"), "{}", transcript.text);
    let heard_ms: f64 = transcript
        .segments
        .iter()
        .map(|segment| segment.end_ms - segment.start_ms)
        .sum();
    assert!(heard_ms > 100_000.0, "{heard_ms}");
}

#[test]
fn times_that_do_not_map_to_the_input() {
    let engine = Script::default().engine(8);
    for silence in [0, 7, 61] {
        let mut samples = vec![0.0; silence * SECOND];
        samples.extend(vec![0.5; 2 * SECOND]);
        samples.extend(vec![0.0; 3 * SECOND]);
        samples.extend(vec![0.6; 2 * SECOND]);
        let transcript = wait(&engine, submit(&engine, pcm(samples))).unwrap();
        let (first, last) = (transcript.speech[0], transcript.speech[1]);
        let start_ms = silence as f64 * 1000.0;
        assert!((first.start_ms - start_ms).abs() <= 432.0, "{first:?}");
        assert!(
            (last.start_ms - start_ms - 5000.0).abs() <= 432.0,
            "{last:?}"
        );
        assert!((transcript.segments[0].start_ms - first.start_ms).abs() < 1.0);
    }
}

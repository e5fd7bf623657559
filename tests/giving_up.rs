//! Giving up, refusing and closing, with fake models.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::atomic::Ordering;

use crossbeam_channel::{bounded, unbounded};
use fakes::*;
use opuscribe::ErrorKind;
use opuscribe::engine::{Engine, Input};
use opuscribe::options::{EngineOptions, JobOptions};

#[test]
fn a_full_queue_refuses_at_once_and_places_come_back() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(2);
    let jobs = [submit(&engine, word(30)), submit(&engine, word(31))];
    works.recv().unwrap();
    let Err(error) = engine.submit(word(32), JobOptions::default(), None) else {
        panic!("admitted")
    };
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.retry_after_ms().unwrap() > 0);
    open.send(()).unwrap();
    open.send(()).unwrap();
    for job in jobs {
        wait(&engine, job).unwrap();
    }
    open.send(()).unwrap();
    assert_eq!(
        wait(&engine, submit(&engine, word(33))).unwrap().text,
        "w33"
    );
}

#[test]
fn a_job_that_is_given_up_is_answered_at_once_and_its_work_stops() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let running = submit(&engine, word(30));
    works.recv().unwrap();
    let waiting = submit(&engine, word(31));
    let (stop_waiting, stop_running) = (waiting.canceller(), running.canceller());
    // The gate stays shut: were the caller to wait for the stage, this would never come back.
    stop_waiting.abort();
    assert_eq!(kind(wait(&engine, waiting)), ErrorKind::Aborted);
    stop_running.abort();
    assert_eq!(kind(wait(&engine, running)), ErrorKind::Aborted);
    // The work stops too: both leave the engine.
    until_idle(&engine);
    assert_eq!(script.seen(), ["w30"]);
    assert_eq!(engine.stats().snapshot().failed, [(ErrorKind::Aborted, 2)]);
}

#[test]
fn a_handle_that_is_dropped_gives_its_job_up() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let handle = submit(&engine, word(30));
    works.recv().unwrap();
    drop(handle);
    until_idle(&engine);
}

#[test]
fn closing_answers_every_job_and_frees_each_model_on_its_own_thread() {
    for drain in [false, true] {
        let (script, works, open) = Script::gated();
        let engine = script.engine(16);
        let (sender, answers) = unbounded();
        for level in 30..36 {
            let sender = sender.clone();
            engine.deliver(submit(&engine, word(level)), move |result| {
                sender
                    .send(result.map(|transcript| transcript.text))
                    .unwrap();
            });
        }
        works.recv().unwrap();
        if drain {
            for _ in 0..6 {
                open.send(()).unwrap();
            }
        }
        engine.close(drain);
        let answers: Vec<_> = answers.try_iter().collect();
        assert_eq!(answers.len(), 6, "every answer is there when close returns");
        for answer in answers {
            match answer {
                Ok(_) => assert!(drain),
                Err(error) => assert!(!drain && error.kind() == ErrorKind::Closed, "{error}"),
            }
        }
        assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn dropping_an_engine_closes_it() {
    let (script, works, _open) = Script::gated();
    let engine = script.engine(8);
    let handle = submit(&engine, word(30));
    works.recv().unwrap();
    let (sender, answer) = bounded(1);
    engine.deliver(handle, move |result| sender.send(result).unwrap());
    drop(engine);
    assert_eq!(kind(answer.recv().unwrap()), ErrorKind::Closed);
    assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 1);
}

/// The recognizer stands still all the time, so that it cannot have cleared anything away.
#[test]
fn a_queued_job_that_is_given_up_frees_its_place_at_once() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(2);
    let running = submit(&engine, word(30));
    works.recv().unwrap();
    let give_up = || {
        let waiting = submit(&engine, word(31));
        waiting.canceller().abort();
        assert_eq!(kind(wait(&engine, waiting)), ErrorKind::Aborted);
    };
    give_up();
    give_up();
    let last = submit(&engine, word(32));
    for _ in 0..2 {
        open.send(()).unwrap();
    }
    assert_eq!(wait(&engine, running).unwrap().text, "w30");
    assert_eq!(wait(&engine, last).unwrap().text, "w32");
    assert_eq!(script.seen(), ["w30", "w32"]);
}

/// What given-up jobs leave behind in a stage that is busy is bounded too.
#[test]
fn a_storm_of_jobs_that_are_given_up_is_refused_until_they_are_cleared_away() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(2);
    let running = submit(&engine, word(30));
    works.recv().unwrap();
    // What is given up on its way to the stage that is busy leaves nothing behind, so wait until
    // it was heard. Even then it may go on the way out: the count is a lower bound.
    let storm = (0..1000).find_map(|count| {
        let heard = engine.stats().snapshot().vad_ms;
        match engine.submit(word(31), JobOptions::default(), None) {
            Err(error) => Some((count, error)),
            Ok(waiting) => {
                until(|| engine.stats().snapshot().vad_ms > heard);
                waiting.canceller().abort();
                assert_eq!(kind(wait(&engine, waiting)), ErrorKind::Aborted);
                None
            }
        }
    });
    let (count, error) = storm.unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.message().contains("given up"), "{error}");
    // Two places and the 256 beside them, of which the first job has one.
    assert!(count >= 257, "refused after {count}");
    assert!(error.retry_after_ms().unwrap() > 0);
    open.send(()).unwrap();
    wait(&engine, running).unwrap();
    until_idle(&engine);
    open.send(()).unwrap();
    until(|| engine.submit(word(32), JobOptions::default(), None).is_ok());
}

#[test]
fn the_bytes_of_waiting_input_are_bounded_and_a_file_holds_none() {
    let (script, works, open) = Script::gated();
    let mut options = EngineOptions::new("fake", "/fake");
    options.max_queued_bytes = 100_000;
    let engine = Engine::open_with(options, script.models(), None).unwrap();
    // Alone it may be larger than the bound.
    let large = submit(&engine, pcm(vec![0.5; 2 * SECOND]));
    works.recv().unwrap();
    assert_eq!(engine.stats().snapshot().queued_bytes, 128_000);
    let refused = engine.submit(word(31), JobOptions::default(), None);
    let error = refused.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.message().contains("92000 bytes"), "{error}");
    assert!(error.retry_after_ms().unwrap() > 0);
    let file = submit(&engine, Input::File("/no/such/file".into()));
    assert_eq!(kind(wait(&engine, file)), ErrorKind::InvalidArgument);
    open.send(()).unwrap();
    wait(&engine, large).unwrap();
    open.send(()).unwrap();
    wait(&engine, submit(&engine, word(32))).unwrap();
    until_idle(&engine);
    assert_eq!(engine.stats().snapshot().queued_bytes, 0);
}

#[test]
fn opening_and_closing_thousands_of_times_leaves_nothing_behind() {
    let script = Script::default();
    let cycles = 2000;
    for cycle in 0..cycles {
        let engine = script.engine(4);
        let job = submit(&engine, word(30));
        match cycle % 3 {
            0 => engine.close(false),
            1 => engine.close(true),
            _ => drop(engine),
        }
        drop(job);
    }
    assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), cycles);
    assert_eq!(script.vads_dropped.load(Ordering::SeqCst), cycles);
}

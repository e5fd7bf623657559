//! Several windows at once on one model, and a GPU that is lost, with fake models.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::unbounded;
use fakes::live::{Told, audio, open};
use fakes::*;
use opuscribe::engine::{Engine, Input, Models, StreamEvent};
use opuscribe::options::{EngineOptions, JobOptions, StreamOptions};
use opuscribe::{Error, ErrorKind};

fn with_lanes(lanes: usize, script: Script) -> Script {
    Script {
        lanes: Some(lanes),
        ..script
    }
}

#[test]
fn as_many_windows_are_worked_on_at_once_as_there_are_lanes_and_no_more() {
    let (script, works, open) = Script::gated();
    let engine = with_lanes(3, script.clone()).engine(64);
    let jobs: Vec<_> = (30..40)
        .map(|level| (level, submit(&engine, word(level))))
        .collect();
    for _ in 0..3 {
        works.recv().unwrap();
    }
    // Those behind them have come so far too, and wait.
    let behind = submit(&engine, pcm(vec![0.0; SECOND]));
    assert_eq!(wait(&engine, behind).unwrap().text, "");
    assert!(works.is_empty());
    for _ in 0..10 {
        open.send(()).unwrap();
    }
    for (level, job) in jobs {
        assert_eq!(wait(&engine, job).unwrap().text, format!("w{level}"));
    }
}

#[test]
fn the_windows_of_one_job_stay_in_order() {
    let engine = with_lanes(4, Script::default()).engine(64);
    let long = |level: u8| {
        let speech = |step: u8| vec![f32::from(level + step) / 100.0; 20 * SECOND];
        let parts = (0..4).map(|step| [speech(step), vec![0.0; 2 * SECOND]].concat());
        pcm(parts.collect::<Vec<_>>().concat())
    };
    let jobs: Vec<_> = [20, 30, 40]
        .map(|level| (level, submit(&engine, long(level))))
        .into();
    for (level, job) in jobs {
        let expected: Vec<_> = (level..level + 4)
            .map(|level| format!("w{level}"))
            .collect();
        assert_eq!(wait(&engine, job).unwrap().text, expected.join(" "));
    }
}

#[test]
fn what_is_urgent_has_the_first_lane_that_is_free() {
    let (script, works, open) = Script::gated();
    let engine = with_lanes(2, script.clone()).engine(64);
    let mut jobs: Vec<_> = (30..36)
        .map(|level| submit_batch(&engine, word(level)))
        .collect();
    works.recv().unwrap();
    works.recv().unwrap();
    jobs.push(submit(&engine, word(50)));
    // What has no speech is answered when all before it has reached the lanes.
    wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    open.send(()).unwrap();
    works.recv().unwrap();
    assert_eq!(script.seen().last().unwrap(), "w50");
    for _ in 0..7 {
        open.send(()).unwrap();
    }
    for job in jobs {
        wait(&engine, job).unwrap();
    }
}

#[test]
fn a_panic_in_one_lane_fails_its_job_alone() {
    let script = with_lanes(2, Script::default());
    let engine = script.engine(64);
    let jobs: Vec<_> = [30, 66, 31, 66, 32]
        .map(|level| submit(&engine, word(level)))
        .into();
    let texts: Vec<_> = jobs.into_iter().map(|job| wait(&engine, job)).collect();
    for (index, expected) in [(0, "w30"), (2, "w31"), (4, "w32")] {
        assert_eq!(texts[index].as_ref().unwrap().text, expected);
    }
    for index in [1, 3] {
        let error = texts[index].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerFailed);
    }
    // Other states on the same model.
    assert_eq!(script.built.load(Ordering::SeqCst), 1);
    assert_eq!(
        wait(&engine, submit(&engine, word(33))).unwrap().text,
        "w33"
    );
}

#[test]
fn a_listener_that_panics_in_a_lane_closes_the_engine_and_nobody_waits() {
    let engine = with_lanes(2, Script::default()).engine(64);
    let listener = Box::new(|_| panic!("the listener broke on purpose"));
    let told = engine.submit(word(30), JobOptions::default(), Some(listener));
    assert_eq!(kind(wait(&engine, told.unwrap())), ErrorKind::WorkerFailed);
    engine.close(true);
}

#[test]
fn a_job_is_given_up_in_its_lane() {
    let (script, works, _open) = Script::gated();
    let engine = with_lanes(2, script).engine(64);
    let jobs = [submit(&engine, word(30)), submit(&engine, word(31))];
    works.recv().unwrap();
    works.recv().unwrap();
    jobs[1].canceller().abort();
    let [first, second] = jobs;
    assert_eq!(kind(wait(&engine, second)), ErrorKind::Aborted);
    first.canceller().abort();
    assert_eq!(kind(wait(&engine, first)), ErrorKind::Aborted);
}

#[test]
fn closing_frees_every_lane_on_its_own_thread_before_the_model() {
    for drain in [false, true] {
        let (script, works, open) = Script::gated();
        let script = with_lanes(3, script);
        let engine = script.engine(64);
        let (sender, answers) = unbounded();
        for level in 30..40 {
            let sender = sender.clone();
            engine.deliver(submit(&engine, word(level)), move |result| {
                sender.send(result.is_ok()).unwrap();
            });
        }
        works.recv().unwrap();
        if drain {
            for _ in 0..10 {
                open.send(()).unwrap();
            }
        }
        engine.close(drain);
        drop(sender);
        assert_eq!(answers.iter().filter(|ok| *ok == drain).count(), 10);
        assert_eq!(script.dropped_before_model.load(Ordering::SeqCst), 3);
        assert_eq!(script.dropped_on_owner.load(Ordering::SeqCst), 4);
    }
}

#[test]
fn lanes_for_which_there_is_no_memory_are_done_without() {
    for fit in [0, 1, 2] {
        let (script, works, open) = Script::gated();
        let script = Script {
            lanes_that_fit: Some(fit),
            ..with_lanes(4, script)
        };
        let engine = script.engine(64);
        // A lane alone does nothing that the stage's own thread does not.
        let at_once = if fit < 2 { 1 } else { fit };
        let jobs: Vec<_> = (30..34).map(|level| submit(&engine, word(level))).collect();
        for _ in 0..at_once {
            works.recv().unwrap();
        }
        wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
        assert!(works.is_empty(), "{fit}");
        for _ in 0..4 {
            open.send(()).unwrap();
        }
        for job in jobs {
            wait(&engine, job).unwrap();
        }
    }
}

#[test]
fn the_utterances_of_a_stream_follow_each_other_whatever_lane_is_free() {
    let (script, works, open_gate) = Script::gated();
    let engine = with_lanes(3, script.clone()).engine(64);
    let options = StreamOptions {
        interim: false,
        ..StreamOptions::default()
    };
    let (mut stream, events) = open(&engine, options);
    stream.push_pcm(audio(&[(20, 16), (0, 16), (30, 16), (0, 16), (40, 16)]));
    stream.end();
    works.recv().unwrap();
    // Of another, which has a lane at once.
    let other = submit(&engine, word(50));
    works.recv().unwrap();
    // All of the stream has been heard.
    let starts = events
        .iter()
        .filter(|event| matches!(event, StreamEvent::SpeechEnd { .. }));
    assert_eq!(starts.take(3).count(), 3);
    wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    assert_eq!(script.seen(), ["w20", "w50"]);
    for _ in 0..4 {
        open_gate.send(()).unwrap();
    }
    assert_eq!(Told::collect(&events).texts(), ["w20", "w30", "w40"]);
    assert_eq!(wait(&engine, other).unwrap().text, "w50");
}

/// Level 99 is where the fake loses its GPU.
#[test]
fn a_gpu_that_is_lost_fails_its_job_and_the_next_finds_a_new_model() {
    let script = Script::default();
    let engine = script.engine(8);
    assert_eq!(
        kind(wait(&engine, submit(&engine, word(99)))),
        ErrorKind::WorkerFailed
    );
    assert_eq!(
        wait(&engine, submit(&engine, word(30))).unwrap().text,
        "w30"
    );
    assert_eq!(script.built.load(Ordering::SeqCst), 2);
    assert_eq!(engine.stats().snapshot().restarts, 1);
    assert!(!engine.stats().snapshot().fell_back);
}

#[test]
fn a_gpu_that_is_lost_under_several_lanes_is_loaded_again_when_none_is_at_work() {
    let script = with_lanes(3, Script::default());
    let engine = script.engine(64);
    // More often than what fails each time would be tried again.
    for round in 1..=7 {
        let jobs: Vec<_> = [30, 31, 99, 32, 33, 34]
            .map(|level| submit(&engine, word(level)))
            .into();
        let texts: Vec<_> = jobs.into_iter().map(|job| wait(&engine, job)).collect();
        let failed: Vec<_> = (0..6).filter(|index| texts[*index].is_err()).collect();
        assert_eq!(failed, [2]);
        // The next comes behind the new model.
        assert_eq!(
            wait(&engine, submit(&engine, word(40))).unwrap().text,
            "w40"
        );
        assert_eq!(script.built.load(Ordering::SeqCst), 1 + round);
    }
    engine.close(true);
    // A lane that lost it has another state by then, or none.
    let lanes = script.lanes_built.load(Ordering::SeqCst);
    assert!((24..=31).contains(&lanes), "{lanes}");
    assert_eq!(script.lanes_dropped.load(Ordering::SeqCst), lanes);
    assert_eq!(script.dropped_before_model.load(Ordering::SeqCst), lanes);
}

/// Whoever has its memory may give it back: that is no reason to close.
#[test]
fn a_gpu_that_is_full_when_it_is_loaded_again_is_tried_as_often_as_it_takes() {
    let script = Script::default();
    let Models { vad, recognizer } = script.models();
    let built = Arc::new(AtomicUsize::new(0));
    let models = Models {
        vad,
        recognizer: Box::new(move || match built.fetch_add(1, Ordering::SeqCst) {
            1..=7 => Err(Error::new(ErrorKind::OutOfMemory, "it is full")),
            _ => recognizer(),
        }),
    };
    let engine = Engine::open_with(EngineOptions::new("fake", "/fake"), models, None).unwrap();
    let run = |level| wait(&engine, submit(&engine, word(level)));
    assert_eq!(kind(run(99)), ErrorKind::WorkerFailed);
    for _ in 0..7 {
        assert_eq!(kind(run(30)), ErrorKind::OutOfMemory);
    }
    assert_eq!(run(30).unwrap().text, "w30");
}

/// No other try would find it: what waits is answered now.
#[test]
fn a_gpu_that_is_gone_for_good_closes_the_transcriber_at_once() {
    let script = Script::default();
    let Models { vad, recognizer } = script.models();
    let built = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&built);
    let models = Models {
        vad,
        recognizer: Box::new(move || match counted.fetch_add(1, Ordering::SeqCst) {
            0 => recognizer(),
            _ => Err(Error::new(ErrorKind::DeviceUnavailable, "it was lost")),
        }),
    };
    let engine = Engine::open_with(EngineOptions::new("fake", "/fake"), models, None).unwrap();
    let jobs = [99, 30, 31].map(|level| submit(&engine, word(level)));
    let why = "opuscribe-gpu has lost its device for good: it was lost";
    let [lost, others @ ..] = jobs.map(|job| wait(&engine, job).unwrap_err());
    assert_eq!(lost.kind(), ErrorKind::WorkerFailed);
    for error in others {
        assert_eq!(error.kind(), ErrorKind::WorkerFailed);
        assert!(error.message().contains(why), "{error}");
    }
    let late = engine.submit(word(30), JobOptions::default(), None);
    let error = late.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.message().contains(why), "{error}");
    assert_eq!(built.load(Ordering::SeqCst), 2);
}

#[test]
fn what_runs_on_another_device_than_at_first_says_so() {
    let script = Script::default();
    let mut models = script.models();
    let build = models.recognizer;
    let again = Script {
        device: Some(Arc::from("the CPU")),
        ..script.clone()
    };
    let rebuild = again.models().recognizer;
    models.recognizer = Box::new(move || {
        if script.built.load(Ordering::SeqCst) == 0 {
            build()
        } else {
            rebuild()
        }
    });
    let engine = Engine::open_with(EngineOptions::new("fake", "/fake"), models, None).unwrap();
    let run = |input: Input| wait(&engine, submit(&engine, input));
    assert_eq!(run(word(30)).unwrap().device, "fake");
    assert_eq!(kind(run(word(99))), ErrorKind::WorkerFailed);
    assert_eq!(run(word(31)).unwrap().device, "the CPU");
    assert!(engine.stats().snapshot().fell_back);
}

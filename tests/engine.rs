//! The engine with fake models: the way through, and whose turn it is.
#![allow(clippy::unwrap_used)]

mod fakes;

use crossbeam_channel::unbounded;
use fakes::*;
use opuscribe::ErrorKind;
use opuscribe::engine::Event;
use opuscribe::options::JobOptions;
use opuscribe::transcript::EmptyReason;
use opuscribe::whisper::MAX_WINDOW_SAMPLES;

#[test]
fn text_comes_back_on_the_inputs_timeline() {
    let script = Script::default();
    let engine = script.engine(8);
    let mut samples = vec![0.0; 10 * SECOND];
    samples[4 * SECOND..6 * SECOND].fill(0.5);
    let transcript = wait(&engine, submit(&engine, pcm(samples))).unwrap();
    assert_eq!(transcript.text, "w50");
    assert_eq!(transcript.empty_reason, None);
    assert!((transcript.duration_ms - 10_000.0).abs() < 1e-9);
    let (segment, speech) = (&transcript.segments[0], transcript.speech[0]);
    assert!((segment.start_ms - speech.start_ms).abs() < 1.0);
    assert!((segment.end_ms - speech.end_ms).abs() < 1.0);
    assert!((3_000.0..=4_000.0).contains(&speech.start_ms), "{speech:?}");
    assert!((6_000.0..=7_000.0).contains(&speech.end_ms), "{speech:?}");
}

#[test]
fn without_speech_the_recognizer_is_never_called() {
    let script = Script::default();
    let engine = script.engine(8);
    let silence = wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    assert_eq!(silence.empty_reason, Some(EmptyReason::NoSpeech));
    let nothing = wait(&engine, submit(&engine, pcm(vec![]))).unwrap();
    assert_eq!(nothing.empty_reason, Some(EmptyReason::NoAudio));
    assert!(script.seen().is_empty());
}

#[test]
fn text_that_is_empty_after_all_says_so() {
    let engine = Script::default().engine(8);
    let transcript = wait(&engine, submit(&engine, word(77))).unwrap();
    assert_eq!(transcript.empty_reason, Some(EmptyReason::LowConfidence));
    assert!(transcript.segments.is_empty());
}

#[test]
fn a_long_input_goes_through_in_windows_and_none_is_lost() {
    let script = Script::default();
    let engine = script.engine(8);
    let levels: Vec<u8> = (20..40).collect();
    let mut samples = Vec::new();
    for level in &levels {
        samples.extend(vec![f32::from(*level) / 100.0; 9 * SECOND]);
        samples.extend(vec![0.0; 2 * SECOND]);
    }
    let (events, told) = unbounded();
    let sink = Box::new(move |event| events.send(event).unwrap());
    let handle = engine
        .submit(pcm(samples), JobOptions::default(), Some(sink))
        .unwrap();
    let transcript = wait(&engine, handle).unwrap();
    // Two of 9 s fit a window, and each window is named by its first.
    let expected: Vec<_> = levels
        .iter()
        .step_by(2)
        .map(|level| format!("w{level}"))
        .collect();
    assert_eq!(transcript.text, expected.join(" "));
    assert_eq!(transcript.speech.len(), levels.len());
    let told: Vec<_> = told.try_iter().collect();
    let segments = told
        .iter()
        .filter(|event| matches!(event, Event::Segment(_)));
    assert_eq!(segments.count(), expected.len());
    let progress: Vec<f64> = told
        .iter()
        .filter_map(|event| match event {
            Event::Progress(share) => Some(*share),
            Event::Segment(_) => None,
        })
        .collect();
    assert!(
        progress.is_sorted() && progress.last() == Some(&1.0),
        "{progress:?}"
    );
}

#[test]
fn interactive_work_passes_a_long_file_between_two_windows() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(8);
    let mut file = Vec::new();
    for level in [11, 12, 13] {
        file.extend(vec![f32::from(level as u8) / 100.0; 20 * SECOND]);
        file.extend(vec![0.0; SECOND]);
    }
    let file = submit_batch(&engine, pcm(file));
    works.recv().unwrap();
    let urgent = submit(&engine, word(90));
    while engine.stats().snapshot().audio_ms < 64_000.0 {
        std::thread::yield_now();
    }
    // What is silent ends at the stage before the GPU, which the urgent job has passed by then,
    // while the first window still runs.
    wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    for _ in 0..4 {
        open.send(()).unwrap();
    }
    wait(&engine, urgent).unwrap();
    wait(&engine, file).unwrap();
    let seen = script.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0], "w11");
    let passed = seen.iter().position(|word| word == "w90").unwrap();
    assert!(passed < 3, "{seen:?}");
}

#[test]
fn equals_are_served_in_the_order_in_which_they_were_submitted() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(32);
    let levels = 20..40;
    let first = submit(&engine, word(19));
    works.recv().unwrap();
    let jobs: Vec<_> = levels
        .clone()
        .map(|level| submit(&engine, word(level)))
        .collect();
    // All of them are decoded, and what is silent ends in the stage behind, which by then has
    // handed them on.
    until(|| engine.stats().snapshot().audio_ms >= 21_000.0);
    wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    for _ in 0..=jobs.len() {
        open.send(()).unwrap();
    }
    wait(&engine, first).unwrap();
    for job in jobs {
        wait(&engine, job).unwrap();
    }
    let expected: Vec<_> = levels.map(|level| format!("w{level}")).collect();
    assert_eq!(script.seen()[1..], expected);
}

/// A file's decoder waits for the slowest stage, and its credit comes back.
#[test]
fn a_file_of_any_length_has_little_of_it_on_its_way() {
    let (script, works, open) = Script::gated();
    let engine = script.engine(8);
    let minutes = 20;
    let file = submit(&engine, pcm(vec![0.5; minutes * 60 * SECOND]));
    works.recv().unwrap();
    // Other jobs go through decoder and detector meanwhile, each with turns that the file would
    // take as well if it could: it holds neither.
    let others = 50;
    for _ in 0..others {
        wait(&engine, submit(&engine, pcm(vec![0.0; SECOND]))).unwrap();
    }
    let ahead_ms = engine.stats().snapshot().audio_ms - f64::from(others) * 1000.0;
    assert!(ahead_ms <= 5.0 * 30_000.0, "{ahead_ms} ms are decoded");
    for _ in 0..minutes * 6 {
        open.send(()).unwrap();
    }
    let transcript = wait(&engine, file).unwrap();
    let windows = (minutes * 60 * SECOND).div_ceil(MAX_WINDOW_SAMPLES);
    assert!(script.seen().len() >= windows);
    assert_eq!(transcript.speech.len(), 1);
    assert!((transcript.duration_ms - minutes as f64 * 60_000.0).abs() < 1e-6);
}

#[test]
fn bad_options_are_refused_before_anything_is_started() {
    let script = Script::default();
    assert!(script.try_engine(0).is_err());
    let engine = script.engine(8);
    let german = JobOptions {
        language: Some("de".into()),
        ..JobOptions::default()
    };
    assert!(engine.submit(word(30), german, None).is_err());
    let nan = wait(&engine, submit(&engine, pcm(vec![0.0, f32::NAN]))).unwrap_err();
    assert_eq!(
        (nan.kind(), nan.index()),
        (ErrorKind::InvalidArgument, Some(1))
    );
}

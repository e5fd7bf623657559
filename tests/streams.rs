//! Live streams on models that are none: where utterances begin and end, and interim text.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use fakes::live::{Told, audio, open, script, told, write};
use fakes::{SECOND, Script, pcm, until, wait};
use opuscribe::engine::StreamEvent;
use opuscribe::options::{JobOptions, Resume, StreamOptions, VadOverrides};

#[test]
fn utterances_are_told_as_they_begin_and_end_on_the_streams_own_timeline() {
    let engine = script().engine(4);
    let audio = audio(&[(0, 10), (20, 20), (0, 10), (30, 10), (40, 10), (0, 20)]);
    let told = told(&engine, StreamOptions::default(), &audio);
    told.end.as_ref().unwrap();
    assert_eq!(told.texts(), ["w20", "w30 w40"]);
    let speech = told.speech();
    let expected = [1000.0, 3000.0, 4000.0, 6000.0];
    assert_eq!(speech.len(), 4);
    for ((_, at_ms), expected) in speech.iter().zip(expected) {
        // To a window of 32 ms.
        assert!((at_ms - expected).abs() <= 32.0, "{speech:?}");
    }
    let finals = told.finals();
    // With the silence before that an utterance takes along, and what comes behind it.
    let ranges: Vec<_> = finals
        .iter()
        .map(|f| (f.speech[0].start_ms, f.speech[0].end_ms))
        .collect();
    assert!((ranges[0].0 - 500.0).abs() <= 32.0 && (ranges[0].1 - 3400.0).abs() <= 32.0);
    assert!((ranges[1].0 - 3500.0).abs() <= 32.0 && (ranges[1].1 - 6400.0).abs() <= 32.0);
    assert!((finals[1].segments[0].start_ms - ranges[1].0).abs() < 0.1);
    assert!(finals[0].id.ends_with("-0") && finals[1].id.ends_with("-1"));
    assert!((finals[0].duration_ms - (ranges[0].1 - ranges[0].0)).abs() < 0.1);
    told.assert_committed_only_grows();
}

#[test]
fn a_start_is_told_while_somebody_speaks_and_an_end_before_the_next_audio() {
    let engine = script().engine(4);
    let (stream, events) = open(&engine, StreamOptions::default());
    let heard_until = |condition: &dyn Fn(&StreamEvent) -> bool, level: u8| {
        for packet in 1.. {
            write(&stream, &audio(&[(level, 1)])[..SECOND / 50]);
            until(|| stream.lag_ms() == 0.0);
            if events.try_iter().any(|event| condition(&event)) {
                return packet * 20;
            }
            assert!(packet < 100, "nothing is told in 2 s");
        }
        0
    };
    let is_start = |event: &StreamEvent| matches!(event, StreamEvent::SpeechStart { .. });
    let is_end = |event: &StreamEvent| matches!(event, StreamEvent::SpeechEnd { .. });
    let start_ms = heard_until(&is_start, 50);
    assert!(start_ms <= 150, "{start_ms}");
    let end_ms = heard_until(&is_end, 0);
    assert!((800..=950).contains(&end_ms), "{end_ms}");
}

#[test]
fn interim_text_grows_while_somebody_speaks_and_the_final_text_begins_with_it() {
    let engine = script().engine(4);
    let (mut stream, events) = open(&engine, StreamOptions::default());
    let mut interims = Vec::new();
    // Each as soon as it is told: an idle device tells one for each half second.
    for level in 20..40 {
        write(&stream, &audio(&[(level, 6)]));
        while level > 21 && interims.len() < usize::from(level) - 21 {
            if let StreamEvent::Interim {
                committed,
                tentative,
                ..
            } = events.recv().unwrap()
            {
                interims.push(format!("{committed}|{tentative}"));
            }
        }
    }
    write(&stream, &audio(&[(0, 10)]));
    stream.end();
    let told = Told::collect(&events);
    let text: Vec<String> = (20..40).map(|level| format!("w{level}")).collect();
    assert_eq!(told.texts(), [text.join(" ")]);
    assert!(
        interims
            .iter()
            .any(|interim| interim.starts_with("w20 w21 w22")),
        "{interims:?}"
    );
    told.assert_committed_only_grows();
}

#[test]
fn without_interims_there_are_none() {
    let engine = script().engine(4);
    let options = StreamOptions {
        interim: false,
        ..StreamOptions::default()
    };
    let told = told(&engine, options, &audio(&[(20, 50), (0, 10)]));
    assert_eq!(told.texts(), ["w20"]);
    assert!(told.interims(0).is_empty());
}

#[test]
fn the_last_text_goes_before_the_next_only_where_it_is_asked_for() {
    let said = audio(&[(20, 10), (0, 10), (30, 10), (0, 10), (40, 10)]);
    for condition_on_previous_text in [false, true] {
        let script = script();
        let engine = script.engine(4);
        let options = StreamOptions {
            job: JobOptions {
                initial_prompt: Some("before".into()),
                ..JobOptions::default()
            },
            interim: false,
            condition_on_previous_text,
            ..StreamOptions::default()
        };
        let _other = told(&engine, options.clone(), &audio(&[(70, 10)]));
        let texts = ["w20", "w30", "w40"];
        assert_eq!(told(&engine, options.clone(), &said).texts(), texts);
        let resumed = StreamOptions {
            resume: Some(Resume {
                previous: Some("w90".into()),
                ..Resume::default()
            }),
            ..options
        };
        let _resumed = told(&engine, resumed, &audio(&[(80, 10)]));
        let expected = if condition_on_previous_text {
            ["before", "before", "before w20", "before w30", "before w90"]
        } else {
            ["before"; 5]
        };
        let prompts: Vec<_> = script
            .prompts
            .lock()
            .unwrap()
            .iter()
            .flatten()
            .cloned()
            .collect();
        assert_eq!(prompts, expected);
    }
}

#[test]
fn long_speech_is_cut_in_its_quietest_place_without_loss_or_repeat() {
    let engine = script().engine(4);
    // A word that is half heard gets an odd level.
    let levels: Vec<(u8, usize)> = (12..90).step_by(2).map(|level| (level, 20)).collect();
    let mut speech = audio(&levels);
    // A dip in the middle of one word, too short to be a pause.
    speech[17 * SECOND + 2000..17 * SECOND + 3000].fill(0.0);
    for max_speech_s in [20.0, 50.0, f64::INFINITY] {
        let options = StreamOptions {
            vad: VadOverrides {
                max_speech_duration_s: Some(max_speech_s),
                ..VadOverrides::default()
            },
            ..StreamOptions::default()
        };
        let told = told(&engine, options, &speech);
        told.end.as_ref().unwrap();
        told.assert_committed_only_grows();
        let finals = told.finals();
        let ranges: Vec<_> = finals.iter().flat_map(|f| &f.speech).collect();
        assert!(ranges[0].start_ms < 0.1);
        assert!(
            ranges.is_sorted_by(|a, b| (a.end_ms - b.start_ms).abs() < 0.1),
            "{ranges:?}"
        );
        assert!((ranges.last().unwrap().end_ms - 78_000.0).abs() < 1.0);
        assert!(
            finals
                .iter()
                .all(|f| f.duration_ms <= max_speech_s * 1000.0 + 32.0)
        );
        if max_speech_s < 25.0 {
            assert!(
                (17_125.0..17_187.5).contains(&ranges[0].end_ms),
                "{ranges:?}"
            );
        }
        assert_eq!(told.speech().len(), 2, "it is one speech");
        // Where a word is cut, it is heard on both sides.
        let mut words: Vec<&str> = finals.iter().flat_map(|f| f.text.split(' ')).collect();
        words.retain(|word| word.ends_with(['0', '2', '4', '6', '8']));
        words.dedup();
        let said: Vec<String> = (12..90)
            .step_by(2)
            .map(|level| format!("w{level}"))
            .collect();
        assert_eq!(words, said);
    }
}

/// So many samples of each level.
fn samples(stretches: &[(f32, usize)]) -> Vec<f32> {
    let stretch = |&(level, count): &(f32, usize)| std::iter::repeat_n(level, count);
    stretches.iter().flat_map(stretch).collect()
}

/// The samples of each utterance. Without interims every sample of them is in exactly one window.
fn utterances(options: StreamOptions, audio: &[f32], piece: usize) -> Vec<Range<usize>> {
    let windows = Arc::new(Mutex::new(Vec::new()));
    let engine = Script {
        windows: Some(Arc::clone(&windows)),
        ..script()
    }
    .engine(4);
    let interim = options.interim;
    let (mut stream, events) = open(&engine, options);
    for piece in audio.chunks(piece) {
        stream.push_pcm(piece.to_vec());
        until(|| stream.lag_ms() < 1000.0);
    }
    stream.end();
    let told = Told::collect(&events);
    told.end.as_ref().unwrap();
    told.assert_committed_only_grows();
    let at = |ms: f64| (ms * 16.0).round() as usize;
    let finals = told.finals();
    let speech = finals.iter().flat_map(|f| &f.speech);
    let ranges: Vec<_> = speech.map(|s| at(s.start_ms)..at(s.end_ms)).collect();
    assert!(ranges.is_sorted_by(|a, b| a.end <= b.start), "{ranges:?}");
    if !interim {
        let said: Vec<f32> = ranges
            .iter()
            .flat_map(|r| &audio[r.clone()])
            .copied()
            .collect();
        // Not printed: these are seconds of samples.
        assert!(windows.lock().unwrap().concat() == said, "{ranges:?}");
    }
    ranges
}

/// A window is cut in the second half of a pause, and the utterance in the pause's middle.
#[test]
fn a_pause_in_which_a_window_is_cut_too_is_in_one_utterance_alone() {
    let said = samples(&[(0.2, 363_200), (0.05, 3840), (0.0, 2624), (0.3, 3 * SECOND)]);
    for interim in [true, false] {
        let options = StreamOptions {
            interim,
            ..StreamOptions::default()
        };
        let ranges = utterances(options, &said, SECOND / 50);
        assert_eq!(ranges, [0..367_560, 367_560..said.len()]);
    }
}

/// A window is cut in a pause that is too short for an utterance, behind the longest that one may be.
#[test]
fn an_utterance_that_is_too_long_ends_no_sooner_than_its_last_window() {
    let said = samples(&[(0.2, 366_080), (0.05, 1536), (0.0, 1536), (0.3, 3 * SECOND)]);
    for interim in [true, false] {
        let options = StreamOptions {
            vad: VadOverrides {
                max_speech_duration_s: Some(22.9),
                ..VadOverrides::default()
            },
            interim,
            ..StreamOptions::default()
        };
        let ranges = utterances(options, &said, SECOND / 50);
        assert_eq!(ranges, [0..368_160, 368_160..said.len()]);
    }
}

#[test]
fn wherever_speech_pauses_every_sample_is_in_one_window() {
    let mut number = 1_u64;
    let mut random = |range: Range<usize>| {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        range.start + (number >> 33) as usize % range.len()
    };
    for turn in 0..40 {
        // A pause at the limit of a window, some of it quieter, and another soon behind it.
        let begins = random(358_000..370_000);
        let stretches = [
            (0.2, begins),
            (0.05, random(0..5000)),
            (0.0, random(200..8000)),
            (0.05, random(0..3000)),
            (0.3, random(2000..20_000)),
            (0.0, random(1600..9000)),
            (0.4, random(10_000..20_000)),
        ];
        let mut said = samples(&stretches);
        for sample in &mut said {
            // So that no two stretches are the same.
            *sample += random(0..1000) as f32 / 1e6;
        }
        let options = StreamOptions {
            vad: VadOverrides {
                max_speech_duration_s: Some([22.9, 23.5, 30.0, f64::INFINITY][turn % 4]),
                ..VadOverrides::default()
            },
            interim: turn % 8 < 4,
            ..StreamOptions::default()
        };
        let ranges = utterances(options, &said, random(320..1600));
        let mut heard = vec![false; said.len()];
        for range in &ranges {
            heard[range.clone()].fill(true);
        }
        let is_lost = |(sample, heard): (&f32, &bool)| *sample > 0.1 && !heard;
        assert!(!said.iter().zip(&heard).any(is_lost), "{turn}: {ranges:?}");
    }
}

#[test]
fn speech_that_ends_where_it_would_be_cut_is_one_utterance() {
    let engine = script().engine(4);
    for tenths in [95, 97, 99] {
        let options = StreamOptions {
            vad: VadOverrides {
                max_speech_duration_s: Some(10.0),
                ..VadOverrides::default()
            },
            ..StreamOptions::default()
        };
        let told = told(&engine, options, &audio(&[(20, tenths), (0, 20)]));
        assert_eq!(told.texts(), ["w20"], "{tenths}");
    }
}

#[test]
fn a_stream_and_a_job_say_the_same() {
    let engine = script().engine(4);
    let audio = audio(&[
        (0, 10),
        (20, 20),
        (0, 3),
        (30, 10),
        (0, 12),
        (40, 10),
        (0, 20),
    ]);
    let told = told(&engine, StreamOptions::default(), &audio);
    let job = engine
        .submit(pcm(audio), JobOptions::default(), None)
        .unwrap();
    assert_eq!(told.texts().join(" "), wait(&engine, job).unwrap().text);
}

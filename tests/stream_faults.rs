//! Live streams on models that are none: many at once, too much, giving up, and what is wrong.
#![allow(clippy::unwrap_used)]

mod fakes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fakes::live::{Told, audio, open, script, told, write};
use fakes::{SECOND, Script, until};
use opuscribe::ErrorKind;
use opuscribe::engine::StreamEvent;
use opuscribe::options::{StreamOptions, VadOverrides};

/// Every option at the ends of its range, in pieces of every size: nothing breaks the stages, and no
/// sample is in two utterances.
#[test]
fn no_option_and_no_size_of_a_piece_breaks_a_stream() {
    let engine = script().engine(4);
    let said = audio(&[
        (20, 3),
        (0, 2),
        (30, 25),
        (0, 1),
        (40, 40),
        (0, 11),
        (50, 1),
        (0, 9),
        (60, 13),
    ]);
    for pad in [0.0, 500.0, 10_000.0] {
        for silence in [0.0, 40.0, 800.0, 60_000.0] {
            for (speech, longest, piece) in [
                (0.0, 1.0, 100),
                (100.0, f64::INFINITY, 512),
                (60_000.0, 2.5, 7777),
                (30.0, 1.0, 1 << 20),
            ] {
                let options = StreamOptions {
                    vad: VadOverrides {
                        speech_pad_ms: Some(pad),
                        min_silence_duration_ms: Some(silence),
                        min_speech_duration_ms: Some(speech),
                        max_speech_duration_s: Some(longest),
                        ..VadOverrides::default()
                    },
                    ..StreamOptions::default()
                };
                let (mut stream, events) = open(&engine, options);
                for (index, piece) in said.chunks(piece).enumerate() {
                    stream.push_pcm(piece.to_vec());
                    if index % 5 == 4 {
                        stream.idle();
                    }
                }
                stream.end();
                let told = Told::collect(&events);
                told.end.as_ref().unwrap();
                told.assert_committed_only_grows();
                let ranges: Vec<_> = told
                    .finals()
                    .iter()
                    .flat_map(|f| f.speech.clone())
                    .collect();
                assert!(
                    ranges.is_sorted_by(|a, b| a.end_ms <= b.start_ms + 1e-6),
                    "{ranges:?}"
                );
                assert!(ranges.last().is_none_or(|last| last.end_ms <= 10_500.1));
            }
        }
    }
}

/// Whatever was given up, and by whom, a stream tells its end once.
#[test]
fn a_stream_that_is_abandoned_stops_and_says_so() {
    let (gated, works, _open) = Script::gated();
    let engine = gated.engine(4);
    let (stream, events) = open(&engine, StreamOptions::default());
    stream.push_pcm(audio(&[(20, 30), (0, 10)]));
    works.recv().unwrap();
    stream.abandon();
    let told = Told::collect(&events);
    assert_eq!(told.end.unwrap_err().kind(), ErrorKind::Aborted);
    // No stage works on it any more, and nothing of it waits.
    assert!(!gated.in_use.load(Ordering::SeqCst));
    until(|| stream.lag_ms() == 0.0);
    let (dropped, events) = open(&engine, StreamOptions::default());
    drop(dropped);
    assert_eq!(
        Told::collect(&events).end.unwrap_err().kind(),
        ErrorKind::Aborted
    );
}

#[test]
fn closing_tells_every_stream_and_draining_finishes_what_was_written() {
    let engine = script().engine(4);
    let (stream, events) = open(&engine, StreamOptions::default());
    stream.push_pcm(audio(&[(20, 30)]));
    engine.close(true);
    let told = Told::collect(&events);
    told.end.as_ref().unwrap();
    assert_eq!(told.texts(), ["w20"]);

    let engine = script().engine(4);
    let (stream, events) = open(&engine, StreamOptions::default());
    write(&stream, &audio(&[(20, 30)]));
    engine.close(false);
    assert_eq!(
        Told::collect(&events).end.unwrap_err().kind(),
        ErrorKind::Closed
    );
    drop(stream);
}

#[test]
fn errors_on_one_stream_touch_no_other() {
    let engine = Script::default().engine(4);
    let good = open(&engine, StreamOptions::default());
    for breaks in [2.0, 0.66, f32::NAN] {
        let (stream, events) = open(&engine, StreamOptions::default());
        stream.push_pcm(vec![breaks; 2 * SECOND]);
        stream.push_pcm(vec![0.0; 2 * SECOND]);
        let kind = Told::collect(&events).end.unwrap_err().kind();
        let expected = if breaks.is_nan() {
            ErrorKind::InvalidArgument
        } else {
            ErrorKind::WorkerFailed
        };
        assert_eq!(kind, expected, "{breaks}");
    }
    let (mut stream, events) = good;
    write(&stream, &audio(&[(20, 20), (0, 10)]));
    stream.end();
    let told = Told::collect(&events);
    told.end.as_ref().unwrap();
    assert_eq!(told.texts(), ["w20"]);
}

#[test]
fn packets_that_are_none_fail_the_stream_and_a_few_do_not() {
    let engine = script().engine(4);
    let garbage = |count| {
        let mut list = opuscribe::opus::PacketList::default();
        for _ in 0..count {
            // Code 3 with a frame count of zero.
            list.push(Some(&[0xff, 0x00]));
        }
        list
    };
    let (stream, events) = open(&engine, StreamOptions::default());
    stream.push_packets(garbage(1000));
    assert_eq!(
        Told::collect(&events).end.unwrap_err().kind(),
        ErrorKind::InvalidPacket
    );
    let (mut stream, events) = open(&engine, StreamOptions::default());
    stream.push_packets(garbage(3));
    stream.end();
    assert_eq!(
        Told::collect(&events).end.unwrap_err().kind(),
        ErrorKind::InvalidPacket
    );
}

#[test]
fn the_writer_is_told_to_wait_and_when_to_go_on() {
    let (gated, _works, open_gate) = Script::gated();
    let engine = gated.engine(4);
    let (mut stream, events) = open(&engine, StreamOptions::default());
    let utterance = audio(&[(20, 90), (0, 10)]);
    let mut written = 0;
    while stream.push_pcm(utterance.clone()) || stream.lag_ms() < 30_000.0 {
        written += 1;
        assert!(written < 100, "nothing bounds it");
        // Silence is heard and gone; what was said waits for its text.
        until(|| stream.lag_ms() <= f64::from(written) * 10_000.0);
    }
    let _before = events.try_iter().count();
    for _ in 0..1000 {
        open_gate.send(()).unwrap();
    }
    until(|| stream.lag_ms() == 0.0);
    let ready = events
        .try_iter()
        .filter(|event| matches!(event, StreamEvent::Ready));
    assert!(ready.count() >= 1);
    stream.end();
    Told::collect(&events).end.unwrap();
}

#[test]
fn a_pause_without_packets_ends_the_utterance_and_takes_no_time() {
    let engine = script().engine(4);
    let (mut stream, events) = open(&engine, StreamOptions::default());
    // Whole windows of 32 ms.
    write(&stream, &audio(&[(20, 16)]));
    stream.idle();
    write(&stream, &audio(&[(30, 16)]));
    stream.idle();
    stream.idle();
    assert!((stream.written_ms() - 3200.0).abs() < 1e-6);
    stream.end();
    let told = Told::collect(&events);
    assert_eq!(told.texts(), ["w20", "w30"]);
    assert_eq!(told.speech().len(), 4);
    assert!((told.finals()[1].speech[0].end_ms - 3200.0).abs() < 0.1);
}

#[test]
fn finals_go_before_interims_of_others() {
    let (gated, works, open_gate) = Script::gated();
    let engine = gated.engine(4);
    let (growing, growing_events) = open(&engine, StreamOptions::default());
    growing.push_pcm(audio(&[(20, 20)]));
    // The first interim holds the device; the next is wanted, and so is the final of another.
    works.recv().unwrap();
    growing.push_pcm(audio(&[(20, 20)]));
    let (mut other, other_events) = open(
        &engine,
        StreamOptions {
            interim: false,
            ..StreamOptions::default()
        },
    );
    other.push_pcm(audio(&[(50, 20)]));
    other.end();
    let ended = |event| matches!(event, StreamEvent::SpeechEnd { .. });
    while !other_events.recv().is_ok_and(ended) {}
    // The detector has handed it on when it hears what comes behind it.
    growing.push_pcm(audio(&[(20, 1)]));
    until(|| growing.lag_ms() == 0.0);
    // The interim is given up for it, and nobody has let that through.
    works.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!(gated.seen(), ["w20", "w50"]);
    for _ in 0..3 {
        open_gate.send(()).unwrap();
    }
    Told::collect(&other_events).end.unwrap();
    drop(growing);
    drop(growing_events);
}

#[test]
fn twenty_streams_at_once_tell_what_each_tells_alone() {
    let engine = script().engine(4);
    let audio_of = |stream: usize| {
        let utterances: Vec<(u8, usize)> = (0..12)
            .flat_map(|turn| {
                let level = 11 + ((stream * 7 + turn * 13) % 80) as u8;
                let tenths = 5 + (stream + turn * 3) % 40;
                [(level, tenths), (level + 1, 6), (0, 4 + turn % 9)]
            })
            .collect();
        audio(&utterances)
    };
    let alone: Vec<Told> = (0..20)
        .map(|stream| told(&engine, StreamOptions::default(), &audio_of(stream)))
        .collect();
    let mut streams: Vec<_> = (0..20)
        .map(|stream| (open(&engine, StreamOptions::default()), audio_of(stream)))
        .collect();
    let longest = streams.iter().map(|(_, audio)| audio.len()).max().unwrap();
    for from in (0..longest).step_by(SECOND / 50) {
        for ((stream, _), audio) in &streams {
            let packet = audio.get(from..audio.len().min(from + SECOND / 50));
            if let Some(packet) = packet {
                stream.push_pcm(packet.to_vec());
                until(|| stream.lag_ms() < 5000.0);
            }
        }
    }
    for ((stream, _), _) in &mut streams {
        stream.end();
    }
    for (((_, events), _), alone) in streams.iter().zip(&alone) {
        let told = Told::collect(events);
        told.assert_committed_only_grows();
        assert_eq!(told.texts(), alone.texts());
        assert_eq!(told.speech(), alone.speech());
        let ranges = |told: &Told| -> Vec<_> {
            told.finals()
                .iter()
                .flat_map(|f| f.speech.clone())
                .collect()
        };
        assert_eq!(ranges(&told), ranges(alone));
    }
}

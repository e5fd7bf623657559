use super::stream::samples_16k;
use super::*;
use crate::audio::{MaxDuration, SAMPLE_RATE_HZ, Source};
use crate::error::{ErrorKind, Result};
use crate::transcript::PacketCounts;

/// 20 ms.
const PACKET_SAMPLES: usize = SAMPLE_RATE_HZ as usize / 50;
const MINUTE: f64 = 60_000.0;

/// 20 ms SILK packets of a voice-like tone, as a real encoder makes them.
fn encoded(packets: usize) -> Vec<Vec<u8>> {
    let mut encoder = ::opus::Encoder::new(
        SAMPLE_RATE_HZ,
        ::opus::Channels::Mono,
        ::opus::Application::Voip,
    )
    .unwrap();
    (0..packets)
        .map(|packet| {
            let pcm: Vec<f32> = (0..PACKET_SAMPLES)
                .map(|at| {
                    let t = (packet * PACKET_SAMPLES + at) as f32 / 16_000.0;
                    0.4 * (t * 180.0 * std::f32::consts::TAU).sin()
                })
                .collect();
            encoder.encode_vec_float(&pcm, 1275).unwrap()
        })
        .collect()
}

fn list<'a>(packets: impl IntoIterator<Item = Option<&'a [u8]>>) -> PacketList {
    let mut list = PacketList::default();
    for packet in packets {
        list.push(packet);
    }
    list
}

struct Decoded {
    pcm: Vec<f32>,
    packets: PacketCounts,
}

fn decode(list: PacketList) -> Result<Decoded> {
    let mut source = list.open(MaxDuration::from_ms(MINUTE))?;
    let mut pcm = Vec::new();
    while source.read(&mut pcm)? {}
    let packets = source.report().packets.unwrap();
    Ok(Decoded { pcm, packets })
}

fn decoded(list: PacketList) -> Decoded {
    decode(list).unwrap()
}

#[test]
fn a_good_list_decodes_to_its_length() {
    let packets = encoded(50);
    let Decoded {
        pcm,
        packets: counts,
    } = decoded(list(packets.iter().map(|packet| Some(packet.as_slice()))));
    assert_eq!(pcm.len(), 16_000);
    assert_eq!(
        counts,
        PacketCounts {
            received: 50,
            ..PacketCounts::default()
        }
    );
    let energy = pcm[8000..]
        .iter()
        .map(|sample| sample * sample)
        .sum::<f32>();
    assert!(energy > 100.0, "{energy}");
}

#[test]
fn nothing_and_nothing_but_lost_packets_are_no_audio() {
    assert!(decoded(PacketList::default()).pcm.is_empty());
    let lost = decoded(list([None, None, None]));
    assert!(lost.pcm.is_empty());
    assert_eq!((lost.packets.received, lost.packets.lost), (3, 3));
}

#[test]
fn lost_and_corrupt_packets_keep_their_place_and_are_counted() {
    let packets = encoded(50);
    let garbage = [0x0b_u8, 0x00];
    let damaged = list(
        packets
            .iter()
            .enumerate()
            .map(|(index, packet)| match index {
                0 | 10 => None,
                20..23 => Some(garbage.as_slice()),
                _ => Some(packet.as_slice()),
            }),
    );
    let Decoded {
        pcm,
        packets: counts,
    } = decoded(damaged);
    assert_eq!(pcm.len(), 16_000);
    assert_eq!((counts.received, counts.lost), (50, 2));
    assert_eq!(counts.corrupt, [20, 21, 22]);
    assert!((counts.concealed_ms - 100.0).abs() < 1e-9);
}

#[test]
fn a_long_gap_becomes_silence_not_invention() {
    let packets = encoded(25);
    let good = packets.iter().map(|packet| Some(packet.as_slice()));
    let gap = std::iter::repeat_n(None, 100);
    let Decoded {
        pcm,
        packets: counts,
    } = decoded(list(good.chain(gap)));
    assert_eq!(pcm.len(), 125 * PACKET_SAMPLES);
    assert!((counts.concealed_ms - MAX_CONCEALMENT_MS as f64).abs() < 1e-9);
    let beyond = (25 + MAX_CONCEALMENT_MS / 20) * PACKET_SAMPLES;
    assert!(pcm[beyond..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn input_that_cannot_be_opus_is_refused_with_the_first_index() {
    let odd = [0x09_u8, 1, 2, 3];
    let Err(error) = decode(list([None, Some(odd.as_slice()), Some(&[0x0b])])) else {
        panic!("decoded")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidPacket);
    assert_eq!(error.index(), Some(1));
    assert!(error.message().contains("packet 1"), "{error}");
}

#[test]
fn hours_of_loss_are_refused_before_they_are_allocated() {
    let packet = encoded(1).remove(0);
    for hours in [
        list(std::iter::once(Some(packet.as_slice())).chain(std::iter::repeat_n(None, 60 * 50))),
        list(std::iter::repeat_n(None, 60 * 50).chain([Some(packet.as_slice())])),
    ] {
        let Err(error) = hours.open(MaxDuration::from_ms(MINUTE)) else {
            panic!("opened")
        };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(error.index(), Some(3000));
    }
}

#[test]
fn a_decoder_belongs_to_its_job_so_interleaved_jobs_decode_as_each_alone() {
    let (one, two) = (encoded(40), encoded(60));
    let alone: Vec<_> = [&one, &two]
        .map(|packets| decoded(list(packets.iter().map(|packet| Some(packet.as_slice())))).pcm)
        .into();
    let together: Vec<_> = std::thread::scope(|scope| {
        [&one, &two]
            .map(|packets| {
                scope.spawn(|| {
                    decoded(list(packets.iter().map(|packet| Some(packet.as_slice())))).pcm
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn the_gain_of_a_stream_is_applied_and_the_next_stream_has_its_own() {
    let packets = encoded(50);
    let level = |gain_q8: i16| {
        let mut decoder = PacketDecoder::new().unwrap();
        let mut pcm = Vec::new();
        // What went before has no part in it.
        decoder.push(Some(&packets[0]), &mut pcm).unwrap();
        decoder.restart(gain_q8, &mut pcm).unwrap();
        pcm.clear();
        for packet in &packets {
            decoder.push(Some(packet), &mut pcm).unwrap();
        }
        pcm[4_000..]
            .iter()
            .map(|sample| sample * sample)
            .sum::<f32>()
            .sqrt()
    };
    // 6.02 dB is twice the amplitude.
    assert!((level(1541) / level(0) - 2.0).abs() < 0.01);
    assert!((level(-1541) / level(0) - 0.5).abs() < 0.01);
}

/// A lost packet is restored from the one behind it, as an encoder for a lossy line makes them.
#[test]
fn a_lost_packet_is_restored_from_the_next_that_carries_it_again() {
    let mut encoder = ::opus::Encoder::new(
        SAMPLE_RATE_HZ,
        ::opus::Channels::Mono,
        ::opus::Application::Voip,
    )
    .unwrap();
    encoder.set_inband_fec(true).unwrap();
    encoder.set_packet_loss_perc(20).unwrap();
    encoder.set_bitrate(::opus::Bitrate::Bits(24_000)).unwrap();
    encoder.set_signal(::opus::Signal::Voice).unwrap();
    let wave = |at: usize| {
        let t = at as f32 / 16_000.0;
        // Glides, so that concealment, which goes on as before, goes astray.
        (0.4 * (t * (120.0 + 60.0 * t) * std::f32::consts::TAU).sin()) * (8.0 * t).sin()
    };
    let packets: Vec<Vec<u8>> = (0..100)
        .map(|packet| {
            let at = packet * PACKET_SAMPLES;
            let pcm: Vec<f32> = (at..at + PACKET_SAMPLES).map(wave).collect();
            encoder.encode_vec_float(&pcm, 1275).unwrap()
        })
        .collect();
    let carried = packets
        .iter()
        .filter(|packet| packet::parse(packet).unwrap().has_fec)
        .count();
    assert!(carried > 50, "{carried}");

    let whole = decoded(list(packets.iter().map(|packet| Some(packet.as_slice()))));
    let lossy =
        decoded(list(packets.iter().enumerate().map(|(index, packet)| {
            (index % 10 != 5).then_some(packet.as_slice())
        })));
    let lost = (0..100).filter(|index| index % 10 == 5);
    let restorable = lost
        .filter(|index| packet::parse(&packets[index + 1]).unwrap().has_fec)
        .count();
    assert!(restorable >= 5, "{restorable}");
    assert_eq!((lossy.packets.lost, lossy.pcm.len()), (10, whole.pcm.len()));
    let concealed_ms = 20.0 * (10 - restorable) as f64;
    assert!((lossy.packets.concealed_ms - concealed_ms).abs() < 1e-9);

    let error = |decoded: &Decoded| -> f32 {
        let pairs = decoded.pcm.iter().zip(&whole.pcm);
        pairs.map(|(a, b)| (a - b) * (a - b)).sum()
    };
    // The same losses, where no packet tells that it carries another.
    let mut blind = PacketDecoder::new().unwrap();
    let mut pcm = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        let lost = index % 10 == 5;
        blind
            .push((!lost).then_some(packet.as_slice()), &mut pcm)
            .unwrap();
        if lost {
            // Its place is filled before the next packet is seen.
            blind.settle(None, &mut pcm);
        }
    }
    let concealed = Decoded {
        pcm,
        packets: blind.take_counts(),
    };
    assert!(
        error(&lossy) < error(&concealed) / 2.0,
        "{} {}",
        error(&lossy),
        error(&concealed)
    );
}

/// libopus conceals there, whatever the next packet carries, and so it is counted.
#[test]
fn nothing_is_restored_behind_a_packet_without_a_silk_layer() {
    let mut celt = ::opus::Encoder::new(
        SAMPLE_RATE_HZ,
        ::opus::Channels::Mono,
        ::opus::Application::LowDelay,
    )
    .unwrap();
    let celt = celt.encode_vec_float(&[0.1; PACKET_SAMPLES], 1275).unwrap();
    assert!(packet::parse(&celt).unwrap().celt_only);
    // A SILK packet of 20 ms whose second bit says that it carries its predecessor.
    let mut carrier = encoded(3).remove(2);
    carrier[1] |= 0b0100_0000;
    assert!(packet::parse(&carrier).unwrap().has_fec);
    let entries = [Some(celt.as_slice()), None, Some(carrier.as_slice())];
    assert!((decoded(list(entries)).packets.concealed_ms - 20.0).abs() < 1e-9);
    let entries = [Some(carrier.as_slice()), None, Some(carrier.as_slice())];
    assert!(decoded(list(entries)).packets.concealed_ms.abs() < 1e-9);
}

#[test]
fn packets_of_every_mode_and_length_follow_each_other_in_one_list() {
    use ::opus::{Application, Bandwidth, Bitrate, Channels, FrameSize};
    let kinds = [
        (
            Application::Voip,
            Channels::Mono,
            FrameSize::Ms60,
            Bandwidth::Narrowband,
            8_000,
        ),
        (
            Application::Voip,
            Channels::Stereo,
            FrameSize::Ms20,
            Bandwidth::Wideband,
            24_000,
        ),
        (
            Application::Voip,
            Channels::Mono,
            FrameSize::Ms10,
            Bandwidth::Fullband,
            32_000,
        ),
        (
            Application::LowDelay,
            Channels::Stereo,
            FrameSize::Ms2_5,
            Bandwidth::Fullband,
            96_000,
        ),
        (
            Application::Audio,
            Channels::Mono,
            FrameSize::Ms40,
            Bandwidth::Superwideband,
            20_000,
        ),
        (
            Application::LowDelay,
            Channels::Mono,
            FrameSize::Ms5,
            Bandwidth::Fullband,
            64_000,
        ),
    ];
    let mut packets = Vec::new();
    let mut samples_48k = 0;
    let mut configurations = std::collections::HashSet::new();
    for (application, channels, frame, bandwidth, bitrate) in kinds {
        let mut encoder = ::opus::Encoder::new(48_000, channels, application).unwrap();
        encoder.set_bitrate(Bitrate::Bits(bitrate)).unwrap();
        encoder.set_max_bandwidth(bandwidth).unwrap();
        encoder.set_expert_frame_duration(frame).unwrap();
        let frame_48k = match frame {
            FrameSize::Ms2_5 => 120,
            FrameSize::Ms5 => 240,
            FrameSize::Ms10 => 480,
            FrameSize::Ms20 => 960,
            FrameSize::Ms40 => 1_920,
            _ => 2_880,
        };
        let count = if channels == Channels::Mono { 1 } else { 2 };
        for packet in 0..12 {
            let pcm: Vec<f32> = (0..frame_48k * count)
                .map(|at| {
                    let t = (packet * frame_48k + at / count) as f32 / 48_000.0;
                    0.3 * (t * 300.0 * std::f32::consts::TAU).sin()
                })
                .collect();
            let packet = encoder.encode_vec_float(&pcm, 4_000).unwrap();
            configurations.insert(packet[0] >> 3);
            samples_48k += frame_48k;
            packets.push(packet);
        }
    }
    assert!(configurations.len() >= 5, "{configurations:?}");
    let Decoded { pcm, packets } = decoded(list(packets.iter().map(|p| Some(p.as_slice()))));
    assert_eq!(pcm.len(), samples_16k(samples_48k));
    assert_eq!((packets.received, packets.lost), (72, 0));
    assert!(packets.corrupt.is_empty());
    // The tone goes on through every change.
    for (index, stretch) in pcm.chunks(800).enumerate().skip(1) {
        let energy: f32 = stretch.iter().map(|s| s * s).sum();
        assert!(energy / stretch.len() as f32 > 0.01, "{index}: {energy}");
    }
}

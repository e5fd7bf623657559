use super::*;

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
            let pcm: Vec<f32> = (0..DEFAULT_PACKET_SAMPLES)
                .map(|at| {
                    let t = (packet * DEFAULT_PACKET_SAMPLES + at) as f32 / 16_000.0;
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

fn decoded(list: &PacketList) -> Decoded {
    decode(list, &Cancel::never()).unwrap()
}

#[test]
fn a_good_list_decodes_to_its_length() {
    let packets = encoded(50);
    let Decoded {
        pcm,
        packets: counts,
    } = decoded(&list(packets.iter().map(|packet| Some(packet.as_slice()))));
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
    assert!(decoded(&PacketList::default()).pcm.is_empty());
    let lost = decoded(&list([None, None, None]));
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
    } = decoded(&damaged);
    assert_eq!(pcm.len(), 16_000);
    assert_eq!((counts.received, counts.lost, counts.corrupt), (50, 2, 3));
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
    } = decoded(&list(good.chain(gap)));
    assert_eq!(pcm.len(), 125 * DEFAULT_PACKET_SAMPLES);
    assert!((counts.concealed_ms - MAX_CONCEALMENT_MS as f64).abs() < 1e-9);
    let beyond = (25 + MAX_CONCEALMENT_MS / 20) * DEFAULT_PACKET_SAMPLES;
    assert!(pcm[beyond..].iter().all(|sample| *sample == 0.0));
}

#[test]
fn input_that_cannot_be_opus_is_refused_with_the_first_index() {
    let odd = [0x09_u8, 1, 2, 3];
    let error = decode(
        &list([None, Some(odd.as_slice()), Some(&[])]),
        &Cancel::never(),
    );
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPacket);
    assert_eq!(error.index(), Some(1));
    assert!(error.message().contains("packet 1"), "{error}");
}

#[test]
fn hours_of_loss_are_refused_before_they_are_allocated() {
    let packet = encoded(1).remove(0);
    let hours = std::iter::repeat_n(None, MAX_DURATION_S * 50);
    let error = decode(
        &list(std::iter::once(Some(packet.as_slice())).chain(hours)),
        &Cancel::never(),
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_decoder_belongs_to_its_job_so_interleaved_jobs_decode_as_each_alone() {
    let (one, two) = (encoded(40), encoded(60));
    let alone: Vec<_> = [&one, &two]
        .map(|packets| decoded(&list(packets.iter().map(|packet| Some(packet.as_slice())))).pcm)
        .into();
    let together: Vec<_> = std::thread::scope(|scope| {
        [&one, &two]
            .map(|packets| {
                scope.spawn(|| {
                    decoded(&list(packets.iter().map(|packet| Some(packet.as_slice())))).pcm
                })
            })
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn giving_up_stops_between_two_packets() {
    let packets = encoded(10);
    let cancel = Cancel::never();
    cancel.abort();
    let list = list(packets.iter().map(|packet| Some(packet.as_slice())));
    assert_eq!(
        decode(&list, &cancel).unwrap_err().kind(),
        ErrorKind::Aborted
    );
}

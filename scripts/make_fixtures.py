#!/usr/bin/env python3
"""Makes the committed fixtures in __test__/fixtures from real recordings. Run once, by hand:

    pip install silero-vad==6.2.3 onnxruntime av numpy
    python3 scripts/make_fixtures.py --speech DIR

DIR holds the recordings and their manifest.json. What is written:

- NAME.packets: Opus packets, each behind its length as uint16 little-endian. PCM recordings are
  encoded with FFmpeg's libopus (48 kHz, mono, 24 kbit/s, 20 ms); Opus recordings keep the packets
  they were recorded with.
- NAME.wav: 16 kHz mono, for the tests that need the very samples the reference saw.
- manifest.json: transcript, language, licence, and the packets' total duration.
- vad_reference.json: what the silero-vad package itself gives for those samples.
"""

import argparse
import json
import pathlib
import struct
import wave

import av
import numpy
import torch
from silero_vad import get_speech_timestamps, load_silero_vad

FIXTURES = pathlib.Path(__file__).parent.parent / "__test__" / "fixtures"

# recording: short name, and how many seconds of it are kept as PCM (0: none)
RECORDINGS = {
    "jfk.wav": ("jfk", 11),
    "LJ050-0131.wav": ("lj050", 0),
    "libri_test-clean_1089-134686-0000.flac": ("libri_stew", 0),
    "libri_test-clean_1089-134691-0001.flac": ("libri_waiting", 0),
    "libri_test-other_2609_joined_gaps1s.flac": ("libri_moses", 40),
    "mediarecorder_en.webm": ("mediarecorder", 0),
    "fleurs-de-001.ogg": ("fleurs_de", 0),
    "fleurs-fr-000.ogg": ("fleurs_fr", 0),
    "blanket_wind.ogg": ("wind", 10),
    "blanket_fireplace.ogg": ("fireplace", 0),
}

# Option sets for get_speech_timestamps: its defaults, ours, and ones that exercise every branch.
OPTION_SETS = {
    "reference": {},
    "opuscribe": {"min_speech_duration_ms": 100, "min_silence_duration_ms": 300, "speech_pad_ms": 400},
    "strict": {"threshold": 0.8, "neg_threshold": 0.3, "min_speech_duration_ms": 400, "min_silence_duration_ms": 50, "speech_pad_ms": 0},
    "eager": {"threshold": 0.2, "min_silence_duration_ms": 700, "speech_pad_ms": 400},
    "short": {"max_speech_duration_s": 3, "min_silence_duration_ms": 200, "speech_pad_ms": 100},
    "very_short": {"max_speech_duration_s": 1.2, "min_silence_duration_ms": 500, "speech_pad_ms": 30},
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", required=True, type=pathlib.Path)
    speech = parser.parse_args().speech
    known = {entry["file"]: entry for entry in json.loads((speech / "manifest.json").read_text())}
    vad = load_silero_vad(onnx=True)
    manifest, references = [], []
    for file, (name, pcm_seconds) in RECORDINGS.items():
        packets, packet_ms = packets_of(speech / file)
        (FIXTURES / f"{name}.packets").write_bytes(
            b"".join(struct.pack("<H", len(packet)) + packet for packet in packets)
        )
        keep = ("language", "transcript", "source", "licence")
        manifest.append(
            {"name": name, "kind": known[file]["kind"]}
            | {key: known[file][key] for key in keep}
            | {"packets": len(packets), "durationMs": packet_ms}
        )
        if pcm_seconds:
            pcm = decode(speech / file, 16000)[: pcm_seconds * 16000]
            write_wav(FIXTURES / f"{name}.wav", pcm)
            references.append(reference(vad, name, pcm))
    write_json(FIXTURES / "manifest.json", manifest, indent=1)
    write_json(FIXTURES / "vad_reference.json", {"options": OPTION_SETS, "inputs": references})


def packets_of(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if stream.codec_context.name in ("opus", "libopus"):
            packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
            return packets, sum(map(duration_ms, packets))
    pcm = decode(path, 48000)
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format = 48000, "mono", "s16"
    encoder.bit_rate = 24000
    encoder.options = {"application": "voip", "frame_duration": "20"}
    packets = []
    for start in range(0, len(pcm), 960):
        block = numpy.zeros((1, 960), dtype=numpy.int16)
        piece = pcm[start : start + 960]
        block[0, : len(piece)] = piece
        frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48000, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    packets = [bytes(packet) for packet in packets]
    return packets, sum(map(duration_ms, packets))


def duration_ms(packet):
    """RFC 6716, section 3.1."""
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (10, 20, 40, 60)[config & 3]
    elif config < 16:
        frame = (10, 20)[config & 1]
    else:
        frame = (2.5, 5, 10, 20)[config & 3]
    return frame * (1, 2, 2, packet[1] & 0x3F if len(packet) > 1 else 0)[code]


def decode(path, rate):
    """The recording as mono int16 at `rate`."""
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
    pieces = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return numpy.concatenate(pieces)


def write_wav(path, pcm):
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, len(pcm), "NONE", ""))
        out.writeframes(pcm.astype("<i2").tobytes())


def reference(vad, name, pcm):
    audio = torch.from_numpy(pcm.astype(numpy.float32) / 32768)
    vad.reset_states()
    padded = torch.nn.functional.pad(audio, (0, -len(audio) % 512))
    probabilities = [vad(window, 16000).item() for window in padded.split(512)]
    return {
        "name": name,
        "probabilities": [round(probability, 7) for probability in probabilities],
        "segments": {
            options: [
                [segment["start"], segment["end"]]
                for segment in get_speech_timestamps(audio, vad, **OPTION_SETS[options])
            ]
            for options in OPTION_SETS
        },
    }


def write_json(path, value, indent=None):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


if __name__ == "__main__":
    main()

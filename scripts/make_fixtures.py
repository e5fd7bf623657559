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

import numpy
import torch
from opus_packets import decode, packets_of
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

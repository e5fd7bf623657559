#!/usr/bin/env python3
"""Makes of each recording what the peers get, for recordings.mjs, which calls this.

    python3 recordings.py LIST

LIST is JSON: [{"source", "wav", "packets"}]. What is missing or older than its source is written:
`wav`, 16-bit mono at 16 kHz behind 44 bytes, and `packets`, Opus at 24 kbit/s in packets of 20 ms,
each behind its length as uint16 little-endian. A source of such packets is decoded.
"""

import json
import pathlib
import struct
import sys
import wave

import av
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))
from opus_packets import decode, packets_of  # noqa: E402


def main(entries):
    for entry in entries:
        source = pathlib.Path(entry["source"])
        wav, packets = pathlib.Path(entry["wav"]), pathlib.Path(entry["packets"])
        if is_fresh(wav, source) and is_fresh(packets, source):
            continue
        wav.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".packets":
            framed = source.read_bytes()
            samples = decode_packets(framed)
        else:
            framed = b"".join(struct.pack("<H", len(one)) + one for one in packets_of(source)[0])
            samples = decode(source, 16000)
        # Under another name first: a run that is killed leaves nothing that looks complete.
        unfinished = wav.with_suffix(".new")
        write_wav(unfinished, samples)
        unfinished.replace(wav)
        unfinished.write_bytes(framed)
        unfinished.replace(packets)
        print(f"prepared {source.name}", file=sys.stderr)


def is_fresh(path, source):
    return path.exists() and path.stat().st_mtime > source.stat().st_mtime


def decode_packets(framed):
    decoder = av.CodecContext.create("libopus", "r")
    decoder.sample_rate, decoder.layout = 48000, "mono"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
    pieces, at = [], 0
    while at < len(framed):
        (length,) = struct.unpack_from("<H", framed, at)
        packet = av.Packet(framed[at + 2 : at + 2 + length])
        pieces += [piece for frame in decoder.decode(packet) for piece in resampler.resample(frame)]
        at += 2 + length
    pieces += resampler.resample(None)
    return numpy.concatenate([piece.to_ndarray()[0] for piece in pieces])


def write_wav(path, samples):
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16000, len(samples), "NONE", ""))
        out.writeframes(samples.astype("<i2").tobytes())


if __name__ == "__main__":
    main(json.loads(pathlib.Path(sys.argv[1]).read_text()))

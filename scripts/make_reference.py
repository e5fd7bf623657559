#!/usr/bin/env python3
"""Makes reference decodes of committed packets with a decoder that is not libopus.

    pip install av numpy
    python3 scripts/make_reference.py

FFmpeg's own Opus decoder (libavcodec's `opus`, not its `libopus`) shares no code with ours. It
gives 48 kHz, which libswresample takes to 16 kHz mono. Written to __test__/fixtures:

- NAME.reference.s16le: the first seconds of that, 16 kHz mono, signed 16-bit little-endian.
- decode_reference.json: by what, and how near our decode must come.

Both begin at the first packet's first sample: libopus at 16 kHz and FFmpeg at 48 kHz agree about
the delay, so that no alignment is needed.
"""

import json
import pathlib
import struct

import av
import numpy

FIXTURES = pathlib.Path(__file__).parent.parent / "__test__" / "fixtures"

# jfk: SILK, hybrid and CELT frames of 20 ms, and changes between them; mediarecorder: three stereo
# CELT frames in each packet; chromium_webcodecs_60ms: three frames, hybrid and CELT.
NAMES = ["jfk", "mediarecorder", "chromium_webcodecs_60ms"]
SECONDS = 4
RATE = 16000
# Measured: 44 dB (mediarecorder, for its content near 8 kHz) and 54 dB. One sample too early or
# late leaves 8 dB, one packet of silence in place of a loud one 17 to 31 dB.
MIN_SNR_DB = 40


def main():
    for name in NAMES:
        pcm = reference_decode(packets_in(FIXTURES / f"{name}.packets"))[: SECONDS * RATE]
        (FIXTURES / f"{name}.reference.s16le").write_bytes(pcm.astype("<i2").tobytes())
    about = {
        "decoder": f"FFmpeg opus, libavcodec {version('libavcodec')}",
        "resampler": f"libswresample {version('libswresample')}",
        "sampleRateHz": RATE,
        "seconds": SECONDS,
        "minSnrDb": MIN_SNR_DB,
        "names": NAMES,
    }
    (FIXTURES / "decode_reference.json").write_text(json.dumps(about, indent=1) + "\n")


def packets_in(path):
    """The packets of a .packets file."""
    rest = path.read_bytes()
    while rest:
        (length,) = struct.unpack_from("<H", rest)
        yield rest[2 : 2 + length]
        rest = rest[2 + length :]


def reference_decode(packets):
    """Packets as mono int16 at 16 kHz, by FFmpeg's own decoder."""
    decoder = av.CodecContext.create("opus", "r")
    assert decoder.codec.name == "opus"
    # Without a container's header it must be told; mono packets then fill both channels alike.
    decoder.sample_rate, decoder.layout = 48000, "stereo"
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    pieces = [piece for frame in [*frames, None] for piece in resampler.resample(frame)]
    return numpy.concatenate([piece.to_ndarray()[0] for piece in pieces])


def snr_db(reference, ours):
    """How far `ours` is from `reference`, over their common length; both full scale alike."""
    length = min(len(reference), len(ours))
    reference, ours = (part[:length].astype(float) for part in (reference, ours))
    return 10 * numpy.log10((reference**2).sum() / ((reference - ours) ** 2).sum())


def version(library):
    return ".".join(map(str, av.library_versions[library]))


if __name__ == "__main__":
    main()

"""Recordings of any format as 16-bit samples and as Opus packets. Needs `pip install av`."""

import av
import numpy


def packets_of(path):
    """The recording's Opus packets, and their duration in ms."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        if stream.codec_context.name in ("opus", "libopus"):
            packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
            return packets, sum(map(duration_ms, packets))
    packets = encode(decode(path, 48000))
    return packets, sum(map(duration_ms, packets))


def encode(pcm):
    """48 kHz mono samples, as 24 kbit/s in 20 ms packets."""
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
    return [bytes(packet) for packet in packets]


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

#!/usr/bin/env python3
"""Makes the committed fixtures in __test__/fixtures/media from jfk.wav (public domain). Run once, by
hand:

    pip install av numpy
    python3 scripts/make_media.py --speech DIR

DIR holds the recordings. What is written: one short file for each container, codec and oddity that
src/media reads or refuses, and media.json, which says of each what FFmpeg finds in it: Opus packets
and samples at 48 kHz after trimming, or frames, rate and channels.
"""

import argparse
import io
import json
import pathlib

import av
import numpy

MEDIA = pathlib.Path(__file__).parent.parent / "__test__" / "fixtures" / "media"

# name: container, codec, rate, layout, seconds, codec options, container options
SUPPORTED = {
    "opus_20ms.ogg": ("ogg", "libopus", 48000, "mono", 3, {"b": "24000"}, {}),
    "whole.ogg": ("ogg", "libopus", 48000, "mono", 11, {"b": "24000"}, {"page_duration": "500000"}),
    "whole.mp3": ("mp3", "libmp3lame", 16000, "mono", 11, {"b": "32000"}, {}),
    "whole.m4a": ("ipod", "aac", 16000, "mono", 11, {"b": "32000"}, {}),
    "opus_60ms_stereo.ogg": ("ogg", "libopus", 48000, "stereo", 3, {"b": "32000", "frame_duration": "60"}, {}),
    "opus_small_pages.ogg": ("ogg", "libopus", 48000, "mono", 3, {"b": "16000"}, {"page_duration": "100000"}),
    "opus.webm": ("webm", "libopus", 48000, "mono", 3, {"b": "24000"}, {}),
    "opus_live.webm": ("webm", "libopus", 48000, "mono", 3, {"b": "24000"}, {"live": "1", "cluster_time_limit": "1000"}),
    "opus_2_5ms.mkv": ("matroska", "libopus", 48000, "mono", 1, {"b": "64000", "frame_duration": "2.5"}, {}),
    "opus.mp4": ("mp4", "libopus", 48000, "mono", 2, {"b": "24000"}, {}),
    "u8_8000.wav": ("wav", "pcm_u8", 8000, "mono", 0.5, {}, {}),
    "s16_11025.wav": ("wav", "pcm_s16le", 11025, "mono", 0.5, {}, {}),
    "s24_22050_stereo.wav": ("wav", "pcm_s24le", 22050, "stereo", 0.2, {}, {}),
    "s32_44100.wav": ("wav", "pcm_s32le", 44100, "mono", 0.1, {}, {}),
    "f32_96000.wav": ("wav", "pcm_f32le", 96000, "mono", 0.05, {}, {}),
    "f64_16000.wav": ("wav", "pcm_f64le", 16000, "mono", 0.1, {}, {}),
    "alaw_8000.wav": ("wav", "pcm_alaw", 8000, "mono", 0.5, {}, {}),
    "mulaw_8000.wav": ("wav", "pcm_mulaw", 8000, "mono", 0.5, {}, {}),
    "s16_5_1.wav": ("wav", "pcm_s16le", 16000, "5.1", 0.1, {}, {}),
    "s16_7_1.wav": ("wav", "pcm_s16le", 16000, "7.1", 0.05, {}, {}),
    "rf64.wav": ("wav", "pcm_s16le", 16000, "mono", 0.2, {}, {"rf64": "always"}),
    "s16_16000.flac": ("flac", "flac", 16000, "mono", 2, {}, {}),
    "s24_44100_stereo.flac": ("flac", "flac", 44100, "stereo", 0.2, {"sample_fmt": "s32"}, {}),
    "cbr.mp3": ("mp3", "libmp3lame", 22050, "mono", 3, {"b": "32000"}, {}),
    "untagged.mp3": ("mp3", "libmp3lame", 44100, "stereo", 1, {"b": "64000"}, {"write_xing": "0", "id3v2_version": "0"}),
    "aac.m4a": ("ipod", "aac", 44100, "mono", 2, {"b": "48000"}, {}),
    "aac_fragmented.mp4": ("mp4", "aac", 48000, "stereo", 2, {"b": "48000"}, {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}),
    "aac.aac": ("adts", "aac", 16000, "mono", 2, {"b": "24000"}, {}),
    "alac.m4a": ("ipod", "alac", 16000, "mono", 0.5, {}, {}),
}  # fmt: skip

# name: container, codec, rate; a tenth of a second each
REFUSED = {
    "vorbis.ogg": ("ogg", "vorbis", 48000, "stereo"),
    "flac.ogg": ("ogg", "flac", 16000, "mono"),
    "vorbis.webm": ("webm", "vorbis", 48000, "stereo"),
    "pcm.mkv": ("matroska", "pcm_s16le", 8000, "mono"),
    "ac3.mp4": ("mp4", "ac3", 48000, "mono"),
    "adpcm.wav": ("wav", "adpcm_ms", 8000, "mono"),
    "surround.ogg": ("ogg", "libopus", 48000, "5.1"),
    "speech.amr": ("amr", "libopencore_amrnb", 8000, "mono"),
    "speech.wma": ("asf", "wmav2", 44100, "stereo"),
    "speech.aiff": ("aiff", "pcm_s16be", 8000, "mono"),
    "speech.caf": ("caf", "pcm_s16le", 8000, "mono"),
    "speech.m2t": ("mpegts", "mp2", 16000, "mono"),
    "speech.mp2": ("mp2", "mp2", 16000, "mono"),
    "speech.au": ("au", "pcm_s16be", 8000, "mono"),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speech", required=True, type=pathlib.Path)
    speech = parser.parse_args().speech / "jfk.wav"
    MEDIA.mkdir(exist_ok=True)
    found = {}
    for name, (container, codec, rate, layout, seconds, options, muxer) in SUPPORTED.items():
        pcm = decode(speech, rate, seconds)
        (MEDIA / name).write_bytes(encode(pcm, container, codec, rate, layout, options, muxer))
    for name, (container, codec, rate, layout) in REFUSED.items():
        pcm = decode(speech, rate, 0.1)
        options = {"b": "64000"} if codec == "wmav2" else {}
        (MEDIA / name).write_bytes(encode(pcm, container, codec, rate, layout, options, {}))
    for name, container, with_audio in (
        ("video_only.webm", "webm", False),
        ("video_only.mp4", "mp4", False),
        ("video_only.avi", "avi", False),
        ("video_opus.mkv", "matroska", True),
    ):
        (MEDIA / name).write_bytes(video(speech, container, with_audio))
    derive()
    for path in sorted(MEDIA.iterdir()):
        if path.suffix != ".json" and path.name not in REFUSED and "video_only" not in path.name:
            found[path.name] = contents(path)
    (MEDIA / "media.json").write_text(json.dumps(found, indent=1) + "\n")


def derive():
    """What FFmpeg does not write, from what it does."""
    wav = (MEDIA / "s16_11025.wav").read_bytes()
    data = wav.index(b"data")
    # As written to a pipe, and as left behind by a recorder that was killed.
    for name, size in (("piped.wav", 0xFFFFFFFF), ("killed.wav", 0)):
        header = wav[:4] + size.to_bytes(4, "little") + wav[8 : data + 4]
        (MEDIA / name).write_bytes(header + size.to_bytes(4, "little") + wav[data + 8 :])
    first, second = ((MEDIA / name).read_bytes() for name in ("opus_20ms.ogg", "opus_60ms_stereo.ogg"))
    (MEDIA / "chained.ogg").write_bytes(first + second)


def decode(path, rate, seconds):
    """The front of a recording as mono float."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
    pieces = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return numpy.concatenate(pieces)[: int(rate * seconds)]


def encode(pcm, container, codec, rate, layout, options, muxer):
    out = io.BytesIO()
    # The same bytes on every run.
    muxer = {"fflags": "+bitexact"} | muxer
    options = dict(options)
    sample_format = options.pop("sample_fmt", None)
    with av.open(out, "w", format=container, options=muxer) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if "b" in options:
            stream.bit_rate = int(options.pop("b"))
        if sample_format:
            stream.format = sample_format
        stream.options = options | ({"strict": "experimental"} if codec == "vorbis" else {})
        stream.codec_context.open()
        write(output, stream, pcm, rate, layout)
    return out.getvalue()


def write(output, stream, pcm, rate, layout):
    context = stream.codec_context
    resampler = av.AudioResampler(
        format=context.format.name, layout=layout, rate=rate, frame_size=context.frame_size or 1024
    )
    # The same in every channel, each a little softer than the one before.
    gains = 0.9 ** numpy.arange(len(av.AudioLayout(layout).channels))
    packed = (pcm[:, None] * gains).astype(numpy.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate, frame.pts = rate, 0
    for piece in resampler.resample(frame) + resampler.resample(None):
        output.mux(stream.encode(piece))
    output.mux(stream.encode(None))


def video(speech, container, with_audio):
    out = io.BytesIO()
    with av.open(out, "w", format=container, options={"fflags": "+bitexact"}) as output:
        codec = "libvpx" if container == "webm" else "mpeg4"
        picture = output.add_stream(codec, rate=10)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuv420p"
        if with_audio:
            sound = output.add_stream("libopus", rate=48000, layout="mono")
            sound.bit_rate = 16000
            sound.codec_context.open()
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(numpy.full((32, 32, 3), index * 40, numpy.uint8))
            frame.pts = index
            output.mux(picture.encode(frame))
        output.mux(picture.encode(None))
        if with_audio:
            write(output, sound, decode(speech, 48000, 0.5), 48000, "mono")
    return out.getvalue()


def contents(path):
    """What FFmpeg makes of a file."""
    if path.name == "chained.ogg":
        parts = [contents(MEDIA / name) for name in ("opus_20ms.ogg", "opus_60ms_stereo.ogg")]
        return {key: sum(part[key] for part in parts) for key in parts[0]}
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        codec = stream.codec_context.name
        packets = sum(1 for packet in container.demux(stream) if packet.size)
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    samples = sum(frame.samples for frame in frames)
    if path.suffix in (".m4a", ".mp4") and "fragmented" not in path.name:
        # FFmpeg plays the last frame to its end; the edit list says where the audio ends.
        samples = round(stream.duration * stream.time_base * frames[0].sample_rate)
    if "opus" in codec:
        return {"packets": packets, "samples48k": samples}
    return {"frames": samples, "rateHz": frames[0].sample_rate, "channels": len(frames[0].layout.channels)}


if __name__ == "__main__":
    main()

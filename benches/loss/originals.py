#!/usr/bin/env python3
"""Decodes the English recordings of a folder for run.mjs, which calls this. Needs `pip install av`.

    python3 originals.py FOLDER OUT

FOLDER holds recordings of any format and a manifest.json like that of the fixtures. What is
written to OUT: NAME.s16, 16-bit samples at 16 kHz, mono, and recordings.json.
"""

import json
import pathlib
import sys

import av


def main(folder, out):
    recordings = []
    for entry in json.loads((folder / "manifest.json").read_text()):
        if entry["kind"] != "speech" or entry["language"] != "en":
            continue
        name = pathlib.Path(entry["file"]).stem
        (out / f"{name}.s16").write_bytes(decode(folder / entry["file"]))
        # A recording joined of several utterances says which; otherwise it is one.
        utterances = [segment["text"] for segment in entry.get("segments", [])]
        recordings.append({"name": name, "utterances": utterances or [entry["transcript"]]})
    (out / "recordings.json").write_text(json.dumps(recordings))


def decode(path):
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
    with av.open(str(path)) as container:
        frames = [*container.decode(audio=0), None]
        resampled = [piece for frame in frames for piece in resampler.resample(frame)]
    return b"".join(piece.to_ndarray()[0].tobytes() for piece in resampled)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))

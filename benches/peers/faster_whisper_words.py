"""The words of recordings and their times, as faster-whisper gives them; for ../words.mjs.

python faster_whisper_words.py MODEL_FOLDER THREADS < files > JSON lines
"""

import json
import sys

from faster_whisper import WhisperModel

model = WhisperModel(
    sys.argv[1],
    device="cpu",
    compute_type="int8",
    cpu_threads=int(sys.argv[2]),
    local_files_only=True,
)
for file in sys.stdin.read().split("\n"):
    segments, _ = model.transcribe(file, language="en", beam_size=1, word_timestamps=True)
    words = [
        {"text": word.word.strip(), "startMs": word.start * 1000, "endMs": word.end * 1000}
        for segment in segments
        for word in segment.words
    ]
    print(json.dumps(words), flush=True)

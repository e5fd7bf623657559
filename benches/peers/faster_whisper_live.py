"""faster-whisper under the policy of whisper_streaming (Macháček et al., 2023): every second of new
audio the buffer is transcribed again, words on which two hypotheses agree are committed, and a buffer
of more than 15 s is cut behind the last committed word. The clock is simulated: audio comes at the
pace of speech, and what takes time takes as long as it does. For ../streams.mjs.

python faster_whisper_live.py MODEL_FOLDER THREADS SECONDS RECORDING.wav...
"""

import re
import resource
import sys
import time
import wave

import numpy
from faster_whisper import WhisperModel

RATE = 16_000
CHUNK_S = 1.0
BUFFER_S = 15.0
PROMPT_CHARACTERS = 200

model = WhisperModel(
    sys.argv[1], device="cpu", compute_type="int8", cpu_threads=int(sys.argv[2]), local_files_only=True
)
seconds = float(sys.argv[3])


def read(path):
    with wave.open(path) as file:
        samples = numpy.frombuffer(file.readframes(file.getnframes()), numpy.int16)
    return samples.astype(numpy.float32) / 32768


def plain(word):
    return re.sub(r"[^a-z0-9]", "", word.lower())


speech = numpy.concatenate([read(path) for path in sys.argv[4:]])
speech = numpy.resize(speech, int(seconds * RATE))
committed, tentative = [], []
begins = heard = now = 0.0
lags = []
model.transcribe(speech[: 3 * RATE], language="en")
used = resource.getrusage(resource.RUSAGE_SELF)
while heard < seconds:
    now = max(now, min(heard + CHUNK_S, seconds))
    heard = min(now, seconds)
    started = time.perf_counter()
    text = "".join(word.word for word in committed if word.end <= begins)
    segments, _ = model.transcribe(
        speech[int(begins * RATE) : int(heard * RATE)],
        language="en",
        beam_size=1,
        word_timestamps=True,
        condition_on_previous_text=False,
        initial_prompt=text[-PROMPT_CHARACTERS:],
    )
    words = [word for segment in segments for word in segment.words]
    now += time.perf_counter() - started
    for word in words:
        word.start, word.end = word.start + begins, word.end + begins
    last = committed[-1].end if committed else 0.0
    words = [word for word in words if word.end > last + 0.1]
    agreed = 0
    for before, after in zip(tentative, words):
        if plain(before.word) != plain(after.word):
            break
        agreed += 1
    if heard >= seconds:
        agreed = len(words)
    for word in words[:agreed]:
        lags.append(now - word.end)
        committed.append(word)
    tentative = words[agreed:]
    if heard - begins > BUFFER_S and committed and committed[-1].end > begins:
        begins = committed[-1].end
spent = resource.getrusage(resource.RUSAGE_SELF)
cpu = (spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime) / seconds
lags.sort()
print("| faster-whisper int8 under the policy of whisper_streaming | committed text behind, mean | p95 | CPU s per s |")
print("| --- | --- | --- | --- |")
print(
    f"| 1 stream | {1000 * sum(lags) / len(lags):.0f} ms | {1000 * lags[int(0.95 * len(lags))]:.0f} ms | {cpu:.3f} |"
)

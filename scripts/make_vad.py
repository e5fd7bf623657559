"""Rewrites Silero VAD's network as products of matrices and writes it to assets/.

    python3 -m venv venv && venv/bin/pip install onnx==1.23.2 onnxruntime numpy
    venv/bin/pip install --no-deps silero-vad==6.2.3
    venv/bin/python scripts/make_vad.py

The package's file has convolutions over the four frames of each window of 32 ms. ONNX Runtime works on
them window by window; the same sums for all windows of a call at once are large products, which take a
third of the time (docs/benchmarks.md). The weights are the package's own. At the end both are run on noise
and must agree.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

PACKAGE = Path(find_spec("silero_vad").origin).parent
SOURCE = PACKAGE / "data" / "silero_vad_16k_sequence.onnx"
TARGET = Path(__file__).parent.parent / "assets" / "silero_vad_16k_products.onnx"
HOP, WINDOW, CONTEXT, BINS, HIDDEN = 128, 512, 64, 129, 128
FURTHEST_APART = 1e-4


class Graph:
    """Nodes and constants, each named after what it holds."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, values):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, kind, output, *inputs, **attributes):
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, **attributes))
        return output

    def shape(self, name, source, *sizes):
        return self.node("Reshape", name, source, self.constant(f"{name}_shape", np.array(sizes)))

    def rows(self, name, source, first, end):
        """Rows `first` to `end` of axis 1."""
        bounds = [self.constant(f"{name}_{part}", np.array([at])) for part, at in
                  (("first", first), ("end", end), ("axis", 1))]
        return self.node("Slice", name, source, *bounds)

    def zero_rows(self, name, source, before, after):
        pads = self.constant(f"{name}_pads", np.array([0, before, 0, 0, after, 0]))
        return self.node("Pad", name, source, pads)

    def layer(self, name, source, weight, bias):
        """ReLU of a product: `weight` is [out, in, taps] with the taps that touch anything."""
        flat = weight.transpose(2, 1, 0).reshape(-1, weight.shape[0])
        product = self.node("Gemm", f"{name}_sums", source,
                            self.constant(f"{name}_weight", flat), self.constant(f"{name}_bias", bias))
        return self.node("Relu", name, product)


def build(source):
    weights = {init.name: numpy_helper.to_array(init) for init in source.graph.initializer}
    layer = lambda number: (weights[f"encoder.{number}.weight"], weights[f"encoder.{number}.bias"])
    graph = Graph()

    # The last 64 samples go in mirrored behind the window, and frames of two hops begin at every hop.
    mirrored = graph.constant("mirrored", np.array([0, 0, 0, CONTEXT]))
    padded = graph.node("Pad", "padded", "input", mirrored, mode="reflect")
    hops = graph.shape("hops", padded, -1, (CONTEXT + WINDOW + CONTEXT) // HOP, HOP)
    halves = graph.rows("first_halves", hops, 0, 4), graph.rows("second_halves", hops, 1, 5)
    frames = graph.node("Concat", "frames", *halves, axis=2)
    basis = weights["stft.forward_basis_buffer"][:, 0, :].T
    spectrum = graph.node("MatMul", "spectrum", graph.shape("flat_frames", frames, -1, 2 * HOP),
                          graph.constant("basis", basis))
    split = graph.constant("split", np.array([BINS, BINS]))
    real, imaginary = graph.node("Split", ["real", "imaginary"], spectrum, split, axis=1)
    power = graph.node("Add", "power", graph.node("Mul", "real_power", real, real),
                       graph.node("Mul", "imaginary_power", imaginary, imaginary))
    magnitudes = graph.shape("magnitudes", graph.node("Sqrt", "roots", power), -1, 4, BINS)

    # Four frames with one of zeros on either side: each output frame sees three.
    wide = graph.zero_rows("wide", magnitudes, 1, 1)
    threes = graph.node("Concat", "threes", *(graph.rows(f"threes_{at}", wide, at, at + 4) for at in range(3)), axis=2)
    first = graph.layer("first", graph.shape("flat_threes", threes, -1, 3 * BINS), *layer(0))

    # Every second of them: frames -1 to 1 and 1 to 3.
    late = graph.zero_rows("late", graph.shape("first_frames", first, -1, 4, 128), 1, 0)
    pairs = [graph.shape(f"second_{at}_flat", graph.rows(f"second_{at}", late, at, at + 3), -1, 1, 3 * 128) for at in (0, 2)]
    both = graph.node("Concat", "both", *pairs, axis=1)
    second = graph.layer("second", graph.shape("flat_both", both, -1, 3 * 128), *layer(1))

    # Of three taps the first sees nothing but zeros, and in the last layer only the middle one does not.
    weight, bias = layer(2)
    third = graph.layer("third", graph.shape("second_frames", second, -1, 2 * 64), weight[:, :, 1:], bias)
    weight, bias = layer(3)
    fourth = graph.layer("fourth", third, weight[:, :, 1:2], bias)

    sequence = graph.shape("sequence", fourth, -1, 1, 128)
    recurrent = [graph.constant(name, weights[f"onnx::LSTM_{number}"]) for name, number in
                 (("gates", 209), ("recurrence", 210), ("gate_bias", 211))]
    states = graph.node("LSTM", ["states", "hn", "cn"], sequence, *recurrent, "", "h", "c", hidden_size=HIDDEN)
    heard = graph.node("Relu", "heard", graph.shape("flat_states", states[0], -1, HIDDEN))
    verdict = graph.node("Gemm", "verdict", heard, graph.constant("output_weight", weights["output.weight"][0]),
                         graph.constant("output_bias", weights["output.bias"]))
    graph.shape("speech_probs", graph.node("Sigmoid", "probabilities", verdict), -1)

    tensor = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    inputs = [tensor("input", "windows", CONTEXT + WINDOW), tensor("h", 1, 1, HIDDEN), tensor("c", 1, 1, HIDDEN)]
    outputs = [tensor("speech_probs", "windows"), tensor("hn", 1, 1, HIDDEN), tensor("cn", 1, 1, HIDDEN)]
    made = helper.make_graph(graph.nodes, "silero_vad", inputs, outputs, graph.constants)
    model = helper.make_model(made, opset_imports=source.opset_import, ir_version=source.ir_version)
    onnx.checker.check_model(model, full_check=True)
    return model


def answers(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    loudness = np.linspace(0, 0.5, 200, dtype=np.float32)[:, None]
    noise = np.random.default_rng(0).standard_normal((200, CONTEXT + WINDOW), np.float32) * loudness
    state = np.full((1, 1, HIDDEN), 0.1, np.float32)
    return session.run(["speech_probs", "hn", "cn"], {"input": noise, "h": state, "c": state})


if __name__ == "__main__":
    original = onnx.load(SOURCE)
    rewritten = build(original)
    pairs = zip(answers(original), answers(rewritten))
    # Cells of the LSTM grow to more than a hundred.
    apart = np.max([(np.abs(one - other) / np.maximum(1, np.abs(one))).max() for one, other in pairs])
    assert apart < FURTHEST_APART, apart
    onnx.save(rewritten, TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size} bytes, {apart:.1e} apart at most")

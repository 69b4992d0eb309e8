"""Writes a GGUF file of GPT-2 in f32, q8_0 or q4_0 as an ONNX file with past keys and values, made of the operators
that ONNX Runtime has for such models. Quantised weights keep their bits.

Inputs: input_ids [batch, tokens], past.i.key and past.i.value [batch, heads, past, head size], and first [1], the index
of the first token whose logits are computed; -1 is the last token.
Outputs: logits [batch, tokens from the first on, vocabulary], present.i.key and present.i.value.
"""

import argparse
from pathlib import Path

import gguf
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCK = 32  # elements that share a scale, in both quantised types
BITS = {"Q8_0": 8, "Q4_0": 4}
MICROSOFT = "com.microsoft"
ACCURACY_OF_INT8 = 4  # MatMulNBits: activations are rounded to int8


def unpack(tensor):
    """The unsigned elements [rows, blocks, 32 * bits / 8] and the scales [rows, blocks] of a quantised matrix."""
    rows = tensor.data.shape[0]
    blocks = tensor.data.view(np.uint8).reshape(rows, -1, 2 + BLOCK * BITS[tensor.tensor_type.name] // 8)
    scales = np.ascontiguousarray(blocks[..., :2]).view(np.float16)[..., 0].astype(np.float32)
    elements = blocks[..., 2:]
    if tensor.tensor_type.name == "Q8_0":
        return elements + np.uint8(128), scales  # signed, so that 128 is the zero point
    # The lower four bits hold elements 0 to 15 and the upper ones 16 to 31; ONNX Runtime wants neighbours in a byte.
    # The zero point is 8 in both.
    ordered = np.concatenate([elements & 15, elements >> 4], axis=2)
    return ordered[..., 0::2] | ordered[..., 1::2] << 4, scales


class Graph:
    def __init__(self, file):
        self.reader = gguf.GGUFReader(file)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.initializers = {}
        self.nodes = []

    def setting(self, name):
        return self.reader.fields[f"gpt2.{name}"].contents()

    def constant(self, name, array):
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def floats(self, name):
        tensor = self.tensors[name]
        return self.constant(name, gguf.dequantize(tensor.data, tensor.tensor_type))

    def add(self, operator, inputs, outputs=1, domain="", **attributes):
        names = [f"{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def quantised(self, name):
        elements, scales = unpack(self.tensors[name])
        return self.constant(f"{name}.elements", elements), self.constant(f"{name}.scales", scales)

    def bits(self, name):
        return BITS.get(self.tensors[name].tensor_type.name)

    def rows(self, name, indices):
        """[…] -> […, columns]"""
        if not self.bits(name):
            return self.add("Gather", [self.floats(name), indices])
        elements, scales = unpack(self.tensors[name])
        elements = elements.reshape(len(elements), -1)
        inputs = [self.constant(f"{name}.rows", elements), indices, self.quantised(name)[1]]
        return self.add(
            "GatherBlockQuantized",
            inputs,
            domain=MICROSOFT,
            bits=self.bits(name),
            block_size=BLOCK,
            gather_axis=0,
            quantize_axis=1,
        )

    def product(self, x, name):
        """[…, columns] -> […, rows]"""
        if not self.bits(name):
            transposed = self.constant(f"{name}.transposed", self.tensors[name].data.T)
            return self.add("MatMul", [x, transposed])
        columns, rows = (int(length) for length in self.tensors[name].shape)
        return self.add(
            "MatMulNBits",
            [x, *self.quantised(name)],
            domain=MICROSOFT,
            K=columns,
            N=rows,
            bits=self.bits(name),
            block_size=BLOCK,
            accuracy_level=ACCURACY_OF_INT8,
        )

    def linear(self, x, name):
        return self.add("Add", [self.product(x, f"{name}.weight"), self.floats(f"{name}.bias")])

    def norm(self, x, name):
        inputs = [x, self.floats(f"{name}.weight"), self.floats(f"{name}.bias")]
        epsilon = self.setting("attention.layer_norm_epsilon")
        return self.add("LayerNormalization", inputs, axis=-1, epsilon=epsilon)


def build(file):
    graph = Graph(file)
    heads = graph.setting("attention.head_count")
    width = graph.setting("embedding_length")
    layers = graph.setting("block_count")
    cache = ["batch", heads, "past", width // heads]

    start = graph.add("Shape", ["past.0.key"], start=2, end=3)
    end = graph.add("Add", [start, graph.add("Shape", ["input_ids"], start=1, end=2)])
    positions = graph.add("Slice", [graph.floats("position_embd.weight"), start, end])
    x = graph.add("Add", [graph.rows("token_embd.weight", "input_ids"), positions])
    past = []
    present = []
    for i in range(layers):
        block = f"blk.{i}"
        joined = graph.linear(graph.norm(x, f"{block}.attn_norm"), f"{block}.attn_qkv")
        query, key, value = graph.add("Split", [joined], outputs=3, axis=2, num_outputs=3)
        past += [f"past.{i}.key", f"past.{i}.value"]
        attended, *kept = graph.add(
            "MultiHeadAttention",
            [query, key, value, "", "", "", *past[-2:]],
            outputs=3,
            domain=MICROSOFT,
            num_heads=heads,
            unidirectional=1,
        )
        present += kept
        x = graph.add("Add", [x, graph.linear(attended, f"{block}.attn_output")])
        inner = graph.linear(graph.norm(x, f"{block}.ffn_norm"), f"{block}.ffn_up")
        inner = graph.add("Gelu", [inner], approximate="tanh")
        x = graph.add("Add", [x, graph.linear(inner, f"{block}.ffn_down")])
    end = graph.constant("end", np.array([np.iinfo(np.int64).max]))
    tokens_axis = graph.constant("tokens_axis", np.array([1]))
    x = graph.norm(graph.add("Slice", [x, "first", end, tokens_axis]), "output_norm")
    results = [graph.product(x, "token_embd.weight"), *present]

    outputs = ["logits", *(name.replace("past", "present") for name in past)]
    for result, name in zip(results, outputs):
        graph.nodes.append(helper.make_node("Identity", [result], [name]))
    f32 = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])]
    inputs.append(helper.make_tensor_value_info("first", TensorProto.INT64, [1]))
    inputs += [helper.make_tensor_value_info(name, f32, cache) for name in past]
    shapes = [["batch", None, None], *(["batch", heads, "positions", width // heads] for _ in past)]
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "gpt2",
            inputs,
            [helper.make_tensor_value_info(*output) for output in zip(outputs, [f32] * len(outputs), shapes)],
            list(graph.initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)],
        ir_version=10,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    unfinished = arguments.output.with_suffix(".tmp")
    onnx.save(build(arguments.model), unfinished)
    unfinished.rename(arguments.output)


if __name__ == "__main__":
    main()

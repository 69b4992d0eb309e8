"""Writes a GPT-2 checkpoint folder as an ONNX file with past keys and values.

Inputs: input_ids [1, tokens], past.i.key and past.i.value [1, heads, past, head size].
Outputs: logits [1, vocabulary] of the last token, present.i.key and present.i.value.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts" / "reference"))
import safetensors_file  # noqa: E402


class Gpt2(nn.Module):
    def __init__(self, folder):
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        self.layers = config["n_layer"]
        self.heads = config["n_head"]
        self.epsilon = config["layer_norm_epsilon"]
        self.weights = nn.ParameterDict(
            {
                name.removeprefix("transformer.").replace(".", "_"): nn.Parameter(tensor.float())
                for name, tensor in safetensors_file.read(folder / "model.safetensors").items()
            }
        )

    def weight(self, name):
        return self.weights[f"{name}_weight"], self.weights[f"{name}_bias"]

    def linear(self, name, x):
        weight, bias = self.weight(name)
        return x @ weight + bias

    def norm(self, name, x):
        weight, bias = self.weight(name)
        return functional.layer_norm(x, weight.shape, weight, bias, self.epsilon)

    def split(self, x):
        """[1, n, width] -> [1, heads, n, head size]"""
        return x.view(1, x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def forward(self, input_ids, *past):
        start = past[0].shape[2]
        count = input_ids.shape[1]
        positions = torch.arange(start, start + count)
        x = self.weights["wte_weight"][input_ids] + self.weights["wpe_weight"][positions]
        # Row i of a pass sees start + i + 1 positions.
        hidden = torch.arange(start + count)[None, :] > positions[:, None]
        present = []
        for i in range(self.layers):
            parts = self.linear(f"h_{i}_attn_c_attn", self.norm(f"h_{i}_ln_1", x)).split(x.shape[2], 2)
            query, key, value = (self.split(part) for part in parts)
            key = torch.cat([past[2 * i], key], dim=2)
            value = torch.cat([past[2 * i + 1], value], dim=2)
            present += [key, value]
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            scores = scores.masked_fill(hidden, -math.inf)
            attended = (torch.softmax(scores, dim=3) @ value).transpose(1, 2).reshape(x.shape)
            x = x + self.linear(f"h_{i}_attn_c_proj", attended)
            inner = functional.gelu(
                self.linear(f"h_{i}_mlp_c_fc", self.norm(f"h_{i}_ln_2", x)), approximate="tanh"
            )
            x = x + self.linear(f"h_{i}_mlp_c_proj", inner)
        logits = self.norm("ln_f", x[:, -1]) @ self.weights["wte_weight"].T
        return (logits, *present)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    model = Gpt2(arguments.checkpoint).eval()
    width = model.weights["wpe_weight"].shape[1]
    past = [torch.zeros(1, model.heads, 2, width // model.heads) for _ in range(2 * model.layers)]
    names = [f"{i}.{part}" for i in range(model.layers) for part in ("key", "value")]
    axes = {"input_ids": {1: "tokens"}}
    axes |= {f"past.{name}": {2: "past"} for name in names}
    axes |= {f"present.{name}": {2: "positions"} for name in names}
    unfinished = arguments.output.with_suffix(".tmp")
    torch.onnx.export(
        model,
        (torch.zeros(1, 3, dtype=torch.long), *past),
        str(unfinished),
        input_names=["input_ids", *(f"past.{name}" for name in names)],
        output_names=["logits", *(f"present.{name}" for name in names)],
        dynamic_axes=axes,
        opset_version=14,
    )
    unfinished.rename(arguments.output)


if __name__ == "__main__":
    main()

"""GPT-2 in double precision, written out from the papers as a reference to test against.

The model: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
Its parts: Vaswani et al. 2017, "Attention Is All You Need"; Ba et al. 2016, "Layer
Normalization"; Hendrycks & Gimpel 2016, "Gaussian Error Linear Units".

Every step is explicit arithmetic on the whole prompt at once. There is no cache and no fused
operation, nothing that could share a mistake with the code under test.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import torch

import safetensors_file

@dataclass
class Checkpoint:
    """A model's settings and its weights in float64.

    Weights have Hugging Face's names without the `transformer.` prefix. With width D, inner
    width F, vocabulary V and context C:

        wte.weight [V, D]               wpe.weight [C, D]
        h.i.ln_1.weight, .bias [D]      h.i.ln_2.weight, .bias [D]
        h.i.attn.c_attn.weight [D, 3D]  .bias [3D]
        h.i.attn.c_proj.weight [D, D]   .bias [D]
        h.i.mlp.c_fc.weight [D, F]      .bias [F]
        h.i.mlp.c_proj.weight [F, D]    .bias [D]
        ln_f.weight, .bias [D]          lm_head.weight [V, D], if the file has one

    Any bias may be missing and is then zero.
    """

    layers: int
    heads: int
    epsilon: float
    activation: str
    # scale_attn_weights and scale_attn_by_inverse_layer_idx of config.json
    scales_scores: bool
    scales_by_layer: bool
    weights: dict[str, torch.Tensor]


def load_checkpoint(folder: Path | str) -> Checkpoint:
    """Reads a folder with config.json and either model.safetensors or an index of shards."""
    folder = Path(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = {}
    for file in _weight_files(folder):
        for name, tensor in safetensors_file.read(file).items():
            if not name.endswith((".attn.bias", ".attn.masked_bias")):
                weights[name.removeprefix("transformer.")] = tensor.double()
    return Checkpoint(
        layers=config["n_layer"],
        heads=config["n_head"],
        epsilon=config["layer_norm_epsilon"],
        activation=config.get("activation_function", "gelu_new"),
        scales_scores=config.get("scale_attn_weights", True),
        scales_by_layer=config.get("scale_attn_by_inverse_layer_idx", False),
        weights=weights,
    )


def logits(checkpoint: Checkpoint, tokens: Sequence[int]) -> torch.Tensor:
    """Returns the logits after each token, float64 [positions, vocabulary]."""
    weights = checkpoint.weights
    head = weights.get("lm_head.weight", weights["wte.weight"])
    return hidden_states(checkpoint, tokens)[-1] @ head.T


def hidden_states(checkpoint: Checkpoint, tokens: Sequence[int]) -> list[torch.Tensor]:
    """Returns the hidden states, float64 [positions, D] each: the embeddings, the output of each block but the last,
    and that of the final norm."""
    weights = checkpoint.weights
    positions = len(tokens)
    context = weights["wpe.weight"].shape[0]
    if not 1 <= positions <= context:
        raise ValueError(f"Expected 1 to {context} tokens, the context length, but received {positions}")

    # Vaswani et al. section 3.4 and Radford et al.: token plus learned position embedding.
    hidden = weights["wte.weight"][list(tokens)] + weights["wpe.weight"][:positions]
    states = []
    for layer in range(checkpoint.layers):
        states.append(hidden)
        block = f"h.{layer}"
        hidden = hidden + attention(
            checkpoint, layer, layer_norm(checkpoint, f"{block}.ln_1", hidden)
        )
        hidden = hidden + mlp(
            checkpoint, f"{block}.mlp", layer_norm(checkpoint, f"{block}.ln_2", hidden)
        )
    return [*states, layer_norm(checkpoint, "ln_f", hidden)]


def layer_norm(checkpoint: Checkpoint, name: str, x: torch.Tensor) -> torch.Tensor:
    """[positions, D] to [positions, D]: (x - mean) / sqrt(variance + epsilon) * gain + bias.

    Ba et al. equation 3: the mean and the biased variance (divided by D) of each row.
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    normal = (x - mean) / torch.sqrt(variance + checkpoint.epsilon)
    return normal * checkpoint.weights[f"{name}.weight"] + _bias(checkpoint, name)


def attention(checkpoint: Checkpoint, layer: int, x: torch.Tensor) -> torch.Tensor:
    """[positions, D] to [positions, D]: causal multi-head self-attention.

    Vaswani et al. equation 1, softmax(Q Kᵀ / sqrt(head size)) V for each head, where a
    position attends to itself and those before it. The heads' outputs are concatenated and
    projected.
    """
    name = f"h.{layer}.attn"
    positions, width = x.shape
    head_size = width // checkpoint.heads
    packed = linear(checkpoint, f"{name}.c_attn", x)
    query, key, value = (
        part.reshape(positions, checkpoint.heads, head_size).transpose(0, 1)
        for part in packed.split(width, dim=-1)
    )  # each [heads, positions, head size]
    scores = query @ key.transpose(1, 2)
    if checkpoint.scales_scores:
        scores = scores / math.sqrt(head_size)
    if checkpoint.scales_by_layer:  # as in Stanford's Mistral
        scores = scores / (layer + 1)
    later = torch.ones(positions, positions, dtype=torch.bool).triu(diagonal=1)
    scores = scores.masked_fill(later, -math.inf)
    mixed = softmax(scores) @ value
    return linear(
        checkpoint, f"{name}.c_proj", mixed.transpose(0, 1).reshape(positions, width)
    )


def mlp(checkpoint: Checkpoint, name: str, x: torch.Tensor) -> torch.Tensor:
    """[positions, D] to [positions, D] through [positions, F]; Vaswani et al. section 3.3."""
    inner = ACTIVATIONS[checkpoint.activation](linear(checkpoint, f"{name}.c_fc", x))
    return linear(checkpoint, f"{name}.c_proj", inner)


def linear(checkpoint: Checkpoint, name: str, x: torch.Tensor) -> torch.Tensor:
    """[positions, in] to [positions, out]; GPT-2 stores these weights as [in, out]."""
    return x @ checkpoint.weights[f"{name}.weight"] + _bias(checkpoint, name)


def gelu(x: torch.Tensor) -> torch.Tensor:
    """Hendrycks & Gimpel section 2, the tanh form that GPT-2 was trained with."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


# By Hugging Face's names. All but GPT-2's own are PyTorch's.
ACTIVATIONS = {
    "gelu_new": gelu,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.nn.functional.relu,
    "silu": torch.nn.functional.silu,
}


def softmax(scores: torch.Tensor) -> torch.Tensor:
    """Over the last dimension. Subtracting the largest score first keeps exp finite."""
    exponentials = torch.exp(scores - scores.max(dim=-1, keepdim=True).values)
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def _bias(checkpoint: Checkpoint, name: str) -> torch.Tensor | float:
    return checkpoint.weights.get(f"{name}.bias", 0.0)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return [folder / "model.safetensors"]
    weight_map = json.loads(index.read_text())["weight_map"]
    return [folder / file for file in sorted(set(weight_map.values()))]

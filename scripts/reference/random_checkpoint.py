"""Makes a GPT-2 checkpoint folder, in Hugging Face's layout, from seeded random weights.

The weights are like GPT-2's at initialisation (Radford et al. 2019: residual projections
scaled down by the square root of the number of residual layers) but much larger, so that
every part of the model affects the logits: attention is sharp without being one-hot, the
MLP works where GELU bends, every layer norm has different gains and biases, no bias is
zero, and the position embeddings are as large as the token embeddings.
"""

import argparse
import json
import math
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy
import torch

import safetensors_file
from safetensors_file import DTYPES

BIAS_STD = 0.2
GAIN_STD = 0.2  # of a layer norm's weights, relative to their mean
SCORE_STD = 3.0  # of the attention scores, approximately
LOGIT_STD = 2.0  # approximately

# The distribution of GELU's inputs when a spec sets gelu_tail, and the scale that brings
# GELU's outputs there back to about 1.
TAIL_MEAN = -2.5
TAIL_STD = 0.3
TAIL_GAIN = 60.0


@dataclass(frozen=True)
class CheckpointSpec:
    """The checkpoint to make.

    head: "tied" writes no lm_head.weight, "copy" writes an exact copy of wte.weight, "own"
    writes different weights and sets tie_word_embeddings to false in config.json.
    gelu_tail: keeps the MLP's inner values near -2.5, where the tanh and erf forms of GELU
    differ by several percent. Elsewhere the difference is too small to affect the logits.
    embedding_std: defaults to 1 / sqrt(width). A smaller value also scales down the sums of
    the layers, so that epsilon matters.
    absent_biases: patterns of biases to leave out, such as "h.*.attn.c_attn.bias".
    mask_buffers: also writes attn.bias and attn.masked_bias, as in old checkpoints.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    inner_width: int | None = None
    epsilon: float = 1e-5
    embedding_std: float | None = None
    gelu_tail: bool = False
    dtype: str = "F32"
    prefix: bool = False
    mask_buffers: bool = False
    shards: int = 1
    head: str = "tied"
    absent_biases: tuple[str, ...] = ()
    seed: int = 0


def write_checkpoint(folder: Path | str, spec: CheckpointSpec) -> None:
    """Writes config.json and the weights, in one file or in shards with their index."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", config(spec))
    tensors = random_tensors(spec)
    if spec.shards == 1:
        safetensors_file.write(folder / "model.safetensors", tensors)
    else:
        _write_shards(folder, tensors, spec.shards)


def config(spec: CheckpointSpec) -> dict:
    """The contents of config.json."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": spec.vocabulary - 1,
        "embd_pdrop": 0.1,
        "eos_token_id": spec.vocabulary - 1,
        "initializer_range": 0.02,
        "layer_norm_epsilon": spec.epsilon,
        "model_type": "gpt2",
        "n_ctx": spec.context,
        "n_embd": spec.width,
        "n_head": spec.heads,
        "n_inner": spec.inner_width,
        "n_layer": spec.layers,
        "n_positions": spec.context,
        "reorder_and_upcast_attn": False,
        "resid_pdrop": 0.1,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "tie_word_embeddings": spec.head != "own",
        "torch_dtype": str(DTYPES[spec.dtype]).removeprefix("torch."),
        "vocab_size": spec.vocabulary,
    }


def random_tensors(spec: CheckpointSpec) -> dict[str, torch.Tensor]:
    """The checkpoint's tensors, with the names and the dtype in which they are stored."""
    random = numpy.random.Generator(numpy.random.PCG64(spec.seed))
    dtype = DTYPES[spec.dtype]
    width = spec.width
    inner_width = spec.inner_width or 4 * width
    embedding_std = spec.embedding_std or 1 / math.sqrt(width)
    size = embedding_std * math.sqrt(width)  # relative scale of the hidden states
    residual_std = size / math.sqrt(2 * spec.layers)
    tensors: dict[str, torch.Tensor] = {}
    unused_patterns = set(spec.absent_biases)

    def add(name: str, tensor: torch.Tensor) -> None:
        prefix = "transformer." if spec.prefix and name != "lm_head.weight" else ""
        tensors[prefix + name] = tensor

    def add_normal(name: str, *shape: int, std: float, mean: float = 0.0) -> None:
        values = torch.from_numpy(random.standard_normal(shape, dtype=numpy.float32))
        add(name, (values * std + mean).to(dtype))

    def add_bias(name: str, size: int, std: float, mean: float = 0.0) -> None:
        patterns = {pattern for pattern in spec.absent_biases if fnmatch(name, pattern)}
        unused_patterns.difference_update(patterns)
        if not patterns:
            add_normal(name, size, std=std, mean=mean)

    def add_linear(
        name: str,
        rows: int,
        columns: int,
        *,
        std: float,
        gain: float = 1.0,
        bias_mean: float = 0.0,
    ) -> None:
        """Maps inputs with deviation 1 / gain to outputs with deviation std."""
        add_normal(f"{name}.weight", rows, columns, std=std * gain / math.sqrt(rows))
        add_bias(f"{name}.bias", columns, std=BIAS_STD * std, mean=bias_mean)

    def add_layer_norm(name: str, gain: float = 1.0) -> None:
        add_normal(f"{name}.weight", width, mean=gain, std=gain * GAIN_STD)
        add_bias(f"{name}.bias", width, std=gain * BIAS_STD)

    add_normal("wte.weight", spec.vocabulary, width, std=embedding_std)
    add_normal("wpe.weight", spec.context, width, std=embedding_std)
    for layer in range(spec.layers):
        block = f"h.{layer}"
        add_layer_norm(f"{block}.ln_1")
        if spec.mask_buffers:
            mask = torch.ones(spec.context, spec.context, dtype=torch.bool).tril()
            add(f"{block}.attn.bias", mask[None, None])
            add(f"{block}.attn.masked_bias", torch.tensor(-1e4))
        add_linear(f"{block}.attn.c_attn", width, 3 * width, std=math.sqrt(SCORE_STD))
        add_linear(f"{block}.attn.c_proj", width, width, std=residual_std)
        add_layer_norm(f"{block}.ln_2")
        add_linear(
            f"{block}.mlp.c_fc",
            width,
            inner_width,
            std=TAIL_STD if spec.gelu_tail else 1.0,
            bias_mean=TAIL_MEAN if spec.gelu_tail else 0.0,
        )
        add_linear(
            f"{block}.mlp.c_proj",
            inner_width,
            width,
            std=residual_std,
            gain=TAIL_GAIN if spec.gelu_tail else 1.0,
        )
    add_layer_norm("ln_f", gain=LOGIT_STD / size)
    if spec.head == "copy":
        wte = tensors["transformer.wte.weight" if spec.prefix else "wte.weight"]
        add("lm_head.weight", wte)
    elif spec.head == "own":
        add_normal("lm_head.weight", spec.vocabulary, width, std=embedding_std)
    if unused_patterns:
        raise ValueError(f"Expected patterns of existing biases but received {sorted(unused_patterns)}")
    return tensors


def _write_shards(folder: Path, tensors: dict[str, torch.Tensor], count: int) -> None:
    """Splits the tensors, in order, into `count` shards of about the same number of bytes."""
    total_size = sum(map(safetensors_file.byte_count, tensors.values()))
    shards: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
    offset = 0
    for name, tensor in tensors.items():
        shards[offset * count // total_size][name] = tensor
        offset += safetensors_file.byte_count(tensor)
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{count:05}.safetensors"
        safetensors_file.write(folder / file, shard)
        weight_map.update(dict.fromkeys(shard, file))
    _write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": total_size}, "weight_map": weight_map},
    )


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Makes a GPT-2 checkpoint folder from seeded random weights. "
        "The defaults are the shape of GPT-2 124M.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument(
        "--inner-width", type=int, help="4 times the width if omitted"
    )
    parser.add_argument("--epsilon", type=float, default=1e-5)
    parser.add_argument(
        "--embedding-std", type=float, help="1 / sqrt(width) if omitted"
    )
    parser.add_argument(
        "--gelu-tail", action="store_true", help="make the form of GELU affect the logits"
    )
    parser.add_argument("--dtype", choices=["F32", "F16", "BF16"], default="F32")
    parser.add_argument(
        "--prefix", action="store_true", help="prefix the names with `transformer.`"
    )
    parser.add_argument(
        "--mask-buffers", action="store_true", help="write attn.bias, attn.masked_bias"
    )
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--head", choices=["tied", "copy", "own"], default="tied")
    parser.add_argument(
        "--absent-biases",
        nargs="*",
        default=(),
        metavar="PATTERN",
        help="biases to leave out, such as 'h.*.attn.c_attn.bias'",
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = vars(parser.parse_args())
    arguments["absent_biases"] = tuple(arguments["absent_biases"])
    write_checkpoint(arguments.pop("folder"), CheckpointSpec(**arguments))


if __name__ == "__main__":
    main()

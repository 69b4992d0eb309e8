"""Writes one tiny model as training programs save it.

test/fixtures/training gets

    plain/                  Hugging Face's layout in safetensors, with the logits of a few tokens
    dataclass.pt            build-nanogpt: the config is a dataclass
    objects.pt              nanoGPT, with objects of many classes beside the state dict
    objects-protocol-4.pt   the same in pickle protocol 4
    objects-legacy.pt       the same in the format before PyTorch 1.6
    numpy-sizes.pt          sizes that are scalars of NumPy
    slots.pt                sizes in an object with __slots__, two levels deep
    lightning.ckpt          Lightning: names begin with model.transformer.
    wrapped.pt              DeepSpeed around FSDP around activation checkpointing
    strided.bin             tensors laid out by strides: slices, transposes, expanded ones
    tied.bin                a vocabulary of 400: the head shares the bytes of an embedding that is most
                            of the file
    expanded.bin            an embedding and a head of one row each, expanded to 2^31 - 1 rows
    float64.bin             weights in double precision
    dialogpt.pkl            DialoGPT: lm_head.decoder.weight
    book-packed.pth         "Build a Large Language Model (From Scratch)" with att.qkv, att.proj and
                            torch.nn.LayerNorm
    module.pt               a whole module, which is rejected
    numpy-weights.pt        a state dict of NumPy arrays, which is rejected
"""

import argparse
import collections
import dataclasses
import datetime
import enum
import json
import pathlib
import random
import shutil

import numpy
import torch

import gpt2
import safetensors_file

TARGET = pathlib.Path(__file__).resolve().parents[2] / "test" / "fixtures" / "training"
CONFIG = {
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "vocab_size": 13,
    "n_positions": 6,
    "n_embd": 8,
    "n_head": 2,
    "n_layer": 1,
    "layer_norm_epsilon": 1e-5,
}
TOKENS = [3, 12, 0, 7]
LINEAR = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


@dataclasses.dataclass
class GPTConfig:
    block_size: int = 6
    vocab_size: int = 13
    n_layer: int = 1
    n_head: int = 2
    n_embd: int = 8


class Slotted:
    __slots__ = ("num_heads", "name")

    def __init__(self):
        self.num_heads = 2
        self.name = "slots"


class Colour(enum.Enum):
    RED = 1


class Settings(dict):
    """A subclass of dict, as many configuration libraries have it."""


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(14)

    def draw(*shape: int) -> torch.Tensor:
        # Multiples of 1/64 are exact in every type.
        return torch.randint(-64, 65, shape, generator=generator) / 64.0

    width = CONFIG["n_embd"]
    tensors = {
        "wte.weight": draw(CONFIG["vocab_size"], width),
        "wpe.weight": draw(CONFIG["n_positions"], width),
        "h.0.ln_1.weight": torch.ones(width),
        "h.0.ln_1.bias": torch.full((width,), 0.25),
        "h.0.attn.c_attn.weight": draw(width, 3 * width),
        "h.0.attn.c_attn.bias": draw(3 * width),
        "h.0.attn.c_proj.weight": draw(1, width).repeat(width, 1),
        "h.0.attn.c_proj.bias": draw(width),
        "h.0.ln_2.weight": draw(width),
        "h.0.ln_2.bias": torch.zeros(width),
        "h.0.mlp.c_fc.weight": draw(width, 4 * width),
        "h.0.mlp.c_fc.bias": draw(4 * width),
        "h.0.mlp.c_proj.weight": draw(4 * width, 1).repeat(1, width),
        "h.0.mlp.c_proj.bias": draw(width),
        "ln_f.weight": draw(width),
        "ln_f.bias": draw(width),
    }
    return tensors


def nanogpt_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    named = {
        f"transformer.{name}": (tensor.t().contiguous() if name.endswith(LINEAR) else tensor)
        for name, tensor in tensors.items()
    }
    named["lm_head.weight"] = named["transformer.wte.weight"]
    return named


def objects(tensors: dict[str, torch.Tensor]) -> dict:
    defaults = collections.defaultdict(list)
    defaults["a"].append(1)
    return {
        "model": nanogpt_names(tensors),
        "model_args": {
            "n_layer": 1,
            "n_head": 2,
            "n_embd": 8,
            "block_size": 6,
            "bias": True,
            "vocab_size": 13,
            "dropout": 0.0,
            "device": torch.device("cpu"),
        },
        "best_val_loss": numpy.float32(1.5),
        "loss": numpy.float64(2.5),
        "history": numpy.arange(5),
        "args": argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("/tmp/out")),
        "dtype": torch.bfloat16,
        "date": datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
        "colour": Colour.RED,
        "counter": collections.Counter([1, 1, 2]),
        "defaults": defaults,
        "deque": collections.deque([1, 2]),
        "set": {1, "two"},
        "frozen": frozenset({3}),
        "complex": 1 + 2j,
        "slice": slice(1, 2),
        "bytes": b"\x00\xff",
        "bytearray": bytearray(b"abc"),
        "large": 2**70,
        "huge": 2**4000,
        "keys": {(1, 2): "tuple", None: "none", 1.5: "float", -3: "negative", True: "true"},
        "settings": Settings(a=1),
        "function": json.dumps,
        "rng_state": torch.get_rng_state(),
        "numpy_rng_state": numpy.random.get_state(),
        "python_rng_state": random.Random(1).getstate(),
    }


def strided(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def spread(tensor: torch.Tensor, *steps: int) -> torch.Tensor:
        """The same numbers as a slice [::step, …] of a larger tensor of other numbers."""
        larger = torch.full([n * step for n, step in zip(tensor.shape, steps)], 99.0)
        view = larger[tuple(slice(None, None, step) for step in steps)]
        view.copy_(tensor)
        return view

    changed = dict(tensors)
    changed["wte.weight"] = spread(tensors["wte.weight"], 2, 1)
    # A copy of the tied head in another layout.
    changed["lm_head.weight"] = spread(tensors["wte.weight"], 1, 2)
    changed["wpe.weight"] = spread(tensors["wpe.weight"], 2, 3)
    changed["h.0.ln_1.weight"] = torch.ones(1).expand(8)
    changed["h.0.ln_1.bias"] = torch.full((1,), 0.25).expand(8)
    changed["h.0.ln_2.weight"] = spread(tensors["h.0.ln_2.weight"], 3)
    changed["h.0.ln_2.bias"] = torch.zeros(()).expand(8)
    changed["h.0.attn.c_attn.weight"] = spread(tensors["h.0.attn.c_attn.weight"].t(), 2, 3).t()
    changed["h.0.attn.c_proj.weight"] = tensors["h.0.attn.c_proj.weight"][:1].clone().expand(8, 8)
    changed["h.0.mlp.c_fc.weight"] = tensors["h.0.mlp.c_fc.weight"].t().contiguous().t()
    column = tensors["h.0.mlp.c_proj.weight"][:, :1].clone()
    changed["h.0.mlp.c_proj.weight"] = column.expand(32, 8)
    changed["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    for name, tensor in tensors.items():
        assert torch.equal(changed[name], tensor), name
    return changed


def book_packed(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = {
        "wte.": "tok_emb.",
        "wpe.": "pos_emb.",
        "h.0.": "trf_blocks.0.",
        "ln_1.": "norm1.",
        "ln_2.": "norm2.",
        "attn.c_attn.": "att.qkv.",
        "attn.c_proj.": "att.proj.",
        "mlp.c_fc.": "ff.layers.0.",
        "mlp.c_proj.": "ff.layers.2.",
        "ln_f.": "final_norm.",
    }
    changed = {}
    for name, tensor in tensors.items():
        renamed = name
        for old, new in names.items():
            renamed = renamed.replace(old, new)
        changed[renamed] = tensor.t().contiguous() if name.endswith(LINEAR) else tensor
    changed["out_head.weight"] = tensors["wte.weight"].clone()
    changed["trf_blocks.0.att.mask"] = torch.ones(6, 6).triu(1).bool()
    return changed


def wrapped(name: str) -> str:
    name = name.replace("h.0.", "h.0._checkpoint_wrapped_module.")
    return f"module._fsdp_wrapped_module.model.transformer.{name}"


def main() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    plain = TARGET / "plain"
    plain.mkdir(parents=True)
    tensors = weights()
    (plain / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    safetensors_file.write(plain / "model.safetensors", tensors)
    logits = gpt2.logits(gpt2.load_checkpoint(plain), TOKENS)[-1].tolist()
    (plain / "logits.json").write_text(json.dumps({"tokens": TOKENS, "logits": logits}) + "\n")

    def save(name: str, content: object, **options: object) -> None:
        torch.save(content, TARGET / name, **options)

    nanogpt = nanogpt_names(tensors)
    save("dataclass.pt", {"model": nanogpt, "config": GPTConfig(), "step": 1, "val_loss": 2.5})
    save("objects.pt", objects(tensors))
    save("objects-protocol-4.pt", objects(tensors), pickle_protocol=4)
    save("objects-legacy.pt", objects(tensors), _use_new_zipfile_serialization=False)
    sizes = {"n_head": numpy.int64(2), "n_embd": numpy.int32(8), "n_layer": numpy.uint8(1)}
    save("numpy-sizes.pt", {"net": nanogpt, "hparams": sizes})
    save("slots.pt", {"state_dict": nanogpt, "run": {"model": Slotted()}})
    prefixed = {f"model.transformer.{name}": tensor for name, tensor in tensors.items()}
    hyper_parameters = argparse.Namespace(learning_rate=1e-4)
    lightning = {"epoch": 1, "state_dict": prefixed, "hyper_parameters": hyper_parameters}
    save("lightning.ckpt", lightning)
    module = {wrapped(name): tensor for name, tensor in tensors.items()}
    module["module._fsdp_wrapped_module.model.lm_head.weight"] = tensors["wte.weight"]
    save("wrapped.pt", {"module": module, "optimizer": None, "global_steps": 7})
    save("strided.bin", strided(tensors))
    large = tensors["wte.weight"][:1].repeat(400, 1)
    save("tied.bin", {**tensors, "wte.weight": large, "lm_head.weight": large})
    expanded = dict(tensors)
    for name in ("wte.weight", "lm_head.weight"):
        expanded[name] = torch.ones(1, 8).expand(2**31 - 1, 8)
    save("expanded.bin", expanded)
    save("float64.bin", {name: tensor.double() for name, tensor in tensors.items()})
    dialogpt = {f"transformer.{name}": tensor for name, tensor in tensors.items()}
    dialogpt["lm_head.decoder.weight"] = tensors["wte.weight"]
    save("dialogpt.pkl", dialogpt, _use_new_zipfile_serialization=False)
    save("book-packed.pth", book_packed(tensors))
    save("module.pt", {"model": torch.nn.Linear(2, 2)})
    # The embeddings are tensors, all others arrays.
    arrays = {
        name: tensor if name.startswith("w") else tensor.numpy()
        for name, tensor in tensors.items()
    }
    save("numpy-weights.pt", arrays)


if __name__ == "__main__":
    main()

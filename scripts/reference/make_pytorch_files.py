"""Writes the fixture "odd-heads" with torch.save(), in the layouts of several training programs.

test/fixtures/pytorch gets

    zip/pytorch_model.bin       Hugging Face's layout in the format since PyTorch 1.6
    legacy/pytorch_model.bin    the same in the format before it
    sharded/                    two files with an index; one of them in the older format
    nanogpt/ckpt.pt             a training checkpoint of nanoGPT, compiled, with its optimizer
    from-scratch/model.pth      "Build a Large Language Model (From Scratch)": three matrices for
                                queries, keys, values, loaded from transposed arrays, and a
                                separate head
    overlapping.pt              60 layers that share the numbers of one
    harmful.pt                  a pickle that would run a command
"""

import json
import os
import shutil
from pathlib import Path

import numpy
import torch

import safetensors_file

FIXTURES = Path(__file__).resolve().parents[2] / "test" / "fixtures"
SOURCE = FIXTURES / "checkpoints" / "odd-heads"
TARGET = FIXTURES / "pytorch"

LINEAR = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def fresh_folder(name: str, config: dict | None = None) -> Path:
    folder = TARGET / name
    folder.mkdir(parents=True)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def nanogpt_checkpoint(config: dict, tensors: dict[str, torch.Tensor]) -> dict:
    """The dict that nanoGPT's train.py saves. PyTorch's linear layers are [out, in]."""
    model = {
        name: (tensor.t().contiguous() if name.endswith(LINEAR) else tensor.clone())
        for name, tensor in tensors.items()
    }
    parameters = [torch.nn.Parameter(tensor) for tensor in model.values()]
    optimizer = torch.optim.AdamW(parameters, lr=0.0)
    for parameter in parameters[:3]:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    named = {f"_orig_mod.transformer.{name}": tensor for name, tensor in model.items()}
    named["_orig_mod.lm_head.weight"] = named["_orig_mod.transformer.wte.weight"]
    return {
        "model": named,
        "optimizer": optimizer.state_dict(),
        "model_args": {
            "n_layer": config["n_layer"],
            "n_head": config["n_head"],
            "n_embd": config["n_embd"],
            "block_size": config["n_positions"],
            "bias": True,
            "vocab_size": config["vocab_size"],
            "dropout": 0.0,
        },
        "iter_num": 5000,
        "best_val_loss": torch.tensor(3.25),
        "config": {"out_dir": "out", "learning_rate": 6e-4, "compile": True},
    }


def from_scratch_model(config: dict, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The module tree of the book's GPTModel, filled as by its load_weights_into_gpt."""
    width, heads = config["n_embd"], config["n_head"]

    def module(**children: torch.nn.Module) -> torch.nn.Module:
        parent = torch.nn.Module()
        for name, child in children.items():
            parent.add_module(name, child)
        return parent

    def norm(source: str) -> torch.nn.Module:
        result = torch.nn.Module()
        result.scale = torch.nn.Parameter(tensors[f"{source}.weight"].clone())
        result.shift = torch.nn.Parameter(tensors[f"{source}.bias"].clone())
        return result

    def linear(weight: numpy.ndarray, bias: numpy.ndarray) -> torch.nn.Linear:
        result = torch.nn.Linear(*weight.shape)
        result.weight = torch.nn.Parameter(torch.tensor(weight.T))
        result.bias = torch.nn.Parameter(torch.tensor(bias))
        return result

    def layer(index: int) -> torch.nn.Module:
        def numbers(name: str) -> numpy.ndarray:
            return tensors[f"h.{index}.{name}"].numpy()

        weights = numpy.split(numbers("attn.c_attn.weight"), 3, axis=-1)
        biases = numpy.split(numbers("attn.c_attn.bias"), 3, axis=-1)
        attention = module(
            W_query=linear(weights[0], biases[0]),
            W_key=linear(weights[1], biases[1]),
            W_value=linear(weights[2], biases[2]),
            out_proj=linear(numbers("attn.c_proj.weight"), numbers("attn.c_proj.bias")),
        )
        context = config["n_positions"]
        attention.register_buffer("mask", torch.triu(torch.ones(context, context), diagonal=1))
        layers = torch.nn.Sequential(
            linear(numbers("mlp.c_fc.weight"), numbers("mlp.c_fc.bias")),
            torch.nn.GELU(approximate="tanh"),
            linear(numbers("mlp.c_proj.weight"), numbers("mlp.c_proj.bias")),
        )
        return module(
            att=attention,
            ff=module(layers=layers),
            norm1=norm(f"h.{index}.ln_1"),
            norm2=norm(f"h.{index}.ln_2"),
        )

    def embedding(name: str) -> torch.nn.Embedding:
        return torch.nn.Embedding.from_pretrained(tensors[name].clone())

    head = torch.nn.Linear(width, config["vocab_size"], bias=False)
    head.weight = torch.nn.Parameter(tensors["wte.weight"].clone())
    assert width % heads == 0
    return module(
        tok_emb=embedding("wte.weight"),
        pos_emb=embedding("wpe.weight"),
        trf_blocks=torch.nn.Sequential(*(layer(i) for i in range(config["n_layer"]))),
        final_norm=norm("ln_f"),
        out_head=head,
    )


class Harmful:
    def __reduce__(self):
        return os.system, ("echo this must never run",)


def main() -> None:
    shutil.rmtree(TARGET, ignore_errors=True)
    config = json.loads((SOURCE / "config.json").read_text())
    tensors = {
        name.removeprefix("transformer."): tensor
        for name, tensor in safetensors_file.read(SOURCE / "model.safetensors").items()
    }

    torch.save(tensors, fresh_folder("zip", config) / "pytorch_model.bin")
    legacy = fresh_folder("legacy", config) / "pytorch_model.bin"
    torch.save(tensors, legacy, _use_new_zipfile_serialization=False)

    sharded = fresh_folder("sharded", config)
    names = sorted(tensors)
    shards = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for index, shard in enumerate(shards):
        file = f"pytorch_model-0000{index + 1}-of-00002.bin"
        torch.save(
            {name: tensors[name] for name in shard},
            sharded / file,
            _use_new_zipfile_serialization=index == 0,
        )
        weight_map |= {name: file for name in shard}
    index = {"metadata": {}, "weight_map": weight_map}
    (sharded / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=2) + "\n")

    torch.save(nanogpt_checkpoint(config, tensors), fresh_folder("nanogpt") / "ckpt.pt")

    book_config = {
        "vocab_size": config["vocab_size"],
        "context_length": config["n_positions"],
        "emb_dim": config["n_embd"],
        "n_heads": config["n_head"],
        "n_layers": config["n_layer"],
        "drop_rate": 0.1,
        "qkv_bias": True,
    }
    model = from_scratch_model(config, tensors)
    torch.save(model.state_dict(), fresh_folder("from-scratch", book_config) / "model.pth")

    checkpoint = nanogpt_checkpoint(config, tensors)
    overlapping = dict(checkpoint["model"])
    for name, tensor in checkpoint["model"].items():
        for layer in range(2, 60):
            overlapping[name.replace(".h.0.", f".h.{layer}.")] = tensor
    arguments = {**checkpoint["model_args"], "n_layer": 60}
    torch.save({"model": overlapping, "model_args": arguments}, TARGET / "overlapping.pt")

    torch.save({"wte.weight": Harmful()}, TARGET / "harmful.pt")


if __name__ == "__main__":
    main()

"""Adds the embedding rows of the tokens that the texts never use to a trained model, and writes
the Hugging Face folder: config.json and model.safetensors.

All these tokens share one row. As an output, it must keep them unlikely. As an input, it must
let the model continue in English, because a prompt may contain such tokens. The row is
therefore trained as both, with all other weights fixed.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy
import torch
from torch.nn import functional

import bfloat16
import vocabulary
from model import Gpt2
from train import windows

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))
import safetensors_file  # noqa: E402

STEPS = 300
LEARNING_RATE = 0.03
# The share of the inputs that the row replaces during its training.
SHARE_OF_INPUTS = 0.02
# The number of rarest tokens whose mean row is the initial value.
RAREST = 1000


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--texts", required=True, help="the token file of the training")
    parser.add_argument("--output", required=True, help="the folder with trained.pt")
    arguments = parser.parse_args()
    output = Path(arguments.output)
    trained = torch.load(output / "trained.pt")
    options = argparse.Namespace(**trained["options"])
    torch.manual_seed(options.seed)

    texts = numpy.fromfile(arguments.texts, dtype="<u2").astype(numpy.int64)
    used = vocabulary.Vocabulary(texts)
    model = Gpt2(used.size, options.context, options.width, options.heads, options.layers, 0)
    model.load_state_dict(trained["state"])
    model.requires_grad_(False)
    model.eval()
    row = train_unseen_row(model, used.rows(texts), used, options)

    embedding = row.repeat(vocabulary.SIZE, 1)
    embedding[torch.from_numpy(used.tokens)] = model.wte.weight
    (output / "config.json").write_text(json.dumps(config(options), indent=2) + "\n")
    safetensors_file.write(output / "model.safetensors", tensors(model, embedding))


def train_unseen_row(model, tokens, used, options):
    """tokens: [n], rows of the embedding -> the row of the unused tokens, [width]

    Starts from the mean of the rows of the rarest tokens, which the model has seen as inputs.
    """
    unseen = vocabulary.SIZE - used.size
    row = model.wte.weight[used.frequencies.argsort()[:RAREST]].mean(dim=0)
    if unseen == 0:
        return row
    matmul = bfloat16.matmul if options.bfloat16 else torch.matmul
    row.requires_grad_(True)
    optimizer = torch.optim.Adam([row], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(options.seed)
    source = windows(tokens, options.context, generator)
    probabilities = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / STEPS)
        batch = torch.stack([next(source) for _ in range(options.batch // 2)])
        replaced = torch.rand(batch[:, :-1].shape, generator=generator) < SHARE_OF_INPUTS
        inputs = torch.where(replaced[:, :, None], row, model.wte(batch[:, :-1]))
        hidden = model.layers(inputs, matmul).flatten(0, 1)
        # The unused tokens are one more candidate, whose exponential counts once for each of them.
        together = hidden @ row[:, None] + math.log(unseen)
        logits = torch.cat([matmul(hidden, model.wte.weight.T), together], dim=1)
        loss = functional.cross_entropy(logits, batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        unseen_probability = torch.softmax(logits.detach(), dim=1)[:, -1]
        after = replaced.flatten()
        probabilities.append((unseen_probability[~after].mean(), unseen_probability[after].mean()))
        if (step + 1) % 50 == 0:
            elsewhere, after_unseen = torch.tensor(probabilities).nanmean(dim=0).tolist()
            entry = {"step": step + 1, "unseen": elsewhere, "unseen_after_unseen": after_unseen}
            print(json.dumps(entry), flush=True)
            probabilities = []
    return row.detach()


def config(options):
    return {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "activation_function": "gelu_new",
        "vocab_size": vocabulary.SIZE,
        "n_positions": options.context,
        "n_embd": options.width,
        "n_head": options.heads,
        "n_layer": options.layers,
        "layer_norm_epsilon": 1e-5,
        "embd_pdrop": options.drop_rate,
        "resid_pdrop": options.drop_rate,
        "attn_pdrop": 0.0,
        "bos_token_id": vocabulary.END_OF_TEXT,
        "eos_token_id": vocabulary.END_OF_TEXT,
        "tie_word_embeddings": True,
    }


def tensors(model, embedding):
    """The tensors under Hugging Face's names. Its linear layers are Conv1D, with weights [in, out]."""
    result = {}
    for name, tensor in model.state_dict().items():
        if name == "wte.weight":
            # Half precision is enough for an embedding and halves the file.
            tensor = embedding.half()
        elif name.startswith("h.") and tensor.dim() == 2:
            tensor = tensor.T
        result[f"transformer.{name}"] = tensor.contiguous()
    return result


if __name__ == "__main__":
    main()

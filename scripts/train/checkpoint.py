"""Writes a trained model as a Hugging Face folder: config.json and model.safetensors."""

import json
import math
import sys
from pathlib import Path

import torch

import vocabulary

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))
import safetensors_file  # noqa: E402

# Together, in an average place. A text of other words has some, hence not 0; a text that is drawn from
# the model should not be interrupted by them.
UNSEEN_PROBABILITY = 1e-4


def write_checkpoint(folder, model, words, hidden, options):
    """hidden: [n, width], what the model says of a sample of the texts, in evaluation mode"""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(options), indent=2) + "\n")
    safetensors_file.write(folder / "model.safetensors", tensors(model, words, hidden))


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


def tensors(model, words, hidden):
    """Hugging Face's names; its linear layers are Conv1D, which has weights [in, out]."""
    result = {}
    for name, tensor in model.state_dict().items():
        if name == "wte.weight":
            # Half precision is enough for an embedding, and the file half as long.
            tensor = whole_embedding(tensor, words, hidden).half()
        elif name.startswith("h.") and tensor.dim() == 2:
            tensor = tensor.T
        result[f"transformer.{name}"] = tensor.contiguous()
    return result


def whole_embedding(rows, words, hidden):
    """The trained rows in their places, and one row for all tokens that the texts never use.

    rows: [words.size, width]; hidden: [n, width] -> [SIZE, width]

    The row is the direction along which all hidden states lie about equally far (least squares, so
    that hidden @ direction is about 1), as long as the logit that gives these tokens
    UNSEEN_PROBABILITY beside the logits of the others.
    """
    hidden = hidden.double()
    direction = torch.linalg.solve(hidden.T @ hidden, hidden.sum(dim=0))
    normalizer = torch.logsumexp(hidden @ rows.double().T, dim=1).mean().item()
    logit = normalizer + math.log(UNSEEN_PROBABILITY / (vocabulary.SIZE - words.size))
    embedding = (logit * direction).float().repeat(vocabulary.SIZE, 1)
    embedding[torch.from_numpy(words.tokens)] = rows
    return embedding

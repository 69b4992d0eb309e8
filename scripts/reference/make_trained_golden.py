"""Makes test/fixtures/gpt2-books/golden.safetensors: the losses and logits of the model on a text.

    tokens  I32 [n]          the beginning of a text that the model was not trained on
    losses  F32 [n - 1]      -log(probability) of each token but the first, in nats
    logits  F32 [1, vocabulary]  after the last

computed in double and rounded once at the end. Reads a token file of scripts/train.
"""

import argparse
from pathlib import Path

import numpy
import torch

import gpt2
import safetensors_file

FOLDER = Path(__file__).resolve().parents[2] / "test" / "fixtures" / "gpt2-books"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=256)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    every = numpy.fromfile(arguments.tokens, dtype="<u2").astype(numpy.int64)
    tokens = every[arguments.first : arguments.first + arguments.count]
    logits = gpt2.logits(gpt2.load_checkpoint(FOLDER), tokens.tolist())
    log_probabilities = torch.log_softmax(logits, dim=1)
    following = torch.from_numpy(tokens[1:])
    safetensors_file.write(
        FOLDER / "golden.safetensors",
        {
            "tokens": torch.from_numpy(tokens).int(),
            "losses": -log_probabilities[:-1].gather(1, following[:, None]).flatten().float(),
            "logits": logits[-1:].float(),
        },
    )


if __name__ == "__main__":
    main()

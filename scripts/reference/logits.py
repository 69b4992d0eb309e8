"""Computes the reference logits of any checkpoint folder for a list of tokens."""

import argparse
import json
from pathlib import Path

import torch

import gpt2


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Writes a checkpoint's logits after each token, computed in double, "
        "as little-endian float32 [positions, vocabulary]."
    )
    parser.add_argument(
        "checkpoint", type=Path, help="a folder in Hugging Face's layout"
    )
    parser.add_argument(
        "tokens", type=Path, help="a JSON file with a list of token ids"
    )
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()

    torch.set_num_threads(2)
    tokens = json.loads(arguments.tokens.read_text())
    logits = gpt2.logits(gpt2.load_checkpoint(arguments.checkpoint), tokens)
    arguments.out.write_bytes(logits.numpy().astype("<f4").tobytes())


if __name__ == "__main__":
    main()

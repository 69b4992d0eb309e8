"""Checks the folder that finish.py wrote with the reference in scripts/reference. Prints the largest difference
between its logits and those of the trained model, and the held-out perplexity as measure.mjs defines it."""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy
import torch

import vocabulary
from model import Gpt2

sys.path.append(str(Path(__file__).resolve().parents[1] / "reference"))
import gpt2  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", required=True, help="the token file of the training")
    parser.add_argument("--heldout", required=True, help="token file to measure on")
    parser.add_argument("--output", required=True, help="the folder")
    arguments = parser.parse_args()
    trained = torch.load(Path(arguments.output) / "trained.pt")
    options = argparse.Namespace(**trained["options"])
    texts = numpy.fromfile(arguments.texts, dtype="<u2").astype(numpy.int64)
    used = vocabulary.Vocabulary(texts)
    model = Gpt2(used.size, options.context, options.width, options.heads, options.layers, 0).double()
    model.load_state_dict(trained["state"])
    model.wte.weight.data = model.wte.weight.data.half().double()  # as stored
    tokens = texts[: options.context]
    with torch.no_grad():
        expected = model(used.rows(tokens)[None])[0] @ model.wte.weight.T
        checkpoint = gpt2.load_checkpoint(arguments.output)
        logits = gpt2.logits(checkpoint, tokens.tolist())[:, torch.from_numpy(used.tokens)]
        difference = (logits - expected).abs().max().item()

        heldout = torch.from_numpy(numpy.fromfile(arguments.heldout, dtype="<u2").astype(numpy.int64))
        losses = []
        for window in heldout[: len(heldout) // 128 * 128].view(-1, 128):
            probabilities = torch.log_softmax(gpt2.logits(checkpoint, window[:-1].tolist()), dim=1)
            known = used.rows(window[1:].numpy()) >= 0
            losses.append(-probabilities.gather(1, window[1:, None])[known])
    print(json.dumps({"difference": difference, "perplexity": math.exp(torch.cat(losses).mean())}))


if __name__ == "__main__":
    main()

"""Trains a small GPT-2 on texts and writes it to trained.pt, for finish.py.

Reads the token files of texts-to-tokens.mjs. train.mjs runs all of these scripts.

Most of a small model is its embedding, and most of its training time is the softmax over
50,257 tokens. The model therefore has no rows for tokens that the texts never use, and in
the first part of the steps the next token competes only with a sample of the others.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy
import torch

import bfloat16
from model import Gpt2
from loss import full_loss, sampled_loss
from vocabulary import Vocabulary

EVALUATION_POSITIONS = 128


def arguments():
    parser = argparse.ArgumentParser(
        formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--texts", required=True, help="token file to train on")
    parser.add_argument("--heldout", required=True, help="token file to measure on")
    parser.add_argument("--output", required=True, help="folder for trained.pt")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--drop-rate", type=float, default=0.1)
    parser.add_argument("--batch", type=int, default=8, help="windows per step")
    parser.add_argument("--steps", type=int, default=10400)
    parser.add_argument("--full-steps", type=int, default=400, help="the last of them, with the full softmax")
    parser.add_argument("--sample", type=int, default=1500, help="tokens drawn for the sampled softmax")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--warm-up", type=int, default=300, help="steps")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--bfloat16", action="store_true", help="matrix products in bfloat16")
    parser.add_argument("--seed", type=int, default=124)
    return parser.parse_args()


def windows(tokens, positions, generator):
    """Yields windows of positions + 1 tokens without end: each epoch cuts the text at a new offset and shuffles."""
    while True:
        first = int(torch.randint(positions, (), generator=generator))
        count = (len(tokens) - first - 1) // positions
        for window in torch.randperm(count, generator=generator).tolist():
            start = first + window * positions
            yield tokens[start : start + positions + 1]


def learning_rate(step, options):
    """A linear warm-up, then half a cosine down to a fiftieth."""
    if step < options.warm_up:
        return options.learning_rate * (step + 1) / options.warm_up
    part = (step - options.warm_up) / max(1, options.steps - options.warm_up)
    return options.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))


@torch.no_grad()
def perplexity(model, tokens):
    """The perplexity of the tokens that the texts use, in windows of EVALUATION_POSITIONS whose first token is given.

    Tokens that the texts never use have no row yet. As inputs, the first row replaces them.
    """
    count = len(tokens) // EVALUATION_POSITIONS
    total, number = 0.0, 0
    model.eval()
    for window in tokens[: count * EVALUATION_POSITIONS].view(count, -1).split(16):
        targets = window[:, 1:].flatten()
        known = targets >= 0
        hidden = model(window[:, :-1].clamp(min=0)).flatten(0, 1)[known]
        total += full_loss(hidden, model.wte.weight, targets[known], reduction="sum").item()
        number += int(known.sum())
    model.train()
    return math.exp(total / number)


def optimizer_of(model, options):
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": options.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=options.learning_rate,
        betas=(0.9, 0.98),
        foreach=True,
    )


def main():
    options = arguments()
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)

    texts = numpy.fromfile(options.texts, dtype="<u2").astype(numpy.int64)
    vocabulary = Vocabulary(texts)
    tokens = vocabulary.rows(texts)
    heldout = vocabulary.rows(numpy.fromfile(options.heldout, dtype="<u2").astype(numpy.int64))
    if options.context < EVALUATION_POSITIONS or len(heldout) < EVALUATION_POSITIONS:
        raise SystemExit(f"Expected --context and the held-out text to be at least {EVALUATION_POSITIONS} tokens long")
    if len(tokens) < 2 * options.context + 1:
        shortest = 2 * options.context + 1  # two windows
        raise SystemExit(f"Expected texts of at least {shortest} tokens but received {len(tokens)}")
    print(json.dumps({**vars(options), "tokens": len(tokens), "kinds": vocabulary.size}), flush=True)

    model = Gpt2(
        vocabulary.size, options.context, options.width, options.heads, options.layers, options.drop_rate
    )
    optimizer = optimizer_of(model, options)
    matmul = bfloat16.matmul if options.bfloat16 else torch.matmul
    source = windows(tokens, options.context, generator)
    started, logged, losses = time.time(), time.time(), []
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        batch = torch.stack([next(source) for _ in range(options.batch)])
        hidden = model(batch[:, :-1], matmul).reshape(-1, options.width)
        targets = batch[:, 1:].reshape(-1)
        full = step >= options.steps - options.full_steps
        if full:
            loss = full_loss(hidden, model.wte.weight, targets, matmul)
        else:
            loss = sampled_loss(
                hidden, model.wte.weight, targets, vocabulary.frequencies, options.sample, matmul
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            entry = {
                "step": step + 1,
                "softmax": "full" if full else "sampled",
                "loss": round(sum(losses) / len(losses), 4),
                "tokens_per_second": round(len(losses) * targets.numel() / (time.time() - logged)),
                "seconds": round(time.time() - started),
            }
            if (step + 1) % 500 == 0 or step + 1 == options.steps:
                entry["heldout_perplexity"] = round(perplexity(model, heldout), 2)
            print(json.dumps(entry), flush=True)
            logged, losses = time.time(), []
    torch.save({"state": model.state_dict(), "options": vars(options)}, Path(options.output) / "trained.pt")


if __name__ == "__main__":
    main()

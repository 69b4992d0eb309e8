"""Makes every committed checkpoint in test/fixtures/checkpoints and its golden logits.

Each folder gets a checkpoint and golden.safetensors, which contains

    tokens  I32 [positions]              random tokens, a full context of them
    logits  F32 [positions, vocabulary]  computed in double, rounded once at the end

test/fixtures/activations.safetensors contains `<folder>.<activation>`, the logits of the same tokens
with another activation than GPT-2's. test/fixtures/score-scales.safetensors contains `by-layer`, `unscaled`
and `both`, those of head-size-5 with other scales of the attention scores.
test/fixtures/hidden-states.safetensors contains `layer-0` to `layer-3`, the hidden states of head-size-5.

checkpoints/wide/scores.safetensors contains the scores of a text of three times the context:

    tokens  I32 [tokens]    random tokens
    cases   I32 [cases, 3]  context length, stride, and whether the text follows the end-of-text token (1) or not (0)

and `<case>.<column>` for each column of scores.py, [tokens], or [tokens - 1] without the end-of-text token.
"""

import dataclasses
import shutil
from pathlib import Path

import numpy
import torch

import gpt2
import safetensors_file
import scores
from random_checkpoint import CheckpointSpec, write_checkpoint

FIXTURE_FOLDER = Path(__file__).resolve().parents[2] / "test" / "fixtures"
FOLDER = FIXTURE_FOLDER / "checkpoints"

FIXTURES = {
    "odd-heads": CheckpointSpec(
        layers=2, width=24, heads=8, vocabulary=97, context=40, seed=1
    ),
    "head-size-5": CheckpointSpec(
        layers=3,
        width=35,
        heads=7,
        inner_width=50,
        vocabulary=131,
        context=33,
        epsilon=1e-3,
        embedding_std=0.05,
        gelu_tail=True,
        prefix=True,
        mask_buffers=True,
        head="copy",
        seed=2,
    ),
    "own-head-no-bias": CheckpointSpec(
        layers=2,
        width=40,
        heads=5,
        vocabulary=113,
        context=48,
        head="own",
        absent_biases=("h.*.attn.c_attn.bias", "h.1.mlp.c_fc.bias", "ln_f.bias"),
        seed=3,
    ),
    "f16-sharded": CheckpointSpec(
        layers=2,
        width=64,
        heads=4,
        vocabulary=300,
        context=64,
        dtype="F16",
        shards=3,
        seed=4,
    ),
    "bf16": CheckpointSpec(
        layers=2, width=64, heads=2, vocabulary=300, context=300, dtype="BF16", seed=5
    ),
    "wide": CheckpointSpec(
        layers=2, width=256, heads=4, vocabulary=509, context=96, dtype="F16", seed=6
    ),
}


# The MLP of head-size-5 works where the forms of GELU differ.
ACTIVATIONS = [
    ("odd-heads", "gelu"),
    ("odd-heads", "relu"),
    ("odd-heads", "silu"),
    ("head-size-5", "gelu"),
]

# The context length, the stride, and whether the text follows the end-of-text token.
SCORE_CASES = [
    (96, 48, True),
    (96, 96, False),
    (96, 1, False),
    (50, 7, True),
    (33, 33, True),
    (1, 1, False),
]


def main() -> None:
    torch.set_num_threads(1)  # for a fixed order of summation
    make_checkpoints()
    make_scores()
    make_activations()
    make_score_scales()
    make_hidden_states()


def make_scores() -> None:
    folder = FOLDER / "wide"
    checkpoint = gpt2.load_checkpoint(folder)
    spec = FIXTURES["wide"]
    tokens = random_tokens(dataclasses.replace(spec, context=300))
    rows = {"tokens": tokens, "cases": torch.tensor(SCORE_CASES, dtype=torch.int32)}
    for case, (context, stride, follows_end_of_text) in enumerate(SCORE_CASES):
        start = [spec.vocabulary - 1] if follows_end_of_text else []
        columns = scores.score(checkpoint, [*start, *tokens.tolist()], context, stride)
        rows |= {f"{case}.{name}": column for name, column in columns.items()}
    safetensors_file.write(folder / "scores.safetensors", rows)


def make_hidden_states() -> None:
    folder = FOLDER / "head-size-5"
    tokens = safetensors_file.read(folder / "golden.safetensors")["tokens"].tolist()
    states = gpt2.hidden_states(gpt2.load_checkpoint(folder), tokens)
    rows = {f"layer-{index}": state.float() for index, state in enumerate(states)}
    safetensors_file.write(FIXTURE_FOLDER / "hidden-states.safetensors", rows)


def make_activations() -> None:
    rows = {}
    for name, activation in ACTIVATIONS:
        checkpoint = gpt2.load_checkpoint(FOLDER / name)
        tokens = safetensors_file.read(FOLDER / name / "golden.safetensors")["tokens"]
        changed = dataclasses.replace(checkpoint, activation=activation)
        rows[f"{name}.{activation}"] = gpt2.logits(changed, tokens.tolist()).float()
    safetensors_file.write(FIXTURE_FOLDER / "activations.safetensors", rows)


def make_score_scales() -> None:
    folder = FOLDER / "head-size-5"
    checkpoint = gpt2.load_checkpoint(folder)
    tokens = safetensors_file.read(folder / "golden.safetensors")["tokens"].tolist()
    changes = {
        "by-layer": {"scales_by_layer": True},
        "unscaled": {"scales_scores": False},
        "both": {"scales_by_layer": True, "scales_scores": False},
    }
    rows = {
        name: gpt2.logits(dataclasses.replace(checkpoint, **change), tokens).float()
        for name, change in changes.items()
    }
    safetensors_file.write(FIXTURE_FOLDER / "score-scales.safetensors", rows)


def make_checkpoints() -> None:
    for name, spec in FIXTURES.items():
        folder = FOLDER / name
        shutil.rmtree(folder, ignore_errors=True)
        write_checkpoint(folder, spec)
        tokens = random_tokens(spec)
        golden = gpt2.logits(gpt2.load_checkpoint(folder), tokens.tolist())
        safetensors_file.write(
            folder / "golden.safetensors", {"tokens": tokens, "logits": golden.float()}
        )
        print(f"{name}: {golden.shape[0]} positions, {golden.shape[1]} logits each")


def random_tokens(spec: CheckpointSpec) -> torch.Tensor:
    """A full context of token ids, I32 [context], including the first and the last id."""
    random = numpy.random.Generator(numpy.random.PCG64([spec.seed, spec.context]))
    tokens = random.integers(spec.vocabulary, size=spec.context, dtype=numpy.int32)
    places = random.choice(spec.context, size=2, replace=False)
    tokens[places] = [0, spec.vocabulary - 1]
    return torch.from_numpy(tokens)


if __name__ == "__main__":
    main()

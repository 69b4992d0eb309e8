"""The scores of a text that may be longer than the context, by windows as in Hugging Face's "Perplexity of fixed-length
models" (https://huggingface.co/docs/transformers/perplexity), in double precision."""

from typing import Sequence

import torch

import gpt2


def score(
    checkpoint: gpt2.Checkpoint, tokens: Sequence[int], max_length: int, stride: int
) -> dict[str, torch.Tensor]:
    """Returns one number for each token but the first, float64 [tokens - 1] except for the ranks:

    logprobs   ln p(token)
    ranks      I32, the number of tokens with larger logits
    entropies  -sum p ln p over the vocabulary
    variances  of ln p under p
    gaps       the distance of the token's logit to the nearest other one: a rank is only defined up to it
    """
    rows = []
    # The loop and its names are those of the page.
    seq_len = len(tokens)
    prev_end_loc = 0
    for begin_loc in range(0, seq_len, stride):
        end_loc = min(begin_loc + max_length, seq_len)
        trg_len = end_loc - prev_end_loc
        targets = range(end_loc - trg_len, end_loc)
        if targets[0] == 0:
            targets = targets[1:]  # nothing comes before the first token of all
        # With a stride of max_length, the first token of a window is a target that has no context in it. The page leaves
        # it out. Here the window has the token before it as well, so that every token has a score.
        first = min([begin_loc, *(target - 1 for target in targets)])
        if targets:
            # The last token is only a target.
            logits = gpt2.logits(checkpoint, tokens[first : end_loc - 1])
            rows += [of_token(logits[target - 1 - first], tokens[target]) for target in targets]
        prev_end_loc = end_loc
        if end_loc == seq_len:
            break
    columns = {name: torch.tensor([row[name] for row in rows], dtype=torch.float64) for name in rows[0]}
    return {**columns, "ranks": columns["ranks"].int()}


def of_token(logits: torch.Tensor, token: int) -> dict[str, float]:
    """The scores of one token after the logits [vocabulary]."""
    probabilities = gpt2.softmax(logits)
    logprobs = torch.log(probabilities)
    entropy = -(probabilities * logprobs).sum()
    others = torch.cat([logits[:token], logits[token + 1 :]])
    return {
        "logprobs": logprobs[token].item(),
        "ranks": (others > logits[token]).sum().item(),
        "entropies": entropy.item(),
        "variances": (probabilities * (logprobs + entropy) ** 2).sum().item(),
        "gaps": (others - logits[token]).abs().min().item(),
    }

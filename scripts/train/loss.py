"""The two losses of training: against every token, and against a sample of them."""

import torch
from torch.nn import functional


def full_loss(hidden, embedding, targets, matmul=torch.matmul, reduction="mean"):
    """hidden: [n, width]; embedding: [tokens, width]; targets: [n]"""
    return functional.cross_entropy(matmul(hidden, embedding.T), targets, reduction=reduction)


def sampled_loss(hidden, embedding, targets, frequencies, count, matmul=torch.matmul):
    """Cross entropy against all targets of the batch and `count` draws from the other tokens.

    The exponential of a drawn token is divided by its expected number of draws, so that the sum over the
    sample is an unbiased estimate of the sum over all tokens (importance sampling: Bengio & Senecal 2008).

    hidden: [n, width]; embedding: [tokens, width]; targets: [n]; frequencies: [tokens]
    """
    present = torch.unique(targets)
    odds = frequencies.pow(0.75)
    odds[present] = 0
    if odds.sum() == 0:
        return full_loss(hidden, embedding, targets, matmul)
    odds /= odds.sum()
    drawn, times = torch.unique(torch.multinomial(odds, count, replacement=True), return_counts=True)
    candidates = torch.cat([present, drawn])
    weights = torch.cat([torch.zeros(len(present)), torch.log(times / (count * odds[drawn]))])
    position = torch.empty(len(frequencies), dtype=torch.long)
    position[present] = torch.arange(len(present))
    logits = matmul(hidden, embedding[candidates].T) + weights
    return functional.cross_entropy(logits, position[targets])

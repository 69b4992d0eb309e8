"""The tokens that the texts use, as rows of a smaller embedding."""

import numpy
import torch

SIZE = 50257  # tokens in GPT-2's vocabulary
END_OF_TEXT = SIZE - 1


class Vocabulary:
    def __init__(self, texts):
        """texts: [n] token ids"""
        counts = numpy.bincount(texts, minlength=SIZE)
        self.tokens = numpy.flatnonzero(counts)
        self.frequencies = torch.from_numpy(counts[self.tokens] / counts.sum()).float()
        self._row_of = numpy.full(SIZE, -1)
        self._row_of[self.tokens] = numpy.arange(len(self.tokens))

    @property
    def size(self):
        return len(self.tokens)

    def rows(self, tokens):
        """Maps token ids to rows of the embedding; -1 for tokens that the texts never use."""
        return torch.from_numpy(self._row_of[tokens])

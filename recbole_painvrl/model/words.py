"""Learned vectors of words, where an item's features are the words of its title. Letters: I items, M some of them."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn
from torch.nn import functional as F


class WordTable(nn.Module):
    """A learned vector a word; an item's vector is the sum over its words, scaled to unit length.

    Source: InvRL's treatment of TikTok's titles, which come as bags of word ids.

    Args:
        counts: scipy CSR matrix [I, n_words] of how often each item's title holds each word.
        dimension: width of a word's vector.
    """

    words: Tensor
    offsets: Tensor
    counts: Tensor

    def __init__(self, counts: csr_matrix, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(counts.shape[1], dimension))
        self.register_buffer("words", torch.from_numpy(counts.indices.astype(np.int64)), persistent=False)
        self.register_buffer("offsets", torch.from_numpy(counts.indptr[:-1].astype(np.int64)), persistent=False)
        self.register_buffer("counts", torch.from_numpy(counts.data.astype(np.float32)), persistent=False)

    def forward(self, items: Tensor | None = None) -> Tensor:
        """Returns the vectors of all items [I, dimension], or of some [M], of unit length or zero without any word."""
        if items is not None and items.is_cuda:  # which would have to tell the host how many words these items have
            return self()[items]
        entries, offsets = (slice(None), self.offsets) if items is None else self._entries(items)
        words, counts = self.words[entries], self.counts[entries]
        bags = F.embedding_bag(words, self.weight, offsets, mode="sum", per_sample_weights=counts)
        return F.normalize(bags, dim=1, out=None if torch.is_grad_enabled() else bags)

    def _entries(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Returns where the words of some items [M] are, one item after the other, and where each item's begin [M]."""
        lengths = torch.diff(self.offsets, append=self.offsets.new_tensor([len(self.words)]))[items]
        offsets = lengths.cumsum(0) - lengths
        shifts = torch.repeat_interleave(self.offsets[items] - offsets, lengths)
        return torch.arange(len(shifts), device=shifts.device) + shifts, offsets

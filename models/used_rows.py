"""A table of word embeddings that trains the rows of its texts' tokens alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn


class UsedRows(nn.Module):
    """The rows of an embedding table that some texts read; token ids stay as they are."""

    place: torch.Tensor  # where each token's row is

    def __init__(self, table: nn.Embedding, used: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(table.weight.detach()[used])  # [used, width]
        # Of a token that is in no text there is no row: to read one is an error.
        place = torch.full((table.num_embeddings,), len(used))
        place[used] = torch.arange(len(used))
        self.register_buffer("place", place, persistent=False)
        pad = table.padding_idx
        self.padding_place = int(place[pad]) if pad is not None and pad in used else None

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(self.place[ids], self.weight, self.padding_place)


@contextmanager
def used_rows_only(network: Any, texts: Iterable[list[int]], pad_id: int) -> Iterator[None]:
    """Let a network hold only the embeddings of its texts' tokens for a while.

    A token that no text has gets no gradient, yet an optimizer reads and writes its row at every
    step. Half of a small model's weights are embeddings: on `movies`, which has 17,409 of MiniLM's
    30,522 tokens, a step of three layers takes a seventh less (32 x 28 tokens, 2 cores, AMX). What
    is learnt is the same; weight decay leaves the other rows alone.
    """
    table = network.get_input_embeddings()
    if type(table) is not nn.Embedding or not table.weight.requires_grad:
        yield
        return
    used = torch.tensor(sorted({pad_id, *chain.from_iterable(texts)}))
    rows = UsedRows(table, used)
    network.set_input_embeddings(rows)
    try:
        yield
    finally:
        network.set_input_embeddings(table)
        with torch.no_grad():
            table.weight[used] = rows.weight.to(table.weight)

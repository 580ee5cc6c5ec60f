"""Tables and values of few bits: what is looked up is what was stored."""

from __future__ import annotations

import pytest


def test_int4_packing_is_exact_and_zero_stays_zero() -> None:
    import torch

    from models.int4 import pack_int4, unpack_int4

    values = torch.randint(-8, 8, (16, 64), dtype=torch.int8)
    assert torch.equal(unpack_int4(pack_int4(values)), values.to(torch.int32))


@pytest.mark.parametrize(("group", "most"), [(None, 127), (16, 7)])
def test_a_table_is_looked_up_within_half_a_step(group: int | None, most: int) -> None:
    import torch

    from models.quantized_tables import quantize_tables

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Embedding(2000, 48))
    ids = torch.tensor([[0, 7, 1999], [3, 3, 5]])
    expected = network(ids)
    quantize_tables(network, group)
    found = network(ids)
    steps = expected.unflatten(-1, (-1, group or 48)).abs().amax(-1, keepdim=True) / most
    off = (found - expected).unflatten(-1, (-1, group or 48)).abs()
    assert off.max() > 0
    assert bool((off <= 0.5001 * steps).all())

"""Databases cut into blocks at will, and states folded in any order."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import qkvcli
from qkvcli.attention.fold import State, finish, merge, summarise
from qkvcli.run.processes import Processes
from qkvcli.run.work import Local
from qkvcli.sources.memory import MemoryBlock, store_of
from qkvcli.sources.vectors import VectorBlock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qkvcli.attention.fold import Plan
    from qkvcli.blocks import Block, Queries


def attend(*arguments: Any, **options: Any) -> Any:
    """Call ``qkvcli.attend``; a test knows which of an answer's parts it asked for."""
    return qkvcli.attend(*arguments, **options)


def blocks(keys: Any, values: Any, cuts: Sequence[int] = ()) -> list[Block]:
    """Return keys and values as blocks that end at the cuts."""
    (whole,) = store_of(keys, values).heads[0].blocks()
    edges = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    return [_part(whole, start, stop) for start, stop in pairwise(edges)]


def _part(whole: Block, start: int, stop: int) -> Block:
    if isinstance(whole, VectorBlock):
        return VectorBlock(start, stop, whole.head)
    assert isinstance(whole, MemoryBlock)
    rows = slice(start, stop)
    return replace(
        whole,
        start=start,
        keys=whole.keys[rows],
        key_cells=tuple(column[rows] for column in whole.key_cells),
        numeric=whole.numeric[rows],
        texts=tuple(column[rows] for column in whole.texts),
    )


def answer_of(parts: Sequence[Block], queries: Queries, plan: Plan) -> Any:
    """Fold blocks from the left."""
    state = State()
    for part in parts:
        state = merge(state, summarise(part, queries, plan))
    return finish(state, plan, queries)


def assert_same(a: Any, b: Any, tolerance: float = 0.0) -> None:
    """Assert that two answers or states are the same, numbers up to a relative tolerance."""
    if is_dataclass(a) and not isinstance(a, type):
        assert type(a) is type(b)
        for field in fields(a):
            assert_same(getattr(a, field.name), getattr(b, field.name), tolerance)
    elif isinstance(a, tuple | list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(a, np.ndarray) and a.dtype.kind == "f" and tolerance:
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    else:
        assert a == b


@dataclass(frozen=True)
class Forked:
    """Processes for whatever can be had in partitions, whoever else has threads here."""

    count: int

    def run(self, work: Any, blocks: Any, progress: Any = None) -> Any:
        """Return the states of all rows."""
        partitions = getattr(blocks, "partitions", lambda _: ())(self.count)
        way: Any = Processes(self.count, partitions) if len(partitions) > 1 else Local()
        return way.run(work, blocks, progress)

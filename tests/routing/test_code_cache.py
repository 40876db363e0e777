"""Codes that are kept once they are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chunkv2l.graph import Node
from chunkv2l.routing.code_cache import CodeCache

CPU = torch.device("cpu")


class File:
    """An index's codes, and which were read."""

    def __init__(self) -> None:
        self.reads: list[Node] = []

    def __call__(self, nodes: Sequence[Node]) -> Tensor:
        self.reads += nodes
        return torch.stack([code(node) for node in nodes])


def code(node: Node) -> Tensor:
    return torch.full((2, 1, 4), float(node) if isinstance(node, int) else -1.0 - float(node[1:]))


def same(read: Tensor, nodes: Sequence[Node]) -> bool:
    return torch.equal(read, torch.stack([code(node) for node in nodes]))


def test_nothing_is_read_twice_and_the_rest_comes_with_the_second_question() -> None:
    file = File()
    codes = CodeCache(file, 100, CPU)
    assert same(codes([7, "g1", 3, 7]), [7, "g1", 3, 7])
    assert file.reads == [7, "g1", 3]
    assert same(codes([3, "g1"]), [3, "g1"])
    assert len(file.reads) == 3
    assert same(codes([*range(10, 20), "g0"]), [*range(10, 20), "g0"])  # more than a tenth of all
    assert len(file.reads) == len(set(file.reads)) == 102
    assert same(codes([99, 0, 50]), [99, 0, 50])
    assert len(file.reads) == 102


def test_no_more_is_kept_than_there_is_room_for() -> None:
    file = File()
    codes = CodeCache(file, 20, CPU, max_bytes=10 * code(0).nbytes)
    for _ in range(2):
        assert same(codes(range(8)), list(range(8)))
    assert file.reads == list(range(8)), "the other twelve don't fit"
    for _ in range(2):
        assert same(codes([8, 9, 10]), [8, 9, 10])
    assert file.reads == [*range(8), 8, 9, 10, 8, 9, 10]

"""Losses over rows of text, with logits made in pieces so that the vocabulary never fills the memory."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

_PIECE = 8192
"""Positions whose logits are alive at a time (docs/measurements.md#logits-in-pieces)."""


def _cross_entropy(hidden: Tensor, head: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, head).float(), target, reduction="none")


def _divergence(hidden: Tensor, head: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy against the teacher's distribution (KL up to the teacher's entropy)."""
    student = F.log_softmax(F.linear(hidden, head).float(), dim=-1)
    wanted = F.softmax(F.linear(teacher, head).float(), dim=-1)
    return -(wanted * student).sum(-1)


def _pieces(function: object, hidden: Tensor, head: Tensor, other: Tensor) -> Tensor:
    parts = [
        checkpoint(function, h, head, o, use_reentrant=False)
        for h, o in zip(torch.split(hidden, _PIECE), torch.split(other, _PIECE), strict=True)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def token_nll(hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood of every label token.

    Args:
        hidden: [Q, S, D], the decoder's output.
        head: [V, D].
        labels: [Q, S], aligned with the input ids, -100 where nothing is asked.

    Returns:
        nats [n] of the n label tokens, and the row of each [n].
    """
    wanted = labels[:, 1:] != -100
    nll = _pieces(_cross_entropy, hidden[:, :-1][wanted], head, labels[:, 1:][wanted])
    return nll, wanted.nonzero()[:, 0]


SHORT = 4
"""Tokens of an answer of a word or two, its full stop and the end of turn included."""


def short_weight(labels: Tensor, rows: Tensor, weight: float) -> Tensor:
    """Of each label token, `rows` [n] as `token_nll` gives them: `weight` where its answer is short, else 1."""
    short = (labels[:, 1:] != -100).sum(1)[rows] <= SHORT
    return torch.where(short, weight, 1.0)


def row_sums(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sum `values` [n] by `rows` [n] → [count]."""
    return values.new_zeros(count).index_add(0, rows, values)


def distil(hidden: Tensor, teacher: Tensor, head: Tensor, labels: Tensor, teacher_labels: Tensor) -> Tensor:
    """Mean cross-entropy against the teacher's distribution at the label positions (of both, in the same order)."""
    student = hidden[:, :-1][labels[:, 1:] != -100]
    guide = teacher[:, :-1][teacher_labels[:, 1:] != -100]
    return _pieces(_divergence, student, head, guide.detach()).mean()


def info_nce(scores: Tensor, temperature: Tensor | float) -> Tensor:
    """Symmetric InfoNCE over scores [..., B, B] (clips × texts); diagonals are right (van den Oord et al. 2018)."""
    logits = scores / temperature
    target = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape[:-1]).flatten()
    rows, columns = logits.flatten(0, -2), logits.transpose(-1, -2).flatten(0, -2)
    return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2


def many_right(scores: Tensor, right: Tensor) -> Tensor:
    """InfoNCE where a text may be true of several clips, and a clip have several texts: the mean of both directions.

    A row's loss is the mean over what is right of −log of its share (Khosla et al. 2020, arXiv 2004.11362, L_out);
    rows of which nothing is right don't count.

    Args:
        scores: [clips, texts], over the temperature.
        right: bool [clips, texts], any true.
    """

    def one_way(logits: Tensor, wanted: Tensor) -> Tensor:
        some = wanted.any(1)
        shares, chosen = logits[some].log_softmax(1), wanted[some]
        return -(shares.masked_fill(~chosen, 0.0).sum(1) / chosen.sum(1)).mean()

    return (one_way(scores, right) + one_way(scores.T, right.T)) / 2


def neighbourhoods(liking: Tensor, size: int, count: int) -> Tensor:
    """Groups of clips that take each other's texts for their own: numbers [count, size], no clip twice.

    Args:
        liking: [clips, texts], text i is clip i's; what is high is hard to tell apart.
        size: clips of a group, so that count · size are at most all.

    A clip that is still free (the lowest number) begins a group; those free ones join that like its text, and whose
    texts it likes, most.
    """
    mutual = (liking + liking.T).fill_diagonal_(torch.inf)
    free = torch.ones(len(liking), dtype=torch.bool, device=liking.device)
    groups = []
    for _ in range(count):
        first = free.int().argmax()
        group = mutual[first].masked_fill(~free, -torch.inf).topk(size).indices
        free[group] = False
        groups.append(group)
    return torch.stack(groups)


def group_nce(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric InfoNCE within groups: of a clip against its group's texts, of a text against its group's clips.

    Args:
        scores: [groups, clips, texts], over the temperature; the diagonals are right.
        same: [groups, clips, texts], bool: which texts say what the clip's own says; they don't count against it.

    Returns:
        the loss; the share of texts whose own clip scores highest in its group.
    """
    own = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same & ~own, -torch.inf)
    right = torch.arange(scores.shape[-1], device=scores.device)
    return info_nce(scores, 1.0), (scores.argmax(1) == right).float().mean().detach()


def agreement(scores: Tensor, wanted: Tensor) -> Tensor:
    """KL between two tables of scores [clips, texts]: over a clip's texts, and over a text's clips; the mean of both.

    As students learn from teachers (Hinton et al. 2015, arXiv 1503.02531).
    """

    def divergence(mine: Tensor, theirs: Tensor) -> Tensor:
        return F.kl_div(mine.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="batchmean")

    return (divergence(scores, wanted) + divergence(scores.T, wanted.T)) / 2

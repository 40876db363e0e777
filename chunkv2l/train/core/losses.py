"""Compute losses over rows of text, with logits in pieces to bound the memory that they take."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

_PIECE = 8192
"""Positions whose logits are alive at a time (docs/measurements.md#logits-in-pieces)."""


def _cross_entropy(hidden: Tensor, head: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden, head).float(), target, reduction="none")


def _soft_cross_entropy(hidden: Tensor, head: Tensor, teacher: Tensor) -> Tensor:
    """Return the cross-entropy against the teacher's distribution (KL up to the teacher's entropy)."""
    student = F.log_softmax(F.linear(hidden, head).float(), dim=-1)
    target = F.softmax(F.linear(teacher, head).float(), dim=-1)
    return -(target * student).sum(-1)


def _pieces(function: object, hidden: Tensor, head: Tensor, other: Tensor) -> Tensor:
    parts = [
        checkpoint(function, h, head, o, use_reentrant=False)
        for h, o in zip(torch.split(hidden, _PIECE), torch.split(other, _PIECE), strict=True)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


def token_nll(hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the negative log-likelihood of every label token.

    Args:
        hidden: [Q, S, D], the decoder's output.
        head: [V, D].
        labels: [Q, S], aligned with the input ids, -100 for tokens that aren't trained.

    Returns:
        nats [n] of the n label tokens, and the row of each [n].
    """
    is_label = labels[:, 1:] != -100
    nll = _pieces(_cross_entropy, hidden[:, :-1][is_label], head, labels[:, 1:][is_label])
    return nll, is_label.nonzero()[:, 0]


SHORT = 4
"""Most tokens of a short answer ("Yes."), the full stop and the end of turn included."""


def short_weight(labels: Tensor, rows: Tensor, weight: float) -> Tensor:
    """Return `weight` for each label token of a short answer, else 1; `rows` [n] as `token_nll` returns them."""
    short = (labels[:, 1:] != -100).sum(1)[rows] <= SHORT
    return torch.where(short, weight, 1.0)


def row_sums(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Sum `values` [n] by `rows` [n] and return [count]."""
    return values.new_zeros(count).index_add(0, rows, values)


def answer_nats(hidden: Tensor, head: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed nats and the number of the label tokens of each row, [Q] both; arguments as `token_nll`."""
    values, rows = token_nll(hidden, head, labels)
    return row_sums(values, rows, len(labels)), (labels != -100).sum(1)


def distil(hidden: Tensor, teacher: Tensor, head: Tensor, labels: Tensor, teacher_labels: Tensor) -> Tensor:
    """Return the mean cross-entropy against the teacher's distribution at the label positions (of both, in the same
    order)."""
    student = hidden[:, :-1][labels[:, 1:] != -100]
    guide = teacher[:, :-1][teacher_labels[:, 1:] != -100]
    return _pieces(_soft_cross_entropy, student, head, guide.detach()).mean()


def info_nce(scores: Tensor, temperature: Tensor | float) -> Tensor:
    """Return symmetric InfoNCE over scores [..., B, B], clips × texts; diagonals are right (van den Oord et al.
    2018)."""
    logits = scores / temperature
    target = torch.arange(scores.shape[-1], device=scores.device).expand(scores.shape[:-1]).flatten()
    rows, columns = logits.flatten(0, -2), logits.transpose(-1, -2).flatten(0, -2)
    return (F.cross_entropy(rows, target) + F.cross_entropy(columns, target)) / 2


def apart_from_equals(scores: Tensor, same: Tensor) -> Tensor:
    """Return scores [clips, texts] without those of texts that say what a clip's own says; the diagonal stays."""
    diagonal = torch.eye(scores.shape[0], dtype=torch.bool, device=scores.device)
    return scores.masked_fill(same & ~diagonal, -torch.inf)


def multi_positive_nce(scores: Tensor, right: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return symmetric InfoNCE where a text may be true of several clips, and several texts of a clip.

    A row's loss is the mean of −log share over its positives (Khosla et al. 2020, arXiv 2004.11362, L_out); rows
    without a positive don't count.

    Args:
        scores: [clips, texts], over the temperature.
        right: the positives, bool [clips, texts].
        counted: bool [clips, texts], where it is known whether a pair is one; everywhere if None.
    """
    if counted is not None:
        scores = scores.masked_fill(~(counted | right), -torch.inf)

    def one_way(logits: Tensor, positives: Tensor) -> Tensor:
        has_any = positives.any(1)
        shares, chosen = logits[has_any].log_softmax(1), positives[has_any]
        return -(shares.masked_fill(~chosen, 0.0).sum(1) / chosen.sum(1)).mean()

    return (one_way(scores, right) + one_way(scores.T, right.T)) / 2


def neighbourhoods(similarity: Tensor, size: int, count: int) -> Tensor:
    """Return groups of clips whose texts are hard to tell apart: numbers [count, size], no clip twice.

    Args:
        similarity: [clips, texts]; text i is of clip i.
        size: clips of a group; count · size are at most all.

    The free clip with the lowest number begins a group; the free clips join it whose similarity with it, summed over
    both directions, is highest.
    """
    mutual = (similarity + similarity.T).fill_diagonal_(torch.inf)
    free = torch.ones(len(similarity), dtype=torch.bool, device=similarity.device)
    groups = []
    for _ in range(count):
        first = free.int().argmax()
        group = mutual[first].masked_fill(~free, -torch.inf).topk(size).indices
        free[group] = False
        groups.append(group)
    return torch.stack(groups)


def group_nce(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """Return symmetric InfoNCE within groups, and the share of texts that find their clip.

    Args:
        scores: [groups, clips, texts], over the temperature; the diagonals are right.
        same: bool [groups, clips, texts], True for texts equal to the clip's own; they don't count against it.

    Returns:
        the loss; the share of texts whose own clip scores highest in its group.
    """
    diagonal = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(same & ~diagonal, -torch.inf)
    right = torch.arange(scores.shape[-1], device=scores.device)
    return info_nce(scores, 1.0), (scores.argmax(1) == right).float().mean().detach()


def divergence(scores: Tensor, teacher: Tensor) -> Tensor:
    """Return the KL divergence of scores from a teacher's, both [clips, texts]: the mean over clips and over texts.

    See Hinton et al. 2015, arXiv 1503.02531.
    """

    def one_way(student: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(student.log_softmax(1), target.log_softmax(1), log_target=True, reduction="batchmean")

    return (one_way(scores, teacher) + one_way(scores.T, teacher.T)) / 2

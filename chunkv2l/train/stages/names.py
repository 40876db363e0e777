"""Names: what an adapter makes the frozen model call what is there, on photographs with labels.

Two questions, both with zero visual tokens and no tag in any prompt: which of N names an adapter makes likeliest, and
whether the caption that it writes names what is there. Beside them stands what the frozen model says with the frames
(and tags) in context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chunkv2l.train.data.naming import is_naming, name_label, plain_name


@dataclass(frozen=True)
class NameScores:
    """Likelihoods of N names under M adapters.

    Attributes:
        nats: log p(name | adapter) [M, N].
        prior: log p(name | bias adapter) [N].
        tokens: of each name [N].
        right: number of each adapter's own name [M].
    """

    nats: Tensor
    prior: Tensor
    tokens: Tensor
    right: Tensor

    def table(self, rule: str) -> Tensor:
        """Return what names are ranked by [M, N].

        Args:
            rule: "sum", log p itself; "lift", what the adapter adds to it; "router", that over √tokens; "mean", log p a
                token.
        """
        lift = self.nats - self.prior
        tables = {
            "sum": self.nats,
            "mean": self.nats / self.tokens,
            "lift": lift,
            "router": lift / self.tokens.sqrt(),
        }
        return tables[rule]

    def recall(self, rule: str, top: int) -> float:
        """Return the share of adapters whose own name is among the `top` best."""
        table = self.table(rule)
        right_score = table.gather(1, self.right[:, None])
        return float(((table > right_score).sum(1) < top).float().mean())

    def figures(self) -> dict[str, float]:
        """Return R@1 and R@5 of every rule."""
        rules = ("sum", "mean", "lift", "router")
        return {f"{rule} R@{top}": self.recall(rule, top) for rule in rules for top in (1, 5)}


def names_among(labels: Sequence[str]) -> tuple[tuple[str, ...], Tensor]:
    """Return the distinct names of labels, sorted, and the number of each label's own [M]."""
    plain = [plain_name(label) for label in labels]
    names = tuple(sorted(set(plain)))
    places = {name: place for place, name in enumerate(names)}
    return names, torch.tensor([places[name] for name in plain])


def statements_of(names: Sequence[str]) -> list[str]:
    """Return the statement by which each name is looked for: "A cat."."""
    return [name_label(name) for name in names]


def share_naming(captions: Sequence[str], labels: Sequence[str]) -> float:
    """Return the share of captions that name their label."""
    return sum(is_naming(text, label) for text, label in zip(captions, labels, strict=True)) / max(1, len(labels))


def share_by_label(captions: Sequence[str], labels: Sequence[str]) -> Mapping[str, float]:
    """Return, by label, the share of its captions that name it."""
    hits: dict[str, list[bool]] = {}
    for text, label in zip(captions, labels, strict=True):
        hits.setdefault(plain_name(label), []).append(is_naming(text, label))
    return {name: sum(named) / len(named) for name, named in hits.items()}

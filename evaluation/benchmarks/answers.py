"""Answer multiple choice by likelihood: the option that a model finds most probable as the answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from chunkv2l.models.family import require_family
from evaluation.common.token_f1 import words

if TYPE_CHECKING:
    from chunkv2l.adapter.algebra import Adapter
    from chunkv2l.models import Model
    from chunkv2l.models.family import Family

Rule = Literal["mean", "sum", "gain"]
RULES: Final[tuple[Rule, ...]] = ("mean", "sum", "gain")


@dataclass(frozen=True)
class Nats:
    """log p of an option behind the question, summed over its `tokens`; `alone`: the same under the bias adapter."""

    total: float
    tokens: int
    alone: float = 0.0

    def worth(self, rule: Rule) -> float:
        """Return the number that options are ranked by.

        "mean", the default: nats a token. Options of a question differ in length, and every token lowers the sum, so
        that by "sum" the shortest option wins too often. "gain": nats above those without any video, which corrects
        for how common an option's words are, as the router's score does (Holtzman et al., arXiv 2104.08315).
        """
        if rule == "sum":
            return self.total
        return self.total - self.alone if rule == "gain" else self.total / max(1, self.tokens)


def choose(options: Sequence[Nats], rule: Rule = "mean") -> int:
    """Return the number of the best option; of equals, the first."""
    worths = [option.worth(rule) for option in options]
    return worths.index(max(worths))


@torch.inference_mode()
def nats(
    vlm: Family, question: str, options: Sequence[str], adapter: Adapter | None, bias: Adapter | None
) -> list[Nats]:
    """Return the likelihood of each option as the answer under an adapter; the options aren't in the prompt.

    Args:
        bias: the hypernetwork's, for the likelihood without a video.
    """
    from chunkv2l.models.text.decoder import score

    prompt = vlm.prompt_ids(question)
    ids = [vlm.statement_ids(option) for option in options]
    totals = score(vlm.decoder, prompt, ids, adapter)[0].tolist()
    alone = totals if adapter is bias else score(vlm.decoder, prompt, ids, bias)[0].tolist()
    return [Nats(total, len(own), without) for total, own, without in zip(totals, ids, alone, strict=True)]


def nll(model: Model, question: str, references: Sequence[str], adapter: Adapter) -> float:
    """Return the mean over answers to a question of −log p a token, nats, without the end of turn."""
    options = nats(require_family(model.vlm), question, references, adapter, adapter)
    return -sum(option.worth("mean") for option in options) / len(options)


def exact(answer: str, references: Sequence[str]) -> bool:
    """Return True if the answer equals a reference, articles and punctuation aside."""
    return any(words(answer) == words(reference) for reference in references)

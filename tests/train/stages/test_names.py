"""Names: ranked by likelihood, and looked for in captions."""

from __future__ import annotations

import pytest
import torch

from chunkv2l.train.stages.names import NameScores, names_among, share_by_label, share_naming, statements_of


def scores() -> NameScores:
    return NameScores(
        nats=torch.tensor([[-4.0, -3.0, -9.0], [-9.0, -8.0, -1.0]]),
        prior=torch.tensor([-8.0, -3.0, -9.0]),
        tokens=torch.tensor([1.0, 1.0, 4.0]),
        right=torch.tensor([0, 2]),
    )


@pytest.mark.parametrize(("rule", "first"), [("sum", 0.5), ("lift", 1.0), ("router", 1.0)])
def test_a_rule_ranks_names(rule: str, first: float) -> None:
    assert scores().recall(rule, 1) == first and scores().recall(rule, 2) == 1.0


def test_figures_of_all_rules() -> None:
    figures = scores().figures()
    assert set(figures) == {f"{rule} R@{top}" for rule in ("sum", "mean", "lift", "router") for top in (1, 5)}


def test_names_are_numbered_once() -> None:
    names, right = names_among(["cat", "faces easy", "cat"])
    assert names == ("cat", "face") and right.tolist() == [0, 1, 0]
    assert statements_of(names) == ["A cat.", "A face."]


def test_captions_that_name_their_label() -> None:
    captions, labels = ["A kitten sleeps.", "A dog.", "A bedroom."], ["cat", "cat", "bedroom"]
    assert share_naming(captions, labels) == pytest.approx(2 / 3)
    assert share_by_label(captions, labels) == {"cat": 0.5, "bedroom": 1.0}

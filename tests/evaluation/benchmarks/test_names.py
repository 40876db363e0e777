"""Names of labelled photographs: the figures of a tiny random `mini`, and what is no labelled set."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from chunkv2l.errors import InputError
from chunkv2l.train.data.images import load_images
from chunkv2l.train.stages.names import NameScores
from evaluation.__main__ import main
from evaluation.benchmarks import names
from evaluation.benchmarks.names import Named, name_photographs
from evaluation.movies.photographs import Encoder, Take
from tests.evaluation.benchmarks.test_mini import small_model
from tests.helpers.photograph_sets import THINGS, write_set


def label_set(folder: Path, count: int) -> Path:
    stem = write_set(folder, count)
    rows = [json.loads(line) for line in stem.with_suffix(".jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["labels"] = [THINGS[number % len(THINGS)], "thing"]
    stem.with_suffix(".jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return stem


def test_figures_of_a_set() -> None:
    nats = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0]])
    scores = NameScores(nats, torch.zeros(3), torch.ones(3), torch.tensor([0, 1, 2, 0]))
    named = Named(("boat", "cat", "dog", "boat"), ("A boat.", "A dog.", "Two dogs.", "A ship."), scores)
    assert named.figures() == {"R@1": 0.5, "R@5": 1.0, "named": 0.5, "n": 4, "classes": 3}
    assert "named: boat" in names.table_of(named)


def test_every_name_is_scored_under_every_photographs_adapter(tmp_path: Path) -> None:
    images = load_images(label_set(tmp_path, 7))
    model = small_model()
    named = name_photographs(Encoder(model, tmp_path / "cache"), images)
    assert named.scores.nats.shape == (7, len(THINGS)) and named.labels[:2] == THINGS[:2]
    assert named.scores.right.tolist() == [sorted(THINGS).index(THINGS[i % 6]) for i in range(7)]
    first = Encoder(model, tmp_path / "cache").takes([Take(images.jpegs[0])])[0]
    alone, prior, _ = names.score_names(model, [first], ["A dog."])
    column = sorted(THINGS).index("dog")
    torch.testing.assert_close(alone[0, 0], named.scores.nats[0, column])
    torch.testing.assert_close(prior[0], named.scores.prior[column])


def test_the_command_prints_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "load_model", lambda spec: small_model())
    stem = label_set(tmp_path, 6)
    arguments = [
        "names",
        "--images",
        str(stem),
        "--cache",
        str(tmp_path / "c"),
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    run = CliRunner().invoke(main, [*arguments, "--json"])
    assert run.exit_code == 0, run.output
    figures = json.loads(run.output.strip().splitlines()[-1])
    assert set(figures) == {"R@1", "R@5", "named", "n", "classes"} and figures["n"] == 6
    written = json.loads((tmp_path / "out" / "names.json").read_text())
    assert len(str(written)) > len(str(figures))


def test_photographs_without_labels_are_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a label"):
        name_photographs(Encoder(small_model(), tmp_path / "cache"), load_images(write_set(tmp_path, 3)))

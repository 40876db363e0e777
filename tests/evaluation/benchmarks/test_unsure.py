"""`python -m evaluation unsure`: shares by threshold, and queries asked of movies with known keys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import chunkv2l
from chunkv2l.defaults import UNSURE_BELOW
from chunkv2l.errors import InputError
from chunkv2l.models import Calibration
from evaluation.__main__ import main
from evaluation.benchmarks import asking
from evaluation.benchmarks.unsure import Case, Outcome, judge
from tests.helpers.fake_vlm import HIDDEN, fake_model
from tests.helpers.keyed import by_words, random_keys, unit_keys
from tests.helpers.written import random_codes, write_index


def case(above: float, outcome: Outcome) -> Case:
    return Case("park", UNSURE_BELOW + above, outcome)


def test_shares_are_of_what_lies_below_a_threshold() -> None:
    figures = judge(
        [case(1, "right"), case(-0.1, "right"), case(0.1, "wrong"), case(-1, "absent"), case(0.5, "absent")]
    )
    at_default = figures["unsure"][f"{UNSURE_BELOW:g}"]
    assert at_default == {"right": 0.5, "wrong": 0.0, "absent": 0.5}
    assert figures["queries"] == {"right": 2, "wrong": 1, "absent": 2}
    assert figures["separation"] == pytest.approx(4 / 6)  # of six pairs, the absent one is doubted more in four


@pytest.mark.parametrize("outcome", ["right", "absent"])
def test_both_kinds_are_needed(outcome: Outcome) -> None:
    with pytest.raises(InputError, match="of two movies or more"):
        judge([case(0, outcome)])


def ask_both(folder: Path, monkeypatch: pytest.MonkeyPatch, kappa: float) -> tuple[int, str]:
    """Run the command on two movies of six segments each, 4 s long, with a query each."""
    model = replace(
        fake_model(), keys=random_keys(HIDDEN), sentences=by_words, calibration=Calibration(key=kappa, epsilon=0.1)
    )
    for seed, vid in enumerate(("park", "street")):
        write_index(folder / f"{vid}.idx", random_codes(6, seed), model=model, keys=unit_keys(6, seed=seed))
        row = {"qid": seed, "vid": vid, "query": "A dog runs", "relevant_windows": [[0, 4]], "duration": 24}
        (folder / f"{vid}.jsonl").write_text(json.dumps(row))

    def opened(files: dict[str, Path], device: str = "auto") -> list[tuple[str, chunkv2l.Index]]:
        return [(vid, chunkv2l.open(path, model)) for vid, path in files.items()]

    monkeypatch.setattr(asking, "opened", opened)
    queries = [part for vid in ("park", "street") for part in ("--queries", str(folder / f"{vid}.jsonl"))]
    result = CliRunner().invoke(main, ["unsure", "--index", str(folder), *queries, "--out", str(folder), "--json"])
    return result.exit_code, result.output


def test_each_query_is_asked_of_every_movie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = ask_both(tmp_path, monkeypatch, kappa=3.0)
    assert code == 0, output
    queries = json.loads(output)["queries"]
    assert queries["absent"] == 2 and queries["right"] + queries["wrong"] == 2
    assert len(json.loads((tmp_path / "unsure.json").read_text())["figures"]["cases"]) == 4


def test_keys_that_dont_count_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = ask_both(tmp_path, monkeypatch, kappa=0.0)
    assert code == 2 and "has no keys that count" in output

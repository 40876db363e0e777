"""Paired bootstrap: cases whose intervals are known, and the command between two results."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from evaluation.__main__ import main
from evaluation.common import resampling, results
from evaluation.common.resampling import compare


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["equivalence", *map(str, arguments)])


def test_a_constant_difference_has_no_width() -> None:
    first = [0.1, 0.9, 0.4, 0.4]
    found = compare(first, [x + 0.04 for x in first])
    assert (found.difference, found.low, found.high) == pytest.approx((0.04, 0.04, 0.04))
    assert found.is_equivalent(0.05) and found.is_not_inferior(0.01)
    assert not found.is_equivalent(0.03)  # it is better by more than the margin: not equivalent, but not inferior
    assert found.is_not_inferior(0.03)
    worse = compare([x + 0.04 for x in first], first)
    assert worse.difference == pytest.approx(-0.04)
    assert worse.is_equivalent(0.05) and worse.is_not_inferior(0.05) and not worse.is_not_inferior(0.03)


def test_three_questions_against_all_27_samples_of_them() -> None:
    """The bootstrap distribution of three differences can be written down: 27 equally likely samples."""
    differences = [0.0, 0.3, 0.9]
    exact = sorted(sum(sample) / 3 for sample in itertools.product(differences, repeat=3))
    drawn = resampling.means(differences, 200_000, seed=0)
    assert set(np.round(drawn, 9)) == set(np.round(exact, 9))
    for value in set(np.round(exact, 9)):
        share = sum(abs(x - value) < 1e-9 for x in exact) / 27
        assert float(np.mean(np.abs(drawn - value) < 1e-9)) == pytest.approx(share, abs=0.004)
    # All three zeros are 1 sample of 27 (3.7 %): the lowest 2.5 % are among them, and 5 % reach the next value.
    found = compare([0.0] * 3, differences)
    assert found.low == 0 and found.high == pytest.approx(0.9)
    assert found.low_90 == pytest.approx(0.1)


def test_intervals_cover_as_often_as_they_say() -> None:
    """Of 200 pairs of systems whose true difference is .1, about 95 % of the intervals hold it."""
    rng = np.random.default_rng(0)
    held = 0
    for number in range(200):
        noise = rng.normal(0.1, 0.3, 60)
        found = compare([0.0] * 60, noise.tolist(), rounds=400, seed=number)
        held += found.low <= 0.1 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_pairing_counts_and_seeds_fix_the_numbers() -> None:
    rng = np.random.default_rng(1)
    first = rng.uniform(size=200).tolist()
    second = [x + 0.01 for x in first]
    found = compare(first, second)
    assert found.is_equivalent(0.02)  # unpaired, the spread of the questions would drown so small a difference
    assert compare(first, second, seed=3) == compare(first, second, seed=3)
    wide = compare(first, rng.uniform(size=200).tolist(), seed=3)
    assert wide != compare(first, rng.uniform(size=200).tolist(), seed=4)
    with pytest.raises(ValueError, match="don't pair"):
        compare([1.0], [])


def test_clusters_are_drawn_whole() -> None:
    values = [1.0] * 50 + [0.0] * 50
    alone = compare([0.0] * 100, values)
    of_two = compare([0.0] * 100, values, clusters=["a"] * 50 + ["b"] * 50)
    assert (of_two.low, of_two.high, of_two.clusters) == (0, 1, 2)  # two movies tell next to nothing
    assert 0.35 < alone.low < alone.high < 0.65
    low, high = resampling.interval(values)
    assert (low, high) == pytest.approx((alone.low, alone.high))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    good = {str(i): {"F1": 0.5 + 0.01 * (i % 3), "exact": float(i % 2)} for i in range(40)}
    near = {i: {"F1": own["F1"] - 0.02, "exact": 1 - own["exact"]} for i, own in good.items()}
    a = results.write("qa", {"questions": {"frames": good}}, "", out=tmp_path / "a")
    b = results.write("qa", {"questions": {"route": near, "fts": {"0": {"F1": 0.0}}}}, "", out=tmp_path / "b")
    return a, b


def test_two_files_are_compared(files: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = files
    result = run(a, f"{b}:route", "--out", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert results.read(tmp_path / "equivalence.json")["figures"] == figures
    f1, exact = figures["measures"]["F1"], figures["measures"]["exact"]
    assert (f1["difference"], f1["n"], f1["margin"]) == (pytest.approx(-0.02), 40, 0.05)
    assert f1["equivalent"] and f1["not_inferior"]
    assert exact["difference"] == 0 and not exact["equivalent"]  # equal means, but nothing is shown: ±1 each
    assert exact["low"] < -0.2 < 0.2 < exact["high"]
    tight = run(a, f"{b}:route", "--measure", "F1", "--margin", 0.01, "--out", tmp_path)
    assert "not shown" in tight.stdout and "-0.020 to -0.020" in tight.stdout
    assert (tmp_path / "equivalence.png").exists()


def test_by_movie_the_intervals_are_those_of_movies(tmp_path: Path) -> None:
    good = {str(i): {"F1": float(i < 20)} for i in range(40)}
    bad = {i: {"F1": 0.0} for i in good}
    movies = {str(i): "a" if i < 20 else "b" for i in range(40)}
    path = results.write("qa", {"questions": {"x": bad, "y": good}, "movies": movies}, "", out=tmp_path)
    found = []
    for options in ((), ("--by-movie",)):
        result = run(f"{path}:x", f"{path}:y", "--json", "--out", tmp_path, *options)
        assert result.exit_code == 0, result.output
        found.append(json.loads(result.stdout)["measures"]["F1"])
    assert 0.3 < found[0]["low"] < found[0]["high"] < 0.7
    assert (found[1]["low"], found[1]["high"], found[1]["clusters"]) == (0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{a}", "{b}"), "several rows (route, fts)"),
        (("{a}", "{b}:nonsense"), "no row 'nonsense'"),
        (("{a}", "none.json"), "can't be read"),
        (("{a}", "{b}:fts", "--measure", "exact"), "no question in common with a score called exact"),
        (("{a}", "{b}:route", "--measure", "F1", "--margin", ".1", "--margin", ".2"), "1 measures need one --margin"),
        (("{a}", "{b}:route", "--margin", "0"), "must be above 0"),
        (("{a}", "{c}"), "no scores of single questions"),
        (("{a}", "{b}:route", "--by-movie"), "doesn't say which movies"),
    ],
)
def test_what_cannot_be_compared_gets_a_sentence(
    arguments: tuple[str, ...], words: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    c = results.write("bench", {"seconds": 1}, "", out=tmp_path / "c")
    result = run(*(word.format(a=files[0], b=files[1], c=c) for word in arguments), "--out", tmp_path)
    assert result.exit_code == 2
    assert words in result.stderr

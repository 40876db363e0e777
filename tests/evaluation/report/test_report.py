"""The report: what runs with what is given, what doesn't and why, and the page; the README's table and its numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from chunkv2l.errors import InputError
from evaluation.__main__ import main
from evaluation.common import results
from evaluation.report import readme, report


def test_the_readmes_table_is_that_of_the_committed_numbers() -> None:
    """`python -m evaluation report --readme` writes it anew."""
    assert readme.section(readme.README.read_text(encoding="utf-8")) == readme.table(readme.read())


def test_every_number_in_it_says_where_it_comes_from() -> None:
    data = readme.read()
    assert set(data) <= set(readme.LINES)
    for name, own in data.items():
        assert readme.LINES[name].show(own["values"])
        run = own["run"]
        assert run is None or {"command", "hardware", "versions", "seed"} == run.keys(), name


def run(*words: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Commands aren't run; each leaves a result as it would."""
    done: list[tuple[str, list[str]]] = []

    def instead(name: str, words: Sequence[str], out: Path) -> None:
        done.append((name, list(words)))
        rows = {way: {"1": {"F1": 0.5}} for way in ("captions, full text", "chunkv2l ask")}
        results.write(name, {"questions": rows}, f"table of {name}", lambda figure: None, out=out)

    monkeypatch.setattr(report, "run", instead)
    return done


def test_each_command_gets_the_files_that_it_has_options_for(ran: list[Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run("--index", "m.idx", "--queries", "q.jsonl", "--out", out, "--with", 'moments=--policy "a b"')
    assert result.exit_code == 0, result.output
    assert ran[0] == ("moments", ["--index", "m.idx", "--queries", "q.jsonl", "--policy", "a b"])
    assert ran[1] == ("baselines", ["--index", "m.idx", "--queries", "q.jsonl"])
    assert ran[2][0] == "equivalence"
    assert ran[2][1] == [f"{out}/baselines.json:captions, full text", f"{out}/baselines.json:chunkv2l ask"]
    page = (out / "report.md").read_text()
    assert "## moments\n\ntable of moments" in page and "![moments](moments.png)" in page
    assert "- qa: it needs --questions." in page
    assert "- composition: it needs --images." in page
    figures = results.read(out / "report.json")["figures"]
    assert figures["ran"][:3] == ["moments", "baselines", "equivalence"]
    assert set(figures["ran"]) | set(figures["skipped"]) == set(report.ORDER)
    assert result.stdout.strip() == str(out / "report.md")

    assert run("--collect", "--out", tmp_path / "none").exit_code == 0  # nothing to run, nothing to collect
    assert len(ran) == 3

    again = run("--no-run", "--only", "moments", "--out", out)  # the page alone, of what is there
    assert again.exit_code == 0
    assert "## moments" in (out / "report.md").read_text() and "## baselines" not in (out / "report.md").read_text()


def test_what_fails_is_named_with_its_own_sentence(tmp_path: Path) -> None:
    """In a real process: moments says itself that it finds no file."""
    out = tmp_path / "out"
    result = run("--only", "moments", "--queries", tmp_path / "none.jsonl", "--out", out)
    assert result.exit_code == 0, result.output
    assert results.read(out / "report.json")["figures"]["ran"] == []
    assert f"- moments: {tmp_path / 'none.jsonl'} can't be read: No such file" in (out / "report.md").read_text()


def test_a_command_in_a_process_of_its_own(tmp_path: Path) -> None:
    good = {str(i): {"F1": i / 10} for i in range(10)}
    path = results.write("qa", {"questions": {"a": good, "b": good}}, "", out=tmp_path)
    report.run("equivalence", [f"{path}:a", f"{path}:b", "--rounds", "200"], tmp_path)
    assert results.read(tmp_path / "equivalence.json")["figures"]["measures"]["F1"]["equivalent"]
    assert results.read(tmp_path / "equivalence.json")["command"].startswith(
        "python -m evaluation equivalence qa.json:a"
    )
    with pytest.raises(InputError, match="needs the results of baselines"):
        report.compared(tmp_path)


def test_what_a_version_lacks_is_no_error() -> None:
    with pytest.raises(InputError, match="isn't part of this version"):
        report.find("nonsense")
    with pytest.raises(InputError, match="isn't part of this version"):
        report.find("bench")  # writes no results
    for name in report.ORDER:
        try:
            command = report.find(name)
        except InputError:
            continue
        assert command.help, name


def test_an_option_of_another_meaning_gets_another_file() -> None:
    @click.command()
    @click.option("--movie", type=click.Path())
    @click.option("--queries", type=int)
    def command(**_: object) -> None: ...

    data = {"--movie": Path("m.mp4"), "--index": Path("m.idx"), "--queries": Path("q")}
    assert report.arguments(command, "calibration", data) == ["--movie", "m.idx"]
    assert report.arguments(command, "other", data) == ["--movie", "m.mp4"]  # --queries is a number there
    with pytest.raises(InputError, match="it needs --movie"):
        report.arguments(command, "other", {})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--only", "nonsense", "--no-run"), "There is no nonsense to run"),
        (("--with", "nonsense=--x", "--no-run"), "--with takes NAME"),
        (("--with", "moments", "--no-run"), "--with takes NAME"),
    ],
)
def test_bad_options_get_a_sentence(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = run(*words, "--out", tmp_path)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_numbers_go_from_results_into_the_json_and_into_the_readme(tmp_path: Path) -> None:
    data, page, out = tmp_path / "readme.json", tmp_path / "README.md", tmp_path / "out"
    row = {"R1@0.5": 0.5, "R5@0.5": 0.75, "ceiling": 1.0, "n": 4}
    results.write("moments", {"rows": {"fts": {}, "route": row}}, "", out=out, seed=None)
    results.write("baselines", {"rows": {"captions, full text": row}}, "", out=out)
    assert readme.collect(out, data) == ["moments-first", "moments-five", "moments-words"]
    kept = json.loads(data.read_text())
    assert kept["moments-first"]["values"] == {"R1@0.5": 0.5, "ceiling": 1.0, "n": 4}
    assert "versions" in kept["moments-first"]["run"]

    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter\n")
    assert readme.rewrite(page, data)
    lines = page.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after"
    assert any(line.startswith("| moments found, first") and ".50 (1.00)" in line for line in lines)
    assert any(".50 / .75" in line for line in lines)
    assert not readme.rewrite(page, data)  # nothing to do

    results.write("moments", {"rows": {"route": {**row, "R5@0.5": 1.0}}}, "", out=out)
    (out / "baselines.json").unlink()
    assert readme.collect(out, data) == ["moments-first", "moments-five"]
    assert json.loads(data.read_text())["moments-words"] == kept["moments-words"]  # what isn't measured anew stays
    assert readme.rewrite(page, data)
    page.write_text("no marks")
    with pytest.raises(InputError, match="no place for the table"):
        readme.rewrite(page, data)


def test_every_line_shows_its_numbers() -> None:
    ways = ("captions, full text", "captions, embeddings", "every segment's frames in context")
    row = {"R1@0.5": 0.235, "R5@0.5": 0.65, "ceiling": 1.0, "n": 34}
    cost = {"realtime": {"total": 6.13}, "peak_bytes": 2_340_000_000}
    figures = {
        "rows": {**dict.fromkeys(ways, row), "route": row},
        "builds": [{"minutes": 5.0}, {"minutes": 60.0, "segments": 500, "index_bytes": 35_450_000, **cost}],
        "asked": [{"segments": 620, "ask": 1.04}, {"segments": 40, "ask": 0.61}],
        "in_context": [{"frames": 8, "frames_s": 0.4}, {"frames": 64, "frames_s": 3.71}],
        "cold_s": 5.02,
    }
    shown = {name: line.show(line.pick(figures)) for name, line in readme.LINES.items()}
    assert shown["moments-first"] == ".23 (1.00)" or shown["moments-first"] == ".24 (1.00)"
    assert shown["moments-words"] == shown["moments-meaning"] == shown["moments-frames"]
    assert (shown["build-realtime"], shown["ask-seconds"]) == ("6.1", "1.0 s / 5.0 s (620 segments)")
    assert shown["frames-seconds"] == "3.7 s"
    assert (shown["index-bytes"], shown["build-memory"]) == ("71 KB", "2.3 GB")
    with pytest.raises(KeyError):
        readme.LINES["build-memory"].pick({"builds": [{"minutes": 5.0, "peak_bytes": 1}]})  # no hour

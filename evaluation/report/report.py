"""Measure everything that the given files allow, and write one page: `report.md`, with the plots beside it.

    python -m evaluation report --index movie.idx --movie movie.mp4 --queries movie.jsonl --images photographs

Each command runs in a process of its own, as typed in a shell, with those of the given files that it has options for.
The page names the commands that lack data or fail, with the reason.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

import evaluation.__main__ as evaluation
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from evaluation.common import results
from evaluation.common.options import out_option
from evaluation.report import readme

ORDER: Final = (
    "moments",
    "qa",
    "baselines",
    "equivalence",
    "mini",
    "longmovie",
    "relations",
    "composition",
    "calibration",
    "latency",
    "build",
)
MORE: Final[Mapping[str, tuple[str, ...]]] = {"baselines": ("baselines-answers",)}
"""Further results that a command writes."""
SUBSTITUTES: Final[Mapping[str, Mapping[str, str]]] = {"calibration": {"--movie": "--index"}}
"""Options that take the file of another option than their own."""
PAIRS: Final = (
    ("baselines-answers.json", "uniform frames in context", "chunkv2l ask"),
    ("baselines.json", "captions, embeddings", "chunkv2l ask"),
    ("baselines.json", "captions, full text", "chunkv2l ask"),
)
"""Rows that `equivalence` compares, A and B: the first pair that exists."""

Data = Mapping[str, Path]
"""The given files by option."""


def arguments(command: click.Command, name: str, data: Data) -> list[str]:
    """Return the command's options with the files that are given for them.

    Raises:
        InputError: a required file isn't given, or none of the files that the command takes.
    """
    words: list[str] = []
    able = []
    for option in command.params:
        flag = next((flag for flag in option.opts if flag in FILES), None)
        if flag is None or not isinstance(option.type, click.Path):
            continue
        able.append(flag)
        file = data.get(SUBSTITUTES.get(name, {}).get(flag, flag))
        if file is not None:
            words += [flag, str(file)]
        elif option.required:
            raise InputError(f"it needs {flag}.")
    if able and not words:
        raise InputError(f"it needs {' or '.join(able)}.")
    return words


def compared(out: Path) -> list[str]:
    """Return the arguments of `equivalence`: two rows of an existing result.

    Raises:
        InputError: there is no such result.
    """
    for file, a, b in PAIRS:
        path = out / file
        if path.is_file() and {a, b} <= results.read(path)["figures"].get("questions", {}).keys():
            return [f"{path}:{a}", f"{path}:{b}"]
    raise InputError("it needs the results of baselines.")


def find(name: str) -> click.Command:
    """Return the command of a name that writes results.

    Raises:
        InputError: this version has none.
    """
    command = evaluation.main.get_command(click.Context(evaluation.main), name)
    if command is None or not any(option.name == "out" for option in command.params):
        raise InputError("it isn't part of this version.")
    return command


def run(name: str, words: Sequence[str], out: Path) -> None:
    """Run a command in a process of its own.

    Raises:
        InputError: it failed; the sentence is the last line of its error output.
    """
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", name, *words, "--out", str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        raise InputError(lines[-1].removeprefix("Error: "))


def run_all(
    names: Sequence[str], data: Data, extra: Mapping[str, Sequence[str]], out: Path
) -> tuple[list[str], dict[str, str]]:
    """Run the commands that can be run; return their names, and the reason why each of the others wasn't."""
    ran, skipped = [], {}
    for name in names:
        try:
            command = find(name)
            words = compared(out) if name == "equivalence" else arguments(command, name, data)
            words += extra.get(name, ())
            terminal.say(f"{name} …")
            run(name, words, out)
        except InputError as error:
            skipped[name] = str(error)
            terminal.say(f"{name}: not run, {error}")
        else:
            ran.append(name)
    return ran, skipped


def page(names: Sequence[str], skipped: Mapping[str, str], out: Path) -> str:
    """Return a page of the results in `out`: a section for each, with its table, its plot and its run."""
    parts = ["# What was measured"]
    for name in [result for command in names for result in (command, *MORE.get(command, ()))]:
        text = out / f"{name}.md"
        if not text.is_file():
            continue
        parts += [f"## {name}", text.read_text(encoding="utf-8").strip()]
        if (out / f"{name}.png").is_file():
            parts.append(f"![{name}]({name}.png)")
    if skipped:
        parts += ["## Not run", "\n".join(f"- {name}: {why}" for name, why in skipped.items())]
    return "\n\n".join(parts)


FILES: Final[Mapping[str, str]] = {
    "--index": "Index, or folder of VID.idx.",
    "--movie": "Movie, or folder of VID.mp4.",
    "--queries": "Moments, as `moments` takes them.",
    "--questions": "Questions, as `qa` takes them.",
    "--answers": "Answers in a file of their own, as `qa` takes them.",
    "--images": "STEM of .npz and .jsonl with photographs.",
    "--wheels": "Folder with wheels, for machines without a network.",
}
"""The options that take files, with their help texts."""


def _extra(given: Sequence[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for text in given:
        name, equals, words = text.partition("=")
        if not equals or name not in ORDER:
            raise InputError(f'--with takes NAME="OPTIONS", NAME one of {", ".join(ORDER)}; not {text!r}.')
        options.setdefault(name, []).extend(shlex.split(words))
    return options


def _files(command: Any) -> Any:
    for flag, text in reversed(list(FILES.items())):
        command = click.option(flag, type=click.Path(path_type=Path), help=text)(command)
    return command


@click.command(short_help="All of the above on what is present, into one page with plots.")
@_files
@click.option("--only", multiple=True, help="Run this command; may be repeated.  [default: all]")
@click.option("--with", "given", multiple=True, metavar='NAME="OPTIONS"', help="Further options of a command.")
@click.option("--no-run", is_flag=True, help="Make the page of results that are there already.")
@click.option("--collect", is_flag=True, help="Take the README's numbers from the results in --out, into readme.json.")
@click.option("--readme", "rewrite", is_flag=True, help="Write the README's table from readme.json.")
@out_option
def command(
    only: tuple[str, ...],
    given: tuple[str, ...],
    no_run: bool,
    collect: bool,
    rewrite: bool,
    out: Path,
    **files: Path | None,
) -> None:
    """Measure everything that can be measured on what is given; write one page.

    \b
    python -m evaluation report --index movie.idx --movie movie.mp4 --queries movie.jsonl --images photographs
    python -m evaluation report --images photographs --only longmovie --with longmovie="--segments 32 --queries 50"
    python -m evaluation report --collect --readme

    Writes report.json and report.md to --out, beside each command's own results, which the page shows. With nothing but
    --collect or --readme, nothing is run.
    """
    data = {f"--{name}": file for name, file in files.items() if file}
    if data or only or no_run or not (collect or rewrite):
        _report(only, _extra(given), no_run, data, out)
    if collect:
        taken = readme.collect(out)
        terminal.say(f"{readme.DATA.name}: {', '.join(taken) or 'nothing'} taken from the results in {out.name}.")
    if rewrite:
        changed = readme.rewrite()
        terminal.say(f"README.md: the table {'is written anew' if changed else 'was up to date'}.")


def _report(only: Sequence[str], extra: Mapping[str, Sequence[str]], no_run: bool, data: Data, out: Path) -> None:
    names = [name for name in ORDER if not only or name in only]
    if unknown := set(only).difference(ORDER):
        raise InputError(f"There is no {sorted(unknown)[0]} to run; choose from {', '.join(ORDER)}.")
    ran, skipped = ([], {}) if no_run else run_all(names, data, extra, out)
    text = page(names if no_run else ran, skipped, out)
    path = results.write("report", {"ran": ran, "skipped": skipped}, text, out=out)
    terminal.emit(str(path.with_suffix(".md")))

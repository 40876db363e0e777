"""A hundred questions from a file: JSONL in, JSONL out, the model loaded once.

    python recipes/many_questions.py demo/movie.idx demo/movie.jsonl -o answers.jsonl
    echo '{"question": "Who talks?", "policy": "mean", "top_k": 2}' | python recipes/many_questions.py demo/movie.idx -

A line is an object with a "question" (or a "query", as in QVHighlights) and, if it likes, "policy", "top_k", "budget".
Its answer is the same line with the answer's fields added, or with "error" where it can't be answered.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import click

import chunkv2l
from chunkv2l.errors import InputError

OPTIONS = ("policy", "top_k", "budget")


def answered(index: chunkv2l.Index, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Each line's object with its answer, in order; blank lines are passed over, bad ones answered with an error."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row: dict[str, Any] = {"line": number}
        try:
            row = dict(json.loads(line))
            options = {name: row[name] for name in OPTIONS if name in row}
            yield row | index.ask(str(row["question"] if "question" in row else row["query"]), **options).to_json()
        except KeyError:
            yield row | {"error": 'no "question"'}
        except (InputError, TypeError, ValueError) as error:
            yield row | {"error": str(error)}


@click.command()
@click.argument("path")
@click.argument("questions", type=click.File(encoding="utf-8"))
@click.option("-o", "--output", type=click.File("w", encoding="utf-8"), default="-", help="Where answers are written.")
def main(path: str, questions: TextIO, output: TextIO) -> None:
    """Ask the index PATH every question of a JSONL file."""
    with chunkv2l.open(path) as index:
        _ = index.model  # loaded here, so that the time below is that of asking
        started = time.perf_counter()
        for row in answered(index, questions):
            print(json.dumps(row, ensure_ascii=False), file=output, flush=True)
    click.echo(f"Answered in {time.perf_counter() - started:.1f} s.", err=True)


if __name__ == "__main__":
    main()

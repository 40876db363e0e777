"""Compare `chunkv2l ask` with other ways, with the same frozen model, segments and queries.

    python -m evaluation baselines --index movie.idx --movie movie.mp4 --queries movie.jsonl

Moments: `chunkv2l ask` itself; captions searched by words (full text, BM25) and by meaning (MiniLM embeddings), which
need the index alone; one adapter for the whole movie; and, given the movie, uniform frames in the model's context and
every segment's frames in context, one after another (`--exhaustive`), which the router replaces. Answers: `chunkv2l
ask`; both searches, with the captions that they find in the prompt; one adapter for the whole movie; uniform frames in
context; and the bias alone, which sees nothing.

Uniform frames are as many as the model takes of one clip by its own rule: 8 for `mini`, which was trained with no more.
Seconds a query include the model's reading of frames where a way puts them in context; a second column has the seconds
spent once a movie.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import click
from tqdm import tqdm

from chunkv2l.cli import streams as terminal
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.sentence import minilm
from evaluation.benchmarks import asking, moments, qa
from evaluation.benchmarks.answers import RULES, Rule
from evaluation.benchmarks.asking import About
from evaluation.benchmarks.baseline_ways import ANSWERING, FINDING, Embed, Movie, Way
from evaluation.common import results
from evaluation.common.options import device_option, index_option, json_option, limit_option, out_option
from evaluation.common.table import markdown
from evaluation.datasets import moment_files, qa_files
from evaluation.datasets.qa_files import Question
from evaluation.datasets.qvhighlights import MomentQuery, Prediction

Asked = TypeVar("Asked", bound=About)
Times = dict[str, dict[str, float]]

WHY = {
    "movie": "give --movie",
    "embed": "the embeddings' wheel isn't here",
    "exhaustive": "give --exhaustive, and time",
}


def movies(path: Path | None, vids: Sequence[str]) -> dict[str, Path]:
    """Return each movie's file: `path`, or `path`/VID.* if it is a folder; movies without a file are left out.

    Raises:
        InputError: one file for several movies.
    """
    if path is None:
        return {}
    if path.is_dir():
        candidates = {
            vid: [f for f in sorted(path.glob(f"{vid}.*")) if f.suffix not in (".idx", ".jsonl")] for vid in vids
        }
        return {vid: files[0] for vid, files in candidates.items() if files}
    if len(vids) > 1:
        raise InputError(f"The queries are about {len(vids)} movies: give a folder with each ({vids[0]}.mp4, …).")
    return {vids[0]: path}


def usable(ways: Mapping[str, Way], have: set[str]) -> tuple[dict[str, Way], dict[str, str]]:
    """Return the ways whose requirements are met, and the reason why each of the others can't run."""
    able = {name: way for name, way in ways.items() if way.needs <= have}
    skipped = {
        name: "; ".join(WHY[need] for need in sorted(way.needs - have))
        for name, way in ways.items()
        if name not in able
    }
    return able, skipped


def run_ways(
    files: Mapping[str, Path],
    film: Mapping[str, Path],
    asked: Sequence[Asked],
    ways: Mapping[str, Way],
    run: Callable[[Way, Movie, Asked], Any],
    embed: Embed | None,
    device: str,
) -> tuple[dict[str, list[Any]], Times]:
    """Run every way for every query; return {way: results in the order of `asked`} and its seconds."""
    answers_of: dict[str, dict[int, Any]] = {name: {} for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    once: dict[str, float] = dict.fromkeys(ways, 0.0)
    with tqdm(total=len(asked) * len(ways), unit="query", disable=None, leave=False) as bar:
        for vid, index in asking.opened(files, device):
            movie = Movie(index, film.get(vid), embed)
            for name, way in ways.items():
                started = perf_counter()
                way.prepare(movie)
                once[name] += perf_counter() - started
                for number, query in enumerate(asked):
                    if query.vid == vid:
                        started = perf_counter()
                        answers_of[name][number] = run(way, movie, query)
                        seconds[name].append(perf_counter() - started)
                        bar.update()
    times = {name: {"seconds": statistics.median(seconds[name]), "once": once[name] / len(files)} for name in ways}
    return {name: [by_number[number] for number in range(len(asked))] for name, by_number in answers_of.items()}, times


def timed(table: str, times: Times, skipped: Mapping[str, str]) -> str:
    """Return the table with the ways' times, and the ways that weren't run, below."""
    costs = markdown(
        ["way", "seconds a query (median)", "once a movie"],
        [[name, f"{row['seconds']:.2f}", f"{row['once']:.1f}"] for name, row in times.items()],
    )
    left = "".join(f"\nNot run: {name} ({why})." for name, why in skipped.items())
    return f"{table}\n\n{costs}\n{left}".rstrip()


def find(
    files: Mapping[str, Path],
    film: Mapping[str, Path],
    queries: Sequence[MomentQuery],
    ways: Mapping[str, Way],
    embed: Embed | None,
    device: str,
) -> tuple[dict[str, list[Prediction]], Times]:
    """Find moments by each way."""
    windows_of, times = run_ways(
        files, film, queries, ways, lambda way, movie, q: way.run(movie, q.query), embed, device
    )
    made = {
        name: [Prediction(q.qid, q.vid, q.query, windows) for q, windows in zip(queries, all_windows, strict=True)]
        for name, all_windows in windows_of.items()
    }
    return made, times


def reply(
    files: Mapping[str, Path],
    film: Mapping[str, Path],
    questions: Sequence[Question],
    ways: Mapping[str, Way],
    rule: Rule,
    embed: Embed | None,
    device: str,
) -> tuple[dict[str, dict[str, qa.Scores]], Times]:
    """Answer by each way and return {way: {question's id: scores}}."""
    scores_of, times = run_ways(
        files, film, questions, ways, lambda way, movie, q: way.run(movie, q, rule), embed, device
    )
    return {
        name: {q.id: s for q, s in zip(questions, all_scores, strict=True)} for name, all_scores in scores_of.items()
    }, times


def _embedder(wheels: Path | None, device: str) -> Embed | None:
    try:
        return minilm.MiniLM(minilm.fetch(wheels), "cpu" if device == "auto" else device)
    except InputError:
        raise
    except ChunkV2LError as error:
        terminal.say(f"Without embeddings: {error}")
        return None


@click.command(short_help="Other ways: searching captions, frames in context, one adapter for all.")
@index_option
@click.option(
    "--movie", "movie_path", type=click.Path(exists=True, path_type=Path), help="Movie, or folder of VID.mp4."
)
@click.option("--queries", "queries_path", type=click.Path(path_type=Path), help="Moments, as `moments` takes them.")
@click.option("--questions", "questions_path", type=click.Path(path_type=Path), help="Questions, as `qa` takes them.")
@click.option("--answers", type=click.Path(path_type=Path), help="As in `qa`.")
@click.option("--rule", type=click.Choice(RULES), default="mean", show_default=True, help="As in `qa`.")
@limit_option
@click.option("--exhaustive", is_flag=True, help="Every segment's frames in context, too: a prefill a segment a query.")
@click.option("--wheels", type=click.Path(exists=True, path_type=Path), help="Folder with the embeddings' wheel.")
@device_option
@json_option
@out_option
def command(
    index_path: Path,
    movie_path: Path | None,
    queries_path: Path | None,
    questions_path: Path | None,
    answers: Path | None,
    rule: Rule,
    limit: int | None,
    seed: int,
    exhaustive: bool,
    wheels: Path | None,
    device: str,
    as_json: bool,
    out: Path,
) -> None:
    """Compare `chunkv2l ask` with other ways, on the same queries, segments and frozen model.

    \b
    python -m evaluation baselines --index movie.idx --queries movie.jsonl
    python -m evaluation baselines --index movie.idx --movie movie.mp4 --queries movie.jsonl --exhaustive
    python -m evaluation baselines --index indexes/ --movie videos/ --questions lvbench.jsonl --limit 100

    Writes baselines.json, .md and .png (moments) and baselines-answers.json, .md and .png (answers) to --out.
    """
    if queries_path is None and questions_path is None:
        raise InputError("Nothing to compare on: give --queries with moments, --questions with answers, or both.")
    embed = _embedder(wheels, device)
    have = {"exhaustive"} if exhaustive else set()
    have |= {"embed"} if embed is not None else set()
    printed: dict[str, Any] = {}
    tables: list[str] = []
    if queries_path is not None:
        queries = moment_files.read(queries_path)
        files = asking.indexes(index_path, queries)
        queries = [query for query in queries if query.vid in files]
        film = movies(movie_path, list(files))
        ways, skipped = usable(FINDING, have | ({"movie"} if film.keys() == files.keys() else set()))
        predictions, times = find(files, film, queries, ways, embed, device)
        cuts = {vid: asking.segments(path) for vid, path in files.items()}
        rows = {name: {**moments.score(queries, row, cuts), **times[name]} for name, row in predictions.items()}
        each = {name: moments.each(queries, row) for name, row in predictions.items()}
        tables.append(timed(moments.as_table(rows, "way"), times, skipped))
        printed["moments"] = {"rows": rows, "skipped": skipped}
        figures = {**printed["moments"], "questions": each, "movies": {str(q.qid): q.vid for q in queries}}
        results.write("baselines", figures, tables[-1], lambda f: moments.draw(f, rows), out=out)
    if questions_path is not None:
        questions = qa_files.read(questions_path, answers=answers)
        files = asking.indexes(index_path, questions)
        questions = qa.sampled([question for question in questions if question.vid in files], limit, seed)
        files = {vid: file for vid, file in files.items() if any(question.vid == vid for question in questions)}
        film = movies(movie_path, list(files))
        ways, skipped = usable(ANSWERING, have | ({"movie"} if film.keys() == files.keys() else set()))
        scores, times = reply(files, film, questions, ways, rule, embed, device)
        said = {name: {**qa.summary(questions, row), **times[name]} for name, row in scores.items()}
        chance = qa.guessing(questions)
        tables.append(timed(qa.as_table(said, chance, "way"), times, skipped))
        printed["answers"] = {"rows": said, "skipped": skipped, "chance": chance, "rule": rule}
        figures = {**printed["answers"], "questions": scores, "movies": {q.id: q.vid for q in questions}}
        results.write("baselines-answers", figures, tables[-1], lambda f: qa.draw(f, said, chance), out=out, seed=seed)
    if as_json:
        terminal.emit_json(printed)
    else:
        terminal.emit("\n\n".join(tables))

"""Measure question answering on the public datasets' own files: multiple choice and open questions.

    python -m evaluation qa --index indexes/ --questions lvbench.jsonl

The prompt is the question alone, without its options. Multiple choice goes by the likelihood of each option
under the composed adapter, a token (`--rule`; see `evaluation.benchmarks.answers.Nats.worth`);
open answers by token-F1. Two rows are controls: the bias adapter alone, without video, and chance.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

from chunkv2l.adapter.inject import exclusive
from chunkv2l.ask import MAX_NEW_TOKENS, Index
from chunkv2l.cli import streams as terminal
from chunkv2l.errors import InputError
from chunkv2l.graph import Node, Weight
from chunkv2l.models.family import require_family
from evaluation.benchmarks import answers, asking
from evaluation.benchmarks.answers import RULES, Nats, Rule
from evaluation.common import results
from evaluation.common.options import (
    ask_arguments,
    asking_options,
    device_option,
    index_option,
    json_option,
    limit_option,
    out_option,
    policies_option,
)
from evaluation.common.table import markdown, share
from evaluation.common.token_f1 import best_f1
from evaluation.datasets import qa_files
from evaluation.datasets.qa_files import Question

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from chunkv2l.adapter.algebra import Adapter

BLIND = "bias alone (no video)"
Scores = dict[str, float]
"""Scores of a question: "accuracy", and those of all rules; or "F1" and "exact"; "evidence" where known."""


def answer(
    index: Index, question: Question, adapter: Adapter | None, rule: Rule = "mean", prompt: str | None = None
) -> tuple[str, Scores]:
    """Answer a question under an adapter (None: the bias alone) and score the answer; `prompt` replaces its text."""
    asked = prompt or question.question
    model = index.model
    bias = model.hypernet.bias
    adapter = bias if adapter is None else adapter
    with exclusive(model.vlm.targets):
        if not question.options:
            text = model.vlm.generate([asked], adapter, MAX_NEW_TOKENS)[0].strip()
            return text, said(question, text)
        nats = answers.nats(require_family(model.vlm), asked, question.options, adapter, bias)
    return question.options[answers.choose(nats, rule)], chosen(question, nats, rule)


def chosen(question: Question, nats: Sequence[Nats], rule: Rule) -> Scores:
    """Score the likeliest option, by `rule` and by every rule: 1 if it is right, else 0."""
    right = {each: float(answers.choose(nats, each) == question.correct) for each in RULES}
    return {"accuracy": right[rule], **{f"accuracy by {each}": right[each] for each in RULES}}


def said(question: Question, text: str) -> Scores:
    """Score an open answer against the references."""
    return {"F1": best_f1(text, question.answers), "exact": float(answers.exact(text, question.answers))}


def evidence(index: Index, question: Question, weights: Mapping[Node, Weight]) -> float | None:
    """Return 1 if a composed segment overlaps a window with the answer, else 0; None if the dataset has no windows."""
    if not question.evidence:
        return None
    spans = [index.segments[node] for node in weights if isinstance(node, int)]
    return float(any(s.start < end and start < s.end for s in spans for start, end in question.evidence))


def ask_all(
    files: Mapping[str, Path],
    questions: Sequence[Question],
    policies: Sequence[str | None],
    rule: Rule,
    device: str = "auto",
    **options: Any,
) -> dict[str, dict[str, Scores]]:
    """Ask all questions and return {policy: {question's id: scores}}, the control without video last.

    `options` go to `Index.ask`.
    """
    names = [policy or "default" for policy in policies]
    scores_of: dict[str, dict[str, Scores]] = {name: {} for name in (*names, BLIND)}
    with tqdm(total=len(questions), unit="question", disable=None, leave=False) as bar:
        for vid, index in asking.opened(files, device):
            for question in (question for question in questions if question.vid == vid):
                for name, policy in zip(names, policies, strict=True):
                    weights = asking.weights(index, question.question, policy, **options)
                    prompt = asking.prompt(question.question, policy)
                    _, scores = answer(index, question, asking.adapter(index, weights), rule, prompt)
                    overlap = evidence(index, question, weights)
                    scores_of[name][question.id] = scores if overlap is None else {**scores, "evidence": overlap}
                scores_of[BLIND][question.id] = answer(index, question, None, rule)[1]
                bar.update()
    return scores_of


def summary(questions: Sequence[Question], scores_of: Mapping[str, Scores]) -> dict[str, Any]:
    """Return means over the questions; "kinds" has the main measure by the dataset's scores types, and their mean.

    The mean of types is MLVU's M-Avg.
    """
    measures = list(dict.fromkeys(measure for scores in scores_of.values() for measure in scores))
    row: dict[str, Any] = {m: statistics.fmean(s[m] for s in scores_of.values() if m in s) for m in measures}
    main = "accuracy" if "accuracy" in measures else "F1"
    kinds: dict[str, list[float]] = {}
    for question in questions:
        if main in (scores := scores_of.get(question.id, {})):
            kinds.setdefault(question.type, []).append(scores[main])
    by_kind = {kind: statistics.fmean(values) for kind, values in sorted(kinds.items())}
    return {**row, "n": len(scores_of), "kinds": by_kind, "mean of kinds": statistics.fmean(by_kind.values())}


def as_table(rows: Mapping[str, Mapping[str, Any]], chance: float | None, first: str = "policy") -> str:
    """Return a table with a row a policy, and the columns that some row has a number for."""
    names = ("accuracy", *(f"accuracy by {rule}" for rule in RULES), "F1", "exact", "evidence", "mean of kinds")
    columns = [name for name in names if any(name in row for row in rows.values())]
    body = [[name, *(share(row.get(c)) for c in columns), str(row["n"])] for name, row in rows.items()]
    if chance is not None:
        body.append(["chance", *(share(chance) if c.startswith("acc") else "–" for c in columns), "–"])
    return markdown([first, *columns, "questions"], body)


def draw(figure: Figure, rows: Mapping[str, Mapping[str, Any]], chance: float | None) -> None:
    """Draw the main measures as bars, one a row, and a line at chance."""
    axes = figure.subplots()
    measures = [m for m in ("accuracy", "F1") if any(m in row for row in rows.values())]
    for number, measure in enumerate(measures):
        height = 0.8 / len(measures)
        places = [i - 0.4 + height * (number + 0.5) for i in range(len(rows))]
        axes.barh(places, [row.get(measure, 0.0) for row in rows.values()], height, label=measure)
    if chance is not None:
        axes.axvline(chance, color="grey", linestyle=":", label="chance")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(fontsize="small")
    axes.set_title("Questions answered")


def guessing(questions: Sequence[Question]) -> float | None:
    """Return the accuracy of guessing among the options; None if all questions are open."""
    shares = [1 / len(question.options) for question in questions if question.options]
    return statistics.fmean(shares) if shares else None


def sampled(questions: Sequence[Question], limit: int | None, seed: int) -> list[Question]:
    """Return at most `limit` of the questions, drawn at random, in their order."""
    if limit is None or limit >= len(questions):
        return list(questions)
    return [questions[i] for i in sorted(random.Random(seed).sample(range(len(questions)), limit))]


@click.command("qa", short_help="Question answering: NExT-QA, Video-MME, MLVU, LVBench, LongVideoBench, EgoSchema.")
@index_option
@click.option("--questions", "path", type=click.Path(path_type=Path), required=True, help="The dataset's file.")
@click.option("--format", type=click.Choice(["auto", *qa_files.FORMATS]), default="auto", show_default=True)
@click.option(
    "--answers",
    "answers_path",
    type=click.Path(path_type=Path),
    help="EgoSchema's subset_answers.json (default: beside the questions), or NExT-QA's further references.",
)
@policies_option
@asking_options
@click.option(
    "--rule",
    type=click.Choice(RULES),
    default="mean",
    show_default=True,
    help="Options by nats a token, their sum, or their gain over no video. All three are reported.",
)
@limit_option
@device_option
@json_option
@out_option
def command(
    index_path: Path,
    path: Path,
    format: str,
    answers_path: Path | None,
    policies: tuple[str, ...],
    top_k: int | None,
    budget: str | None,
    rule: Rule,
    limit: int | None,
    seed: int,
    device: str,
    as_json: bool,
    out: Path,
) -> None:
    """Answer a dataset's questions from indexes of its movies and score the answers.

    \b
    python -m evaluation qa --index indexes/ --questions val.csv --policy route --policy timeline
    python -m evaluation qa --index indexes/ --questions questions.json --answers subset_answers.json

    Multiple choice is scored by accuracy, open answers by token-F1 (best reference). "evidence" is the share of
    questions for which a segment was composed that the answer is in (LVBench). Writes qa.json, .md and .png to --out.
    """
    questions = qa_files.read(path, format, answers_path)
    files = asking.indexes(index_path, questions)
    questions = sampled([question for question in questions if question.vid in files], limit, seed)
    if not questions:
        raise InputError(f"{path} has no question about {index_path.name}.")
    files = {vid: file for vid, file in files.items() if any(question.vid == vid for question in questions)}
    options = ask_arguments(top_k, budget)
    scores_of = ask_all(files, questions, policies or (None,), rule, device, **options)
    rows = {name: summary(questions, scores) for name, scores in scores_of.items()}
    chance = guessing(questions)
    table = as_table(rows, chance)
    results.write(
        "qa",
        {
            "rows": rows,
            "chance": chance,
            "rule": rule,
            "file": path.name,
            "questions": scores_of,
            "movies": {question.id: question.vid for question in questions},
        },
        table,
        lambda figure: draw(figure, rows, chance),
        out=out,
        seed=seed,
    )
    if as_json:
        terminal.emit_json({"rows": rows, "chance": chance, "rule": rule})
    else:
        terminal.emit(table)

"""Measure, and fit, how questions find what is said and written.

    python -m evaluation channels                                     # over the texts that the numbers were fitted on
    python -m evaluation channels --fit                               # fit them anew, leaving one text out at a time
    python -m evaluation channels --index vlog.idx --questions vlog.jsonl

Texts: `evaluation/datasets/channel_texts.jsonl`, ten short ones written for this, each with questions and the sentences
that answer them. A question is asked of all texts of its channel together (its sentences are there) and of all but its
own (they aren't). Questions about an index: {"question": …, "start": …, "end": …} a line, seconds of the sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click
import torch
from torch import Tensor

from chunkv2l.ask import open_index
from chunkv2l.channels.cues import Channel, Sentence
from chunkv2l.models.sentence.minilm import Lazy
from chunkv2l.query.channels import read_channel
from chunkv2l.query.parse import parse
from chunkv2l.routing.channel_probability import ChannelCalibration, sentence_probabilities
from chunkv2l.routing.sentence_search import CALIBRATIONS, SentenceSearch
from evaluation.common import results
from evaluation.common.options import json_option, out_option
from evaluation.common.table import markdown

TEXTS: Final = Path(__file__).parents[1] / "datasets" / "channel_texts.jsonl"
TOLERANCE: Final = 2.0
"""Seconds by which the middle of a span may lie outside the sentence."""


@dataclass(frozen=True)
class Text:
    """A text with questions: each question, and the numbers of the sentences that answer it."""

    name: str
    channel: Channel
    sentences: tuple[str, ...]
    questions: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Case:
    """A topic's features over some sentences, and those that are about it (none for an absent topic)."""

    text: str
    cosines: tuple[float, ...]
    shares: tuple[float, ...]
    right: tuple[int, ...]


def read_texts(path: Path = TEXTS) -> list[Text]:
    """Return the texts of a file."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Text(
            row["name"],
            row["source"],
            tuple(row["sentences"]),
            tuple((item["question"], tuple(item["sentences"])) for item in row["questions"]),
        )
        for row in rows
    ]


def make_cases(texts: Sequence[Text], encoder: Lazy) -> list[Case]:
    """Return two cases a question: over all texts, and over all but its own."""
    cases: list[Case] = []
    for text in texts:
        others = [other for other in texts if other.name != text.name]
        for question, right in text.questions:
            request = read_channel(parse(question))
            assert request is not None and request.channel == text.channel, question
            for among, numbers in (([text, *others], right), (others, ())):
                lines = [line for other in among for line in other.sentences]
                features = _Features(
                    [Sentence(i, i + 1.0, line, _source(text)) for i, line in enumerate(lines)], encoder
                )
                cases.append(Case(text.name, *features.of(request.topic, text.channel), numbers))
    return cases


def _source(text: Text) -> Any:
    return "read" if text.channel == "read" else "heard"


class _Features(SentenceSearch):
    """The features that sentences are scored by."""

    def __init__(self, sentences: Sequence[Sentence], encoder: Lazy) -> None:
        super().__init__(sentences, lambda: encoder([sentence.text for sentence in sentences]), encoder)

    def of(self, topic: str, channel: Channel) -> tuple[tuple[float, ...], tuple[float, ...]]:
        cosines, shares = self.features(topic, self.inside(channel))
        assert cosines is not None
        return tuple(cosines), tuple(shares)


def fit(cases: Sequence[Case], by_words: bool = False) -> ChannelCalibration:
    """Return the calibration under which the cases are likeliest; a little pull towards 0 keeps it finite."""
    values = torch.tensor([0.0 if by_words else 5.0, 3.0, 3.0], requires_grad=True)
    optimizer = torch.optim.LBFGS([values], max_iter=200, line_search_fn="strong_wolfe")
    features = [(torch.tensor(case.cosines), torch.tensor(case.shares), case.right) for case in cases]

    def loss() -> Tensor:
        optimizer.zero_grad()
        meaning = values[0] * (0.0 if by_words else 1.0)
        total = 1e-3 * values.square().sum() * len(cases)
        for cosines, shares, right in features:
            z = meaning * cosines + values[1] * shares
            absent = values[2] + torch.log(torch.tensor(float(len(z))))
            norm = torch.logsumexp(torch.cat([z, absent[None]]), 0)
            total = total + norm - (torch.logsumexp(z[list(right)], 0) if right else absent)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    meaning, words, absent = values.detach().tolist()
    return ChannelCalibration(0.0 if by_words else round(meaning, 2), round(words, 2), round(absent, 2))


def measure(cases: Sequence[Case], calibration: ChannelCalibration, by_words: bool = False) -> dict[str, float]:
    """Return R@1 and R@3 of present topics, how often absent ones are separated from present ones, and log-loss."""
    hits = hits3 = separated = 0
    loss = 0.0
    present = [case for case in cases if case.right]
    for case in cases:
        p, not_there = sentence_probabilities(None if by_words else case.cosines, case.shares, calibration)
        order = sorted(range(len(p)), key=lambda i: -p[i])
        loss -= float(torch.log(torch.tensor(max(1e-9, sum(p[i] for i in case.right) if case.right else not_there))))
        separated += (not_there > 0.5) == (not case.right)
        if case.right:
            hits += order[0] in case.right
            hits3 += bool({*order[:3]} & {*case.right})
    return {
        "R@1": round(hits / len(present), 3),
        "R@3": round(hits3 / len(present), 3),
        "told apart": round(separated / len(cases), 3),
        "log-loss": round(loss / len(cases), 3),
        "questions": len(present),
    }


def ask_index(index_path: Path, questions: Sequence[Mapping[str, Any]], by_words: bool = False) -> list[bool]:
    """Return, for each question, whether its first span lies in the sentence, by its middle ± `TOLERANCE`."""
    right = []
    with open_index(index_path) as index:
        for item in questions:
            spans = index.ask(item["question"]).spans
            middle = (spans[0].start + spans[0].end) / 2 if spans else -1e9
            right.append(item["start"] - TOLERANCE <= middle <= item["end"] + TOLERANCE)
    return right


@click.command("channels")
@click.option("--fit", "is_fitting", is_flag=True, help="Fit the numbers, and print them.")
@click.option("--index", "index_path", type=click.Path(exists=True, path_type=Path), help="An index to ask instead.")
@click.option("--questions", type=click.Path(exists=True, path_type=Path), help="Of --index: a file of JSON lines.")
@out_option
@json_option
def command(is_fitting: bool, index_path: Path | None, questions: Path | None, out: Path, as_json: bool) -> None:
    """Measure how questions find what is said and written."""
    if (index_path is None) != (questions is None):
        raise click.UsageError("--index and --questions go together.")
    figures: dict[str, Any] = {}
    if index_path is not None and questions is not None:
        items = [json.loads(line) for line in questions.read_text(encoding="utf-8").splitlines() if line.strip()]
        right = ask_index(index_path, items)
        figures = {"R@1": round(sum(right) / len(right), 3), "questions": len(right)}
        missed = [item["question"] for item, is_right in zip(items, right, strict=True) if not is_right]
        table = markdown(["R@1", "questions", "missed"], [[str(figures["R@1"]), str(len(right)), "; ".join(missed)]])
    else:
        encoder, texts = Lazy(), read_texts()
        rows = []
        for channel, by_words in ((c, w) for c in ("heard", "read") for w in (False, True)):
            cases = make_cases([text for text in texts if text.channel == channel], encoder)
            calibration = CALIBRATIONS[channel, not by_words]  # type: ignore[index]
            name = f"{channel}{' by words' if by_words else ''}"
            row: dict[str, Any] = dict(measure(cases, calibration, by_words))
            if is_fitting:
                row = {"fitted": asdict(fit(cases, by_words)), **measure_left_out(cases, by_words)}
            figures[name] = row
            rows.append([name, *(str(value) for value in row.values())])
        table = markdown(["channel", *row], rows)
    results.write("channels", figures, table, out=out)
    click.echo(json.dumps(figures, indent=1) if as_json else table)


def measure_left_out(cases: Sequence[Case], by_words: bool) -> dict[str, float]:
    """Return `measure` of each text's questions under numbers fitted on the other texts', averaged over questions."""
    sums: dict[str, float] = {}
    names = sorted({case.text for case in cases})
    for name in names:
        inside = [case for case in cases if case.text == name]
        figures = measure(inside, fit([case for case in cases if case.text != name], by_words), by_words)
        for key, value in figures.items():
            sums[key] = sums.get(key, 0.0) + (value if key == "questions" else value * figures["questions"])
    return {key: round(value / sums["questions"], 3) if key != "questions" else value for key, value in sums.items()}

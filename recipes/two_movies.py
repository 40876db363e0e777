"""Two movies, one answer: the best scenes of both side by side in one adapter.

    python recipes/two_movies.py demo/movie.idx holiday.idx "Which animals are there?"

Adapters know nothing of files: whatever one hypernetwork made can be added up. The model is loaded once, each index
finds its own best scenes, and the hypernetwork's bias goes in once, not once a movie.
"""

from __future__ import annotations

import click

import chunkv2l
from chunkv2l.adapter import concat
from chunkv2l.hypernet.compose import compose


def ask_both(one: chunkv2l.Index, other: chunkv2l.Index, question: str, top_k: int = 2) -> tuple[list[str], str]:
    """What each movie answers alone, and what both answer together.

    Scenes weigh what the router believes of them, shared out among both movies: a movie that doesn't show it hardly
    has a say.
    """
    answers = [index.ask(question, top_k=top_k) for index in (one, other)]
    spans = [answer.spans[:top_k] for answer in answers]
    total = sum(span.score for found in spans for span in found) or 1.0
    halves = [
        compose(
            index.model.hypernet,
            index.file.codes,
            {number: span.score / len(span.segments) / total for span in found for number in span.segments},
            bias=False,
        )
        for index, found in zip((one, other), spans, strict=True)
    ]
    adapter = concat(halves, bias=one.model.hypernet.bias)
    return [answer.answer for answer in answers], one.model.vlm.generate([question], adapter)[0].strip()


@click.command()
@click.argument("first")
@click.argument("second")
@click.argument("question")
@click.option("--top-k", default=2, show_default=True, help="Scenes of each movie.")
def main(first: str, second: str, question: str, top_k: int) -> None:
    """Ask two indexes, FIRST and SECOND, each alone and both together."""
    with chunkv2l.open(first) as one, chunkv2l.open(second, model=one.model) as other:
        alone, together = ask_both(one, other, question, top_k)
    for path, answer in zip((first, second), alone, strict=True):
        click.echo(f"{path}: {answer}")
    click.echo(f"both: {together}")


if __name__ == "__main__":
    main()

"""Like this scene, but not like that one: a composition with a negative weight.

    python recipes/like_this_not_that.py demo/movie.idx 1 0
    python recipes/like_this_not_that.py demo/movie.idx 12 6 --less 0.3 --question "What is the man riding?"

What both scenes show cancels out, what only the first one shows is left. The difference is an adapter like any other:
it answers questions, and it finds scenes, namely those whose captions it makes likelier.
"""

from __future__ import annotations

import click

import chunkv2l


def describe(index: chunkv2l.Index, like: int, unlike: int, less: float, question: str) -> str:
    """What the model says of the difference: any weights can be asked under, as a policy that always gives them."""
    weights: dict[int | str, float] = {like: 1.0, unlike: -less}
    return index.ask(question, policy=lambda graph, query: weights).answer


def similar(index: chunkv2l.Index, like: int, unlike: int, less: float) -> list[tuple[int, float]]:
    """(segment, nats a word) of each captioned segment, best first: how much likelier the difference makes its caption
    than the hypernetwork's bias alone does."""
    captions = {segment.id: segment.caption for segment in index.segments if segment.caption}
    vlm, alone = index.model.vlm, index.model.hypernet.bias
    said = list(captions.values())
    gains = vlm.score(said, index.compose({like: 1.0, unlike: -less}))[0] - vlm.score(said, alone)[0]
    each = [gain / len(text.split()) for gain, text in zip(gains.tolist(), said, strict=True)]
    return sorted(zip(captions, each, strict=True), key=lambda pair: -pair[1])


@click.command()
@click.argument("path")
@click.argument("like", type=int)
@click.argument("unlike", type=int)
@click.option("--less", default=0.5, show_default=True, help="How much of UNLIKE is taken away.")
@click.option("--question", default="What do you see?", show_default=True)
def main(path: str, like: int, unlike: int, less: float, question: str) -> None:
    """Ask the index PATH about scene LIKE without scene UNLIKE, and find the scenes that are most alike."""
    with chunkv2l.open(path) as index:
        click.echo(f"{question}\n  scene {like}: {describe(index, like, unlike, 0.0, question)}")
        click.echo(f"  without {less:g} × scene {unlike}: {describe(index, like, unlike, less, question)}")
        click.echo("Most alike:")
        for number, gain in similar(index, like, unlike, less)[:5]:
            segment = index.segments[number]
            click.echo(f"{number:5}  {segment.start:7.1f} – {segment.end:.1f} s  {gain:+.2f}  {segment.caption}")


if __name__ == "__main__":
    main()

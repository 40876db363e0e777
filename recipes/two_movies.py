"""Two movies, or any number of them, one answer: the best scenes of a folder's movies side by side in one adapter.

python recipes/two_movies.py demo "Which animals are there?"
"""

from __future__ import annotations

import click

import chunkv2l


@click.command()
@click.argument("folder")
@click.argument("question")
@click.option("--top-k", type=int, help="Scenes that are composed, of all movies together.")
def main(folder: str, question: str, top_k: int | None) -> None:
    """Ask all indexes in FOLDER together."""
    with chunkv2l.Library(folder) as library:
        answer = library.ask(question, top_k=top_k)
    click.echo(answer.answer)
    for span in answer.spans:
        click.echo(f"  {100 * span.score:3.0f} %  {span.describe()}")


if __name__ == "__main__":
    main()

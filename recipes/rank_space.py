"""A walk through rank space: what a composition is made of, and what is lost when it gets fewer ranks.

    python recipes/rank_space.py demo/movie.idx "What is on the table?"

A composed adapter has the ranks of its scenes and of the bias. Their effects overlap, so its singular values fall off,
and fewer ranks will often do. Two ways to get there: `compress` finds the best ranks there are (SVD), `truncate` keeps
the largest of those that it has. Which of them still answers?
"""

from __future__ import annotations

import chunkv2l  # before torch, whose idle threads sleep then

# isort: split
import click
import torch
from torch import Tensor

from chunkv2l.adapter import compress, concat, truncate


def singular_values(adapter: chunkv2l.Adapter) -> Tensor:
    """Of scaling · Bᵀ A, largest first: [L, R]. Through QR, so that no matrix of the model's size is made."""
    ra, rb = (torch.linalg.qr(factor.float().mT).R for factor in (adapter.A, adapter.B))
    values: Tensor = torch.linalg.svdvals(rb @ ra.mT)
    return adapter.scaling * values


def lost(small: chunkv2l.Adapter, whole: chunkv2l.Adapter) -> float:
    """‖small − whole‖ / ‖whole‖ of the effects, over all blocks (Frobenius)."""
    gone = singular_values(concat([small, whole], [1.0, -1.0]))
    return float(gone.norm() / singular_values(whole).norm())


@click.command()
@click.argument("path")
@click.argument("question")
def main(path: str, question: str) -> None:
    """Compose what answers QUESTION in the index PATH, and take its ranks away one by one."""
    with chunkv2l.open(path) as index:
        answer = index.ask(question)
        weights = {number: span.score / len(span.segments) for span in answer.spans[:4] for number in span.segments}
        total = sum(weights.values())
        whole = index.compose({number: weight / total for number, weight in weights.items()})
        values = singular_values(whole).mean(dim=0).tolist()
        shown = [value for value in values if value > 1e-3 * values[0]]
        click.echo(f"Scenes {', '.join(map(str, weights))}: {whole.rank} ranks. Singular values, mean of the blocks:")
        for number, value in enumerate(shown, start=1):
            click.echo(f"{number:4}  {value:8.3f}  {'█' * round(50 * value / values[0])}")
        click.echo(f"The other {len(values) - len(shown)} are less than a thousandth of the first.")
        click.echo("\nranks  lost by compress  by truncate  and then it says")
        for rank in [2**k for k in range(10) if 2**k < whole.rank] + [whole.rank]:
            small, _ = compress(whole, rank)
            said = index.model.vlm.generate([question], small)[0].strip()
            click.echo(f"{rank:5}  {lost(small, whole):16.1%}  {lost(truncate(whole, rank), whole):11.1%}  {said}")


if __name__ == "__main__":
    main()

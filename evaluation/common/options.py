"""The command-line options that several commands take, each defined once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
from click.decorators import FC

from evaluation.common.results import OUT

CACHE = Path(__file__).parents[1] / "cache"

Decorator = Callable[[FC], FC]

PICTURES_ONLY: Final = {"speech": "off", "screen_text": "off"}
"""Options of builds whose figures are of the pictures alone, whatever is installed."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
device_option = click.option("--device", default="auto", show_default=True)
captions_option = click.option("--captions/--no-captions", default=True, show_default=True)
hypernet_option = click.option("--hypernet", metavar="FILE")
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=OUT,
    show_default="evaluation/results",
    help="Folder for NAME.json, NAME.md and NAME.png.",
)
index_option = click.option(
    "--index",
    "index_path",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Index, or folder of VID.idx.",
)


def seed_option(help: str | None = None) -> Callable[[FC], FC]:
    """Return `--seed`; the help says what the seed draws."""
    return click.option("--seed", default=0, show_default=True, help=help)


def limit_option(function: FC) -> FC:
    """Add `--limit` of questions and the `--seed` that draws them."""
    limit = click.option("--limit", type=click.IntRange(min=1), help="Ask so many of the questions, drawn at random.")
    return limit(seed_option("Of --limit.")(function))


policies_option = click.option(
    "--policy", "policies", multiple=True, help="As in `chunkv2l ask`: a name, or FILE.py:function; may be repeated."
)


def policies_or_all_option(function: FC) -> FC:
    """Add `--policy` of commands that compare all policies unless told otherwise."""
    text = "Policies, by name or FILE.py:function; all if left out."
    return click.option("--policy", "policy_names", multiple=True, help=text)(function)


def asking_options(function: FC) -> FC:
    """Add `--top-k` and `--budget`, which `ask_arguments` turns into arguments of `Index.ask`."""
    top_k = click.option("--top-k", type=click.IntRange(min=1), help="Segments to compose.")
    budget = click.option("--budget", help='Segments to score exactly for a question, or "all".')
    return top_k(budget(function))


def ask_arguments(top_k: int | None, budget: str | None) -> dict[str, Any]:
    """Return the keyword arguments of `Index.ask` for the values of `asking_options`."""
    arguments: dict[str, Any] = {"top_k": top_k}
    if budget is not None:
        arguments["budget"] = int(budget) if budget.isdigit() else budget
    return arguments


@dataclass(frozen=True)
class PhotographSettings:
    """The values of `photograph_options`.

    Attributes:
        stem: of the set's .npz and .jsonl.
        limit: photographs of the set to use; all if None.
        model: as in `chunkv2l build`.
        cache: folder of encoded photographs.
        out: folder of results.
    """

    stem: Path
    limit: int | None
    model: str
    device: str
    cache: Path
    seed: int
    out: Path


_PHOTOGRAPH_OPTIONS: tuple[Callable[[Callable[..., None]], Callable[..., None]], ...] = (
    click.option("--images", "stem", required=True, type=click.Path(path_type=Path), help="STEM of .npz and .jsonl."),
    click.option("--limit", type=click.IntRange(min=2), help="Photographs of the set to use."),
    click.option("--model", default="mini", show_default=True, help="As in `chunkv2l build`."),
    device_option,
    click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Where encoded photographs are kept."),
    seed_option(),
    out_option,
)


def photograph_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every measurement on photographs; the command gets them as one `settings`."""

    @functools.wraps(function)
    def collected(
        *, stem: Path, limit: int | None, model: str, device: str, cache: Path, seed: int, out: Path, **others: Any
    ) -> None:
        function(settings=PhotographSettings(stem, limit, model, device, cache, seed, out), **others)

    for option in reversed(_PHOTOGRAPH_OPTIONS):
        collected = option(collected)
    return collected

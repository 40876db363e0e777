"""The options that every measurement on photographs takes."""

from __future__ import annotations

from pathlib import Path

import click
from click.decorators import FC

from evaluation.common import results
from evaluation.movies.photographs import CACHE

_OPTIONS = (
    click.option("--images", "stem", required=True, type=click.Path(path_type=Path), help="STEM of .npz and .jsonl."),
    click.option("--limit", type=click.IntRange(min=2), help="Photographs of the set to use."),
    click.option("--model", "name", default="mini", show_default=True, help="As in `chunkv2l build`."),
    click.option("--device", default="auto", show_default=True),
    click.option("--cache", type=click.Path(path_type=Path), default=CACHE, help="Where encoded photographs are kept."),
    click.option("--seed", default=0, show_default=True),
    results.out_option,
)


def photograph_options(function: FC) -> FC:
    """--images, --limit, --model, --device, --cache, --seed and --out, as `stem`, `limit`, `name`, `device`, `cache`,
    `seed` and `out`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function

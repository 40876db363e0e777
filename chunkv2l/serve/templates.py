"""Render the pages' templates; everything that is put into them is escaped."""

from __future__ import annotations

from functools import cache

import jinja2


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("chunkv2l.serve", "pages"), autoescape=True, undefined=jinja2.StrictUndefined
    )


def render(name: str, **values: object) -> str:
    """Return a template, filled in.

    Args:
        name: of a file in `pages/`.
    """
    return _environment().get_template(name).render(**values)

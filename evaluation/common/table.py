"""Write tables in Markdown, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

NUMERIC = set("0123456789.,–-+ %±×[]")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, padded to read well as text; columns of numbers are aligned right.

    Raises:
        ValueError: a row isn't as long as the header.

    >>> print(markdown(["policy", "R1"], [["route", ".42"], ["fts", ".1"]]))
    | policy |  R1 |
    |--------|----:|
    | route  | .42 |
    | fts    |  .1 |
    """
    cells = [[_cell(cell) for cell in row] for row in (header, *rows)]
    if wrong := [row for row in cells if len(row) != len(header)]:
        raise ValueError(f"a row of {len(wrong[0])} cells under a header of {len(header)}: {wrong[0]}")
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(header))]
    right = [_numbers([row[i] for row in cells[1:]]) for i in range(len(header))]
    lines = [
        "| " + " | ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(widths, right, strict=True)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def share(value: float | None, digits: int = 2) -> str:
    """Return a fraction as tables show it: .42, 1.00, −.05; "–" for None.

    >>> share(0.4249), share(1), share(-0.05), share(None)
    ('.42', '1.00', '-.05', '–')
    """
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _cell(text: str) -> str:
    """Return a cell's text with bars escaped and line breaks as spaces."""
    return " ".join(text.replace("|", "\\|").split())


def _numbers(cells: Sequence[str]) -> bool:
    return any(any(c.isdigit() for c in cell) for cell in cells) and all(set(cell) <= NUMERIC for cell in cells)

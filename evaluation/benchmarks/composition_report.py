"""What `python -m evaluation composition` reports: what is kept, as figures, tables and a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from evaluation.common.table import markdown, share

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER: Final = {"SmolVLM2-500M": 0.931, "SmolVLM2-2.2B": 0.862}
"""Share of token-F1 that the paper's two halves keep (its section 5.6; VDC, 12 frames an adapter)."""


@dataclass(frozen=True)
class Told:
    """Token-F1 of a generated answer, and −log p of the true one a token (nats)."""

    f1: float
    nll: float


@dataclass(frozen=True)
class Measured:
    """Means over groups."""

    f1: float
    nll: float
    n: int

    @classmethod
    def of(cls, told: Sequence[Told]) -> Measured:
        count = len(told)
        return cls(sum(one.f1 for one in told) / count, sum(one.nll for one in told) / count, count)


def kept(measured: Measured, right: Measured, bias: Measured) -> dict[str, float | None]:
    """What of the right clip's answers is kept: token-F1 over the right clip's, and over it and above the bias's; and
    of the gain in NLL over the bias alone. None where there is nothing to keep."""

    def part(value: float, base: float, whole: float) -> float | None:
        return (value - base) / (whole - base) if abs(whole - base) > 1e-9 else None

    return {
        "f1_kept": part(measured.f1, 0.0, right.f1),
        "f1_gain_kept": part(measured.f1, bias.f1, right.f1),
        "nll_gain_kept": part(bias.nll - measured.nll, 0.0, bias.nll - right.nll),
    }


def figures_of(halves_told: Mapping[str, list[Told]], told: Mapping[int, Mapping[str, list[Told]]]) -> dict[str, Any]:
    """What is written: the paper's protocol, the controls, and every policy at every number of parts."""
    found: dict[str, Any] = {"paper": PAPER}
    if halves_told:
        means = {name: Measured.of(values) for name, values in halves_told.items()}
        found["two halves"] = {
            name: {**vars(one), **kept(one, means["whole"], means["bias alone"])} for name, one in means.items()
        }
    sums = {parts: {name: Measured.of(values) for name, values in rows.items()} for parts, rows in told.items()}
    if 0 in sums:
        base = sums.pop(0)
        right, bias = base["right clip"], base["bias alone"]
        found["controls"] = {name: {**vars(one), **kept(one, right, bias)} for name, one in base.items()}
        found["parts"] = {
            str(parts): {name: {**vars(one), **kept(one, right, bias)} for name, one in rows.items()}
            for parts, rows in sums.items()
        }
    return found


def table_of(figures: Mapping[str, Any]) -> str:
    """Three small tables: the two halves, the controls, and what every policy keeps."""
    blocks = []
    if "two halves" in figures:
        rows = [
            [name, share(one["f1"], 3), f"{one['nll']:.2f}", share(one["f1_kept"]), share(one["nll_gain_kept"])]
            for name, one in figures["two halves"].items()
        ]
        rows += [[f"the paper's, {name}", "–", "–", share(value, 3), "–"] for name, value in PAPER.items()]
        header = ["two halves of a clip", "token-F1", "NLL a token", "F1 kept", "NLL gain kept"]
        blocks.append(markdown(header, rows))
    if "parts" in figures:
        rows = [[name, share(one["f1"], 3), f"{one['nll']:.2f}"] for name, one in figures["controls"].items()]
        blocks.append(markdown(["one of many, controls", "token-F1", "NLL a token"], rows))
        names = list(next(iter(figures["parts"].values()), {}))
        for key, title in (("f1_kept", "token-F1 kept"), ("nll_gain_kept", "NLL gain kept")):
            rows = [[name, *(share(one[name][key]) for one in figures["parts"].values())] for name in names]
            blocks.append(markdown([f"{title}, of parts", *figures["parts"]], rows))
    return "\n\n".join(blocks)


def draw(figures: Mapping[str, Any]) -> Callable[[Figure], None]:
    """Token-F1 kept and NLL gain kept over the number of parts, a line a policy."""

    def plot(figure: Figure) -> None:
        sides = figure.subplots(1, 2)
        for axes, key, title in zip(
            sides, ("f1_kept", "nll_gain_kept"), ("token-F1 kept", "NLL gain over the bias kept"), strict=True
        ):
            rows = figures.get("parts", {})
            for name in next(iter(rows.values()), {}):
                values = [(int(parts), one[name][key]) for parts, one in rows.items() if one[name][key] is not None]
                axes.plot([v[0] for v in values], [v[1] for v in values], marker="o", markersize=3, label=name)
            controls = figures.get("controls", {})
            for name, style in (("bias alone", ":"), ("wrong clip", "--")):
                if name in controls and controls[name][key] is not None:
                    axes.axhline(controls[name][key], linestyle=style, color="grey", label=name)
            axes.set_xscale("log", base=2)
            axes.set_xlabel("parts")
            axes.set_ylabel(title)
            axes.set_ylim(-0.3, 1.3)
        figure.legend(*sides[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)

    return plot

"""Write an answer's route in words: statements, candidates, scores, weights, seconds by step. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from chunkv2l.answer.trace import Route
from chunkv2l.graph import mean_weight
from chunkv2l.routing.trace import Candidate, StatementTrace
from chunkv2l.sanitize import plural
from chunkv2l.timecode import between

if TYPE_CHECKING:
    from chunkv2l.answer.answer import Answer

BARS: Final = "·▁▂▃▄▅▆▇█"
"""Signs for no slot to all."""


def explain_answer(answer: Answer) -> list[str]:
    """Return the route of an answer as lines of text; none where the answer has no route."""
    route = answer.route
    if route is None:
        return []
    lines = [f"policy: {answer.policy}", *_relation_lines(route)]
    for trace in route.looks:
        lines += _trace_lines(trace, route)
    if not route.looks:
        lines.append("nothing was scored")
    scored = {candidate.node for trace in route.looks for candidate in trace.candidates}
    unscored = [f"{node}: {mean_weight(weight):.3f}" for node, weight in route.weights if node not in scored]
    if unscored:
        lines.append(f"weights of nodes that weren't scored: {', '.join(unscored)}")
    lines += _slot_lines(route)
    steps = ", ".join(f"{step} {1000 * seconds:.0f} ms" for step, seconds in route.seconds)
    lines.append(f"time: {steps}")
    return lines


def _relation_lines(route: Route) -> Iterator[str]:
    if route.relation is not None:
        event = f', then for "{route.relation.event}"' if route.relation.event else ""
        anchor = f' "{route.relation.anchor}"' if route.relation.anchor else ""
        yield f"relation: {route.relation.kind}{anchor}{event}"
    if route.within is not None:
        yield f"within: {', '.join(_times(*part) for part in route.parts or [route.within])}"


def _trace_lines(trace: StatementTrace, route: Route) -> Iterator[str]:
    budget = "all" if route.budget is None else route.budget
    absent = "" if trace.not_there is None else f"; not there {100 * trace.not_there:.0f} %"
    compared = sum(candidate.evidence is not None for candidate in trace.candidates)
    scored = sum(candidate.nats is not None for candidate in trace.candidates)
    counts = f"{compared} compared, {scored} scored" if compared else f"{scored} scored"
    yield (
        f'looked for: "{trace.statement}" ({plural(trace.tokens, "token")}) among {plural(trace.segments, "segment")}; '
        f"{counts}, budget {budget}{absent}"
    )
    if trace.candidates:
        evidence = f"  {'evidence':>8}" if compared else ""
        columns = f"{'rank':>4} {'node':>5}  {'time':<19} {'p':>6}  {'weight':>6}{evidence}"
        yield f"  {columns}  {'S nats':>7}  {'key':>5}  found by"
    for candidate in trace.candidates:
        yield f"  {_row(candidate, bool(compared))}"


def _row(candidate: Candidate, with_evidence: bool) -> str:
    weight = f"{candidate.weight:.3f}" if candidate.weight else "–"
    key = "–" if candidate.key is None else f"{candidate.key:.2f}"
    nats = "–" if candidate.nats is None else f"{candidate.nats:.2f}"
    evidence = "–" if candidate.evidence is None else f"{candidate.evidence:.2f}"
    return (
        f"{candidate.rank:>4} {candidate.node:>5}  {_times(candidate.start, candidate.end):<19} "
        f"{100 * candidate.p:4.1f} %  {weight:>6}{f'  {evidence:>8}' if with_evidence else ''}  {nats:>7}  {key:>5}  "
        f"{', '.join(candidate.sources)}{f'  {candidate.movie}' if candidate.movie else ''}"
    )


def _slot_lines(route: Route) -> Iterator[str]:
    """Yield, for each composed node, how many of its rank slots are kept, a bar for each layer from the first."""
    most = max((max(counts) for _, counts in route.slots), default=0)
    if most:
        yield f"rank slots kept, by layer ({BARS[-1]} is {most}):"
    for node, counts in route.slots:
        bars = "".join(BARS[-(-count * (len(BARS) - 1) // most) if most else 0] for count in counts)
        yield f"  {node:>5}  {bars}  {plural(sum(counts), 'slot')}"


class _Interval:
    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end


def _times(start: float, end: float) -> str:
    return between(_Interval(start, end), "", "–")

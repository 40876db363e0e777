"""Order in time, as questions say it: "what happens after …", "the first time that …", "how many times …".

Parsed by fixed patterns; no model is involved. What no pattern fits stays in the statement, where the router weighs it
as words. X and Y stand for events, d for a duration ("ten minutes").

    kind     said as                                                              anchor  event
    after    what happens (right) after X; after X, what …; what follows X          X      Y*
             what does the man do after X; when does Y after X
             what happens d after X; … within d after X (`offset`)                  X      Y*
    before   the same with before; what precedes X; what leads up to X              X      Y*
    while    what happens while X; while X, what …; what … during X                 X      Y*
    first    when is the first time (that) X; … X for the first time                X
             when does X first …; the first moment, scene, shot … with X
    last     the same with last or final                                            X
    count    how many times does X; how often does X; how many scenes show X        X
    within   X in a time range and nothing else: "when does X in the first d"       X

* The event is "" where the question names none ("what happens").

Time ranges are `chunkv2l.query.time_grammar`'s. One may stand beside any relation ("in the first ten minutes, how many
times …"). The anchor of "within" is what is looked for in the range, "" if that is anything.

Words for order that are no relation: "A dog runs after a ball" (a statement is looked for as it stands), "Who runs
after the dog?" and "When does a boy swim after a duck?" (no clause follows), "When does the first man jump?" (an
ordinal), "Does X happen before Y?" (yes or no), "When does X while Y?" (both at once: one statement says it best).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from chunkv2l.query.bare_names import AUXILIARIES, without_trailing
from chunkv2l.query.time_parsing import split_offset
from chunkv2l.query.time_ranges import Restriction

RelationKind = Literal["before", "after", "while", "first", "last", "count", "within"]


@dataclass(frozen=True)
class Relation:
    """Relation in time between the answer and something else in the movie; see the module's table.

    Attributes:
        kind: which relation.
        anchor: the statement of what must be found first; "" if nothing ("what happens in the first minute?").
        event: for before, after and while, the statement of what is asked about; "" where the question names none.
        question: the question without its relation, for the prompt: the adapter already stands for the place.
        time_range: what the answer is restricted to; None for all of the movie.
        offset: of before and after, how far from the anchor: (least, most) seconds; None for right beside it.
    """

    kind: RelationKind
    anchor: str = ""
    event: str = ""
    question: str = ""
    time_range: Restriction | None = None
    offset: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; `span` and `share` are the time range's, `parts` those of several (`to_json`)."""
        return {
            "kind": self.kind,
            "anchor": self.anchor,
            "event": self.event,
            "question": self.question,
            **({"span": [None, None], "share": False} if self.time_range is None else self.time_range.to_json()),
            "offset": None if self.offset is None else list(self.offset),
        }

    @property
    def restricts(self) -> bool:
        """Return whether the answer is to lie in a part of the movie."""
        return self.time_range is not None


@dataclass(frozen=True)
class RelationMatch:
    """A question split into its relation, the anchor as a clause, and the question around it as it was asked."""

    kind: RelationKind
    anchor: str
    left: str
    offset: tuple[float, float] | None = None


ReadPlain: TypeAlias = Callable[[str], tuple[str, str]]
"""Question without order → (its statement, the kind of answer)."""

_MOMENT = r"(?:times?|moments?|occurrences?|appearances?|occasions?|instances?|scenes?|shots?|parts?|points?)"
_THAT = r"(?: (?:that|when|where|in which|at which|of|with|showing|which shows|that shows|there (?:is|are|was|were)))?"
_ADVERB = r"(?:(?:right|just|immediately|directly|shortly|soon|straight|next) )?"
_CAUSE = rf"(?:{AUXILIARIES} )?"
_PLAIN = re.compile(
    r"^(?:(?:we|you|i|one) (?:can )?(?:see|hear|notice) (?:that )?|it (?:is |was )?that |"
    r"there(?: is| are| was| were)? |the (?:moment|time|scene|part) (?:when|that|where|in which|with|of) )",
    re.IGNORECASE,
)

_COUNT = re.compile(
    r"^(?:(?:please )?(?:tell me|count|say|find out) )?(?:how many times|how often|on how many occasions|"
    rf"the number of times(?: that)?|(?:all )?the times(?: that)?|how many {_MOMENT}(?: (?:are|is) there)?"
    rf"(?: (?:show|have|with|contain|feature|of|where|in which|when))) {_CAUSE}(?P<anchor>.+)$",
    re.IGNORECASE,
)
_FIRST_TIME = re.compile(
    rf"^(?P<left>.*?) ?\b(?:(?:in|at|during|on|for) )?the (?:very )?(?P<which>first|last|final) {_MOMENT}\b{_THAT}"
    r"(?P<anchor>.*)$",
    re.IGNORECASE,
)
_FIRST_VERB = re.compile(
    rf"^(?P<left>when|where|at what time|show me when) {AUXILIARIES} (?P<who>.+?) (?P<which>first|last)\b(?P<verb>.*)$",
    re.IGNORECASE,
)
_NO_ADVERB = frozenset(
    re.findall(r"\w+", "the a an his her their its my our your this that at in on for very another every")
)
_FOLLOWS = re.compile(
    r"^what (?:(?P<after>follows|(?:comes|is) (?:right |just |next )*after)|"
    r"(?P<before>precedes|leads (?:up )?to|(?:comes|is) (?:right |just )*before)) (?P<anchor>.+)$",
    re.IGNORECASE,
)
_LEADING = re.compile(
    rf"^{_ADVERB}(?P<word>after|before|while|during|following|once) (?P<anchor>[^,]+), (?:then )?(?P<left>.+)$",
    re.IGNORECASE,
)
_TRAILING = re.compile(rf"^(?P<left>.+?),? {_ADVERB}(?P<word>after|before|while|during) (?P<anchor>.+)$", re.IGNORECASE)
_KINDS: dict[str, RelationKind] = {"after": "after", "following": "after", "once": "after", "before": "before"}
_PURSUIT = re.compile(
    r"\b(?:run|runs|running|chase|chases|chasing|look|looks|looking|go|goes|going|swim|swims|swimming)$", re.IGNORECASE
)
_VERB = re.compile(
    rf"^\S+ .*\b(?:{AUXILIARIES}|\w+ing|\w*[^\Ws]s|\w{{2,}}ed|fell|ran|left|came|went|sat|began|ate|sang)\b",
    re.IGNORECASE,
)
_DOING = re.compile(r"\b(?:do|does|did|doing|done|happen|happens|happened|happening|next)$", re.IGNORECASE)


def take_order(text: str, read_plain: ReadPlain) -> RelationMatch | None:
    """Return the order in time that a question hangs on; None where it says none.

    Args:
        text: a question without its time range and its question mark.
        read_plain: reads the question as if it had no order.
    """
    if match := _COUNT.match(text):
        return RelationMatch("count", match["anchor"], "")
    if read_plain(text)[1] in ("whether", "statement"):
        match = _FIRST_TIME.match(text)
        return (_first_or_last(text, read_plain) if match and not match["left"] else None) or _beside(
            text, read_plain, _LEADING
        )
    return _first_or_last(text, read_plain) or _beside(text, read_plain, _LEADING, _TRAILING)


def clause(text: str) -> str:
    """Return an anchor as a statement: "it is that a dog runs" → "A dog runs."; "" where no word is left."""
    text = text.strip(" ,.?!")
    while match := _PLAIN.match(text):
        text = text[match.end() :]
    text = without_trailing(text)
    return text and text[0].upper() + text[1:] + "."


def _first_or_last(text: str, read_plain: ReadPlain) -> RelationMatch | None:
    if match := _FIRST_TIME.match(text):
        relation_kind, left, anchor = _which(match), match["left"].strip(" ,"), match["anchor"].strip(" ,")
        if not anchor:  # "when does a dog bark for the first time"
            anchor = read_plain(left)[0]
            return RelationMatch(relation_kind, anchor, left) if anchor else None
        event, asks = read_plain(left)
        asks_when = asks == "when" or (not event and not _DOING.search(left))  # "what is the first time that …"
        return RelationMatch(relation_kind, anchor, "When" if asks_when else left)
    match = _FIRST_VERB.match(text)
    if match is None or match["who"].split()[-1].lower() in _NO_ADVERB:
        return None
    verb = match["verb"].strip()
    if not verb and match["which"].lower() == "last":  # "how long does it last"
        return None
    return RelationMatch(_which(match), f"{match['who']} {verb}", match["left"])


def _which(match: re.Match[str]) -> RelationKind:
    return "first" if match["which"].lower() == "first" else "last"


def _beside(text: str, read_plain: ReadPlain, *patterns: re.Pattern[str]) -> RelationMatch | None:
    """Return an order of the kinds before, after and while."""
    if match := _FOLLOWS.match(text):
        return RelationMatch("after" if match["after"] else "before", match["anchor"], "What happens")
    ahead, offset = _split_leading_offset(text)
    match = next((match for pattern in patterns if (match := pattern.match(ahead))), None)
    if match is None:
        return None
    relation_kind = _KINDS.get(match["word"].lower(), "while")
    left, anchor = match["left"].strip(" ,"), match["anchor"]
    if relation_kind != "while" and match.re is _TRAILING:
        left, offset = split_offset(left)
    event, asks = read_plain(left)
    is_clause = offset is not None or match.re is _LEADING or bool(not _PURSUIT.search(left) and _VERB.match(anchor))
    if asks == "when":
        fits = is_clause and bool(event) and (relation_kind != "while" or match.re is _LEADING)
    else:
        fits = asks not in ("whether", "statement") and (is_clause or not event or _DOING.search(left) is not None)
    return RelationMatch(relation_kind, anchor, left, offset) if fits else None


def _split_leading_offset(text: str) -> tuple[str, tuple[float, float] | None]:
    """Return a text like "ten seconds after a dog barks, what …" without the distance in time, and that."""
    beside = re.search(r"\b(?:after|before)\b", text, re.IGNORECASE)
    if beside is None or not beside.start():
        return text, None
    ahead, offset = split_offset(text[: beside.start()])
    return (text[beside.start() :], offset) if offset is not None and not ahead else (text, None)

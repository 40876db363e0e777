"""Parse a question: what to look for, what kind of answer, and its relation in time.

No model is involved here: `statement` strips question words by a fixed rule and guesses nothing. A wrong inflection ("A
dog catch the ball.") costs every segment about the same, so that the ranking survives it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from chunkv2l.errors import InputError, NothingFound
from chunkv2l.query.bare_names import AUXILIARIES, HAPPENS, without_leading, without_trailing
from chunkv2l.query.exclusions import split_exclusion
from chunkv2l.query.movie_facts import Fact, parse_fact, parse_part_fact
from chunkv2l.query.relations import Relation, RelationMatch, clause, take_order
from chunkv2l.query.time_parsing import find_unread, take_time_range
from chunkv2l.sanitize import shorten, strip_invisible

MAX_QUESTION = 2000
"""Characters."""
EXAMPLE = "When does a dog catch the ball?"

Kind = Literal["when", "where", "who", "count", "whether", "how", "what", "statement"]

_AUXILIARY = re.compile(AUXILIARIES + r"(?:n['’]t| not)?\b", re.IGNORECASE)
_CONTRACTION = re.compile(r"\b(when|what|who|where|how)['’](?:s|re)\b", re.IGNORECASE)
_MOMENT = r"(?:moments?|times?|points?|scenes?|parts?|shots?|chapters?)"
_MOVIE = r"(?:the |this )?(?:whole |entire )?(?:video|movie|film|clip|footage|recording|time)"
_MEASURE = (
    rf"(?:percentage|percent|share|fraction|proportion)(?: of {_MOVIE})?"
    r"(?: (?:shows?|has|have|contains?|features?|is (?:spent )?(?:on|with)))?"
)
"""A share of the movie that a question asks for, with the verb behind it."""
_SUMMARY = r"(?:short |brief )?(?:summary|description|overview|recap)"
_JOIN = r"(?: (?:when|where|in which|at which|that shows?|with|of))?"

# Each lead is a way to begin a question, with the kind of answer that it asks for. The first that matches is taken off,
# again and again, so that "Tell me what …" and "Show me when …" need no rules of their own; the first kind counts.
_PATTERNS: tuple[tuple[str, Kind | None], ...] = (
    (r"(?:please|(?:can|could|would) you(?: please)?(?! (?:see|spot|notice)\b))", None),
    (rf"(?:find|show me|give me) (?:the |a |all )?{_MOMENT}{_JOIN}", "when"),
    (rf"(?:at |in |during )?(?:what|which) {_MOMENT}{_JOIN}(?= {AUXILIARIES}\b)", "when"),
    (r"(?:show me|find)", "when"),
    (r"(?:tell me|describe|name|list|explain|summari[sz]e)", "what"),
    (rf"(?:give me|write|make) (?:an? |the )?{_SUMMARY}(?: of)?", "what"),
    (rf"(?:an? |the )?{_SUMMARY} of", "what"),
    (r"when", "when"),
    (r"where", "where"),
    (r"(?:who|whom|whose)", "who"),
    (r"how many(?: times)?", "count"),
    (rf"(?:what|which) {_MEASURE}", "how"),
    (rf"(?:for )?how much of {_MOVIE}(?: (?:is|are) (?:spent )?(?:on|with))?", "how"),
    (r"(?:for )?how(?: (?:long|often|much|far|fast))?", "how"),
    (rf"what {HAPPENS}(?: in the {_MOMENT} (?:when|where|in which|with|of)| to)?", "what"),
    (r"(?:what|which|why)", "what"),
)
_LEADS = tuple((re.compile(pattern + r"(?![\w'’])[,:]?\s*", re.IGNORECASE), kind) for pattern, kind in _PATTERNS)

_SHOW = re.compile(
    r"(?:(?:please|(?:can|could|would|will) you|(?:i|we)(?:'d| would) (?:like|love) to|(?:i|we) want to|let (?:me|us)"
    r"|let's)\b ?)*"
    r"(?:\b(?:play|show|watch|view|see|open|display|clip|cut|extract|get|give|go|jump|take|bring|start|begin|skip)"
    r"(?: me| us| out| only| just| to)*)?"
    r"(?: ?\b(?:everything|all)(?: that happens| there is)?)?"
    r"(?: ?\b(?:(?:of|from) )?(?:the |this )?(?:whole |entire )?(?:movie|video|film|clip|footage|recording|it))?"
    r"(?: please)?",
    re.IGNORECASE,
)
"""The rest of a question that asks to be shown a time range, without the range."""

_EDGE_ASKED = re.compile(
    r"(?:(?:tell|show) me )?how (?:(?:does|did|will) )?"
    r"(?P<movie>(?:the |this )?(?:video|movie|film|clip|footage|recording)) "
    r"(?:(?P<begins>begins?|starts?|opens?)|ends?|finish(?:es)?|concludes?)",
    re.IGNORECASE,
)
"""A question for the first or last moments: "How does the video end?"."""

_COUNTING = re.compile(
    r"(?:^|(?<=[,.;:] )|(?<=\bplease )|(?<=^can you )|(?<=^could you ))count(?: up)? "
    r"(?:how many|the number of|(?:all|each|every)(?: of)?(?: the)?(?= \w)|the(?! times\b))(?= \w)",
    re.IGNORECASE,
)
"""A command to count, which asks what "how many" does: "Count the cars"."""

_NUMBER = re.compile(r"[\d.,:]+")
"""An anchor that is a time without a unit: "after 90"."""

_GENERIC = frozenset(
    re.findall(
        r"\w+",
        """a about all appear appeared appears being clip come comes do doing entire film footage going happen happened
        happening happens here i in it its movie next of on one overall recording scene see seen shown take takes that
        the there thing things this to us video visible we whole you""",
    )
)
"""A question that has only such words left asks about the movie as a whole: there is nothing to look for."""


@dataclass(frozen=True)
class Parsed:
    """A question taken apart.

    Attributes:
        statement: what to look for: of a question with a relation, its anchor; "" when nothing is left.
        kind: the kind of answer asked for.
        relation: order in time, None where the question names none.
        fact: what the question asks about the movie as a file, which the index knows: its length, start or end.
        unread: times and durations that the question names and that were not understood as a restriction.
        excluded: the statement that is not to be shown ("When is there a dog, but not a ball?" → "A ball."), or "".
    """

    statement: str
    kind: Kind
    relation: Relation | None = None
    fact: Fact | None = None
    unread: tuple[str, ...] = ()
    excluded: str = ""

    @property
    def asks_for_range(self) -> bool:
        """Return whether the question asks to be shown a time range and no more: "Show me the first minute"."""
        restricted = self.relation is not None and self.relation.restricts
        return restricted and self.kind == "when" and not self.statement

    def prompt(self, question: str, walked: bool) -> str:
        """Return what the model is asked: the question without the order in time, where the adapter stands for it.

        Args:
            question: as it was asked.
            walked: the adapter is of the segments that the relation leads to (the policy `order`).
        """
        relation = self.relation
        if relation is None or not relation.question or not (walked or relation.kind == "within"):
            return question
        return relation.question


@lru_cache(maxsize=256)  # a question is parsed where it comes in, and where it is asked
def parse(question: str) -> Parsed:
    """Take a question apart by the rules of `statement`, `query.relations` and `query.time_grammar`."""
    text = re.sub(r"\s+", " ", question).strip().strip('"“”«»').strip()
    text = re.sub(r"[\s?!.…]+$", "", _CONTRACTION.sub(r"\1 is", text))
    if edge := _EDGE_ASKED.fullmatch(text):
        text = f"What happens at the {'beginning' if edge['begins'] else 'end'} of {edge['movie']}"
    text = _COUNTING.sub("How many", text)
    marked = question.rstrip().endswith("?")

    def read_plain(part: str) -> tuple[str, Kind]:
        return _read_plain(part, marked)

    def read_beside_range(part: str) -> tuple[str, Kind]:
        return ("", "when") if _SHOW.fullmatch(part) else read_plain(part)

    fact = parse_fact(text)
    if fact is not None:
        return Parsed("", "what", fact=fact)
    if (part_fact := parse_part_fact(text)) is not None:
        return Parsed("", "what", Relation("within", time_range=part_fact[1]), fact=part_fact[0])
    reading = take_time_range(text, read_beside_range)
    remaining = reading.text
    order = take_order(remaining, read_plain)
    anchors = () if order is None else (order.anchor, *([order.until] if order.until else []))
    if order is not None and any(not _is_something(clause(one)) or _NUMBER.fullmatch(one) for one in anchors):
        order = None
    unread = reading.unread + find_unread(f"{order.left}, {order.anchor}" if order else remaining)
    if order is None:
        remaining, excluded = _take_exclusion(remaining, read_plain)
    else:
        shown, excluded = _take_exclusion(order.anchor, read_plain)
        order = replace(order, anchor=shown)
    if order is None and reading.time_range is None:
        return Parsed(*read_plain(remaining), unread=unread, excluded=excluded)
    anchor, answer_kind, event, left = _read_around(order, remaining, read_plain)
    relation = Relation(
        kind=order.kind if order else "within",
        anchor=anchor,
        event=event,
        question=f"{left[:1].upper()}{left[1:]}?" if left else "",
        time_range=reading.time_range,
        offset=order.offset if order else None,
        number=order.number if order else 0,
        until=clause(order.until) if order else "",
    )
    return Parsed(anchor, answer_kind, relation, unread=unread, excluded=excluded)


def _take_exclusion(text: str, read_plain: Callable[[str], tuple[str, Kind]]) -> tuple[str, str]:
    """Return a question without what it excludes, and the statement of that; "" where it excludes nothing."""
    split = split_exclusion(text)
    if split is None or not read_plain(split[0])[0]:
        return text, ""
    excluded = clause(split[1])
    return (split[0], excluded) if _is_something(excluded) else (text, "")


def _read_around(
    order: RelationMatch | None, text: str, read_plain: Callable[[str], tuple[str, Kind]]
) -> tuple[str, Kind, str, str]:
    """Return (anchor, kind of answer, event, the question without its relation) of a question that has a relation.

    Args:
        text: the question without its time range.
        read_plain: question without a relation → (statement, kind of answer).
    """
    if order is None:
        if _SHOW.fullmatch(text):
            return "", "when", "", text
        anchor, answer_kind = read_plain(text)
        return anchor, answer_kind, "", text
    if order.kind == "count":
        return clause(order.anchor), "count", "", ""
    if order.kind == "absent":
        return clause(order.anchor), "when", "", ""
    event, answer_kind = read_plain(order.left) if order.left else ("", "when")
    has_event = order.kind in ("before", "after", "while", "between", "until") and answer_kind == "when"
    return clause(order.anchor), answer_kind, event if has_event else "", order.left


def _read_plain(text: str, marked: bool) -> tuple[str, Kind]:
    """Return (statement, kind of answer) of a question without relations.

    Args:
        marked: it ended with a question mark.
    """
    answer_kind: Kind | None = None
    stripped = False
    while match := next(((m, k) for lead, k in _LEADS if (m := lead.match(text))), None):
        text, stripped = text[match[0].end() :], True
        answer_kind = answer_kind or match[1]
    auxiliary = _AUXILIARY.match(text)
    if auxiliary:
        text = text[auxiliary.end() :].lstrip()
        text = re.sub(r"^it that\s+(?:there (?:is|are|was|were)\s+)?", "", text, flags=re.IGNORECASE)
        stripped, answer_kind = True, answer_kind or "whether"
    if stripped or marked:
        text = without_trailing(without_leading(text))
    if not _is_something(text):
        return "", answer_kind or "what"
    return text[:1].upper() + text[1:] + ".", answer_kind or ("whether" if stripped or marked else "statement")


def _is_something(text: str) -> bool:
    """Return whether a text has any word that something can be found by."""
    return not all(word in _GENERIC for word in re.findall(r"[\w'’]+", text.lower()))


def statement(question: str) -> str:
    """Return what would be true if a question were answered: the statement that the router scores.

    Strips the question words (when, at what time, find the moment when, show me, who, what, where, how many, …), then
    one auxiliary (do, does, did, is, are, was, were, has, have) and "?"; capitalises; ends with a full stop. Of "is
    there a dog in the video" and "does a dog appear" the thing is left: "A dog." A statement passes unchanged. "" when
    nothing is left to look for ("What happens?", "What is this movie about?").

    >>> statement("When does a dog catch the ball?")
    'A dog catch the ball.'
    """
    return parse(question).statement


_SAYING = re.compile(
    r"\b(?:says?|said|saying|mentions?|mentioned|mentioning|(?:talk|speak)(?:s|ing)? (?:of|about)|talked about|"
    r"spoke (?:of|about))(?: that| the words?)?\s+(?P<words>.+)$",
    re.IGNORECASE,
)


def spoken(statement: str) -> str:
    """Return the words that a statement says somebody says, for search over subtitles; "" where it says none.

    >>> spoken("She say good morning."), spoken("A dog barks.")
    ('good morning.', '')
    """
    match = _SAYING.search(statement)
    return match["words"] if match else ""


_FULL_WIDTH: Final = {0xFF01 + i: 0x21 + i for i in range(0x5E)}
"""Full-width forms of ASCII, which East Asian keyboards type."""


def clean_question(question: str) -> str:
    """Return a question as text that a tokenizer takes.

    What wasn't valid UTF-8 on the way here becomes "?". What pipes and copied text bring along is left out: a byte
    order mark, zero-width letters, control characters and marks of writing direction. Full-width figures, letters and
    signs ("２：００") become the usual ones.

    Raises:
        InputError: it is empty, has no words, or is too long.
    """
    question = strip_invisible(question.encode(errors="replace").decode()).translate(_FULL_WIDTH).strip()
    if not question:
        raise InputError(f'The question is empty; ask for example "{EXAMPLE}".')
    if not re.search(r"\w", question):
        raise InputError(f'The question "{shorten(question)}" has no words in it; ask for example "{EXAMPLE}".')
    if len(question) > MAX_QUESTION:
        raise InputError(f"The question has {len(question)} characters; {MAX_QUESTION} are the most.")
    return question


def parse_question(question: str) -> Parsed:
    """Parse a question that is to be answered.

    Raises:
        NothingFound: it asks when, but not what.
    """
    parsed = parse(question)
    if parsed.kind == "when" and not parsed.statement and parsed.relation is None:
        raise NothingFound(f'"{question}" names nothing to look for; ask for example "{EXAMPLE}".')
    return parsed

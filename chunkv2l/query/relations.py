"""Order in time, as questions say it: "what happens after …", "the first time that …", "how many times …".

Parsed by fixed patterns; no model is involved. What no pattern fits stays in the statement, where the router weighs it
as words. X and Y stand for events, d for a duration ("ten minutes").

    kind     said as                                                              anchor  event
    after    what happens (right) after X; after X, what …; what follows X          X      Y*
             what does the man do after X; when does Y after X
             what happens d after X; … within d after X (`offset`)                  X      Y*
             is there Y in the d after X
    before   the same with before; what precedes X; what leads up to X              X      Y*
    while    what happens while X; while X, what …; what … during X                 X      Y*
    first    when is the first time (that) X; … X for the first time                X
             when does X first …; the first moment, scene, shot … with X
    last     the same with last or final                                            X
    count    how many times does X; how often does X; how many scenes show X        X
    nth      when is the second time (that) X; … X for the third time               X
    absent   when is there no X; when is X not visible; show me the parts           X
             without X; is there a moment without X; when does X not Y
             when is X not on Y
    between  what happens between X and Z; … from when X until Z (`until`: Z)       X      Y*
    until    what happens until X                                                   X      Y*
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar

from chunkv2l.errors import NothingFound
from chunkv2l.query.bare_names import AUXILIARIES, HAPPENS, without_trailing
from chunkv2l.query.time_parsing import split_offset
from chunkv2l.query.time_ranges import Restriction

RelationKind = Literal[
    "before", "after", "while", "first", "last", "nth", "count", "absent", "between", "until", "within"
]
OCCURRENCES: Final[tuple[RelationKind, ...]] = ("first", "last", "nth", "count")
"""Relations that ask for some of the times at which something happens, or for all of them."""
Occurrence = TypeVar("Occurrence")


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
        number: of nth, which time is meant: from 1 on, or backwards from the last one, -1.
        until: of between, the statement of what ends it.
    """

    kind: RelationKind
    anchor: str = ""
    event: str = ""
    question: str = ""
    time_range: Restriction | None = None
    offset: tuple[float, float] | None = None
    number: int = 0
    until: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; `span` and `share` are the time range's, `parts` those of several (`to_json`)."""
        return {
            "kind": self.kind,
            "anchor": self.anchor,
            "event": self.event,
            "question": self.question,
            **({"span": [None, None], "share": False} if self.time_range is None else self.time_range.to_json()),
            "offset": None if self.offset is None else list(self.offset),
            **({"number": self.number} if self.kind == "nth" else {}),
            **({"until": self.until} if self.kind == "between" else {}),
        }

    def pick(self, occurrences: Sequence[Occurrence]) -> Sequence[Occurrence]:
        """Return those of an event's occurrences, in order of time, that the relation is about.

        Raises:
            NothingFound: of nth, there are fewer.
        """
        if self.kind == "count" or not occurrences:
            return occurrences
        number = {"first": 1, "last": -1}.get(self.kind, self.number)
        if abs(number) > len(occurrences):
            times = "once" if len(occurrences) == 1 else f"{len(occurrences)} times"
            raise NothingFound(
                f'That seems to be there {times} only, fewer than the question asks for: "How many times …?" says when.'
            )
        index = number - 1 if number > 0 else len(occurrences) + number
        return occurrences[index : index + 1]

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
    number: int = 0
    until: str = ""


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
    r"^(?P<left>.*?) ?\b(?:(?:(?:in|at|during|on|for) )?the |^)(?:very )?"
    rf"(?P<which>first|last|final) {_MOMENT}\b{_THAT}(?P<anchor>.*)$",
    re.IGNORECASE,
)
_NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        ["second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"],
        start=2,
    )
}
_NTH = rf"(?P<word>{'|'.join(_NUMBERS)})|(?P<digits>\d{{1,3}})(?:st|nd|rd|th)"
_NEXT_TO_LAST = r"penultimate|(?:second|next)[ -]to[ -]last|last but one"
_NTH_TIME = re.compile(
    rf"^(?P<left>.*?) ?\b(?:(?:(?:in|at|during|on|for) )?(?:the|a) |^)(?:{_NEXT_TO_LAST}|{_NTH}) "
    r"(?:(?P<time>times?|occasions?)|occurrences?|appearances?|instances?|scenes?|shots?|moments?)\b"
    rf"{_THAT}(?P<anchor>.*)$",
    re.IGNORECASE,
)
_FIRST_VERB = re.compile(
    rf"^(?P<left>when|where|at what time|show me when) {AUXILIARIES} (?P<who>.+?) (?P<which>first|last)\b(?P<verb>.*)$",
    re.IGNORECASE,
)
_LONG_UNIT = re.compile(r"(?:night|week|month|year)", re.IGNORECASE)
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
_CLAUSE = re.compile(
    r"^(?:(?:an?|the|his|her|its|their|some|two|three) )?(?!(?:an?|the|his|her|its|their)\b)[\w'-]+(?: [\w'-]+)*? "
    rf"(?:{AUXILIARIES}|\w+ing|\w*[^\Ws]s|\w{{2,}}ed|fell|ran|left|came|went|sat|began|ate|sang)\b",
    re.IGNORECASE,
)
"""An event with its verb behind a noun: "a dog running", not "a running dog"."""
_NAME = re.compile(
    r"(?:an?|the|his|her|its|their) (?:[\w'-]+ ){0,3}(?!(?:m[ae]n|wom[ae]n|boys?|girls?|persons?|people|child|children|"
    r"couple|guys?|lad(?:y|ies)|brothers?|sisters?|mother|father|friends?)$)[\w'-]+",
    re.IGNORECASE,
)
"""A noun that may stand for an event, "the surfing"; what happens between people is no order in time."""
_HAPPENING = re.compile(rf"\bwhat {HAPPENS}$", re.IGNORECASE)
_WHEN = r"(?: (?:when|the (?:moment|time|point)(?: when| that| where)?))"
_BETWEEN = re.compile(
    rf"^(?P<left>.*?),? ?\b(?:in )?(?P<word>between|from)(?P<when>{_WHEN}?) (?P<anchors>.+)$", re.IGNORECASE
)
_AND = re.compile(rf",? and(?P<when>{_WHEN}?) ", re.IGNORECASE)
_TO = re.compile(rf",? (?:(?:up )?until|till|(?:up )?to)(?P<when>{_WHEN}?) ", re.IGNORECASE)
_AFTER_BEFORE = re.compile(
    r"^(?P<left>.*?),? ?\b(?:after (?P<after>.+?),? (?:and|but|yet) before (?P<before>.+)"
    r"|before (?P<earlier>.+?),? (?:and|but|yet) after (?P<later>.+))$",
    re.IGNORECASE,
)
_UNTIL = re.compile(
    rf"^(?P<left>.*?),? ?\b(?:(?:right |all the way )?(?:up )?(?:until|till)|up to(?={_WHEN}))(?P<when>{_WHEN}?) "
    r"(?P<anchor>.+)$",
    re.IGNORECASE,
)
_WAITING = re.compile(
    r"\b(?:wait|stay|keep|kept|hold|held|sleep|slept|stand|stood|sit|sat|last|take|took|need|spen[dt])\w*$",
    re.IGNORECASE,
)
_IS = r"(?:is|are|was|were)"
_NOT = r"(?:n['’]t| not)(?! (?:only|just|until|yet))"
_NO = r"(?:no|not any|not one) (?!longer\b|more\b|doubt\b)|not (?=(?:an?|the|his|her|its|their|any)\b)"
_OUT_OF_SIGHT = (
    r"(?:not (?:visible|there|shown|seen|present|(?:in|on) (?:the )?(?:picture|frame|shot|view|scene|screen))"
    r"|absent|out of (?:sight|frame|view|shot))"
)
_STRETCH = r"(?:parts?|scenes?|moments?|stretch(?:es)?|times?)"
_LACKING = rf"(?:without|with no|(?:where|in which|at which|when) (?:there {_IS} )?no)(?: any)?"
_BESIDE = (
    r"(?:in|on|at|by|with|near|behind|under|over|above|below|beside|between|inside|outside|among|around|into|from|to|of"
    r"|against|next to|in front of)"
)
_WITHOUT_RELATIVE = r"(?!.*\b(?:who|that|which|whose|but|though)\b)"
_NOT_SO = (
    r"(?<!\band )(?<!\byet )(?<!\bor )(?<!, )not (?!(?:only|just|until|till|yet|far|long|very|so|quite|even|too)\b)"
    rf"(?:{_BESIDE} .+|\w+(?: {_BESIDE} .+)?)"
)
"""A denial behind a noun: "not on the stage", "not open", "not held by the man"."""
_WHENEVER = r"(?:when|(?:at|in|during) (?:what|which) (?:times?|parts?|points?|scenes?|moments?))"
_ABSENT = tuple(
    re.compile(rf"^{pattern}$", re.IGNORECASE)
    for pattern in (
        rf"{_WHENEVER} (?:{_IS} there|there {_IS}) (?:{_NO})(?P<anchor>.+)",
        rf"{_WHENEVER} {_IS} no (?P<anchor>.+)",
        rf"{_WHENEVER} {_IS}{_NOT} (?:there )?(?:any )?(?P<anchor>(?<=any )\w.*|(?:an?|the|his|her|its|their) .+)",
        rf"{_WHENEVER} (?:do|does|did|can|could|ca|can)(?:{_NOT}) (?:we|you|i|one) see (?:any )?(?P<anchor>.+)",
        rf"{_WHENEVER} (?:do|does|did|can|could) (?:we|you|i|one) (?:not see|see no) (?:any )?(?P<anchor>.+)",
        rf"{_WHENEVER} {_IS} (?P<anchor>.+?) {_OUT_OF_SIGHT}",
        rf"{_WHENEVER} {_IS} (?P<anchor>.+? not \w+ing\b(?!.* but ).*)",
        rf"{_WHENEVER} {_IS} (?!there\b){_WITHOUT_RELATIVE}(?P<anchor>.+? {_NOT_SO})",
        rf"(?:show me|tell me|find) {_WHENEVER} {_WITHOUT_RELATIVE}(?P<anchor>.+? {_IS} {_NOT_SO})",
        rf"{_WHENEVER} (?:do|does|did){_NOT} (?P<anchor>.+)",
        rf"{_WHENEVER} (?:do|does|did) no (?P<anchor>.+)",
        rf"{_WHENEVER} (?:do|does|did) (?P<anchor>.+? not (?!only\b|just\b|until\b).+)",
        rf"(?:show me|find|when {_IS}) (?:the |all |all the |every )?"
        rf"(?:{_STRETCH}|everything|it)(?: that {_IS})? {_LACKING} (?P<anchor>.+)",
        rf"{_IS} there (?:(?:an?|any|some) )?{_STRETCH} {_LACKING} (?P<anchor>.+)",
    )
)
_NOBODY = re.compile(r"\b(?:nobody|no one|not anybody|not anyone)\b", re.IGNORECASE)
_DOING = re.compile(r"\b(?:do|does|did|doing|done|happen|happens|happened|happening|next)$", re.IGNORECASE)


def take_order(text: str, read_plain: ReadPlain) -> RelationMatch | None:
    """Return the order in time that a question hangs on; None where it says none.

    Args:
        text: a question without its time range and its question mark.
        read_plain: reads the question as if it had no order.
    """
    if (match := _match_absent(text)) is not None:
        return RelationMatch("absent", re.sub(r"\bnot | there$", "", match["anchor"]), "")
    if match := _COUNT.match(text):
        return RelationMatch("count", match["anchor"], "")
    if read_plain(text)[1] in ("whether", "statement"):
        match = _NTH_TIME.match(text) or _FIRST_TIME.match(text)
        return (
            (_first_or_last(text, read_plain) if match and not match["left"] else None)
            or _between(text, read_plain, is_leading=True)
            or _until(text, read_plain, is_leading=True)
            or _beside(text, read_plain, _LEADING, _TRAILING)
        )
    return (
        _first_or_last(text, read_plain)
        or _between(text, read_plain)
        or _until(text, read_plain)
        or _beside(text, read_plain, _LEADING, _TRAILING)
    )


def _match_absent(text: str) -> re.Match[str] | None:
    """Return the match of a question for when something isn't there; its anchor may have a "not" in it."""
    text = _NOBODY.sub("no person", text)
    return next((match for pattern in _ABSENT if (match := pattern.match(text))), None)


def _between(text: str, read_plain: ReadPlain, is_leading: bool = False) -> RelationMatch | None:
    """Return an order between two events: "between a fish swimming and a dog running, what happens"."""
    if (match := _AFTER_BEFORE.match(text)) and not (is_leading and match["left"]):
        anchor, until = match["after"] or match["later"], match["before"] or match["earlier"]
        left = match["left"]
        if not left and ", " in (match["before"] or match["later"]):
            last, left = (match["before"] or match["later"]).split(", ", 1)
            anchor, until = (anchor, last) if match["before"] else (last, until)
        if left and _CLAUSE.match(anchor) and _CLAUSE.match(until):
            return RelationMatch("between", anchor, left, until=until)
    match = _BETWEEN.match(text)
    if match is None or (is_leading and match["left"]):
        return None
    joint = _AND if match["word"].lower() == "between" else _TO
    is_joined_once = len(joint.findall(match["anchors"])) == 1
    for middle in joint.finditer(match["anchors"]):
        anchor, until = match["anchors"][: middle.start()], match["anchors"][middle.end() :]
        left = match["left"]
        if not left and ", " in until:
            until, left = until.split(", ", 1)
        has_clauses = all(
            when or _CLAUSE.match(event) for when, event in ((match["when"], anchor), (middle["when"], until))
        )
        has_names = joint is _AND and is_joined_once and _NAME.fullmatch(anchor) and _NAME.fullmatch(until)
        fits = has_clauses or (has_names and _HAPPENING.search(left))
        if left and fits and read_plain(left)[1] not in ("whether", "statement"):
            return RelationMatch("between", anchor, left, until=until)
    return None


def _until(text: str, read_plain: ReadPlain, is_leading: bool = False) -> RelationMatch | None:
    """Return an order up to an event: "what happens until a fish swims"."""
    match = _UNTIL.match(text)
    if match is None:
        return None
    left, anchor = match["left"].strip(" ,"), match["anchor"]
    if is_leading and left:
        return None
    is_leading = not left and ", " in anchor
    if is_leading:
        anchor, left = anchor.split(", ", 1)
    event, asks = read_plain(left)
    is_about_time = is_leading or not event or _DOING.search(left) or (asks == "when" and not _WAITING.search(left))
    fits = bool(left) and is_about_time and asks not in ("whether", "statement")
    return RelationMatch("until", anchor, left) if fits and (match["when"] or _CLAUSE.match(anchor)) else None


def clause(text: str) -> str:
    """Return an anchor as a statement: "it is that a dog runs" → "A dog runs."; "" where no word is left."""
    text = text.strip(" ,.?!")
    while match := _PLAIN.match(text):
        text = text[match.end() :]
    text = without_trailing(text)
    return text and text[0].upper() + text[1:] + "."


def _first_or_last(text: str, read_plain: ReadPlain) -> RelationMatch | None:
    if match := _NTH_TIME.match(text):
        number = int(match["digits"] or _NUMBERS.get((match["word"] or "").lower(), -2))
        return _at_time(match, RelationMatch("nth", "", "", number=number), read_plain) if number else None
    if match := _FIRST_TIME.match(text):
        return _at_time(match, RelationMatch(_which(match), "", ""), read_plain)
    match = _FIRST_VERB.match(text)
    if match is None or match["who"].split()[-1].lower() in _NO_ADVERB:
        return None
    verb = match["verb"].strip()
    if match["which"].lower() == "last" and (not verb or _LONG_UNIT.fullmatch(verb)):  # "how long does it last"
        return None
    return RelationMatch(_which(match), f"{match['who']} {verb}", match["left"])


def _at_time(match: re.Match[str], relation: RelationMatch, read_plain: ReadPlain) -> RelationMatch | None:
    """Return the order of "the second time that …", "… for the first time"."""
    left, anchor = match["left"].strip(" ,"), match["anchor"].strip(" ,")
    if not anchor:  # "when does a dog bark for the first time"
        anchor = read_plain(left)[0] if relation.kind != "nth" or match["time"] else ""
        return replace(relation, anchor=anchor, left=left) if anchor else None
    event, asks = read_plain(left)
    asks_when = asks == "when" or (not event and not _DOING.search(left))  # "what is the first time that …"
    return replace(relation, anchor=anchor, left="When" if asks_when else left)


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
        if asks == "whether" and offset is not None:  # "does it take a minute before …": how long, not how far
            fits = match.re is _LEADING or offset[0] < offset[1] or not _WAITING.search(left)
    return RelationMatch(relation_kind, anchor, left, offset) if fits else None


def _split_leading_offset(text: str) -> tuple[str, tuple[float, float] | None]:
    """Return a text like "ten seconds after a dog barks, what …" without the distance in time, and that."""
    beside = re.search(r"\b(?:after|before)\b", text, re.IGNORECASE)
    if beside is None or not beside.start():
        return text, None
    ahead, offset = split_offset(text[: beside.start()])
    return (text[beside.start() :], offset) if offset is not None and not ahead else (text, None)

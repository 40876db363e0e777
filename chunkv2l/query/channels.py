"""Read which channel a question names: what is said (heard), what is written on the screen (read), or neither.

"When does he talk about the camera?" is looked for in what is said, "Where does it say EXIT?" and "When does the slide
show the budget?" in text on the screen. A question that names neither is looked for in all channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chunkv2l.channels.cues import Channel
from chunkv2l.query.parse import Kind, Parsed
from chunkv2l.query.relations import OCCURRENCES

_SIGN: Final = (
    r"(?:(?:power ?point |opening |closing |end |title |next |first |last |road |street |shop )*"
    r"(?:slides?|screens?|titles?|captions?|signs?|texts?|credits|banners?|labels?|posters?|pages?|headlines?|charts?|"
    r"tables?|boards?|blackboard|whiteboard|billboard|cards?|menu|receipt|letter|subtitles?|overlay|display|sticker|"
    r"placard|plaque|note))"
)
_ON_SIGN: Final = rf"(?:on|in|at) (?:the |a |an |any |this |that )?{_SIGN}"
_WRITTEN: Final = r"(?:written|printed|displayed|spelled(?: out)?|spelt(?: out)?|typed)"
_SAY: Final = r"(?:says?|said|saying|states?|stated|stating)"
_MENTION: Final = (
    r"(?:mentions?|mentioned|mentioning|discuss(?:es|ed|ing)?|explain(?:s|ed|ing)?|announc(?:e|es|ed|ing)|"
    r"recommend(?:s|ed|ing)?|defin(?:e|es|ed|ing)|warn(?:s|ed|ing)?(?: about| of)?|ask(?:s|ed|ing)?(?: about| for)?|"
    r"thank(?:s|ed|ing)?|introduc(?:es?|ed|ing)(?= (?:him|her)self| themselves)|bring(?:s|ing)? up|brought up|"
    r"refer(?:s|red|ring)? to|call(?:s|ed|ing)? it)"
)
_TALK: Final = r"(?:talk(?:s|ed|ing)?|speak(?:s|ing)?|spoke|jok(?:e|es|ed|ing)|complain(?:s|ed|ing)?) (?:about|of)"
_TELL: Final = (
    r"(?:tells?|told|telling)(?: (?:us|me|you|them|him|her|everyone|everybody|people|the \w+))?(?: about| that)?"
)
_HEAR: Final = r"(?:hear|heard)(?: about)?(?: the words?| someone say| somebody say)?"

_PASSIVE: Final = (
    r"(?:said|heard|spoken|mentioned|discussed|explained|announced|defined|brought up|recommended|referred to|"
    r"talked about)"
)

_TOPIC: Final = r"(?P<topic>.*?)"
_READ: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:the |a |an |any |this |that )?{_SIGN}(?: on (?:the )?screen)? "
        rf"(?:{_SAY}|reads?|shows?|showed|showing|{_MENTION}|lists?|displays?|gives?|contains?|ha(?:s|ve) the words?)"
        rf"(?: about| that| the words?)?(?: {_TOPIC})?",
        rf"it {_SAY}(?: that| the words?)?(?: {_TOPIC})?(?: {_ON_SIGN})?",
        rf"it {_WRITTEN}(?: that)? {_TOPIC}",
        rf"(?!.* {_PASSIVE}$)(?:the )?(?:words?|text) {_TOPIC}"
        rf"(?: (?:is |are )?(?:{_WRITTEN}|shown|visible|appears?)(?: {_ON_SIGN})?)?",
        rf"{_TOPIC} (?:is |are |be )?{_WRITTEN}(?: {_ON_SIGN})?(?: about)?",
        rf"{_WRITTEN} {_ON_SIGN}",
        rf"{_TOPIC} (?:is |are |be |appears? |shown |mentioned |visible |shows? up )+{_ON_SIGN}",
    )
)
_HEARD_QUOTE: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf".*?\b(?:{_SAY}|mentions?|mentioned)(?: about| that| of| regarding| on| the words?)? {_TOPIC}",
        rf".*?\b(?:{_SAY})",
    )
)
"""Forms in which a statement, not only a question, asks for what is said."""
_HEARD: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf".*?\b(?:{_MENTION}|{_TALK}|{_TELL}|{_HEAR})(?: about| that| the words?)? {_TOPIC}",
        rf"{_TOPIC} (?:is |are |was |were |gets? |got |being |be )*{_PASSIVE}",
    )
)
_SAYING = re.compile(rf"\b{_SAY}\b(?! (?:\w+ )?(?:about|on|of|regarding)\b)", re.IGNORECASE)
_EDGES = re.compile(r"^(?:about|that|the words?|of)\s+|\s+(?:to (?:us|me|the \w+))$", re.IGNORECASE)


@dataclass(frozen=True)
class ChannelRequest:
    """A question about what is said or written.

    Attributes:
        topic: what is looked for there; "" for everything (in a time range).
        asks_for_words: the words themselves are asked for: "What does she say about the bridge?"
        is_verbatim: the topic is to be said in these words: "How many times does he say hello?"
    """

    channel: Channel
    topic: str
    asks_for_words: bool
    is_verbatim: bool = False


def read_channel(parsed: Parsed) -> ChannelRequest | None:
    """Return the channel that a question names, and what it looks for there; None where it names none.

    Plain statements name one only by saying that something is said or written: "Two men discuss a map" can be seen.
    A question with an order in time names none: its events are looked for in the pictures. One for the first or the
    third time of something, or how many times there are, does.
    """
    relation = parsed.relation
    asks_occurrences = relation is not None and relation.kind in OCCURRENCES
    if parsed.fact is not None or (relation is not None and relation.kind != "within" and not asks_occurrences):
        return None
    text = re.sub(r"[\s?!.…]+$", "", parsed.statement)
    heard = _HEARD_QUOTE if parsed.kind == "statement" else (*_HEARD_QUOTE, *_HEARD)
    channels: tuple[tuple[Channel, tuple[re.Pattern[str], ...]], ...] = (("read", _READ), ("heard", heard))
    for channel, patterns in channels:
        for pattern in patterns:
            if match := pattern.fullmatch(text):
                topic = _EDGES.sub("", (match.groupdict().get("topic") or "").strip()).strip(" \"“”'‘’")
                asks = _asks_for_words(parsed.kind) and not asks_occurrences
                if topic or (asks and parsed.relation is not None) or (asks and channel == "read"):
                    return ChannelRequest(channel, topic, asks, bool(topic and _SAYING.search(text)))
    return None


def _asks_for_words(kind: Kind) -> bool:
    return kind in ("what", "who", "how", "whether")

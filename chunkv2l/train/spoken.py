"""Captions as they come out of a question: "When does a dog catch the ball?" asks for "A dog catch the ball."."""

from __future__ import annotations

import re

from chunkv2l.query.parse import statement

_VERBS = frozenset(
    re.findall(
        r"\w+",
        """
        balance bike blow bounce bow carry cast catch chase chew climb collide come compete cook cool crawl
        cross cut dance dig dive dress drink drive eat enjoy enter fall fight fish float fly follow get give
        go grab greet hang have hike hit hold hop hug hurdle jog juggle jump kayak kick kiss kneel lay lead
        leap lean let lick lie lift light listen look make march move paddle paint parade pass pedal peer
        perform pet pick play point pose pour practice prepare pull push race raise reach read rest ride roll
        row run sail score see sell serve shake shoot show sing sit skate ski sleep slide smell smile smoke
        snow snowboard speak splash spray spread sprint stand stare step stick stop stretch surf swim swing
        swipe take talk tackle throw toss touch travel trek try tumble turn use view wait wade wakeboard walk
        wash watch wave wear work wrestle write
        """,
    )
)
"""What people do in captions; other words that end in s may be plurals."""

_IS = re.compile(r"\b(is|are)\s+(?=\w+ing\b|in\b|on\b|at\b)")
_BASE = {"ies": "y", "ches": "ch", "shes": "sh", "sses": "ss", "xes": "x", "oes": "o", "s": ""}
_AFTER = (
    "a an the in on at to into onto over through "
    "along across down up off with his her its their while and by from for near"
)
_DOES = re.compile(rf"(?<=\w )(\w+?)({'|'.join(_BASE)})\b(?= (?:{_AFTER.replace(' ', '|')})\b)")


def through_when(caption: str) -> str:
    """What is left of a caption that was turned into a when-question and back by `chunkv2l.query.parse.statement`.

    >>> through_when("A dog runs through the grass.")
    'A dog run through the grass.'
    >>> through_when("A man is riding a bike.")
    'A man riding a bike.'
    """
    body = caption.rstrip(". ")
    body = body[:1].lower() + body[1:]
    if found := _IS.search(body):
        return statement(f"When {found[1]} {body[: found.start()]}{body[found.end() :]}?") or caption
    for found in _DOES.finditer(body):
        verb = found[1] + _BASE[found[2]]
        if verb.lower() in _VERBS:
            return statement(f"When does {body[: found.start()]}{verb}{body[found.end() :]}?") or caption
    return statement(f"When do {body}?") or caption

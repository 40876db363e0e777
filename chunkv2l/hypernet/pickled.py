"""Bound what a checkpoint's pickle builds, before anything builds it.

A few hundred bytes of pickle can stand for a list of 2^60 elements, or for tuples nested so deeply that hashing them
overflows the stack. `check_pickle` follows the instructions with empty objects and counts.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from typing import Final

MAX_BYTES: Final = 4 << 20
"""Of a pickle; the released ones have some 100 kB."""
MAX_INSTRUCTIONS: Final = 200_000
MAX_OBJECTS: Final = 1_000_000
"""Objects when every reference is followed."""
MAX_DEPTH: Final = 64

_VALUES: Final = frozenset(
    (
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "GLOBAL", "EMPTY_TUPLE", "EMPTY_LIST", "EMPTY_DICT", "EMPTY_SET"),
    )
)
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

_Shadow = list["_Shadow"]
"""An object, of which only the objects in it are known."""


def check_pickle(data: bytes) -> None:
    """Refuse a pickle that builds too much, or with instructions that no checkpoint needs. Nothing is executed.

    Raises:
        ValueError: says why.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"its pickle has {len(data)} bytes")
    try:
        _measure(_follow(data))
    except (IndexError, KeyError) as error:
        raise ValueError("its pickle is damaged") from error


def _follow(data: bytes) -> _Shadow:
    """Return the shadow of the object that a pickle builds."""
    stack: list[_Shadow] = []
    marks: list[int] = []
    memo: dict[object, _Shadow] = {}

    def pop_marked() -> _Shadow:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    for number, (opcode, argument) in enumerate(_instructions(data)):
        if number >= MAX_INSTRUCTIONS:
            raise ValueError(f"its pickle has more than {MAX_INSTRUCTIONS} instructions")
        match opcode.name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                return stack[-1]
            case name if name in _VALUES:
                stack.append([])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(pop_marked())
            case name if name in _TUPLES:
                count = _TUPLES[name]
                items = [stack.pop() for _ in range(count)]
                stack.append(items)
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                items = pop_marked()
                stack[-1].extend(items)
            case "APPEND" | "BUILD":
                item = stack.pop()
                stack[-1].append(item)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                stack[-1].extend((key, value))
            case "REDUCE" | "NEWOBJ":
                arguments, called = stack.pop(), stack.pop()
                stack.append([called, arguments])
            case "BINPERSID":
                stack.append([stack.pop()])
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name:
                raise ValueError(f"its pickle has the instruction {name}")
    raise IndexError


def _instructions(data: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, object]]:
    """Yield a pickle's instructions with their arguments."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            yield opcode, argument
    except ValueError as error:
        raise ValueError("its pickle is damaged") from error


def _measure(top: _Shadow) -> None:
    """Raise ValueError if an object contains itself, is nested too deeply, or is too large with references followed."""
    measured: dict[int, tuple[int, int]] = {}  # objects and depth, by identity
    open_now: set[int] = set()
    path = [top]
    while path:
        item = path[-1]
        if id(item) in measured:
            path.pop()
            continue
        if id(item) not in open_now:
            open_now.add(id(item))
            unmeasured = [child for child in item if id(child) not in measured]
            if any(id(child) in open_now for child in unmeasured):
                raise ValueError("an object in it contains itself")
            path += unmeasured
            continue
        path.pop()
        objects = 1 + sum(measured[id(child)][0] for child in item)
        depth = 1 + max((measured[id(child)][1] for child in item), default=0)
        if objects > MAX_OBJECTS or depth > MAX_DEPTH:
            raise ValueError("it builds more, or nests deeper, than a checkpoint does")
        measured[id(item)] = objects, depth
        open_now.discard(id(item))

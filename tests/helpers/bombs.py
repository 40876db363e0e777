"""Small index files that stand for large ones: towers of b-tree pages, and rows that share their pages."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

PAGE: Final = 4096
_TABLE, _INDEX, _TABLE_LEAF, _INDEX_LEAF = 5, 2, 13, 10  # types of b-tree pages (SQLite's file format, 1.6)
_CELLS: Final = 250
_ROW: Final = bytes([4, 1, 1, 1, 0, 1, 2])  # a record of three small numbers
_IN_PAGE: Final = 489  # bytes of a row that stay in a leaf page of 4096 bytes, at the least


def btree_bomb(path: Path, table: str, depth: int, is_empty: bool = False) -> None:
    """Make the root of a table a tower of pages, each of which names the one below 250 times.

    Args:
        table: with or without rowid.
        is_empty: the leaf has no rows, so that a query that goes through them all never gets one.
    """
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    data = bytearray(path.read_bytes())
    leaf = data[(root - 1) * PAGE : root * PAGE]
    has_rowid = leaf[0] in (_TABLE, _TABLE_LEAF)
    if is_empty:
        leaf = bytearray(bytes([_TABLE_LEAF if has_rowid else _INDEX_LEAF, 0, 0, 0, 0, 16, 0, 0])).ljust(PAGE, b"\0")
    assert leaf[0] in (_TABLE_LEAF, _INDEX_LEAF), "the table has more than a page"
    for level in range(depth):
        data += _interior(pages + 2 + level, has_rowid)
    data += leaf
    data[(root - 1) * PAGE : root * PAGE] = _interior(pages + 1, has_rowid)
    _write(path, data)


def _interior(child: int, has_rowid: bool) -> bytes:
    """An interior page whose cells all name one page below."""
    cell = child.to_bytes(4, "big") + (bytes([1]) if has_rowid else bytes([len(_ROW)]) + _ROW)
    page, start = bytearray(PAGE), PAGE - len(cell) * _CELLS
    page[0] = _TABLE if has_rowid else _INDEX
    page[3:5], page[5:7], page[8:12] = _CELLS.to_bytes(2, "big"), start.to_bytes(2, "big"), child.to_bytes(4, "big")
    for number in range(_CELLS):
        place = start + len(cell) * number
        page[12 + 2 * number : 14 + 2 * number] = place.to_bytes(2, "big")
        page[place : place + len(cell)] = cell
    return bytes(page)


def share_pages(path: Path, table: str, rows: int, times: tuple[int, int], seconds: float) -> None:
    """Repeat the last row of a table of one row a page, so that all copies share the pages that it continues on.

    Args:
        rows: of the table, in the end.
        times: the columns of a row's start and end.
        seconds: length of a row, from `rows` on.
    """
    with closing(sqlite3.connect(path)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    data = bytearray(path.read_bytes())
    leaves = list(_leaves(data, root))
    cells = [cell for leaf in leaves for cell in _cells(data, leaf)]
    assert len(cells) == count
    last = _Row(cells[-1])
    cells += [last.copied(number, times, seconds) for number in range(count, rows)]
    written: list[list[bytes]] = []
    for cell in cells:
        if not written or sum(map(len, written[-1])) + 2 * len(written[-1]) + len(cell) + 32 > PAGE:
            written.append([])
        written[-1].append(cell)
    level = [(_Row(page[-1]).rowid, _page(_TABLE_LEAF, page)) for page in written]
    while len(level) > 1:
        first = len(data) // PAGE + 1
        for _, content in level:
            data += content
        named = [(rowid, first + i) for i, (rowid, _) in enumerate(level)]
        level = []
        for start in range(0, len(named), 200):
            *inner, (highest, right) = named[start : start + 200]
            children = [number.to_bytes(4, "big") + _varint(rowid) for rowid, number in inner]
            level.append((highest, _page(_TABLE, children, right)))
    data[(root - 1) * PAGE : root * PAGE] = level[0][1]
    _write(path, data)


class _Row:
    """A row in a leaf page, taken apart: its number, what its header says, and where its columns lie."""

    def __init__(self, cell: bytes) -> None:
        self.size, at = _read_varint(cell, 0)
        self.rowid, self.start = _read_varint(cell, at)
        self.cell = cell

    def copied(self, rowid: int, times: tuple[int, int], seconds: float) -> bytes:
        """Return the row with another number and its times."""
        header, at = _read_varint(self.cell, self.start)
        place, end = self.start + header, self.start + header
        body = bytearray(self.cell[self.start :])
        column = 0
        while at < end:
            serial, at = _read_varint(self.cell, at)
            if column in times:
                assert serial == 7, "times are no whole numbers"
                value = seconds * (rowid + times.index(column))
                body[place - self.start : place - self.start + 8] = struct.pack(">d", value)
            place += _length(serial)
            column += 1
        return _varint(self.size) + _varint(rowid) + bytes(body)


def _length(serial: int) -> int:
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)[serial] if serial < 12 else (serial - 12) // 2


def _leaves(data: bytes | bytearray, number: int) -> Iterator[int]:
    """Yield the numbers of a table's leaf pages, in order."""
    start = (number - 1) * PAGE
    if data[start] == _TABLE_LEAF:
        yield number
        return
    count = int.from_bytes(data[start + 3 : start + 5], "big")
    places = [int.from_bytes(data[start + 12 + 2 * i : start + 14 + 2 * i], "big") for i in range(count)]
    for child in [*(data[start + place : start + place + 4] for place in places), data[start + 8 : start + 12]]:
        yield from _leaves(data, int.from_bytes(child, "big"))


def _cells(data: bytes | bytearray, number: int) -> Iterator[bytes]:
    """Yield the cells of a table's leaf page."""
    start = (number - 1) * PAGE
    for i in range(int.from_bytes(data[start + 3 : start + 5], "big")):
        place = start + int.from_bytes(data[start + 8 + 2 * i : start + 10 + 2 * i], "big")
        size, at = _read_varint(data, place)
        _, at = _read_varint(data, at)
        kept = size
        if size > PAGE - 35:
            kept = _IN_PAGE + (size - _IN_PAGE) % (PAGE - 4)
            kept = kept if kept <= PAGE - 35 else _IN_PAGE
        yield bytes(data[place : at + kept + (4 if kept < size else 0)])


def _page(page_type: int, cells: list[bytes], right: int = 0) -> bytes:
    page = bytearray(PAGE)
    header, place = (12 if right else 8), PAGE
    page[0], page[8:12] = page_type, right.to_bytes(4, "big") if right else page[8:12]
    page[3:5] = len(cells).to_bytes(2, "big")
    for i, cell in enumerate(cells):
        place -= len(cell)
        page[place : place + len(cell)] = cell
        page[header + 2 * i : header + 2 * i + 2] = place.to_bytes(2, "big")
    page[5:7] = place.to_bytes(2, "big")
    assert place > header + 2 * len(cells)
    return bytes(page)


def _varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))


def _read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return a number of at most eight bytes, and where it ends."""
    value = 0
    while True:
        value = value << 7 | data[at] & 0x7F
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _write(path: Path, data: bytearray) -> None:
    data[28:32] = (len(data) // PAGE).to_bytes(4, "big")
    path.write_bytes(data)

"""Makers of odd transport streams, from ones that PyAV has written: two programmes, scrambled streams."""

from __future__ import annotations

from itertools import zip_longest

PACKET = 188


def packets_of(data: bytes) -> list[bytes]:
    return [data[at : at + PACKET] for at in range(0, len(data), PACKET)]


def number_of(packet: bytes) -> int:
    return (packet[1] & 0x1F) << 8 | packet[2]


def scramble(data: bytes, number: int) -> bytes:
    """Set the scrambling flag of one stream's packets, and change their bytes."""
    packets = packets_of(data)
    return b"".join(
        packet[:3] + bytes([packet[3] | 0x80]) + packet[4:12] + bytes(byte ^ 0x5A for byte in packet[12:])
        if number_of(packet) == number
        else packet
        for packet in packets
    )


def join_programmes(first: bytes, second: bytes) -> bytes:
    """Return one stream with both as programmes 1 and 2; streams 256, 257 … of the second become 512, 513 …"""
    table = _section(0x00, b"\x00\x01\xc1\x00\x00" + b"\x00\x01\xf0\x00" + b"\x00\x02\xf0\x01")
    tables = [_packet(0, table) if number_of(packet) == 0 else packet for packet in packets_of(first)]
    others = [_renumber(packet) for packet in packets_of(second) if number_of(packet) not in (0, 17)]
    return b"".join(packet for pair in zip_longest(tables, others) for packet in pair if packet is not None)


def _renumber(packet: bytes) -> bytes:
    number = number_of(packet)
    if number != 0x1000:
        return packet[:1] + _number(packet[1] & 0xE0, number + 256) + packet[3:]
    begin = 5 + packet[4]
    length = (packet[begin + 1] & 0x0F) << 8 | packet[begin + 2]
    body = bytearray(packet[begin + 3 : begin + 3 + length - 4])
    body[1] = 2  # the programme
    body[5:7] = _number(body[5] & 0xE0, ((body[5] & 0x1F) << 8 | body[6]) + 256)
    at = 9 + ((body[7] & 0x0F) << 8 | body[8])
    while at < len(body):
        body[at + 1 : at + 3] = _number(body[at + 1] & 0xE0, ((body[at + 1] & 0x1F) << 8 | body[at + 2]) + 256)
        at += 5 + ((body[at + 3] & 0x0F) << 8 | body[at + 4])
    return _packet(0x1001, _section(0x02, bytes(body)))


def _number(flags: int, number: int) -> bytes:
    return bytes([flags | number >> 8, number & 0xFF])


def _section(table: int, body: bytes) -> bytes:
    data = bytes([table, 0xB0, len(body) + 4]) + body
    return data + _check_sum(data).to_bytes(4, "big")


def _packet(number: int, section: bytes) -> bytes:
    return (b"\x47" + _number(0x40, number) + b"\x10\x00" + section).ljust(PACKET, b"\xff")


def _check_sum(data: bytes) -> int:
    """Return the CRC-32 of MPEG-2's tables."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value

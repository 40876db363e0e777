"""A token is needed wherever others can reach the server."""

from __future__ import annotations

import pytest

from chunkv2l.errors import InputError
from chunkv2l.serve.settings import choose_token, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9", "LOCALHOST"])
def test_on_the_loopback_interface_none_is_needed(host: str) -> None:
    assert is_loopback(host)
    assert choose_token(host, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "example.org", "::", ""])
def test_elsewhere_a_new_one_is_made(host: str) -> None:
    first, second = choose_token(host, None), choose_token(host, None)
    assert first is not None
    assert first != second
    assert len(first) >= 32


@pytest.mark.parametrize("token", ["short", "x" * 15, "with spaces in it, long", "ünïcödeünïcödeünïcöde"])
def test_a_weak_one_is_refused(token: str) -> None:
    with pytest.raises(InputError, match="token"):
        choose_token("127.0.0.1", token)

"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from chunkv2l.defaults import MODELS


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_reaches_the_tests() -> Iterator[None]:
    """A shell that starts pytest in the background has SIGINT ignored, here and in every child: undo that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def builds_listen_only_where_a_test_says_so() -> Iterator[None]:
    """Let "auto" find no recogniser: whether one is installed is no business of other tests, nor of what they share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chunkv2l.speech.choice.is_installed", lambda: False)
        patch.setattr("chunkv2l.screen_text.choice.is_installed", lambda: False)
        yield


@pytest.fixture(autouse=True)
def fake_is_a_known_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an index of the tests' fake model name it: other models than chunkv2l's own take the user's word."""
    monkeypatch.setattr("chunkv2l.ask.MODELS", (*MODELS, "fake"))

"""Several threads at one index, or at one model: everybody gets the answer that asking alone gives."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import torch

import chunkv2l
from chunkv2l.adapter.inject import inject
from chunkv2l.ask import Index
from chunkv2l.errors import ChunkV2LError
from chunkv2l.graph import Node
from chunkv2l.index.file import IndexFile
from chunkv2l.indexing.build import build
from chunkv2l.query.query import Query
from tests.helpers import tiny_smolvlm
from tests.helpers.fake_vlm import FakeModel, FakeVLM, fake_model
from tests.helpers.written import random_codes, write_index

WORKERS = 6
QUESTIONS = (
    "When does a dog catch the ball?",
    "What is on the grass?",
    "A cat sits on the house",
    "What is red?",
    "When does a rocket run?",
    "Who jumps in the water?",
)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WORKERS) as pool:
        yield pool


def answer_json(index: Index, question: str, **options: Any) -> tuple[Any, ...]:
    answer = index.ask(question, **options)
    spans = [(span.start, span.end, pytest.approx(span.score), span.segments) for span in answer.spans]
    return answer.answer, spans, pytest.approx(answer.not_there)


def slowly(model: FakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the model pause with its adapter on, so that another thread has the time to meddle."""
    logits: Callable[..., torch.Tensor] = FakeVLM._logits

    def pausing(vlm: FakeVLM, ids: torch.Tensor) -> torch.Tensor:
        time.sleep(0.0002)
        return logits(vlm, ids)

    monkeypatch.setattr(type(model.vlm), "_logits", pausing)


def test_an_index_is_read_from_several_threads(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    codes = random_codes(40)
    with IndexFile(write_index(tmp_path / "movie.idx", codes)) as index:
        numbers = [[i, 39 - i, 7] for i in range(40)] * 3
        for requests, results in zip(numbers, threads.map(index.codes, numbers), strict=True):
            assert torch.equal(results, codes[requests])
        assert len({tuple(hits) for hits in threads.map(index.search, ["dog"] * 30)}) == 1
        assert len(set(threads.map(index.thumbnail, range(40)))) == 1


def test_answers_are_those_of_asking_alone(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two movies, one model: the adapter of one question must never be on while another's text is made."""
    paths = [write_index(tmp_path / f"{seed}.idx", random_codes(12, seed)) for seed in range(2)]
    alone = {}
    for path in paths:
        with Index(path, fake_model()) as index:
            alone.update({(path, question): answer_json(index, question) for question in QUESTIONS})
    assert len({answer for answer, *_ in alone.values()}) > 6
    shared = fake_model()
    slowly(shared, monkeypatch)
    with Index(paths[0], shared) as first, Index(paths[1], shared) as second:
        requests = [(index, question) for question in QUESTIONS for index in (first, second)] * 3
        results = list(threads.map(lambda pair: answer_json(*pair), requests))
    for (index, question), answer in zip(requests, results, strict=True):
        assert answer == alone[index.path, question]


def test_a_model_without_an_adapter_waits_for_one_that_has(threads: ThreadPoolExecutor) -> None:
    model = fake_model()
    bare = model.vlm.score(["a dog runs"])
    with inject(model.vlm.targets, model.hypernet.bias):
        other = threads.submit(model.vlm.score, ["a dog runs"])
        time.sleep(0.05)
        assert not other.done()
        assert not torch.equal(model.vlm.score(["a dog runs"]), bare)
    assert torch.equal(other.result(10), bare)


def test_a_real_text_model_answers_the_same(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    model = tiny_smolvlm.model()
    path = build(tiny_smolvlm.video(5), tmp_path / "a.idx", model=model, detector="fixed:1", captions=False).index
    with Index(path, model) as index:
        requests = [(question, policy) for question in QUESTIONS[:2] for policy in ("route", "mean", "timeline")]
        alone = [answer_json(index, question, policy=policy) for question, policy in requests]
        results = list(threads.map(lambda pair: answer_json(index, pair[0], policy=pair[1]), requests * 2))
    assert results == alone * 2


def test_the_model_is_loaded_once(tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []

    def load_model(*_: Any) -> Any:
        time.sleep(0.05)
        loaded.append(fake_model())
        return loaded[-1]

    monkeypatch.setattr("chunkv2l.models.load_model", load_model, raising=False)
    with Index(write_index(tmp_path / "movie.idx", random_codes(4))) as index:
        answers = list(threads.map(index.ask, [QUESTIONS[0]] * WORKERS))
    assert len(loaded) == 1 and sum(answer.timing.load_s > 0 for answer in answers) == 1


def test_a_policy_may_score_from_threads_of_its_own(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    def policy(graph: nx.DiGraph, query: Query) -> dict[Node, float]:
        halves = [[0, 1], [2, 3]]
        scores = {node: p for part in threads.map(query.score, halves) for node, p in part.items()}
        return {max(scores, key=scores.__getitem__): 1.0}

    with Index(write_index(tmp_path / "movie.idx", random_codes(4)), fake_model()) as index:
        assert index.ask(QUESTIONS[0], policy=policy).answer


def test_asking_a_closed_index_doesnt_blame_the_policy(tmp_path: Path) -> None:
    index = Index(write_index(tmp_path / "movie.idx", random_codes(4)), fake_model())
    index.close()
    with pytest.raises(ChunkV2LError, match="has been closed") as caught:
        index.ask(QUESTIONS[0])
    assert "policy" not in str(caught.value)


@pytest.mark.parametrize(("given", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_idle_threads_sleep_for_whoever_imports_the_package(given: str | None, policy: str) -> None:
    """Set before torch is loaded, which reads it once; a choice of the user's stays."""
    code = "import sys, chunkv2l, os; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    env = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    env |= {} if given is None else {"OMP_WAIT_POLICY": given}
    root = Path(__file__).parents[1]
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=root, check=True)
    assert ended.stdout.split() == ["False", policy]


def test_who_imports_torch_first_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.warns(RuntimeWarning, match="import chunkv2l first, or set OMP_WAIT_POLICY=PASSIVE"):
        importlib.reload(chunkv2l)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(chunkv2l)

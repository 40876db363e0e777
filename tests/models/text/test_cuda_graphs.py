"""Passes by graphs: on a CPU with a recorder that computes the same again, on a GPU with CUDA graphs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import inject
from chunkv2l.models.smolvlm.load import load_smolvlm
from chunkv2l.models.text.cuda_graphs import KEPT, Form, Graphs, Pass, Replay, rounded
from chunkv2l.models.text.decoder import Prompt, TextDecoder, score
from chunkv2l.models.text.greedy import greedy
from tests.helpers import frames2lora, tiny_smolvlm

PROMPTS = [[1, 30, 40, 50], [1, 30], [1, 60, 61, 62, 63, 64, 65], [1, 9, 8], [1, 77, 12]]
STATEMENTS = [[30, 40, 50, 60], [77], [12, 13, 14, 15, 16, 17]]


def again(run: Replay) -> Replay:
    """What recording promises, without a GPU."""
    run()
    run()
    return run


def plain() -> TextDecoder:
    return replace(tiny_smolvlm.vlm().decoder, end_ids=frozenset())


def graphed(decoder: TextDecoder) -> tuple[TextDecoder, Graphs]:
    made = replace(decoder)
    graphs = Graphs(made, again)
    made.__dict__["graphs"] = graphs  # as its cached property would
    return made, graphs


def adapters(count: int, rank: int = 3, seed: int = 0, device: str = "cpu") -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(count, 4, rank, 160, generator=generator)
    return Adapter(a, torch.randn(count, 4, rank, 64, generator=generator), 0.2).to(device)


def scored(decoder: TextDecoder, prompt: Prompt, adapter: Adapter | None, around: Adapter | None = None) -> Tensor:
    with inject(decoder.targets, around):
        return score(decoder, prompt, STATEMENTS, adapter)


def test_scores_are_the_same_from_the_third_time_on() -> None:
    decoder, graphs = graphed(plain())
    around = adapters(1, seed=9)[0]
    for adapter in (adapters(5), adapters(3, seed=1), adapters(1)[0], None, adapters(5, seed=2)):
        expected = scored(plain(), PROMPTS[0], adapter, around)
        for _ in range(4):
            found = scored(decoder, PROMPTS[0], adapter, around)
            torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)
    assert len(graphs) == 4, "stacks of 8 and of 4, one for all, none"


def test_a_size_is_recorded_when_it_comes_again_and_serves_smaller_ones() -> None:
    decoder, graphs = graphed(plain())
    counts = []
    for count in (7, 7, 6, 5, 8, 3):  # 8 rows serve all but the last
        scored(decoder, PROMPTS[0], adapters(count, rank=8))
        counts.append(len(graphs))
    assert counts == [0, 0, 1, 1, 1, 1]


def test_other_adapters_around_a_pass_are_another_graph() -> None:
    decoder, graphs = graphed(plain())
    for seed in (1, 2, 1, 2):
        around = adapters(1, seed=seed)[0]
        for _ in range(3):
            torch.testing.assert_close(
                scored(decoder, PROMPTS[1], adapters(2), around),
                scored(plain(), PROMPTS[1], adapters(2), around),
                atol=2e-4,
                rtol=0,
            )
    assert 1 < len(graphs) <= KEPT


def test_a_graph_keeps_nothing_of_the_pass_before() -> None:
    decoder, _ = graphed(plain())
    for count, rank in ((4, 8), (4, 8), (4, 8), (4, 8), (3, 5), (2, 1)):  # ranks are rounded up to 8
        poisoned = adapters(count, rank, seed=count)
        found = scored(decoder, PROMPTS[2], poisoned)
        torch.testing.assert_close(found, scored(plain(), PROMPTS[2], poisoned), atol=2e-4, rtol=0)
        bad = replace(adapters(4, 8), A=torch.full((4, 4, 8, 160), torch.nan))
        assert scored(decoder, PROMPTS[2], bad).isnan().all()


def test_states_may_be_learned_from() -> None:
    decoder, graphs = graphed(plain())
    for _ in range(3):
        with torch.no_grad():
            states = decoder.states(decoder.embed(PROMPTS[0])[None], torch.ones(1, 4, dtype=torch.long), None)
    assert len(graphs) == 1
    learned = torch.nn.Linear(64, 1)
    learned(states).sum().backward()
    assert learned.weight.grad is not None


@pytest.mark.parametrize("stack", [True, False, None])
def test_answers_are_the_same(stack: bool | None) -> None:
    decoder, graphs = graphed(plain())
    adapter = None if stack is None else adapters(5) if stack else adapters(1)[0]
    expected = greedy(plain(), PROMPTS, adapter, 9)
    for _ in range(4):
        assert greedy(decoder, PROMPTS, adapter, 9) == expected
    assert len(graphs) == 1
    fewer = None if adapter is None else adapter[:3] if stack else adapter
    assert greedy(decoder, PROMPTS[:3], fewer, 9) == greedy(plain(), PROMPTS[:3], fewer, 9)


def test_answers_end_where_they_end() -> None:
    free = greedy(plain(), PROMPTS, adapters(5), 10)
    ends = frozenset({free[0][0], free[1][2], free[3][4]})
    decoder, graphs = graphed(replace(plain(), end_ids=ends))
    expected = greedy(replace(plain(), end_ids=ends), PROMPTS, adapters(5), 10)
    calls: list[None] = []
    for count in range(1, 5):
        assert greedy(decoder, PROMPTS, adapters(5), 10, on_first_token=lambda: calls.append(None)) == expected
        assert len(calls) == count
    assert len(graphs) == 1


def test_no_graph_where_something_watches_or_gradients_are_wanted() -> None:
    decoder, graphs = graphed(plain())
    watched: list[object] = []
    handle = decoder.targets[0].register_forward_pre_hook(lambda *_: watched.append(None))
    try:
        for _ in range(3):
            scored(decoder, PROMPTS[0], adapters(2))
    finally:
        handle.remove()
    assert len(watched) == 3 and len(graphs) == 0
    embeds, mask = decoder.embed(PROMPTS[0])[None], torch.ones(1, 4, dtype=torch.long)
    wanted = adapters(1)[0]
    wanted.A.requires_grad_()
    for _ in range(3):
        assert decoder.states(embeds, mask, wanted).requires_grad
    assert len(graphs) == 0


def test_what_cannot_be_recorded_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    def fail(run: Replay) -> Replay:
        raise RuntimeError("operation not permitted.\nMore.")

    decoder = plain()
    decoder.__dict__["graphs"] = Graphs(decoder, fail)
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            torch.testing.assert_close(
                scored(decoder, PROMPTS[0], adapters(2)), scored(plain(), PROMPTS[0], adapters(2)), atol=0, rtol=0
            )
            assert greedy(decoder, PROMPTS, None, 3) == greedy(plain(), PROMPTS, None, 3)
    assert [record.message for record in caplog.records] == [
        "No CUDA graphs (operation not permitted): asking goes on without."
    ]


@pytest.mark.parametrize("room", [0, 16])
@pytest.mark.parametrize("count", [3, 0, None])
def test_what_is_recorded_never_looks_at_a_number(
    room: int, count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device has none: what a graph can't record, a number that Python waits for, fails there, too."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)  # meta isn't a device that it knows
    made = plain()
    decoder = replace(made, model=deepcopy(made.model).to("meta"), head=deepcopy(made.head).to("meta"))
    kind = None if count is None else (torch.float32, 0.2)
    form = Form(rows=count or 4, tokens=8, room=room, adapters=count, rank=8, precision=kind, around=())
    adapter = None if count is None else adapters(max(count, 1), 8, device="meta")
    with torch.inference_mode(), inject(decoder.targets, adapters(1, device="meta")[0]):
        found = Pass(decoder, form, adapter[0] if adapter and not count else adapter, again)
        assert found.replay().shape == ((form.rows,) if room else (form.rows, 8, 64))
        if room:
            assert found.step().shape == (form.rows,)


def test_rows_are_rounded_up() -> None:
    assert [rounded(count) for count in (1, 3, 9, 25, 64, 65, 130)] == [1, 4, 12, 32, 64, 128, 192]


@pytest.fixture(scope="module", params=[torch.float32, torch.bfloat16])
def on_gpu(request: pytest.FixtureRequest) -> Iterator[TextDecoder]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU")
    folder = str(frames2lora.MODEL)
    yield load_smolvlm(folder, str(tiny_smolvlm.CHECKPOINT), "cuda", request.param)[0].decoder


@pytest.mark.gpu
def test_cuda_graphs_score_as_eager_passes_do(on_gpu: TextDecoder) -> None:
    eager, decoder = replace(on_gpu), replace(on_gpu)
    eager.__dict__["graphs"] = None
    graphs = decoder.graphs
    assert graphs is not None
    around = adapters(1, seed=9, device="cuda")[0]
    close = 1e-3 if next(decoder.model.parameters()).dtype == torch.float32 else 0.5
    for seed in range(4):
        for count in (5, 24):
            adapter = adapters(count, seed=seed, device="cuda")
            found, expected = (scored(one, PROMPTS[0], adapter, around) for one in (decoder, eager))
            torch.testing.assert_close(found, expected, atol=close, rtol=0)
    assert len(graphs) == 3  # 24 adapters' statements are too many rows for one pass


@pytest.mark.gpu
def test_cuda_graphs_answer_as_eager_passes_do(on_gpu: TextDecoder) -> None:
    eager, decoder = replace(on_gpu), replace(on_gpu)
    eager.__dict__["graphs"] = None
    graphs = decoder.graphs
    assert graphs is not None
    for seed in range(4):
        adapter = adapters(5, seed=seed, device="cuda")
        found, expected = (greedy(one, PROMPTS, adapter, 12) for one in (decoder, eager))
        if next(decoder.model.parameters()).dtype == torch.float32:
            assert found == expected
        else:  # near ties may fall to either side in bfloat16
            assert sum(a[:1] == b[:1] for a, b in zip(found, expected, strict=True)) >= 4
    assert len(graphs) == 1

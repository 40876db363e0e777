"""Captions for images without texts, written by the VLM itself with the frames in context (self-distillation).

A run captions each such source once and keeps the captions in its folder, so that a resumed run trains on the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chunkv2l.errors import InputError
from chunkv2l.files import write_text
from chunkv2l.train.clips.base import BankClips
from chunkv2l.train.core import distributed
from chunkv2l.train.core.decoder import go_on, read
from chunkv2l.train.data.batches import pad_rows
from chunkv2l.train.data.material import Material
from chunkv2l.train.data.questions import Described, clean

Captioner = Callable[[Sequence[int]], list[str]]
"""Takes the numbers of images, returns a caption of each; "" where the VLM has none."""


def caption_untold_images(
    material: Material, captioner: Captioner, folder: Path, *, rank: int, say: Callable[[str], None]
) -> tuple[Described, ...]:
    """Return the texts of every image; those of the sources marked `taught` get the VLM's captions.

    The first process calls the captioner and writes `taught-STEM.json` to the folder; all processes read it.

    Raises:
        InputError: the folder has the captions of another run.
    """
    described = list(material.described)
    for source, numbers in zip(material.sources, material.pools, strict=True):
        if not source.taught:
            continue
        path = folder / f"taught-{source.stem.replace('/', '-')}.json"
        if rank == 0 and not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(captioner(numbers)))
        distributed.wait()
        texts = json.loads(path.read_text(encoding="utf-8"))
        if len(texts) != len(numbers):
            raise InputError(f"{path} is of another run: remove it.")
        say(f"captioned by the VLM: {texts[:4]}")
        for number, text in zip(numbers, texts, strict=True):
            caption = clean(text)
            captions = (*described[number].captions, caption) if caption else described[number].captions
            described[number] = replace(described[number], captions=captions)
    return tuple(described)


@torch.no_grad()
def sample_captions(
    source: BankClips,
    images: Tensor,
    tokenizer: Any,
    generator: torch.Generator,
    *,
    words: Sequence[Sequence[int]] | None = None,
    temperature: float = 0.7,
    longest: int = 20,
    batch: int = 512,
    frames: int = 4,
) -> list[str]:
    """Sample a caption of each image from `mini` in training; "" for those that don't end within `longest` tokens.

    Args:
        images: numbers of images, int64 [n].
        words: ids that follow each image's frames; None for the caption prompt behind the source's own tags.
        batch: images that are captioned at once.
        frames: frames of a clip.
    """
    texts: list[str] = []
    end = tokenizer.eos_token_id
    for begin in range(0, images.shape[0], batch):
        chosen = images[begin : begin + batch]
        past, _ = read(source.decoder, source.sight.prefix(source.bank.clips(chosen, frames, generator)))
        if words is None:
            rows = [[*source.ids_before_question(image), *source.tail.tolist()] for image in chosen.tolist()]
        else:
            rows = [list(ids) for ids in words[begin : begin + batch]]
        starts = [len(row) for row in rows]
        owner = torch.arange(len(rows), device=chosen.device)
        for _ in range(longest):
            ids, mask = (t.to(chosen.device) for t in pad_rows(rows))
            hidden = go_on(source.decoder, past, owner, source.decoder.embed(ids))
            logits = (hidden[owner, mask.sum(1) - 1] @ source.decoder.head.T).float() / temperature
            token = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            for row, number in zip(rows, token.tolist(), strict=True):
                if row[-1] != end:
                    row.append(number)
            if all(row[-1] == end for row in rows):
                break
        for row, start in zip(rows, starts, strict=True):
            texts.append(clean(tokenizer.decode(row[start:-1])) if row[-1] == end else "")
    return texts

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
from chunkv2l.train.core.decoder import Runner, forward
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
            described[number] = replace(described[number], captions=(caption,) if caption else ())
    return tuple(described)


@torch.no_grad()
def sample_captions(
    source: BankClips,
    images: Tensor,
    tokenizer: Any,
    generator: torch.Generator,
    runner: Runner,
    *,
    temperature: float = 0.7,
    longest: int = 20,
    batch: int = 512,
    frames: int = 4,
) -> list[str]:
    """Sample a caption of each image from `mini` in training; "" for those that don't end within `longest` tokens.

    Args:
        images: numbers of images, int64 [n].
        batch: images that are captioned at once.
        frames: frames of a clip.
    """
    texts: list[str] = []
    end = tokenizer.eos_token_id
    for begin in range(0, images.shape[0], batch):
        prefix = source.sight.prefix(source.bank.clips(images[begin : begin + batch], frames, generator))
        tail = source.decoder.embed(source.tail).expand(prefix.shape[0], -1, -1)
        x = torch.cat([prefix, tail], dim=1)
        ids = torch.empty(prefix.shape[0], 0, dtype=torch.long, device=x.device)
        for _ in range(longest):
            hidden, _ = forward(source.decoder, x, runner=runner)
            logits = (hidden[:, -1] @ source.decoder.head.T).float() / temperature
            token = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, token], dim=1)
            x = torch.cat([x, source.decoder.embed(token)], dim=1)
            if bool((ids == end).any(1).all()):
                break
        for sequence in ids.tolist():
            ended = end in sequence
            texts.append(clean(tokenizer.decode(sequence[: sequence.index(end)])) if ended else "")
    return texts

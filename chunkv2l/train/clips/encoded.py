"""Encode clips with the VLM, each once, keep them on disk in bfloat16, and read them back a batch at a time.

Each take has a file: `states` [L, S, D], the hypernetwork's input; `features` [S', C], the vision features that the
keys pool; and, where the VLM with frames in context is the teacher, `prefix` [P, D], the embedded prompt up to the last
of its frames.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from chunkv2l.errors import ChunkV2LError
from chunkv2l.files import atomic_write
from chunkv2l.models.family import Family
from chunkv2l.models.text.decoder import stacked
from chunkv2l.train.clips.base import Teacher, Watched, Words
from chunkv2l.train.clips.shots import Shot
from chunkv2l.train.core import distributed
from chunkv2l.train.core.decoder import Decoder, go_on, read

_AT_ONCE = 8
"""Clips that are encoded together."""
_READERS = 4

Missing = tuple[Shot, int, float, Path]
"""(shot, take, seconds, file to write)"""


@dataclass(frozen=True)
class Take:
    """A clip on disk; `seconds` is how long a photograph was filmed, 0 for a video."""

    path: Path
    seconds: float


@dataclass(frozen=True)
class EncodedClips:
    """Read the clips that an `Encoder` has written (`base.Clips`). Only a batch's clips are in memory.

    Args:
        takes: of each image.
    """

    decoder: Decoder
    takes: tuple[tuple[Take, ...], ...]

    @property
    def device(self) -> torch.device:
        return self.decoder.embedding.device

    @torch.no_grad()
    def clips(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None, words: Words | None = None
    ) -> Watched:
        """Return a take of `frames` seconds of each image, or any take of images that have none so long."""
        parts = self._parts(images, frames, generator, ("states", "features", "prefix"))
        states, mask = stacked([part["states"] for part in parts])
        features, features_mask = stacked([part["features"] for part in parts])
        prefixes = [part["prefix"] for part in parts if "prefix" in part]
        teacher = self._teacher(prefixes) if len(prefixes) == len(parts) else None
        return Watched(states, mask, teacher, features, features_mask)

    @torch.no_grad()
    def features(
        self, images: Tensor, frames: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        return stacked([part["features"] for part in self._parts(images, frames, generator, ("features",))])

    def ids_before_question(self, image: int) -> list[int]:
        return []

    def _parts(
        self, images: Tensor, frames: int, generator: torch.Generator | None, names: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """Read these tensors of a take of each image; a file may lack some."""
        draws = torch.zeros(images.shape[0])
        if generator is not None:
            draws = torch.rand(images.shape[0], generator=generator, device=generator.device)
        chosen = []
        for image, draw in zip(images.tolist(), draws.tolist(), strict=True):
            takes = self.takes[image]
            fitting = [take for take in takes if take.seconds == frames] or list(takes)
            chosen.append(fitting[min(int(draw * len(fitting)), len(fitting) - 1)].path)
        with ThreadPoolExecutor(_READERS) as pool:
            return list(pool.map(partial(self._read, names=names), chosen))

    def _read(self, path: Path, names: Sequence[str]) -> dict[str, Tensor]:
        try:
            with safe_open(path, framework="pt") as file:
                parts = {name: file.get_tensor(name) for name in names if name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ChunkV2LError(f"The encoded clip {path} can't be read ({error}): start the run again.") from None
        return {name: part.to(self.device, self.decoder.embedding.dtype) for name, part in parts.items()}

    def _teacher(self, prefixes: Sequence[Tensor]) -> Teacher:
        """Return the teacher; it reads clips with prefixes of one length together, so that none is padded."""
        lengths = torch.tensor([prefix.shape[0] for prefix in prefixes], device=self.device)

        @torch.no_grad()
        def teacher(owner: Tensor, ids: Tensor) -> Tensor:
            hidden = prefixes[0].new_zeros(*ids.shape, prefixes[0].shape[1])
            for length in sorted(set(lengths.tolist())):
                group = (lengths == length).nonzero()[:, 0]
                position = torch.full_like(lengths, -1)
                position[group] = torch.arange(len(group), device=self.device)
                rows = (position[owner] >= 0).nonzero()[:, 0]
                if not len(rows):
                    continue
                past, _ = read(self.decoder, torch.stack([prefixes[i] for i in group.tolist()]))
                hidden[rows] = go_on(self.decoder, past, position[owner[rows]], self.decoder.embed(ids[rows]))
            return hidden

        return teacher


@dataclass(frozen=True)
class Encoder:
    """Encode clips that aren't on disk yet.

    Args:
        identity: of the frozen VLM.
        folder: the folder of encoded clips.
        behind: the ids that follow the frames in the prompt of the VLM's `embed_with_frames(clips, "")`; None where
            it isn't the teacher.
        tokens: number of a clip's tokens whose states are kept, drawn at random; all if 0.
    """

    vlm: Family
    identity: str
    folder: Path
    behind: Sequence[int] | None = None
    tokens: int = 0

    def encode(
        self,
        decoder: Decoder,
        shots: Sequence[Shot],
        seconds: Sequence[int],
        *,
        rank: int = 0,
        count: int = 1,
        say: Callable[[str], None] = print,
    ) -> EncodedClips:
        """Encode all takes of all shots.

        Args:
            seconds: take t of a photograph is `seconds[t % len(seconds)]` long.
            rank, count: this process and the number of processes; each encodes its share.

        Raises:
            InputError: a video can't be read.
            ChunkV2LError: the disk is full, or would be.
        """
        takes: list[tuple[Take, ...]] = []
        missing: dict[Path, Missing] = {}
        for shot in shots:
            shot_takes = []
            for number in range(shot.takes):
                length = shot.length(number, seconds)
                path = self._path(shot, number, length)
                shot_takes.append(Take(path, length))
                if not _is_complete(path):
                    missing[path] = (shot, number, length, path)
            takes.append(tuple(shot_takes))
        self._encode(list(missing.values())[rank::count], count, say)
        distributed.wait()
        return EncodedClips(decoder, tuple(takes))

    def _encode(self, missing: Sequence[Missing], count: int, say: Callable[[str], None]) -> None:
        written = 0
        with tqdm(total=len(missing), unit="clip", desc="encoding", disable=None, leave=False) as bar:
            for begin in range(0, len(missing), _AT_ONCE):
                batch = missing[begin : begin + _AT_ONCE]
                try:
                    written += self._write(batch)
                except OSError as error:
                    raise ChunkV2LError(f"Clips can't be written to {self.folder} ({error.strerror}).") from error
                bar.update(len(batch))
                if not begin:
                    self._check_room(written / len(batch), (len(missing) - len(batch)) * count, say)

    def _check_room(self, each: float, left: int, say: Callable[[str], None]) -> None:
        free = shutil.disk_usage(self.folder).free
        say(f"A clip takes about {each / 1e6:.2f} MB in {self.folder}; {left} are left to be encoded.")
        if each * left > 0.95 * free:
            raise ChunkV2LError(
                f"The clips would take {each * left / 1e9:.1f} GB more in {self.folder}, where {free / 1e9:.1f} GB are "
                'free: name another "cache", or take fewer images ("limit"), "takes", or "tokens" of a clip.'
            )

    @torch.no_grad()
    def _write(self, batch: Sequence[Missing]) -> int:
        clips = [shot.clip(self.vlm, take, seconds) for shot, take, seconds, _ in batch]
        features = self.vlm.look(clips)
        states, mask = self.vlm.encode(clips, features)
        prompts = None if self.behind is None else self.vlm.embed_with_frames(clips, "", features)
        written = 0
        for number, (*_, path) in enumerate(batch):
            real = states[number][:, mask[number].bool()]
            tensors = {"states": self._sample_tokens(real, path.stem), "features": features[number]}
            if prompts is not None and self.behind is not None:
                tensors["prefix"] = prompts[number][: -len(self.behind)]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                save_file({name: t.to(torch.bfloat16).cpu().contiguous() for name, t in tensors.items()}, part)
            written += path.stat().st_size
        return written

    def _sample_tokens(self, states: Tensor, key: str) -> Tensor:
        count = states.shape[1]
        if not 0 < self.tokens < count:
            return states
        generator = torch.Generator().manual_seed(int(key[:8], 16))
        order = torch.randperm(count, generator=generator)[: self.tokens].sort().values
        return states[:, order.to(states.device)]

    def _path(self, shot: Shot, take: int, seconds: float) -> Path:
        recipe = f"{self.identity} {self.tokens} {None if self.behind is None else list(self.behind)}"
        folder = hashlib.sha256(recipe.encode()).hexdigest()[:16]
        key = shot.key(take, seconds)
        return self.folder / folder / key[:2] / f"{key}.safetensors"


def _is_complete(path: Path) -> bool:
    """Return True if a clip's file is whole and has features, which files of earlier versions lack.

    Opening it fails where the header promises more bytes than there are.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return {"states", "features"} <= set(file.keys())
    except (SafetensorError, OSError):
        return False

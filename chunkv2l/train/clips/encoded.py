"""Clips that the VLM itself has encoded, each once: kept on disk in bfloat16, read back a batch at a time.

A file a take: `states` [L, S, D], what the hypernetwork reads; `features` [S', C], what the vision side sees and the
keys pool; and, where the VLM with frames in context is to teach, `prefix` [P, D], the embedded prompt up to the last of
its frames.
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
from chunkv2l.train.clips.base import Teacher, Watched
from chunkv2l.train.clips.shots import Shot
from chunkv2l.train.core import distributed as several
from chunkv2l.train.core.decoder import Decoder, go_on, read

_AT_ONCE = 8
"""Clips that are encoded together."""
_READERS = 4

Missing = tuple[Shot, int, float, Path]
"""(shot, take, seconds, where it goes)"""


@dataclass(frozen=True)
class Take:
    """A clip on disk; `seconds` that a photograph was filmed, 0 for a video."""

    path: Path
    seconds: float


@dataclass(frozen=True)
class EncodedClips:
    """What `encode` made; see `clips.Clips`. Only a batch's clips are in memory.

    Args:
        takes: of each image.
    """

    decoder: Decoder
    takes: tuple[tuple[Take, ...], ...]

    @property
    def device(self) -> torch.device:
        return self.decoder.embedding.device

    @torch.no_grad()
    def clips(self, images: Tensor, frames: int, generator: torch.Generator | None = None) -> Watched:
        """Of each image a take of `frames` seconds, where it has such takes; any, where it has none."""
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

    def _parts(
        self, images: Tensor, frames: int, generator: torch.Generator | None, names: Sequence[str]
    ) -> list[dict[str, Tensor]]:
        """These tensors of each image's take, as far as its file has them."""
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
        """Clips whose prefixes are of one length are read together, so that none is padded."""
        lengths = torch.tensor([prefix.shape[0] for prefix in prefixes], device=self.device)

        @torch.no_grad()
        def teacher(owner: Tensor, ids: Tensor) -> Tensor:
            hidden = prefixes[0].new_zeros(*ids.shape, prefixes[0].shape[1])
            for length in sorted(set(lengths.tolist())):
                group = (lengths == length).nonzero()[:, 0]
                place = torch.full_like(lengths, -1)
                place[group] = torch.arange(len(group), device=self.device)
                rows = (place[owner] >= 0).nonzero()[:, 0]
                if not len(rows):
                    continue
                past, _ = read(self.decoder, torch.stack([prefixes[i] for i in group.tolist()]))
                hidden[rows] = go_on(self.decoder, past, place[owner[rows]], self.decoder.embed(ids[rows]))
            return hidden

        return teacher


@dataclass(frozen=True)
class Encoder:
    """Encodes what isn't on disk yet.

    Args:
        identity: what tells the frozen VLM from others.
        folder: where clips are kept.
        behind: the ids that follow the frames in the prompt of the VLM's `embed_with_frames(clips, "")`; None where it
            isn't to teach.
        tokens: of a clip whose states are kept, drawn at random; all if 0.
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
        """All takes of all shots.

        Args:
            seconds: take t of a photograph is `seconds[t % len(seconds)]` long.
            rank, count: of several processes, each encodes its share.

        Raises:
            InputError: a video can't be read.
            ChunkV2LError: the disk is full, or would be.
        """
        takes: list[tuple[Take, ...]] = []
        missing: dict[Path, Missing] = {}
        for shot in shots:
            own = []
            for number in range(shot.takes):
                length = shot.length(number, seconds)
                path = self._path(shot, number, length)
                own.append(Take(path, length))
                if not _readable(path):
                    missing[path] = (shot, number, length, path)
            takes.append(tuple(own))
        self._encode(list(missing.values())[rank::count], count, say)
        several.wait()
        return EncodedClips(decoder, tuple(takes))

    def _encode(self, missing: Sequence[Missing], count: int, say: Callable[[str], None]) -> None:
        written = 0
        with tqdm(total=len(missing), unit="clip", desc="encoding", disable=None, leave=False) as bar:
            for begin in range(0, len(missing), _AT_ONCE):
                some = missing[begin : begin + _AT_ONCE]
                try:
                    written += self._write(some)
                except OSError as error:
                    raise ChunkV2LError(f"Clips can't be written to {self.folder} ({error.strerror}).") from error
                bar.update(len(some))
                if not begin:
                    self._check_room(written / len(some), (len(missing) - len(some)) * count, say)

    def _check_room(self, each: float, left: int, say: Callable[[str], None]) -> None:
        free = shutil.disk_usage(self.folder).free
        say(f"A clip takes about {each / 1e6:.2f} MB in {self.folder}; {left} are left to be encoded.")
        if each * left > 0.95 * free:
            raise ChunkV2LError(
                f"The clips would take {each * left / 1e9:.1f} GB more in {self.folder}, where {free / 1e9:.1f} GB are "
                'free: name another "cache", or take fewer images ("limit"), "takes", or "tokens" of a clip.'
            )

    @torch.no_grad()
    def _write(self, some: Sequence[Missing]) -> int:
        clips = [shot.clip(self.vlm, take, seconds) for shot, take, seconds, _ in some]
        seen = self.vlm.look(clips)
        states, mask = self.vlm.encode(clips, seen)
        prompts = None if self.behind is None else self.vlm.embed_with_frames(clips, "", seen)
        written = 0
        for number, (*_, path) in enumerate(some):
            own = states[number][:, mask[number].bool()]
            tensors = {"states": self._some_of(own, path.stem), "features": seen[number]}
            if prompts is not None and self.behind is not None:
                tensors["prefix"] = prompts[number][: -len(self.behind)]
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as part:
                save_file({name: t.to(torch.bfloat16).cpu().contiguous() for name, t in tensors.items()}, part)
            written += path.stat().st_size
        return written

    def _some_of(self, states: Tensor, key: str) -> Tensor:
        count = states.shape[1]
        if not 0 < self.tokens < count:
            return states
        generator = torch.Generator().manual_seed(int(key[:8], 16))
        order = torch.randperm(count, generator=generator)[: self.tokens].sort().values
        return states[:, order.to(states.device)]

    def _path(self, shot: Shot, take: int, seconds: float) -> Path:
        how = f"{self.identity} {self.tokens} {None if self.behind is None else list(self.behind)}"
        folder = hashlib.sha256(how.encode()).hexdigest()[:16]
        key = shot.key(take, seconds)
        return self.folder / folder / key[:2] / f"{key}.safetensors"


def _readable(path: Path) -> bool:
    """Whether a clip is there and whole (a header that promises more than there is, is told when it is opened).

    Files of earlier versions have no features.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return {"states", "features"} <= set(file.keys())
    except (SafetensorError, OSError):
        return False

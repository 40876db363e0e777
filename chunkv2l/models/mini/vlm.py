"""Run `mini`, the default frozen model: SmolLM2-135M-Instruct, which reads frames through DINOv2 and a connector.

Everything runs in float32, on a GPU as well: so small a model needs no less, and an index then has the same codes and
scores, up to rounding, wherever it was built and is asked. Two things may not, on a CPU with matrix units for bfloat16
(AMX, `reading_precision`): clips are read in mixed precision, and so is the first look at what a statement scores.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chunkv2l.adapter.inject import exclusive, inject
from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.hypernet.keys import split_names
from chunkv2l.models.base import AdapterBase, Tag
from chunkv2l.models.family import Family, Lowered
from chunkv2l.models.mini.connector import MAX_FRAMES, SIZE, Connector, VisionFeatures, see, to_tensor, unit_states
from chunkv2l.models.mini.efficientnet import CLASSES, EfficientNetLite2, classify
from chunkv2l.models.mini.prompts import Prompts
from chunkv2l.models.mini.tags import name_clips
from chunkv2l.models.text.decoder import TextDecoder
from chunkv2l.models.text.plain import plain, quiet, special_strings
from chunkv2l.video.frame_sampling import FrameSampling

if TYPE_CHECKING:
    from chunkv2l.video.clip import Clip

MIN_FRAMES = 2
FRAMES_PER_SECOND = 1.0
BASE_MODEL = "chunkv2l-mini"
"""The base model in exported adapters' configuration: the folder that `chunkv2l export --base` writes."""
_FRAMES_AT_ONCE, _FRAMES_AT_ONCE_GPU = 16, 64
"""Frames that the vision model takes at once, on a CPU and on a GPU (docs/measurements.md#frames-at-once-mini)."""

# The published template, without the system message that it puts in where there is none: training knew no such message.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class MiniVLM(Family):
    """`mini`; see `chunkv2l.models.base.VLM` for what the methods promise.

    The caption prompt, under which statements are scored too, is the bare assistant header: three tokens.

    Args:
        language: SmolLM2 (a `LlamaForCausalLM`, or a `chunkv2l.models.text.llama.Language`) with the LoRA that makes it
            read visual tokens merged in.
        vision: DINOv2 (a `Dinov2Model`), or what loads it when a frame is first looked at: questions need none.
        connector: from what `vision` sees to visual tokens.
        tokenizer: SmolLM2's.
        name: what the index calls it.
        base_model: what exported adapters say that they belong to.
        reading: the precision in which frames and clips are read and statements scored coarsely, float32 or bfloat16
            (autocast); the rest is in float32 always.
        classifier: of frames, or what loads it; its probabilities stand behind a clip's features. None: there are none.
        reads_tags: whether its names stand behind the visual tokens when a clip is read.
    """

    caption_question = ""

    def __init__(
        self,
        language: Any,
        vision: Any,
        connector: Connector,
        tokenizer: Any,
        name: str = "mini",
        base_model: str = BASE_MODEL,
        reading: torch.dtype = torch.float32,
        classifier: EfficientNetLite2 | Callable[[], EfficientNetLite2] | None = None,
        reads_tags: bool = False,
    ) -> None:
        self.name = name
        self._classifier = classifier
        self.reads_tags = reads_tags
        self.reading = reading
        self.base_model = base_model
        self.tokenizer = tokenizer
        self.language = language.eval().requires_grad_(False)
        self._vision = vision
        self.connector = connector.eval().requires_grad_(False)
        self.prompts = Prompts(tokenizer)
        self._special = special_strings(tokenizer)
        ends = {self.prompts.answer("")[-1], tokenizer.convert_tokens_to_ids("<|endoftext|>")} - {None}
        self.decoder = TextDecoder(self.language.model, self.language.lm_head, frozenset(ends))

    # --- pictures ------------------------------------------------------------------------------------------------

    @property
    def sampling(self) -> FrameSampling:
        return SAMPLING

    @property
    def channels(self) -> int:
        return self.connector.cls.in_features

    @torch.no_grad()
    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Return `VisionFeatures.features` of each clip's frames, float32.

        They are [frames · (1 + GRID²), C], and a classifier's probabilities behind them where there is one.
        """
        if not clips:
            raise InputError("There is no clip to look at.")
        counts = [len(clip.frames) for clip in clips]
        if wrong := [count for count in counts if not 0 < count <= MAX_FRAMES]:
            raise InputError(f"{self.name} looks at 1 to {MAX_FRAMES} frames of a clip, not at {wrong[0]}.")
        frames = [shrink(frame) for clip in clips for frame in clip.frames]
        step = _FRAMES_AT_ONCE if self.device.type == "cpu" else _FRAMES_AT_ONCE_GPU
        with self._reading():
            parts = [
                self._see(to_tensor(np.stack(frames[start : start + step]), self.device))
                for start in range(0, len(frames), step)
            ]
        grid, cls = torch.cat([seen.grid for seen in parts]), torch.cat([seen.cls for seen in parts])
        names = [seen.names for seen in parts if seen.names is not None]
        of_clips = torch.split(torch.cat(names), counts) if names else [None] * len(counts)
        rows = zip(torch.split(grid, counts), torch.split(cls, counts), of_clips, strict=True)
        return [VisionFeatures(*row).features() for row in rows]

    def _see(self, images: Tensor) -> VisionFeatures:
        """Return the features of images uint8 [N, 3, SIZE, SIZE]."""
        features = see(self._vision_lowered, images)
        return features if self.classifier is None else replace(features, names=classify(self.classifier, images))

    @torch.no_grad()
    def encode(self, clips: Sequence[Clip], features: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Return states [B, L, S, D], index i the input of text block i over its root mean square, and mask [B, S].

        All tokens of a user turn that holds the frames and nothing else, and the assistant's header behind it, count.
        The states are in the precision `reading`.
        """
        rows = self.embed_with_frames(clips, "", features)
        lengths = [row.shape[0] for row in rows]
        config = self.language.config
        shape = (len(rows), config.num_hidden_layers, max(lengths), config.hidden_size)
        states = rows[0].new_zeros(shape, dtype=self.reading)
        # Clips of one length go through together: no time is spent on padding, and no mask is needed.
        for length in sorted(set(lengths)):
            chosen = [number for number, other in enumerate(lengths) if other == length]
            batch = torch.stack([rows[number] for number in chosen])
            with inject(self._reader.targets, None), self._reading():  # not another thread's adapter
                output = self._reader.model(inputs_embeds=batch, output_hidden_states=True, use_cache=False)
            for block, state in enumerate(output.hidden_states[:-1]):
                states[chosen, block, :length] = unit_states(state).to(self.reading)
        real = torch.tensor(lengths, device=self.device)[:, None]
        return states, (torch.arange(max(lengths), device=self.device) < real).long()

    def embed_with_frames(
        self, clips: Sequence[Clip], question: str, features: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Return for each clip [S_i, D]: a user turn that begins with its frames, and the assistant's header."""
        before = self.decoder.embed(self.prompts.opening)
        features = self.look(clips) if features is None else features
        rows = zip(self._visual_tokens(clips, features), self.tags(features), strict=True)
        after = self.ids_after_frames(question)
        return [
            torch.cat([before, visual, self.decoder.embed([*self.prompts.tags(tags), *after])]) for visual, tags in rows
        ]

    def tags(self, features: Sequence[Tensor]) -> list[tuple[str, ...]]:
        """Return the tags with which each clip is read, from what `look` returned; none where it is read without."""
        if not self.reads_tags:
            return [()] * len(features)
        return [tuple(tag.name for tag in tags) for tags in self.classify(features)]

    def classify(self, features: Sequence[Tensor]) -> list[tuple[Tag, ...]]:
        if self._classifier is None:
            return super().classify(features)
        return name_clips(torch.cat([split_names(of_clip[None], None, CLASSES)[2] for of_clip in features]).cpu())

    @torch.no_grad()
    def embed_context(self, clip: Clip, question: str) -> tuple[Tensor, Tensor]:
        """Return a prompt with any number of frames, MAX_FRAMES of them after another, as the connector numbers few."""
        clips = [
            replace(clip, frames=clip.frames[i : i + MAX_FRAMES], times=clip.times[i : i + MAX_FRAMES])
            for i in range(0, len(clip.frames), MAX_FRAMES)
        ]
        before = torch.cat([self.decoder.embed(self.prompts.opening), *self._visual_tokens(clips)])
        return before, self.decoder.embed(self.ids_after_frames(question))

    def _visual_tokens(self, clips: Sequence[Clip], features: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Return the visual tokens of each clip: [frames · tokens_per_frame, D]."""
        features = self.look(clips) if features is None else features
        return [self.connector(VisionFeatures.of_features(of_clip[None]))[0] for of_clip in features]

    @cached_property
    def vision(self) -> Any:
        """Return DINOv2, loaded when it is first needed."""
        vision = self._vision if isinstance(self._vision, nn.Module) else self._vision()
        return vision.eval().requires_grad_(False)

    @cached_property
    def classifier(self) -> EfficientNetLite2 | None:
        """Return the classifier of frames; None where there is none."""
        if self._classifier is None:
            return None
        network = self._classifier if isinstance(self._classifier, EfficientNetLite2) else self._classifier()
        return network.eval().requires_grad_(False)

    @cached_property
    def _vision_lowered(self) -> Any:
        """Return the vision model that frames are looked at with."""
        return lowered(self.vision, self.reading)

    @cached_property
    def _reader(self) -> TextDecoder:
        """Return the language model that clips are read with, and statements scored coarsely."""
        with exclusive(self.targets):  # a copy would take another thread's adapter along
            return replace(self.decoder, model=lowered(self.decoder.model, self.reading))

    def _reading(self) -> AbstractContextManager[object]:
        if self.reading == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.reading)

    # --- words ---------------------------------------------------------------------------------------------------

    @cached_property
    def coarse(self) -> Lowered | None:
        if self.reading == torch.float32:
            return None
        head = lowered(self.language.lm_head, self.reading)
        return Lowered(self, replace(self._reader, head=head), self.reading)

    def _plain(self, text: str) -> str:
        return plain(text, self._special)

    def prompt_ids(self, question: str) -> list[int]:
        return self.prompts.ask(self._plain(question))

    def statement_ids(self, statement: str) -> list[int]:
        """Return the statement's token ids as they follow the scoring prompt."""
        return self.prompts.answer(self._plain(statement).strip())[:-1]

    @property
    def end_of_turn(self) -> int:
        return self.prompts.answer("")[-1]

    def ids_after_frames(self, question: str) -> list[int]:
        return self.prompts.behind_frames(self._plain(question))

    def decode(self, ids: Sequence[int]) -> str:
        return self.prompts.text(list(ids))

    # --- the language model for others ---------------------------------------------------------------------------

    @property
    def adapter_base(self) -> AdapterBase:
        return AdapterBase(self.base_model, save=self.save_base)

    def save_base(self, folder: str | Path) -> None:
        """Write the language model as a transformers folder: LoRA merged, with tokenizer and chat template.

        The template renders a question as `prompt_ids` does.

        Raises:
            ChunkV2LError: the folder can't be written.
        """
        try:
            with quiet():
                self.language.save_pretrained(folder)
            # Its weights may be read by their owner only; a server that loads them may run as somebody else.
            shutil.copymode(Path(folder) / "config.json", Path(folder) / "model.safetensors")
            tokenizer = getattr(self.tokenizer, "full", self.tokenizer)
            template, tokenizer.chat_template = tokenizer.chat_template, CHAT_TEMPLATE
            try:
                tokenizer.save_pretrained(folder)
            finally:
                tokenizer.chat_template = template
        except OSError as error:
            raise ChunkV2LError(f"The language model can't be written to {folder} ({error.strerror}).") from error


def reading_precision(device: torch.device | str) -> torch.dtype:
    """Return bfloat16 on a CPU that has matrix units for it, float32 everywhere else.

    What that saves and changes: docs/measurements.md#mixed-precision-for-reading-mini.
    """
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return torch.bfloat16 if torch.device(device).type == "cpu" and has_amx is not None and has_amx() else torch.float32


def lowered(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a model with its matrices in another precision (autocast would cast them every time); the rest is shared."""
    if dtype == torch.float32:
        return model
    memo: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
    for module in model.modules():
        if isinstance(module, nn.Linear):
            memo |= {id(p): nn.Parameter(p.to(dtype), requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(model, memo)


def sample_times(duration: float, fps: float = 0.0) -> list[float]:
    """Return one time a second, at least 2 and at most 8, at the centres of as many equal parts of the segment.

    Args:
        duration: seconds.
        fps: of the movie; makes no difference.
    """
    count = min(max(int(duration * FRAMES_PER_SECOND + 0.5), MIN_FRAMES), MAX_FRAMES)
    return [duration * (2 * number + 1) / (2 * count) for number in range(count)]


def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stretch a frame uint8 [H, W, 3] to [SIZE, SIZE, 3]: by area where it shrinks, linearly where it grows.

    A frame of that size passes unchanged.
    """
    import cv2

    height, width = image.shape[:2]
    if height > SIZE or width > SIZE:
        image = cv2.resize(image, (min(width, SIZE), min(height, SIZE)), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    if image.shape[:2] != (SIZE, SIZE):
        image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    return image


SAMPLING: Final = FrameSampling(sample_times, shrink)

"""Run SmolVLM2, the paper's frozen model, fed as the released hypernetworks expect (arXiv 2606.04351)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chunkv2l.adapter.inject import inject
from chunkv2l.errors import InputError
from chunkv2l.models.base import AdapterBase
from chunkv2l.models.family import Family
from chunkv2l.models.smolvlm import inputs, lanczos
from chunkv2l.models.text.decoder import TextDecoder, pad
from chunkv2l.models.text.plain import plain, special_strings
from chunkv2l.video.clip import Clip
from chunkv2l.video.frame_sampling import FrameSampling

CAPTION_PROMPT = "Describe the video."
MODULE_PATH = "model.text_model.layers.{i}.mlp.down_proj"
_ONE_FRAME = Clip((), (0.0,), 1.0, 1.0)
"""A clip of which only the words around its frame count."""
_FRAMES_AT_ONCE = 32


class SmolVLM(Family):
    """A frozen SmolVLM2; see `chunkv2l.models.base.VLM` for what the methods promise.

    Args:
        model: a `SmolVLMForConditionalGeneration`, in the device and precision that it is to run in.
        tokenizer: its tokenizer, with the chat template.
        pixels: how frames become the vision tower's input.
        name: what the index calls it.
        max_frames: the most frames of a clip that are looked at.
        base_model: what exported adapters say that they belong to; None for `name`.
    """

    caption_question = ""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        pixels: inputs.PixelRule,
        name: str = "smolvlm",
        max_frames: int = inputs.MAX_FRAMES,
        base_model: str | None = None,
    ) -> None:
        self.name = name
        self.base_model = base_model or name
        self.tokenizer = tokenizer
        self.pixels = pixels
        self.max_frames = max_frames
        self.model = model.eval().requires_grad_(False)
        config = self.model.config
        self._end: str = getattr(tokenizer, "end_of_utterance_token", None) or "<end_of_utterance>"
        self._image: str = getattr(tokenizer, "image_token", None) or "<image>"
        self._fake: str = getattr(tokenizer, "fake_image_token", None) or "<fake_token_around_image>"
        self._whole: str = getattr(tokenizer, "global_image_token", None) or "<global-img>"
        self._image_id: int = config.image_token_id
        self._special = special_strings(tokenizer)
        self._last_statement: tuple[str | None, list[int]] = (None, [])  # the last statement, and its tokens
        self._caption_ids: list[int] = []
        self.frame_tokens: int = (pixels.tile // config.vision_config.patch_size // config.scale_factor) ** 2
        self.decoder = TextDecoder(
            self.model.model.text_model,
            self.model.lm_head,
            frozenset({tokenizer.convert_tokens_to_ids(self._end), tokenizer.eos_token_id}),
        )

    # --- pictures ------------------------------------------------------------------------------------------------

    @property
    def sampling(self) -> FrameSampling:
        times = partial(inputs.sample_times, max_frames=self.max_frames)
        shrink = partial(inputs.shrink, longest_edge=self.pixels.longest_edge)
        return FrameSampling(times, shrink, exact=True)  # so that adapters are the reference's, to the pixel

    @property
    def adapter_base(self) -> AdapterBase:
        return AdapterBase(self.base_model, MODULE_PATH)

    @property
    def channels(self) -> int:
        return int(self.model.config.text_config.hidden_size)

    @torch.no_grad()
    def look(self, clips: Sequence[Clip]) -> list[Tensor]:
        """Return each clip's picture features, as its prompt has them: [frames · frame_tokens, D]."""
        if not clips:
            raise InputError("There is no clip to look at.")
        frames = [frame for clip in clips for frame in clip.frames]
        out = []
        for start in range(0, len(frames), _FRAMES_AT_ONCE):
            pixels = self._pixels(frames[start : start + _FRAMES_AT_ONCE])
            # The reference casts pixels to bfloat16 whatever the model runs in.
            pixels = pixels.to(self.device, torch.bfloat16).to(self.model.dtype)
            output = self.model.model.get_image_features(pixel_values=pixels[None])
            output = getattr(output, "pooler_output", output)
            features = torch.cat(list(output)) if isinstance(output, (list, tuple)) else output
            out.append(features.reshape(len(pixels), -1, features.shape[-1]))
        by_clip = torch.cat(out).split_with_sizes([len(clip.frames) for clip in clips])
        return [of_clip.flatten(0, 1) for of_clip in by_clip]

    @torch.no_grad()
    def encode(
        self, clips: Sequence[Clip], features: Sequence[Tensor] | None = None, *, padding: str = "right"
    ) -> tuple[Tensor, Tensor]:
        """Return states [B, L, S, D] in the model's precision, index i the input of text block i, and mask [B, S].

        Every token of a clip counts: words, time stamps, pictures (docs/algorithm.md, step 1).

        Args:
            features: what `look` returned for these clips; None to look now.
            padding: the side on which shorter clips are padded; a hypernetwork doesn't see which.
        """
        embeds, mask = pad(self._embed(clips, inputs.INSTRUCTION, features, answer=False), padding)
        text: Any = self.decoder.model
        with inject(self.targets, None):  # not another thread's adapter
            out = text(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True, use_cache=False)
        return torch.stack(out.hidden_states[:-1], dim=1), mask

    def clip_ids(self, clip: Clip, text: str, answer: bool) -> list[int]:
        """Return the ids of a user turn: a clip's frames, then `text`; `answer` opens the assistant's turn."""
        words = inputs.video_text(
            clip.times, clip.duration, self.frame_tokens, image=self._image, fake=self._fake, whole_image=self._whole
        )
        return self._ids(words + self._plain(text), answer)

    def embed_with_frames(
        self, clips: Sequence[Clip], question: str, features: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        return self._embed(clips, question or CAPTION_PROMPT, features, answer=True)

    def _embed(self, clips: Sequence[Clip], text: str, features: Sequence[Tensor] | None, answer: bool) -> list[Tensor]:
        """Return for each clip [S_i, D]: its turn's token embeddings with the frames' features in their places."""
        features = self.look(clips) if features is None else features
        out = []
        for clip, of_clip in zip(clips, features, strict=True):
            row = torch.tensor(self.clip_ids(clip, text, answer), device=self.device)
            positions = (row == self._image_id).nonzero()[:, 0]
            if len(positions) != len(of_clip):
                raise InputError(
                    f"{self.name} gives {len(of_clip)} picture tokens of a clip where its prompt has place for "
                    f"{len(positions)}."
                )
            embeds = self.decoder.embed_ids(row)
            embeds[positions] = of_clip.to(embeds.dtype)
            out.append(embeds)
        return out

    def _pixels(self, frames: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Compute `PixelRule.pixels`, float32 [F, 3, tile, tile]; a GPU makes the same numbers of bytes."""
        if self.device.type == "cpu":
            return torch.from_numpy(self.pixels.pixels(frames))
        return pixels_on(self.device, self.pixels, frames)

    # --- words ---------------------------------------------------------------------------------------------------

    def _plain(self, text: str) -> str:
        """Return the text without special tokens, those for pictures among them."""
        return plain(text, self._special)

    def _ids(self, text: str, answer: bool) -> list[int]:
        """Return the token ids of a conversation of one user turn; text as it is, pictures' tokens included."""
        ids: list[int] = self.tokenizer(self._turn(text, answer), add_special_tokens=False)["input_ids"]
        return ids

    def _turn(self, text: str, answer: bool) -> str:
        turn = [{"role": "user", "content": [{"type": "text", "text": text}]}]
        rendered: str = self.tokenizer.apply_chat_template(turn, add_generation_prompt=answer, tokenize=False)
        return rendered

    def prompt_ids(self, question: str) -> list[int]:
        if question:
            return self._ids(self._plain(question) or CAPTION_PROMPT, answer=True)
        self._caption_ids = self._caption_ids or self._ids(CAPTION_PROMPT, answer=True)
        return list(self._caption_ids)

    def statement_ids(self, statement: str) -> list[int]:
        """Return the statement's ids as they follow the caption prompt, with the leading space that answers have."""
        last, ids = self._last_statement
        if last == statement:  # a question scores one statement many times
            return list(ids)
        turn = self._turn(CAPTION_PROMPT, answer=True)
        whole = self.tokenizer(f"{turn} {self._plain(statement).strip()}", add_special_tokens=False)["input_ids"]
        ids = whole[len(self.prompt_ids("")) :]
        self._last_statement = (statement, ids)
        return list(ids)

    @property
    def end_of_turn(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(self._end))

    def ids_after_frames(self, question: str) -> list[int]:
        before = self._ids_before_questions
        ids = self.clip_ids(_ONE_FRAME, question or CAPTION_PROMPT, answer=True)
        if ids[: len(before)] != before:
            raise InputError(f"The tokenizer joins the question {question!r} to what stands before it.")
        return ids[len(before) :]

    @cached_property
    def _ids_before_questions(self) -> list[int]:
        """Return the token ids that a clip has in front of every question."""
        caption, other = (self.clip_ids(_ONE_FRAME, text, answer=True) for text in (CAPTION_PROMPT, "Is it?"))
        return caption[: next(i for i, (a, b) in enumerate(zip(caption, other, strict=False)) if a != b)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def pixels_on(device: torch.device, rule: inputs.PixelRule, frames: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Compute `rule.pixels(frames)` on a device that is sent the frames' bytes: float32 [F, 3, tile, tile].

    They are the same numbers. Resampling a few hundred frames for a batch of clips would keep every core busy.
    """
    small = [np.ascontiguousarray(inputs.shrink(frame, rule.longest_edge)) for frame in frames]
    squares = torch.empty(len(small), rule.tile, rule.tile, 3, dtype=torch.uint8, device=device)
    for shape in {frame.shape for frame in small}:  # a movie's frames have one
        chosen = [number for number, frame in enumerate(small) if frame.shape == shape]
        pictures = torch.from_numpy(np.stack([small[number] for number in chosen]))
        squares[chosen] = lanczos.resize(pictures.to(device), rule.tile, rule.tile)
    return _look_up(squares, torch.from_numpy(rule.levels()).to(device))


def _look_up(squares: Tensor, levels: Tensor) -> Tensor:
    """Look up each channel's values, uint8 [F, H, W, 3], in levels [3, 256]: [F, 3, H, W]."""
    planes = squares.int().permute(3, 0, 1, 2)
    pairs = zip(levels, planes, strict=True)
    return torch.stack([level.index_select(0, plane.reshape(-1)).view(plane.shape) for level, plane in pairs], dim=1)

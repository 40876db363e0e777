"""The classifier: TensorFlow's padding, norms folded into convolutions, and what its checkpoint is called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from chunkv2l.errors import InputError
from chunkv2l.models.mini.efficientnet import (
    CLASSES,
    SIDE,
    Block,
    EfficientNetLite2,
    SameConv,
    build,
    classify,
    read_checkpoint,
)


def published() -> dict[str, Tensor]:
    """A random checkpoint, named and shaped as the published one."""
    torch.manual_seed(0)
    network, state = EfficientNetLite2(), {}

    def add(convolution: str, norm: str, weight: Tensor) -> None:
        state[f"{convolution}.weight"] = torch.randn_like(weight) * 0.1
        for name, least in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            state[f"{norm}.{name}"] = least + torch.rand(weight.shape[0])

    add("_conv_stem", "_bn0", network.stem.weight)
    for number, block in enumerate(network.blocks):
        assert isinstance(block, Block)
        if block.expand is not None:
            add(f"_blocks.{number}._expand_conv", f"_blocks.{number}._bn0", block.expand.weight)
        add(f"_blocks.{number}._depthwise_conv", f"_blocks.{number}._bn1", block.depthwise.weight)
        add(f"_blocks.{number}._project_conv", f"_blocks.{number}._bn2", block.project.weight)
    add("_conv_head", "_bn1", network.head.weight)
    state["_fc.weight"], state["_fc.bias"] = torch.randn(CLASSES, 1280) * 0.1, torch.randn(CLASSES)
    return state


def test_a_converted_checkpoint_computes_what_convolution_and_norm_do(tmp_path: Path) -> None:
    state = published()
    torch.save(state, tmp_path / "weights.pth")
    network = build(read_checkpoint(tmp_path / "weights.pth"))
    pixels = torch.randn(2, 3, 32, 32)
    bare = F.conv2d(F.pad(pixels, (0, 1, 0, 1)), state["_conv_stem.weight"], stride=2)
    mean, variance = state["_bn0.running_mean"], state["_bn0.running_var"]
    expected = F.batch_norm(bare, mean, variance, state["_bn0.weight"], state["_bn0.bias"], eps=1e-3)
    torch.testing.assert_close(network.stem(pixels), expected, rtol=1e-4, atol=1e-4)
    assert sum(parameter.numel() for parameter in network.parameters()) < 6_200_000


def test_what_is_no_checkpoint_is_an_input_error(tmp_path: Path) -> None:
    lacking = published()
    del lacking["_blocks.20._bn2.running_var"]
    torch.save(lacking, tmp_path / "lacking.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("lacking.pth", "text.pth", "none.pth"):
        with pytest.raises(InputError, match="isn't a checkpoint"):
            read_checkpoint(tmp_path / name)


@pytest.mark.parametrize(
    ("length", "kernel", "stride", "before"), [(7, 3, 1, 1), (8, 3, 2, 0), (7, 3, 2, 1), (8, 5, 2, 1)]
)
def test_same_padding_puts_the_odd_pixel_last(length: int, kernel: int, stride: int, before: int) -> None:
    layer = SameConv(1, 1, kernel, stride, bias=False)
    torch.nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, 0, before, before] = 1.0  # takes the pixel that stands over it
    pixels = torch.arange(length * length, dtype=torch.float32).view(1, 1, length, length)
    assert torch.equal(layer(pixels), pixels[:, :, ::stride, ::stride])


def test_probabilities_of_pictures_of_any_size() -> None:
    torch.manual_seed(0)
    network = EfficientNetLite2().eval()
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE), dtype=torch.uint8)
    probabilities = classify(network, images)
    assert probabilities.shape == (2, CLASSES) and probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    smaller = F.interpolate(images.float(), (224, 224), mode="bicubic", antialias=True).clamp(0, 255)
    assert classify(network, smaller).shape == (2, CLASSES)

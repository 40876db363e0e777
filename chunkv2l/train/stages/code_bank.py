"""Keep the codes and keys of many clips under a frozen hypernetwork, for what is trained on codes alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from chunkv2l.files import atomic_write
from chunkv2l.train.stages.hypernet_stage import HypernetStage

_AT_ONCE = 128
_FRAMES = (2, 4, 8)


@dataclass(frozen=True)
class CodeBank:
    """Codes and keys of each image, filmed some times.

    Attributes:
        codes: [takes, images, L, r, d], float16.
        keys: [takes, images, K], unit vectors.
    """

    codes: Tensor
    keys: Tensor

    def draw(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return codes [B, L, r, d] and keys [B, K] of a random take of each image; of the first without a
        generator."""
        takes = torch.zeros_like(images)
        if generator is not None:
            takes = torch.randint(len(self.codes), images.shape, device=images.device, generator=generator)
        return self.codes[takes, images], self.keys[takes, images]

    def save(self, file: Path) -> None:
        """Write the bank, for further runs."""
        with atomic_write(file) as part:
            save_file({"codes": self.codes, "keys": self.keys}, part)


def load_code_bank(file: Path, device: torch.device) -> CodeBank:
    """Return a bank that `CodeBank.save` wrote."""
    tensors = load_file(file, str(device))
    return CodeBank(tensors["codes"], tensors["keys"])


@torch.no_grad()
def build_code_bank(stage: HypernetStage, images: int, takes: int, frames: tuple[int, ...] = _FRAMES) -> CodeBank:
    """Return the codes and keys of images 0 … `images` − 1.

    Args:
        stage: the trained parts and the clips' source.
        takes: how often each is filmed; the first take is the one that the source gives without chance.
        frames: a clip's numbers of frames, in turn from the second take on; the first has 4.
    """
    trained = stage.trained
    config = trained.hypernet.config
    device = stage.source.device
    shape = (takes, images, config.num_layers, config.rank, config.latent_size)
    codes = torch.empty(shape, dtype=torch.float16, device=device)
    keys: list[Tensor] = []
    was_training = trained.training
    trained.eval()
    for take in range(takes):
        count = frames[take % len(frames)] if take else 4
        of_take: list[Tensor] = []
        for batch in torch.split(torch.arange(images, device=device), _AT_ONCE):
            watched = stage.source.clips(batch, count, stage.generator if take else None)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                codes[take, batch] = trained.hypernet.encode(watched.states, watched.mask).half()
            of_take.append(trained.keys.of_clips(watched.features, watched.features_mask))
        keys.append(torch.cat(of_take))
    trained.train(was_training)
    return CodeBank(codes, torch.stack(keys))

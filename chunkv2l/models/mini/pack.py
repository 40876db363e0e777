"""Pack trained parts as the package ships them: python -m chunkv2l.models.mini.pack READER HYPERNET OUT_DIR.

With --selector a selector is packed, too; it must have been trained for HYPERNET. Where OUT_DIR has READER and HYPERNET
already, packed as they are, they are left alone, so that indexes stay of use.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import torch
from transformers import LlamaForCausalLM

from chunkv2l.errors import ChunkV2LError, InputError
from chunkv2l.models.assets import weights
from chunkv2l.models.assets.cache import known_sha256
from chunkv2l.models.calibration import Calibration
from chunkv2l.models.mini import smollm2
from chunkv2l.models.mini.load import HYPERNET, READER, TAGS, adapt, check_keys, read_hypernet, reads_tags
from chunkv2l.models.selector_file import SELECTOR, read_selector, write_selector

_UNUSED = ("log_temperature",)
"""Tensors that only training needs."""


def pack(
    reader: Path,
    hypernet: Path,
    out: Path,
    calibration: Calibration | None = None,
    selector: Path | None = None,
) -> dict[Path, float]:
    """Write `mini`'s trained parts as int8 into a folder, with sizes and calibration in their metadata.

    Args:
        reader, hypernet: files of the two training stages, in any floating-point precision, or packed ones.
        out: made if it isn't there; the files in it are replaced, except those that are themselves given.
        calibration: None keeps the hypernetwork file's own, unfitted if it has none.
        selector: trained for `hypernet`; None for none.

    Returns:
        For each file written, the largest relative error of a tensor in it.

    Raises:
        InputError: files that `mini` couldn't load.
        ChunkV2LError: the folder can't be written.
    """
    network, keys, fitted = read_hypernet(hypernet)
    selecting = None if selector is None else read_selector(selector, network.config, known_sha256(hypernet))
    with torch.device("meta"):
        connector = adapt(LlamaForCausalLM(smollm2.config()).state_dict(), reader)
    check_keys(keys, connector.cls.in_features, hypernet)
    read, _ = weights.read(reader)
    trained, metadata = weights.read(hypernet)
    if "config" not in metadata or not any(name.startswith("hypernet.") for name in trained):
        raise InputError(f"{hypernet} isn't what training wrote: its parts have other names.")
    trained = {name: tensor for name, tensor in trained.items() if name not in _UNUSED}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChunkV2LError(f"The folder {out} can't be made ({error.strerror}).") from error
    stated = {"config": metadata["config"], "calibration": (calibration or fitted).to_text()}
    lost: dict[str, dict[str, float]] = {}
    if not _is_same(reader, out / READER):
        weights.write(out / READER, read, {TAGS: "true"} if reads_tags(reader) else {})
        lost[READER] = weights.loss(read)
    if calibration is not None or not _is_same(hypernet, out / HYPERNET):
        weights.write(out / HYPERNET, trained, stated)
        lost[HYPERNET] = weights.loss(trained)
    if selecting is not None:
        write_selector(out / SELECTOR, selecting, known_sha256(out / HYPERNET))
        lost[SELECTOR] = weights.loss(selecting.state_dict())
    return {out / name: max(errors.values()) for name, errors in lost.items()}


def _is_same(given: Path, target: Path) -> bool:
    return target.exists() and given.samefile(target)


@click.command()
@click.argument("reader", type=click.Path(path_type=Path))
@click.argument("hypernet", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--calibration", type=click.Path(path_type=Path), help="JSON with tau, gamma, beta and mu.")
@click.option("--selector", type=click.Path(path_type=Path), help="A selector that was trained for HYPERNET.")
def main(reader: Path, hypernet: Path, out: Path, calibration: Path | None, selector: Path | None) -> None:
    """Pack the READER and the HYPERNET of a training run into the folder OUT, as mini's trained parts."""
    try:
        fitted = None if calibration is None else Calibration.from_text(calibration.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{calibration} can't be read ({error.strerror}).") from None
    for path, lost in pack(reader, hypernet, out, fitted, selector).items():
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB, largest relative error of a tensor {lost:.2%}")


if __name__ == "__main__":
    try:
        main()
    except ChunkV2LError as error:
        sys.exit(f"Error: {error}")

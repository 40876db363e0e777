"""Split labelled sets into photographs to train on, photographs kept aside, and names kept aside.

    python recipes/train_mini/split_sets.py DATA OUT

Reads `STEM.npz` and `STEM.jsonl` of the sets below from DATA. A fifth of each set's photographs goes to `STEM_dev`, the
others to `STEM_train`, by a hash of their file names. Of Caltech-101's names 50 are kept aside whole, in
`caltech101_new`, which is split in the same way, for a last stage that learns these names too; photographs with these
names are left out of the other sets, which are written to OUT under their own names.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SPLIT = ("caltech101", "cats_dogs", "houses", "grocery")
WHOLE = ("imagenet_one_per_class", "tiny_imagenet")
NEW_NAMES = 50
COMMON = frozenset(
    {
        "airplanes",
        "car side",
        "cellphone",
        "chair",
        "cougar body",
        "cougar face",
        "crocodile head",
        "cup",
        "elephant",
        "faces easy",
        "flamingo head",
        "laptop",
        "motorbikes",
        "pizza",
        "scissors",
        "stop sign",
        "umbrella",
    }
)
"""Names that other sets have under other words, or of which another name is a part."""

Rows = Sequence[dict[str, Any]]


def number_of(text: str) -> int:
    """Return a number that depends on a text alone."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def read_set(stem: Path) -> tuple[list[bytes], list[dict[str, Any]]]:
    """Return the JPEG files and the rows of a set."""
    with np.load(stem.with_suffix(".npz"), allow_pickle=False) as file:
        data, offsets = file["jpeg"], file["offsets"]
    jpegs = [data[first:last].tobytes() for first, last in itertools.pairwise(offsets)]
    return jpegs, [json.loads(line) for line in stem.with_suffix(".jsonl").read_text().splitlines() if line.strip()]


def write_set(stem: Path, jpegs: Sequence[bytes], rows: Rows, chosen: Sequence[int]) -> None:
    """Write some photographs of a set as a set; nothing where none is chosen."""
    if not chosen:
        return
    parts = [jpegs[i] for i in chosen]
    offsets = np.cumsum([0, *map(len, parts)]).astype(np.int64)
    np.savez(stem.with_suffix(".npz"), jpeg=np.frombuffer(b"".join(parts), dtype=np.uint8), offsets=offsets)
    stem.with_suffix(".jsonl").write_text("".join(json.dumps(rows[i]) + "\n" for i in chosen))
    print(f"{stem.name}: {len(chosen)} photographs")


def choose_new_names(rows: Rows) -> set[str]:
    """Return the names that nothing is trained on."""
    names = sorted({row["labels"][0] for row in rows} - COMMON, key=number_of)
    return set(names[:NEW_NAMES])


def main(data: Path, out: Path) -> None:
    """Split all sets."""
    out.mkdir(parents=True, exist_ok=True)
    new = choose_new_names(read_set(data / "caltech101")[1])
    for name in SPLIT:
        jpegs, rows = read_set(data / name)
        kept = [i for i, row in enumerate(rows) if row["labels"][0] not in new or name != "caltech101"]
        dev = [i for i in kept if number_of(rows[i]["file"]) % 5 == 0]
        write_set(out / f"{name}_train", jpegs, rows, sorted(set(kept) - set(dev)))
        write_set(out / f"{name}_dev", jpegs, rows, dev)
        spared = sorted(set(range(len(rows))) - set(kept))
        spared_dev = [i for i in spared if number_of(rows[i]["file"]) % 5 == 0]
        write_set(out / f"{name}_new", jpegs, rows, spared)
        write_set(out / f"{name}_new_train", jpegs, rows, sorted(set(spared) - set(spared_dev)))
        write_set(out / f"{name}_new_dev", jpegs, rows, spared_dev)
    lowered = {name.lower() for name in new}
    for name in WHOLE:
        jpegs, rows = read_set(data / name)
        free = [i for i, row in enumerate(rows) if lowered.isdisjoint(label.lower() for label in row["labels"])]
        write_set(out / name, jpegs, rows, free)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Measure what the model calls things, on photographs with labels.

    python -m evaluation names --images photographs
    python -m evaluation names --images photographs --json

Every photograph is filmed (pan and zoom) and encoded; its first label is the one asked for. R@1 and R@5: its own name
among all names of the set by log p("A NAME." | adapter), with zero visual tokens and no tag in the prompt. Named: the
caption that the adapter writes names it, by its name or a synonym (`chunkv2l.train.data.naming`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click
import torch
from tqdm import tqdm

from chunkv2l.adapter.algebra import concat
from chunkv2l.adapter.inject import exclusive
from chunkv2l.errors import InputError
from chunkv2l.hypernet.compose import expand
from chunkv2l.models import Model, ModelSpec, load_model
from chunkv2l.train.data.images import ImageSet, load_images
from chunkv2l.train.stages.names import NameScores, names_among, share_by_label, share_naming, statements_of
from evaluation.common import results
from evaluation.common.options import PhotographSettings, json_option, photograph_options
from evaluation.common.table import markdown
from evaluation.movies.photographs import Encoded, Encoder, Take

CHUNK: Final = 16
"""Photographs whose adapters score the names at once."""
RULE: Final = "sum"
"""Names are ranked by log p itself: a prior that is taken off costs recall (recipes/train_mini/README.md)."""


@dataclass(frozen=True)
class Named:
    """Hold what the model calls the photographs of a set.

    Attributes:
        labels: each photograph's first label.
        captions: each adapter's caption.
        scores: likelihoods of all names under each adapter.
    """

    labels: tuple[str, ...]
    captions: tuple[str, ...]
    scores: NameScores

    def figures(self) -> dict[str, float | int]:
        """Return R@1, R@5, the share of captions that name their label, n and the number of classes."""
        return {
            "R@1": round(self.scores.recall(RULE, 1), 4),
            "R@5": round(self.scores.recall(RULE, 5), 4),
            "named": round(share_naming(self.captions, self.labels), 4),
            "n": len(self.labels),
            "classes": self.scores.nats.shape[1],
        }


def name_photographs(encoder: Encoder, images: ImageSet) -> Named:
    """Encode the photographs, score every name of the set under each adapter, and read the adapters' captions.

    Raises:
        InputError: a photograph has no label.
    """
    if not images.jpegs or not all(image.labels for image in images.described):
        raise InputError(f"Every photograph of {images.name} needs a label, by which its name is known.")
    labels = tuple(image.labels[0] for image in images.described)
    encoded = encoder.takes([Take(jpeg) for jpeg in images.jpegs])
    names, right = names_among(labels)
    scores = score_names(encoder.model, encoded, statements_of(names))
    nats, prior, tokens = scores
    return Named(labels, tuple(clip.caption for clip in encoded), NameScores(nats, prior, tokens, right))


@torch.inference_mode()
def score_names(
    model: Model, encoded: Sequence[Encoded], statements: Sequence[str]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return log p of statements under each adapter [clips, names], under the bias alone [names], and their tokens."""
    rows = []
    with exclusive(model.vlm.targets):
        prior = model.vlm.score(statements, model.hypernet.bias)[0].cpu()
        for begin in tqdm(range(0, len(encoded), CHUNK), desc="names", disable=None, leave=False):
            codes = torch.stack([clip.code.float() for clip in encoded[begin : begin + CHUNK]])
            adapters = concat([expand(model.hypernet, codes)], bias=model.hypernet.bias)
            rows.append(model.vlm.score(statements, adapters).cpu())
    tokens = torch.tensor([float(model.vlm.count_tokens(text)) for text in statements])
    return torch.cat(rows), prior, tokens


def table_of(named: Named) -> str:
    """Return the figures, and the share of each label's captions that name it."""
    figures = named.figures()
    rows = [[name, f"{value:.3f}" if isinstance(value, float) else str(value)] for name, value in figures.items()]
    rows += [
        [f"named: {label}", f"{share:.3f}"] for label, share in share_by_label(named.captions, named.labels).items()
    ]
    return markdown(["measure", "value"], rows)


@click.command("names")
@json_option
@photograph_options
def command(as_json: bool, settings: PhotographSettings) -> None:
    """Measure which names the adapters of labelled photographs make likeliest, and whether their captions say them."""
    images = load_images(settings.stem, settings.limit)
    model = load_model(ModelSpec(settings.model, device=settings.device))
    named = name_photographs(Encoder(model, settings.cache, settings.seed), images)
    figures = named.figures()
    captions = [{"label": label, "caption": text} for label, text in zip(named.labels, named.captions, strict=True)]
    report = {**figures, "captions": captions}
    results.write("names", report, table_of(named), out=settings.out, seed=settings.seed)
    click.echo(json.dumps(figures) if as_json else table_of(named))

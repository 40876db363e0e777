"""Turn how well sentences fit a topic into probabilities, for what is heard and for what is read. Pure functions.

For sentence i of N, with cosine c_i between the vectors of sentence and topic, and share w_i of the topic's words (each
weighed by how few sentences have it) that the sentence has:

    z_i = a · c_i + b · w_i
    p_i = e^{z_i} / (N·e^β + Σ_j e^{z_j}),      p(not there) = N·e^β / (the same sum)

This is the form of the pictures' probabilities (`routing.probability`), so that channels can be compared. a, b and β
are fitted for each channel (`python -m evaluation channels --fit`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ChannelCalibration:
    """The numbers of one channel's probabilities.

    Attributes:
        meaning: a.
        words: b.
        absent: β.
    """

    meaning: float
    words: float
    absent: float


HEARD: Final = ChannelCalibration(12.24, 4.58, 2.3)
READ: Final = ChannelCalibration(10.0, 4.68, 2.83)
HEARD_BY_WORDS: Final = ChannelCalibration(0.0, 9.47, 0.86)
READ_BY_WORDS: Final = ChannelCalibration(0.0, 9.73, 1.07)
"""Calibrations where sentences have no vectors."""


def sentence_probabilities(
    cosines: Sequence[float] | None,
    shares: Sequence[float],
    calibration: ChannelCalibration,
    scale: float = 1.0,
) -> tuple[list[float], float]:
    """Return p of each sentence, and p(not there).

    Args:
        cosines: c_i; None where there are no vectors.
        shares: w_i; one a sentence.
        scale: N for each of these sentences, where they stand for others that weren't compared.
    """
    if not shares:
        return [], 1.0
    meanings = [0.0] * len(shares) if cosines is None else cosines
    z = [calibration.meaning * c + calibration.words * w for c, w in zip(meanings, shares, strict=True)]
    absent = math.log(len(z) * scale) + calibration.absent
    top = max(absent, *z)
    e = [math.exp(value - top) for value in z]
    total = math.exp(absent - top) + sum(e)
    return [value / total for value in e], math.exp(absent - top) / total

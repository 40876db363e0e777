"""Channels are fitted and measured on texts whose questions name the channel."""

from __future__ import annotations

import pytest

from chunkv2l.query.channels import read_channel
from chunkv2l.query.parse import parse
from chunkv2l.routing.channel_probability import ChannelCalibration
from evaluation.benchmarks.channels import Case, fit, measure, read_texts


@pytest.mark.parametrize("text", read_texts(), ids=lambda text: text.name)
def test_each_question_of_a_text_names_its_channel(text: object) -> None:
    (same,) = [other for other in read_texts() if other == text]
    for question, right in same.questions:
        request = read_channel(parse(question))
        assert request is not None and request.channel == same.channel, question
        assert right and all(0 <= number < len(same.sentences) for number in right)


def test_a_fit_tells_what_is_there_from_what_isnt() -> None:
    present = [Case("a", (0.1, 0.7, 0.0), (0.0, 1.0, 0.0), (1,)), Case("b", (0.6, 0.1, 0.1), (0.0, 0.0, 0.0), (0,))]
    absent = [Case("a", (0.1, 0.1, 0.0), (0.0, 0.0, 0.0), ()), Case("b", (0.2, 0.1, 0.1), (0.0, 0.2, 0.0), ())]
    calibration = fit([*present, *absent] * 5)
    assert calibration.meaning > 0 and calibration.words > 0
    figures = measure([*present, *absent], calibration)
    assert figures["R@1"] == 1.0 and figures["told apart"] == 1.0 and figures["questions"] == 2
    worse = measure([*present, *absent], ChannelCalibration(0.0, 0.0, 0.0))
    assert worse["log-loss"] > figures["log-loss"]
    assert fit([*present, *absent] * 5, by_words=True).meaning == 0.0

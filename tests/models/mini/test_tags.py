"""Tags: what the classifier takes a clip for stands in the prompt under which it is read, and in no other."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from chunkv2l.hypernet.keys import SENTENCE, Keys, rows_of_names, split_names
from chunkv2l.models.mini.connector import VisionFeatures
from chunkv2l.models.mini.efficientnet import CLASSES, EfficientNetLite2
from chunkv2l.models.mini.tags import GROUP_LEAST, GROUPS, LEAST, MOST, choose_tags, class_names, write_tags
from chunkv2l.models.mini.vlm import MiniVLM
from chunkv2l.models.text.decoder import stacked
from tests.helpers import tiny_mini

TABBY, SOFA = class_names().index("tabby cat"), class_names().index("couch")


def sure_of(*classes: int) -> EfficientNetLite2:
    """A classifier that takes every picture for these classes, equally."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EfficientNetLite2()
    torch.nn.init.zeros_(network.classify.weight)
    torch.nn.init.zeros_(network.classify.bias)
    with torch.no_grad():
        network.classify.bias[list(classes)] = 20.0
    return network.eval()


def tagged(*classes: int) -> MiniVLM:
    parts = tiny_mini.untrained()
    return MiniVLM(
        parts.language,
        parts.vision,
        parts.connector,
        tiny_mini.tokenizer(),
        classifier=sure_of(*classes),
        reads_tags=True,
    )


def test_every_class_has_a_name_and_groups_have_members() -> None:
    assert len(class_names()) == CLASSES and all(class_names())
    assert {class_names()[number] for number in GROUPS["cat"]} >= {"tabby cat", "Siamese cat"}
    assert all(0 <= number < CLASSES for members in GROUPS.values() for number in members)


def test_a_group_is_as_likely_as_its_members_together() -> None:
    probabilities = torch.zeros(1, CLASSES)
    probabilities[0, list(GROUPS["dog"])] = 0.9 / len(GROUPS["dog"])  # each of them below what counts
    probabilities[0, SOFA] = LEAST
    assert choose_tags(probabilities) == [("dog", "couch")]


def test_a_group_needs_more_than_many_unlikely_members() -> None:
    dogs = list(GROUPS["dog"])
    probabilities = torch.zeros(2, CLASSES)
    probabilities[0, dogs] = 0.9 * GROUP_LEAST / len(dogs)
    probabilities[1, dogs] = 1.1 * GROUP_LEAST / len(dogs)
    assert choose_tags(probabilities) == [(), ("dog",)]


def test_the_likeliest_tags_come_first_and_few_are_taken() -> None:
    probabilities = torch.zeros(2, CLASSES)
    probabilities[0, :9] = torch.tensor([0.1, 0.2, 0.06, 0.35, 0.07, 0.08, 0.049, 0.09, 0.051])
    (first, second) = choose_tags(probabilities)
    assert len(first) == MOST and first[0] == "shark"  # 2, 3 and 4 together
    assert class_names()[3] == first[1] and class_names()[6] not in first
    assert second == ()


def test_a_line_of_tags() -> None:
    assert write_tags(("tabby cat", "couch")) == "tags: tabby cat, couch\n"
    assert write_tags(()) == ""


def test_a_clip_is_read_with_its_tags_behind_the_frames() -> None:
    vlm = tagged(TABBY, SOFA)
    clips = [tiny_mini.clip(2, 1), tiny_mini.clip(5, 2)]
    features = vlm.look(clips)
    tags = vlm.tags(features)
    assert [set(of_clip) for of_clip in tags] == [{"cat", "tabby cat", "couch"}] * 2
    line = vlm.prompts.tags(tags[1])
    assert vlm.decode(line) == f"tags: {', '.join(tags[1])}"
    rows = vlm.embed_with_frames(clips, "What is it?", features)
    behind = torch.cat([vlm.decoder.embed(line), vlm.decoder.embed(vlm.ids_after_frames("What is it?"))])
    torch.testing.assert_close(rows[1][-len(behind) :], behind)
    assert rows[1].shape[0] == len(vlm.prompts.opening) + 5 * 17 + len(behind)
    _, mask = vlm.encode(clips, features)
    around = len(vlm.prompts.opening) + len(line) + len(vlm.prompts.behind_frames(""))
    assert mask.sum(1).tolist() == [around + 2 * 17, around + 5 * 17]


def test_no_question_and_no_statement_has_a_tag() -> None:
    plain, vlm = tiny_mini.tiny().vlm, tagged(TABBY)
    vlm.encode([tiny_mini.clip(2)])
    for question in ("", "Is there a cat in the video?"):
        assert vlm.prompt_ids(question) == plain.prompt_ids(question)
    assert vlm.statement_ids("A cat.") == plain.statement_ids("A cat.")


def test_tags_have_the_classifiers_probabilities() -> None:
    vlm = tagged(TABBY, SOFA)
    features = vlm.look([tiny_mini.clip(2, 1)])
    (tags,) = vlm.classify(features)
    assert {tag.name: round(tag.p, 3) for tag in tags} == {"cat": 0.5, "tabby cat": 0.5, "couch": 0.5}
    assert vlm.tags(features) == [tuple(tag.name for tag in tags)]


def test_no_token_of_a_tag_is_embedded_when_an_adapter_is_asked() -> None:
    """Every id that the language model embeds under an adapter: the question, and what it says itself."""
    vlm = tagged(TABBY, SOFA)
    vlm.encode([tiny_mini.clip(2)])
    ids_seen: list[list[int]] = []
    table: Any = vlm.decoder.model.embed_tokens
    hook = table.register_forward_pre_hook(lambda _, args: ids_seen.append(args[0].flatten().tolist()))
    adapter = tiny_mini.adapter()
    vlm.generate(["What is it?"], adapter, 4)
    vlm.score(["A dog."], adapter)
    hook.remove()
    assert ids_seen[0] == vlm.prompt_ids("What is it?") and len(ids_seen) >= 2
    text = "".join(vlm.decode(ids) for ids in ids_seen if len(ids) > 1)
    assert "tags" not in text and "tabby" not in text and "couch" not in text


def test_without_a_classifier_nothing_changes() -> None:
    vlm = tiny_mini.tiny().vlm
    features = vlm.look([tiny_mini.clip(3)])
    assert features[0].shape[0] == 3 * 65 and vlm.tags(features) == [()]
    assert vlm.classify(features) == [()]


@pytest.mark.parametrize("channels", [768, 48])
def test_probabilities_ride_behind_the_features(channels: int) -> None:
    names = torch.rand(3, CLASSES, generator=torch.Generator().manual_seed(0))
    seen = VisionFeatures(torch.randn(3, 8, 8, channels), torch.randn(3, channels), names)
    features = seen.features()
    count = -(-CLASSES // channels)
    assert features.shape == (3 * 65 + count, channels)
    back = VisionFeatures.of_features(features)
    assert torch.equal(back.grid, seen.grid) and torch.equal(back.cls, seen.cls)
    visual, mask, found = split_names(features[None], None, CLASSES)
    assert mask is None and visual.shape[1] == 3 * 65
    torch.testing.assert_close(found[0], names.mean(0))


def named_keys() -> Keys:
    vocabulary = torch.nn.functional.normalize(torch.randn(CLASSES, SENTENCE), dim=-1)
    keys = Keys(768, 16, 8, 2, 8, vocabulary=vocabulary)
    keys.align_names()
    return keys.eval()


def test_keys_of_clips_of_several_lengths_are_those_of_each_alone() -> None:
    torch.manual_seed(0)
    keys = named_keys()
    rows = [torch.randn(n, 768) for n in (67, 197)]
    together = keys.of_clips(*stacked(rows))
    for row, key in zip(rows, together, strict=True):
        torch.testing.assert_close(keys.of_clips(row[None])[0], key)


def test_a_class_counts_for_its_name_before_any_training() -> None:
    torch.manual_seed(0)
    keys = named_keys()
    torch.nn.init.zeros_(keys.key.weight)  # names alone
    torch.nn.init.zeros_(keys.query.weight)
    probabilities = torch.zeros(2, CLASSES)
    probabilities[0, 3] = probabilities[1, 5] = 1.0
    features = torch.cat([torch.randn(2, 65, 768), rows_of_names(probabilities, 768)], dim=1)
    table = keys.of_clips(features) @ keys.of_sentences(keys.vocabulary[[3, 5]]).T
    assert table[0, 0] > table[0, 1] and table[1, 1] > table[1, 0]

"""Store the sentences of an unfinished index's cues, with the vectors by which questions find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chunkv2l.channels.sentences import join_sentences
from chunkv2l.errors import ChunkV2LError
from chunkv2l.index.tensors import sentence_vector_to_bytes
from chunkv2l.index.writer import Writer
from chunkv2l.video.notes import Notes

if TYPE_CHECKING:
    from chunkv2l.models.sentence.minilm import Sentences


def store_sentences(writer: Writer, encoder: Sentences | None, notes: Notes) -> int:
    """Join the stored cues into sentences, and store them with their vectors; return how many there are.

    Without vectors, questions find sentences by their words alone: a note says so where the encoder can't be had.

    Args:
        encoder: None for a model that has none.
    """
    sentences = join_sentences(writer.cues())
    vectors: list[bytes | None] = [None] * len(sentences)
    if sentences and encoder is not None:
        try:
            vectors = [sentence_vector_to_bytes(vector) for vector in encoder([item.text for item in sentences])]
        except ChunkV2LError as error:
            notes.add("sentences", f"What is said is found by its words only, not by its meaning: {error}")
    writer.write_sentences(sentences, vectors)
    return len(sentences)

"""A query is right in its own movie alone; baselines and chance are of the same segments."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from chunkv2l.errors import InputError
from evaluation.benchmarks.corpus import (
    ALONE,
    TOGETHER,
    Corpus,
    Located,
    as_table,
    ask_library,
    is_right,
    list_files,
    measure,
    ndcg,
    open_library,
    read_queries,
    score,
)
from evaluation.datasets.tvr_ranking import RankedQuery, Truth
from tests.helpers.keyed import unit_keys
from tests.helpers.selecting import selective
from tests.helpers.written import random_codes, write_index

QUERIES = (
    RankedQuery(1, "A dog runs.", (Truth("a", 0.0, 4.0),)),
    RankedQuery(2, "A red house.", (Truth("b", 8.0, 12.0),)),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder, model = tmp_path_factory.mktemp("corpus"), selective()
    for name, captions in (("a", ("a dog runs", "a cat", "water")), ("b", ("a boat", "the sea", "a red house"))):
        keys = unit_keys(3, seed=ord(name))
        write_index(folder / f"{name}.idx", random_codes(3, ord(name)), captions, model=model, keys=keys)
    return Corpus(list_files([folder]), model=model)


def test_a_window_of_another_movie_is_wrong() -> None:
    assert is_right(Located("a", 0.0, 3.0), QUERIES[0], 0.7) and not is_right(Located("b", 0.0, 3.0), QUERIES[0], 0.3)
    row = score(QUERIES, [[Located("b", 0.0, 4.0), Located("a", 0.0, 4.0)], []])
    assert (row["R1@0.5"], row["R5@0.5"], row["movie"]) == (0.0, 0.5, 0.0)


def test_all_ways_search_a_movie_or_all(corpus: Corpus) -> None:
    with open_library(corpus) as library:
        ways = {"chunkv2l ask": ask_library(library), **corpus.ways()}
        assert set(ways) == {"chunkv2l ask", "captions, full text", "captions, embeddings", "keys only"}
        for way in ways.values():
            assert {window.vid for window in way("A dog runs.", "a")} == {"a"}
        measured = measure(corpus, QUERIES, ways)
    assert list(measured) == ["all (2)", "a (1)", "b (1)"]
    by_words = measured["all (2)"]["captions, full text"]
    assert by_words[TOGETHER]["R1@0.7"] == by_words[ALONE]["R1@0.7"] == 1.0
    assert measured["all (2)"]["chunkv2l ask"][ALONE]["R5@0.5"] == 1.0  # three segments are all there are
    assert as_table(measured).count("\n") == 1 + 3 * 5 * 2


def test_chance_is_that_of_segments_drawn_at_random(corpus: Corpus) -> None:
    assert corpus.chance(QUERIES[0], "a", 1, 0.5) == pytest.approx(1 / 3)
    assert corpus.chance(QUERIES[0], None, 1, 0.5) == pytest.approx(1 / 6)
    assert corpus.chance(QUERIES[0], None, 5, 0.5) == pytest.approx(5 / 6)
    assert corpus.chance(QUERIES[0], "a", 5, 0.5) == 1.0


def test_queries_name_their_movies_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"query": "A dog.", "relevant_windows": [[0, 1]]}\n')
    (tmp_path / "q.jsonl").write_text(
        '{"movie": "b", "query": "A cat.", "windows": [[0, 1], [2, 3]]}\n'
        '{"movie": "c", "query": "No.", "windows": [[0, 1]]}'
    )
    files = {"a": tmp_path, "b": tmp_path}
    queries = read_queries([tmp_path / "a.jsonl", tmp_path / "q.jsonl"], "auto", files)
    assert [query.truths for query in queries] == [(Truth("a", 0, 1),), (Truth("b", 0, 1), Truth("b", 2, 3))]
    with pytest.raises(InputError, match="None of the queries"):
        read_queries([tmp_path / "q.jsonl"], "auto", {"x": tmp_path})
    with pytest.raises(InputError, match="no index"):
        list_files([tmp_path])


def test_relevant_moments_in_several_movies_are_ranked(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "val.jsonl"
    row = '{"pair_id": 0, "query_id": 7, "query": "A dog.", "video_name": "%s", "timestamp": [0, 4], "relevance": %d}\n'
    path.write_text(row % ("a", 4) + row % ("b", 1) + row % ("b", 0) + row % ("elsewhere", 2))
    (query,) = read_queries([path], "tvr-ranking", corpus.files)
    assert query.vid is None and query.truths == (Truth("a", 0.0, 4.0, 4.0), Truth("b", 0.0, 4.0, 1.0))
    best = [Located("a", 0.0, 4.0), Located("b", 0.0, 4.0)]
    assert ndcg(best, query.truths, 0.7) == 1.0
    assert ndcg(best[::-1], query.truths, 0.7) == pytest.approx((1 + 15 / math.log2(3)) / (15 + 1 / math.log2(3)))
    assert ndcg([best[0], best[0]], query.truths, 0.7) == pytest.approx(15 / (15 + 1 / math.log2(3)))
    measured = measure(corpus, [query], corpus.ways())
    assert set(measured["all (1)"]["keys only"]) == {TOGETHER} and "NDCG@20, 0.5" in as_table(measured, is_graded=True)
    path.write_text('{"query_id": 7}')
    with pytest.raises(InputError, match="line 1 isn't a moment"):
        read_queries([path], "tvr-ranking", corpus.files)

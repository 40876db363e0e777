"""`python -m evaluation qa` on a tiny random SmolVLM: what it says is chance, how it is scored isn't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import chunkv2l
from chunkv2l.adapter.inject import inject
from chunkv2l.ask import Index
from chunkv2l.models.family import require_family
from evaluation.__main__ import main
from evaluation.benchmarks import answers, asking, qa
from evaluation.benchmarks.answers import Nats
from evaluation.common import results
from evaluation.datasets import qa_files
from evaluation.datasets.qa_files import Question
from tests.helpers import tiny_smolvlm
from tests.helpers.written import write_index

FOLDER = Path(__file__).parents[2] / "fixtures" / "datasets"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """park.idx and house.idx, five segments of 8 s each."""
    tiny = tiny_smolvlm.model()
    config = tiny.hypernet.config
    for seed, vid in enumerate(("park", "house")):
        shape = (5, config.num_layers, config.rank, config.latent_size)
        codes = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
        write_index(tmp_path / f"{vid}.idx", torch.nn.functional.normalize(codes, dim=-1), model=tiny, seconds=8.0)
    monkeypatch.setattr(chunkv2l, "open", lambda path, model=None, device="auto": Index(path, model or tiny))
    return tmp_path


def run(folder: Path, *arguments: object) -> Result:
    words = ["qa", "--index", folder, "--out", folder / "results", *arguments]
    return CliRunner().invoke(main, list(map(str, words)))


def test_options_are_ranked_by_three_rules() -> None:
    long, short = Nats(-6.0, 6, alone=-9.0), Nats(-4.0, 2, alone=-4.5)
    assert (long.worth("mean"), short.worth("mean")) == (-1, -2)
    assert (long.worth("gain"), short.worth("gain")) == (3, 0.5)
    assert [answers.choose([short, long], rule) for rule in answers.RULES] == [1, 0, 1]
    assert answers.choose([short, short]) == 0
    assert answers.exact("The red ball.", ["ball", "Red ball"]) and not answers.exact("red", ["ball"])


def test_an_options_nats_are_its_tokens_log_probabilities() -> None:
    """Against the language model asked directly, token by token, for each option on its own."""
    tiny = tiny_smolvlm.model()
    vlm, bias = tiny_smolvlm.vlm(), tiny.hypernet.bias
    options = ["tea", "a cup of coffee"]
    found = answers.nats(vlm, "What is it?", options, bias, bias)
    for option, nats in zip(options, found, strict=True):
        prompt, ids = vlm.prompt_ids("What is it?"), vlm.statement_ids(option)
        with torch.no_grad(), inject(vlm.targets, bias):
            embeds = vlm.decoder.embed_ids(torch.tensor([prompt + ids]))
            states = vlm.decoder.run(embeds, torch.ones(1, len(prompt + ids), dtype=torch.long)).last_hidden_state
            logits = vlm.decoder.head(states)[0].float().log_softmax(-1)
        expected = sum(float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(ids))
        assert nats.total == pytest.approx(expected, abs=1e-4)
        assert nats.tokens == len(ids)
        assert nats.alone == nats.total and nats.worth("gain") == 0
    (other,) = answers.nats(vlm, "What is it?", ["tea"], None, bias)
    assert other.alone == pytest.approx(found[0].total, abs=1e-5)
    assert other.total != pytest.approx(other.alone, abs=1e-6)  # the bare model isn't the bias's


@pytest.mark.parametrize("name", ["nextqa_mc.csv", "videomme.json", "lvbench.jsonl"])
def test_multiple_choice_from_the_file_to_the_table(name: str, folder: Path) -> None:
    result = run(folder, "--questions", FOLDER / name, "--policy", "concat", "--limit", 4, "--json")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    figures = results.read(folder / "results" / "qa.json")["figures"]
    assert numbers["rows"] == figures["rows"] and list(numbers["rows"]) == ["concat", qa.BLIND]
    assert numbers["chance"] == pytest.approx(0.2 if name.startswith("nextqa") else 0.25)
    row, each = figures["rows"]["concat"], figures["questions"]["concat"]
    assert row["n"] == len(each) == 4
    assert row["accuracy"] == row["accuracy by mean"] == pytest.approx(sum(s["accuracy"] for s in each.values()) / 4)
    assert row["mean of kinds"] == pytest.approx(sum(row["kinds"].values()) / len(row["kinds"]))
    assert ("evidence" in row) == (name == "lvbench.jsonl")
    if "evidence" in row:
        assert row["evidence"] == 1.0  # everything is composed
    assert "evidence" not in figures["rows"][qa.BLIND]
    assert "| chance" in (folder / "results" / "qa.md").read_text()
    assert (folder / "results" / "qa.png").exists()


def test_what_is_chosen_is_what_the_composition_makes_likeliest(folder: Path) -> None:
    questions = qa_files.read(FOLDER / "nextqa_mc.csv")[:2]
    found = qa.ask_all({"park": folder / "park.idx"}, questions, ["mean"], "sum")
    with Index(folder / "park.idx", tiny_smolvlm.model()) as index:
        adapter = index.compose(dict.fromkeys(range(5), 0.2))
        for question in questions:
            nats = answers.nats(require_family(index.model.vlm), question.question, question.options, adapter, None)
            right = max(range(5), key=lambda i: nats[i].total) == question.correct
            assert found["mean"][question.id]["accuracy"] == float(right)


def test_open_answers_are_scored_by_their_words(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["run after a ball", "", *["no idea"] * 20])
    vlm = tiny_smolvlm.vlm()
    monkeypatch.setattr(type(vlm), "generate", lambda self, questions, *_: [next(said)])
    arguments = ("--questions", FOLDER / "nextqa_oe.csv", "--answers", FOLDER / "add_reference_answer.json")
    result = run(folder, *arguments, "--policy", "timeline", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert rows["chance"] is None
    each = results.read(folder / "results" / "qa.json")["figures"]["questions"]
    assert each["timeline"]["park_0"] == {"F1": 1.0, "exact": 1.0}  # articles don't count
    assert each[qa.BLIND]["park_0"] == {"F1": 0.0, "exact": 0.0}
    assert rows["rows"]["timeline"]["F1"] == pytest.approx(0.1)


def test_a_sample_is_the_same_for_a_seed(folder: Path) -> None:
    questions = qa_files.read(FOLDER / "mlvu.json")
    three = qa.sampled(questions, 3, 1)
    assert three == qa.sampled(questions, 3, 1) != qa.sampled(questions, 3, 2)
    assert len(three) == 3 and qa.sampled(questions, 99, 0) == questions
    result = run(folder, "--questions", FOLDER / "mlvu.json", "--limit", 2, "--policy", "mean")
    assert result.exit_code == 0, result.output
    assert "questions" in result.stdout.splitlines()[0]
    assert results.read(folder / "results" / "qa.json")["figures"]["rows"]["mean"]["n"] == 2


def test_weights_are_the_policys_and_nothing_is_generated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny_smolvlm.vlm()), "generate", lambda *_: pytest.fail("generated"))
    with Index(folder / "park.idx", tiny_smolvlm.model()) as index:
        assert asking.weights(index, "What does the dog do?", "mean") == dict.fromkeys(range(5), 0.2)
        routed = asking.weights(index, "What does the dog do?", top_k=2)
        assert len(routed) == 2 and sum(routed.values()) == pytest.approx(1)
        assert list(asking.weights(index, "What happens?")) == [0, 1, 3, 4]  # nothing to look for: the timeline
        assert asking.weights(index, "Who is Xerxes?", "fts") == {}
        assert asking.adapter(index, {}) is None
        whole = asking.weights(index, "When?")  # names nothing, so nothing is found
        assert whole == {}


def test_order_in_time_is_left_to_the_adapter_where_ours_or_order_composes_it() -> None:
    question = "What does the dog do after the man sits down?"
    for policy in (None, "order"):
        assert "after" not in asking.prompt(question, policy) and "dog" in asking.prompt(question, policy)
    assert asking.prompt(question, "concat") == question
    assert asking.prompt("What does the dog do?") == "What does the dog do?"


def test_questions_about_no_index_get_a_sentence(folder: Path) -> None:
    result = run(folder, "--questions", FILES_OF_OTHERS)
    assert result.exit_code == 2 and "lack an index" in result.stderr
    one = Question("1", "sea", "Who?", ("a", "b"), ("a",))
    assert asking.indexes(folder / "park.idx", [one]) == {"sea": folder / "park.idx"}


FILES_OF_OTHERS = FOLDER / "egoschema" / "questions.json"

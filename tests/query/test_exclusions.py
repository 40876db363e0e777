"""What a question excludes: taken off where it is said plainly, left in the statement elsewhere."""

from __future__ import annotations

import time

import pytest

from chunkv2l.query.parse import parse


@pytest.mark.parametrize(
    ("question", "statement", "excluded"),
    [
        ("When is there a dog but not a ball?", "A dog.", "A ball."),
        ("When is there a dog, but no ball?", "A dog.", "Ball."),
        ("Show me a street without cars", "A street.", "Cars."),
        ("Show me a street without any cars", "A street.", "Cars."),
        ("Show me a beach and no people.", "A beach.", "People."),
        ("A dog and not a cat", "A dog.", "A cat."),
        ("a dog but there are no people", "A dog.", "People."),
        ("When is there a kitchen with no people in it?", "A kitchen.", "People in it."),
        ("What happens in the scene with a dog but without a ball?", "A dog.", "A ball."),
        ("Show me a dog but not a ball on the grass", "A dog.", "A ball on the grass."),
        ("When does the man leave without saying goodbye?", "The man leave.", "Saying goodbye."),
        ("In the first minute, when is there a dog but not a ball?", "A dog.", "A ball."),
        ("When does a dog run in the first minute without a ball?", "A dog run.", "A ball."),
        ("How many times does a dog run without a ball?", "A dog run.", "A ball."),
        ("What happens after a dog barks but not a cat?", "A dog barks.", "A cat."),
        # nothing is excluded, or it isn't said plainly
        ("A man without a hat rides a horse.", "A man without a hat rides a horse.", ""),
        ("When is the dog not running but jumping?", "The dog not running but jumping.", ""),
        ("What is not on the table?", "On the table.", ""),
        ("When is it dark and without it?", "It dark and without it.", ""),
        ("When is nothing but snow there?", "Nothing but snow there.", ""),
        ("What happens without a ball?", "Without a ball.", ""),
    ],
)
def test_the_statement_and_what_is_excluded(question: str, statement: str, excluded: str) -> None:
    parsed = parse(question)
    assert (parsed.statement, parsed.excluded) == (statement, excluded)


@pytest.mark.parametrize("text", ["and no " * 280, "a, " * 600 + "without", " , " * 600 + "but not x", "a but " * 330])
def test_long_questions_are_taken_apart_at_once(text: str) -> None:
    started = time.process_time()
    parse(f"When is there {text}?")
    assert time.process_time() - started < 0.5

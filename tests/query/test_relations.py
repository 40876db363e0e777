"""Order in time as questions say it: what is parsed, what is left alone, and which stretch of a movie is meant."""

from __future__ import annotations

import re

import pytest

from chunkv2l.errors import NothingFound
from chunkv2l.query.parse import parse
from chunkv2l.query.relations import Relation, clause
from chunkv2l.query.time_ranges import Moment, TimeRange

# question, relation, anchor (what the router scores), kind of answer, question for the prompt
ORDER = [
    # after
    ("What happens after a dog runs?", "after", "A dog runs.", "what", "What happens?"),
    ("What happens right after a dog catches a ball?", "after", "A dog catches a ball.", "what", "What happens?"),
    ("What happens immediately after the explosion?", "after", "The explosion.", "what", "What happens?"),
    ("what happens next after the goal", "after", "The goal.", "what", "What happens?"),
    ("What is the next thing that happens after a man waves?", "after", "A man waves.", "what", None),
    ("What comes after the race?", "after", "The race.", "what", "What happens?"),
    ("What follows the race?", "after", "The race.", "what", "What happens?"),
    ("After the dog barks, what does the man do?", "after", "The dog barks.", "what", "What does the man do?"),
    ("Once the dog barks, what happens?", "after", "The dog barks.", "what", "What happens?"),
    ("What does the man do after the dog barks?", "after", "The dog barks.", "what", "What does the man do?"),
    ("What is the man doing after the race?", "after", "The race.", "what", "What is the man doing?"),
    ("What is on the table after the man leaves?", "after", "The man leaves.", "what", "What is on the table?"),
    ("Who sings after the man has left?", "after", "The man has left.", "who", "Who sings?"),
    ("What happens after the moment when a dog jumps?", "after", "A dog jumps.", "what", "What happens?"),
    ("Tell me what happens after a dog runs", "after", "A dog runs.", "what", "Tell me what happens?"),
    ("WHAT HAPPENS AFTER A DOG RUNS?", "after", "A DOG RUNS.", "what", "WHAT HAPPENS?"),
    # before
    ("What happens before a woman dives?", "before", "A woman dives.", "what", "What happens?"),
    ("What happens just before the train arrives?", "before", "The train arrives.", "what", "What happens?"),
    ("What precedes the goal?", "before", "The goal.", "what", "What happens?"),
    ("What leads up to the goal?", "before", "The goal.", "what", "What happens?"),
    ("What comes right before the goal?", "before", "The goal.", "what", "What happens?"),
    ("Before the train arrives, what are the people doing?", "before", "The train arrives.", "what", None),
    ("What does she hold before she sits down?", "before", "She sits down.", "what", "What does she hold?"),
    # while
    ("What happens while a man sings?", "while", "A man sings.", "what", "What happens?"),
    ("While the dog barks, what does the man do?", "while", "The dog barks.", "what", "What does the man do?"),
    ("What is the man doing during the race?", "while", "The race.", "what", "What is the man doing?"),
    ("During the race, who falls?", "while", "The race.", "who", "Who falls?"),
    ("What is the dog doing while the man is cooking?", "while", "The man is cooking.", "what", None),
    # first
    ("When is the first time that a dog runs?", "first", "A dog runs.", "when", None),
    ("When is the first time there is a dog?", "first", "A dog.", "when", None),
    ("What is the first time that a dog barks?", "first", "A dog barks.", "when", None),
    ("When does a dog bark for the first time?", "first", "A dog bark.", "when", None),
    ("When does a dog first appear?", "first", "A dog.", "when", None),
    ("When is the dog first seen?", "first", "The dog.", "when", None),
    ("When do we first see the dog?", "first", "The dog.", "when", None),
    ("When does a dog bark first?", "first", "A dog bark.", "when", None),
    ("Find the first scene with a horse", "first", "A horse.", "when", None),
    ("Show me the first shot of a red car", "first", "A red car.", "when", None),
    ("What happens the first time a dog barks?", "first", "A dog barks.", "what", "What happens?"),
    ("the first time that a dog barks", "first", "A dog barks.", "when", None),
    # last
    ("When is the last time that there is a cat?", "last", "A cat.", "when", None),
    ("When was the very last time a dog ran?", "last", "A dog ran.", "when", None),
    ("Show me the last time a cat sits", "last", "A cat sits.", "when", None),
    ("Find the final appearance of the cat", "last", "The cat.", "when", None),
    ("When is the dog last seen?", "last", "The dog.", "when", None),
    ("When do we last see the dog?", "last", "The dog.", "when", None),
    ("What does the man hold the last time he appears?", "last", "He appears.", "what", "What does the man hold?"),
    # nth
    ("When is the second time a dog appears?", "nth", "A dog appears.", "when", "When?"),
    ("When does a dog bark for the second time?", "nth", "A dog bark.", "when", None),
    ("When does a dog bark the 3rd time?", "nth", "A dog bark.", "when", None),
    ("What happens the third time that a dog barks?", "nth", "A dog barks.", "what", "What happens?"),
    ("Show me the fourth scene with a dog", "nth", "A dog.", "when", None),
    ("When is the penultimate appearance of the dog?", "nth", "The dog.", "when", None),
    ("The second time a dog appears", "nth", "A dog appears.", "when", None),
    # absent
    ("When is there no dog?", "absent", "Dog.", "when", None),
    ("When isn't there a dog?", "absent", "A dog.", "when", None),
    ("At what times is there no dog?", "absent", "Dog.", "when", None),
    ("When is no dog visible?", "absent", "Dog.", "when", None),
    ("When is the dog not visible?", "absent", "The dog.", "when", None),
    ("When is the dog out of sight?", "absent", "The dog.", "when", None),
    ("When does the dog not bark?", "absent", "The dog bark.", "when", None),
    ("When doesn't the dog bark?", "absent", "The dog bark.", "when", None),
    ("When can't we see the dog?", "absent", "The dog.", "when", None),
    ("When is nobody there?", "absent", "Person.", "when", None),
    ("When isn't any dog there?", "absent", "Dog.", "when", None),
    ("Show me the parts without a dog", "absent", "A dog.", "when", None),
    ("Find all scenes where there is no dog", "absent", "Dog.", "when", None),
    ("When is the dog not in the car?", "absent", "The dog in the car.", "when", None),
    ("When's the woman in red not on the stage?", "absent", "The woman in red on the stage.", "when", None),
    ("When is the door not open?", "absent", "The door open.", "when", None),
    ("When is the ball not held by the man?", "absent", "The ball held by the man.", "when", None),
    ("Show me when the dog is not in the car", "absent", "The dog is in the car.", "when", None),
    ("Is there a moment without people?", "absent", "People.", "when", None),
    ("Are there any scenes with no cars?", "absent", "Cars.", "when", None),
    ("Is there a time when nobody is in the water?", "absent", "Person is in the water.", "when", None),
    # before and after, in questions for yes or no
    ("Is there a car in the minute after a woman sings?", "after", "A woman sings.", "whether", "Is there a car?"),
    ("Is there a car in the ten seconds after a man jumps?", "after", "A man jumps.", "whether", "Is there a car?"),
    ("Does a dog bark in the first minute after the race?", "after", "The race.", "whether", "Does a dog bark?"),
    ("Does a dog bark ten seconds before a man sits?", "before", "A man sits.", "whether", "Does a dog bark?"),
    ("Does a man sit in the minute before a dog barks?", "before", "A dog barks.", "whether", "Does a man sit?"),
    # until
    ("What happens until a fish swims?", "until", "A fish swims.", "what", "What happens?"),
    ("Until a fish swims, what does the man do?", "until", "A fish swims.", "what", "What does the man do?"),
    ("What happens up to the moment when the bus arrives?", "until", "The bus arrives.", "what", None),
    # count
    ("How many times does a dog bark?", "count", "A dog bark.", "count", None),
    ("How many times is it that there is a dog?", "count", "A dog.", "count", None),
    ("How many times do we see a dog?", "count", "A dog.", "count", None),
    ("How many times is a ball thrown?", "count", "A ball thrown.", "count", None),
    ("How often does the phone ring?", "count", "The phone ring.", "count", None),
    ("Count how many times a man jumps", "count", "A man jumps.", "count", None),
    ("Count the times that a man jumps", "count", "A man jumps.", "count", None),
    ("On how many occasions does it rain?", "count", "It rain.", "count", None),
    ("How many scenes show a horse?", "count", "A horse.", "count", None),
    ("How many shots are there with a horse?", "count", "A horse.", "count", None),
]  # fmt: skip


@pytest.mark.parametrize(("question", "kind", "anchor", "asks", "prompt"), ORDER)
def test_order_in_time(question: str, kind: str, anchor: str, asks: str, prompt: str | None) -> None:
    parsed = parse(question)
    relation = parsed.relation
    assert relation is not None
    assert (relation.kind, relation.anchor, parsed.statement, parsed.kind) == (kind, anchor, anchor, asks)
    assert relation.event == "" and not relation.restricts
    if prompt is not None:
        assert relation.question == prompt
    assert not re.search(
        r"\b(?:after|before|while|during|first|last)\b", relation.question.lower().replace("for the first time", "")
    )


@pytest.mark.parametrize(
    ("question", "anchor", "until", "event"),
    [
        ("What happens between a fish swimming and a dog running?", "A fish swimming.", "A dog running.", ""),
        (
            "Between a cat and a dog fighting and a man leaving, what is shown?",
            "A cat and a dog fighting.",
            "A man leaving.",
            "",
        ),
        ("What happens from when a fish swims until a dog runs?", "A fish swims.", "A dog runs.", ""),
        ("What happens after a fish swims but before a dog runs?", "A fish swims.", "A dog runs.", ""),
        ("What happens before a dog runs and after a fish swims?", "A fish swims.", "A dog runs.", ""),
        ("What happens between the surfing and the beaver?", "The surfing.", "The beaver.", ""),
        ("Between the race and the party, what is going on?", "The race.", "The party.", ""),
        ("After a fish swims and before a dog runs, what is shown?", "A fish swims.", "A dog runs.", ""),
        ("What happens from the moment a fish swims to when people dance?", "A fish swims.", "People dance.", ""),
        (
            "When does a cat jump between a fish swimming and a dog running?",
            "A fish swimming.",
            "A dog running.",
            "A cat jump.",
        ),
    ],
)
def test_what_is_between_two_events(question: str, anchor: str, until: str, event: str) -> None:
    relation = parse(question).relation
    assert relation is not None and relation.kind == "between"
    assert (relation.anchor, relation.until, relation.event) == (anchor, until, event)
    assert not re.search("between|from|until|after|before", relation.question)
    assert relation.to_json()["until"] == until


@pytest.mark.parametrize(
    ("number", "picked"),
    [("second", [2]), ("third", [3]), ("4th", None), ("penultimate", [2]), ("second-to-last", [2])],
)
def test_the_nth_of_three_occurrences(number: str, picked: list[int] | None) -> None:
    relation = parse(f"When is the {number} time that a dog barks?").relation
    assert relation is not None and relation.kind == "nth"
    if picked is not None:
        assert relation.pick([1, 2, 3]) == picked
    else:
        with pytest.raises(NothingFound, match="3 times only"):
            relation.pick([1, 2, 3])


@pytest.mark.parametrize(
    ("question", "kind", "anchor", "event"),
    [
        ("When does the man jump after the dog barks?", "after", "The dog barks.", "The man jump."),
        ("After the dog barks, when does the man jump?", "after", "The dog barks.", "The man jump."),
        ("When did she cry before he left?", "before", "He left.", "She cry."),
        ("During the race, when does somebody fall?", "while", "The race.", "Somebody fall."),
        ("Show me a cat after the music stops", "after", "The music stops.", "A cat."),
    ],
)
def test_when_questions_look_for_an_event_beside_an_anchor(question: str, kind: str, anchor: str, event: str) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.kind == "when"
    assert (parsed.relation.kind, parsed.statement, parsed.relation.event) == (kind, anchor, event)


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("A dog runs after a ball.", "A dog runs after a ball."),
        ("A man waits until the bus comes.", "A man waits until the bus comes."),
        ("When does the man wait until the bus arrives?", "The man wait until the bus arrives."),
        ("When is a cat between a dog and a man?", "A cat between a dog and a man."),
        (
            "When does a man stand between a sleeping dog and a running horse?",
            "A man stand between a sleeping dog and a running horse.",
        ),
        ("When does he eat the second part of the sandwich?", "He eat the second part of the sandwich."),
        ("When does a man take the second shot?", "A man take the second shot."),
        ("What happens between the man and the woman?", "Between the man and the woman."),
        ("What is between the dog and the cat?", "Between the dog and the cat."),
        ("When is a man who is not in the car waving?", "A man who is not in the car waving."),
        ("When is the man not far from the house?", "The man not far from the house."),
        ("When is the dog not in the car but on it?", "The dog not in the car but on it."),
        ("Is there a moment with people?", "A moment with people."),
        ("Does it take ten seconds before a man sits?", "It take ten seconds before a man sits."),
        ("When is the dog not running but jumping?", "The dog not running but jumping."),
        ("A man looks at the sky before the race starts", "A man looks at the sky before the race starts."),
        ("A man rides a horse for the first time.", "A man rides a horse for the first time."),
        ("A boy waits at the end.", "A boy waits at the end."),
        ("A man rests after ten minutes.", "A man rests after ten minutes."),
        ("Who runs after the dog?", "Runs after the dog."),
        ("What does the dog run after?", "The dog run after."),
        ("When does a dog run after a ball?", "A dog run after a ball."),
        ("When does a boy swim after ducks?", "A boy swim after ducks."),
        ("When does a man sing while a dog barks?", "A man sing while a dog barks."),
        ("When does the first man jump?", "The first man jump."),
        ("When is his last goal?", "His last goal."),
        ("When does the party last?", "The party last."),
        ("How long does it last?", "It last."),
        ("Does the dog bark before the man leaves?", "The dog bark before the man leaves."),
        ("How many dogs are running?", "Dogs are running."),
        ("Who is first?", "First."),
        ("What happens when the dog barks?", "The dog barks."),
        ("What happens after it?", "After it."),
        ("What happens?", ""),
        ("How many times?", ""),
    ],
)
def test_what_is_no_relation(question: str, statement: str) -> None:
    parsed = parse(question)
    assert parsed.relation is None and parsed.statement in (statement, "")
    if statement and "How many times" not in question:
        assert parsed.statement == statement


def test_there_are_enough_cases() -> None:
    assert len({row[0] for row in ORDER}) >= 45


# question, relation, number, anchor, event, start and end in a movie of 300 s
ORDER_WITHIN = [
    ("When's the last time before the halfway mark that there is a dog?", "last", 0, "A dog.", "", 0, 150),
    ("What is the last time in the first half that there is a dog?", "last", 0, "A dog.", "", 0, 150),
    ("When's the first time after the halfway mark that a man sits?", "first", 0, "A man sits.", "", 150, 300),
    ("the first time a dog jumps in the first half", "first", 0, "A dog jumps.", "", 0, 150),
    ("Second time in the last three minutes that a man sits?", "nth", 2, "A man sits.", "", 120, 300),
    ("When is the woman not on the stage after 3:00?", "absent", 0, "The woman on the stage.", "", 180, 300),
    ("Is there a moment without people in the first 50 seconds?", "absent", 0, "People.", "", 0, 50),
    ("What happens between the race and the cat in the last two minutes?", "between", 0, "The race.", "", 180, 300),
    ("When is a man not sitting in the last minute?", "absent", 0, "A man sitting.", "", 240, 300),
    ("When does a dog jump before a man sits but after 1:00?", "before", 0, "A man sits.", "A dog jump.", 60, 300),
    ("When does a man sit after a dog jumps but before 3:00?", "after", 0, "A dog jumps.", "A man sit.", 0, 180),
]  # fmt: skip


@pytest.mark.parametrize(("question", "kind", "number", "anchor", "event", "start", "end"), ORDER_WITHIN)
def test_a_relation_and_a_part_are_both_read(
    question: str, kind: str, number: int, anchor: str, event: str, start: float, end: float
) -> None:
    parsed = parse(question)
    relation = parsed.relation
    assert relation is not None and relation.time_range is not None and parsed.unread == ()
    assert (relation.kind, relation.number, relation.anchor, relation.event) == (kind, number, anchor, event)
    assert relation.time_range.resolve(300.0) == pytest.approx((start, end))


def test_a_time_range_stands_beside_another_relation() -> None:
    parsed = parse("In the first ten minutes, how many times does a dog bark?")
    assert parsed.relation == Relation("count", "A dog bark.", time_range=TimeRange(end=Moment(seconds=600.0)))
    parsed = parse("What happens after a dog runs in the last hour?")
    assert parsed.relation == Relation(
        "after", "A dog runs.", question="What happens?", time_range=TimeRange(Moment(1.0, -3600.0))
    )


def test_a_command_to_count_is_a_question_for_how_many() -> None:
    relation = parse("In the first minute, count the cars.").relation
    assert relation is not None and (relation.question, relation.anchor) == ("How many cars?", "Cars.")


def test_the_end_of_something_else_isnt_the_movies() -> None:
    assert parse("When does a man stand at the end of the line?").relation is None
    assert parse("When is the race at the beginning of a street?").relation is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is that a dog runs", "A dog runs."),
        ("there are two dogs", "Two dogs."),
        ("we see that it rains", "It rains."),
        ("", ""),
        (" , ", ""),
    ],
)
def test_an_anchor_is_a_statement(text: str, expected: str) -> None:
    assert clause(text) == expected


@pytest.mark.parametrize(
    "word", ["after", "the first time that", "in the first", "how many times does", "between 1:00 and"]
)
@pytest.mark.timeout(20)  # they take a tenth of a second; a pattern that backtracks exponentially would take hours
def test_long_questions_are_read_whole(word: str) -> None:
    repeated = parse(f"What happens {word} " * 60)
    assert repeated.kind in ("what", "count") and len(repeated.statement) < 2000
    assert parse("a " * 900 + word).statement.lower().count("a ") >= 898
    listed = parse(f"When does {word} " + "a, " * 600)
    assert listed.kind == "when" and listed.statement.count("a,") >= 598

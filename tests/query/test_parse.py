"""What `statement` and `parse` make of questions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from chunkv2l.errors import InputError
from chunkv2l.query.parse import clean_question, parse, spoken, statement
from chunkv2l.query.query import Query, Selected

STATEMENTS = [
    # when, with each auxiliary
    ("When does a dog catch the ball?", "A dog catch the ball."),
    ("When do people dance?", "People dance."),
    ("When did the man fall?", "The man fall."),
    ("When is a cat looking around?", "A cat looking around."),
    ("When are two people arm wrestling?", "Two people arm wrestling."),
    ("When was the cake cut?", "The cake cut."),
    ("When were the plants watered?", "The plants watered."),
    ("When has the train left?", "The train left."),
    ("When have they eaten?", "They eaten."),
    ("when does a dog catch the ball", "A dog catch the ball."),
    ("WHEN DOES A DOG BARK?", "A DOG BARK."),
    ("When the dog barks", "The dog barks."),
    ("When's the dog barking?", "The dog barking."),
    ("When doesn't the dog bark?", "The dog bark."),
    ("  When   does a dog\tcatch the ball ?  ", "A dog catch the ball."),
    ("When does a dog catch the ball???", "A dog catch the ball."),
    ('"When does a dog bark?"', "A dog bark."),
    # other ways to ask for a time
    ("At what time does the train arrive?", "The train arrive."),
    ("at what time is the door opened", "The door opened."),
    ("What time does the train arrive?", "The train arrive."),
    ("At which point does the man jump?", "The man jump."),
    ("In which scene does the man cry?", "The man cry."),
    ("In which chapter is there a dog?", "A dog."),
    ("Find the moment when a man jumps.", "A man jumps."),
    ("Find the moment where a door opens", "A door opens."),
    ("find the moment a boy jumps", "A boy jumps."),
    ("Find a scene with two horses", "Two horses."),
    ("Show me the cat", "The cat."),
    ("Show me when the dog barks", "The dog barks."),
    ("Show me the moment when the glass breaks!", "The glass breaks."),
    ("Please show me a rabbit", "A rabbit."),
    ("Can you show me where the rabbit eats?", "The rabbit eats."),
    # who, what, where, how many
    ("Who is riding a horse?", "Riding a horse."),
    ("Who rides a horse?", "Rides a horse."),
    ("Who's at the door?", "At the door."),
    ("What is on the wooden table?", "On the wooden table."),
    ("What is the man holding?", "The man holding."),
    ("What's the man holding?", "The man holding."),
    ("What’s the man holding?", "The man holding."),
    ("What are the children playing with?", "The children playing with."),
    ("What does the woman do?", "The woman do."),
    ("What did she buy?", "She buy."),
    ("What color is the car?", "Color is the car."),
    ("Which animal is in the water?", "Animal is in the water."),
    ("Where is the cat?", "The cat."),
    ("Where does the duck swim?", "The duck swim."),
    ("Where's Waldo?", "Waldo."),
    ("How many dogs are running?", "Dogs are running."),
    ("How many people are there?", "People."),
    ("How many times does the dog jump?", "The dog jump."),
    ("Count the cars", "Cars."),
    ("Count all of the dogs.", "Dogs."),
    ("Please count the dogs", "Dogs."),
    ("Count the number of dogs", "Dogs."),
    ("Count how many dogs run", "Dogs run."),
    ("Count Dracula bites a woman.", "Count Dracula bites a woman."),
    ("How does the man open the door?", "The man open the door."),
    ("Why is the dog barking?", "The dog barking."),
    ("Whose dog is it?", "Dog is it."),
    # yes or no
    ("Is the dog barking?", "The dog barking."),
    ("Is there a dog in the video?", "A dog."),
    ("When is there a dog?", "A dog."),
    ("Are there any horses?", "Horses."),
    ("When do we see a clock on the wall?", "A clock on the wall."),
    ("Can you see a red car?", "A red car."),
    ("When does a dog appear in the movie?", "A dog."),
    ("When is a dog visible?", "A dog."),
    ("How many dogs can be seen?", "Dogs."),
    ("Is there a man in the film with a hat?", "A man in the film with a hat."),
    ("When does the man there stand up?", "The man there stand up."),
    ("A dog appears in the video.", "A dog appears in the video."),
    ("What can be seen in the video?", ""),
    ("What can we see?", ""),
    ("Are there people in the park?", "People in the park."),
    ("Does a man juggle?", "A man juggle."),
    ("Have they left?", "They left."),
    ("Isn't the man tall?", "The man tall."),
    # commands
    ("Tell me what the man does", "The man does."),
    ("Tell me, what is the man holding?", "The man holding."),
    ("Describe the car", "The car."),
    ("What happens in the scene with the red car?", "The red car."),
    ("What happens when the dog barks?", "The dog barks."),
    ("What happens to the vase?", "The vase."),
    # statements pass unchanged, up to the capital and the full stop
    ("A dog catches the ball.", "A dog catches the ball."),
    ("A dog catches the ball", "A dog catches the ball."),
    ("a woman in a pink vest runs along a path", "A woman in a pink vest runs along a path."),
    ("Cars drive along a highway, seen from a car", "Cars drive along a highway, seen from a car."),
    ("Whenever the dog barks, it runs.", "Whenever the dog barks, it runs."),
    ("Island in the sun", "Island in the sun."),
    ("Does are grazing", "Are grazing."),  # no second model, no guessing
    ("The man who is tall", "The man who is tall."),
    ("The dog's owner is what he seems", "The dog's owner is what he seems."),
    ("5 people stand", "5 people stand."),
    ("Élan vital", "Élan vital."),
    ("élan vital", "Élan vital."),
    # nothing left to look for
    ("What happens?", ""),
    ("What is happening?", ""),
    ("What's going on in the video?", ""),
    ("What is this movie about?", ""),
    ("What do you see?", ""),
    ("Describe the video.", ""),
    ("Summarize this film", ""),
    ("What is shown in this clip?", ""),
    ("When?", ""),
    ("?", ""),
    ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), STATEMENTS)
def test_statement(question: str, expected: str) -> None:
    assert statement(question) == expected


def test_there_are_enough_cases() -> None:
    assert len({question for question, _ in STATEMENTS}) >= 60


@pytest.mark.parametrize("text", [expected for _, expected in STATEMENTS if expected])
def test_a_statement_stays_a_statement(text: str) -> None:
    """What comes out starts with no question word: making a statement of it again changes nothing."""
    if text != "Are grazing.":
        assert statement(text) == text


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When does a dog bark?", "when"),
        ("At what time does it rain?", "when"),
        ("Show me the cat", "when"),
        ("Find the moment when a man jumps", "when"),
        ("Which part shows the cat?", "what"),
        ("Where is the cat?", "where"),
        ("Who is it that sings?", "who"),
        ("How many dogs are there?", "count"),
        ("Count the cars", "count"),
        ("How does it end?", "how"),
        ("Is there a dog?", "whether"),
        ("The dog barks?", "whether"),
        ("What is on the table?", "what"),
        ("Tell me who sings", "what"),
        ("Please tell me the colour", "what"),
        ("What happens?", "what"),
        ("A dog barks.", "statement"),
        ("when", "when"),
    ],
)
def test_kind(question: str, kind: str) -> None:
    assert parse(question).kind == kind


class _Scorer:
    def score(self, nodes: object, limit: int | None = None) -> dict[int | str, float]:
        return {0: 0.25, 1: float(limit or 0)}

    def select(self, nodes: object) -> dict[int, Selected]:
        return {3: Selected(0.5, 1.5, np.ones((1, 2), dtype=np.float32))}

    def find(self, nodes: object, limit: int | None = None) -> dict[int | str, float]:
        return {2: float(limit or 0)}

    def search(self) -> dict[int | str, float]:
        return {1: 2.0}

    def about(self, query: Query, statement: str) -> Query:
        return dataclasses.replace(query, statement=statement)


def test_a_query_is_frozen_and_asks_its_scorer() -> None:
    query = Query("When does it rain?", "It rain.", "when", scorer=_Scorer())
    assert query.score([0]) == {0: 0.25, 1: 0.0} and query.score([0], 7)[1] == 7.0 and query.search() == {1: 2.0}
    assert query.select([3])[3].p == 0.5 and query.find([2]) == {2: 0.0} and query.find([2], 7) == {2: 7.0}
    assert query.about("It snow.").statement == "It snow." and query.statement == "It rain."
    assert query.budget == 48 and query.relation is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        query.text = "other"  # type: ignore[misc]


def test_a_query_without_a_scorer_says_so() -> None:
    query = Query("When does it rain?", "It rain.", "when")
    with pytest.raises(RuntimeError, match="without a scorer"):
        query.score([0])
    with pytest.raises(RuntimeError, match="without a scorer"):
        query.search()
    with pytest.raises(RuntimeError, match="without a scorer"):
        query.about("It snow.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("She say good morning.", "good morning."),
        ("Somebody mentions the word budget.", "budget."),
        ("They talk about the war.", "the war."),
        ("He says that it rains.", "it rains."),
        ("A dog barks.", ""),
        ("She essays a dive.", ""),
        ("", ""),
    ],
)
def test_what_is_said(text: str, words: str) -> None:
    assert spoken(text) == words


@pytest.mark.parametrize(
    ("question", "cleaned"),
    [
        ("\ufeffWhen does a dog bark?", "When does a dog bark?"),
        ("When does a do\u200bg ba\u00adrk\u2060?", "When does a dog bark?"),
        ("When \u202edoes\u202c a dog\u200d bark?", "When does a dog bark?"),
        ("When does\na dog\x00 bark?\r\n", "When does\na dog bark?"),
        ("\u0645\u06cc\u200c\u062f\u0648\u062f", "\u0645\u06cc\u200c\u062f\u0648\u062f"),
        ("a dog \udcff", "a dog ?"),
        ("What happens at ２：００？", "What happens at 2:00?"),
    ],
)
def test_invisible_letters_are_left_out(question: str, cleaned: str) -> None:
    assert clean_question(question) == cleaned


@pytest.mark.parametrize("question", ["", " \n", "\ufeff", "\u200b\u200b", "a" * 2001, "?", "… ??", "\u2754"])
def test_no_question(question: str) -> None:
    with pytest.raises(InputError):
        clean_question(question)

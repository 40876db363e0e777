"""The OpenAI-compatible endpoint, through OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.helpers.fake_vlm import fake_model
from tests.helpers.serving import Running, index_with_movie, make_service, running

WHAT, WHEN = "What is on the grass?", "When does a dog catch the ball?"


@pytest.fixture
def chat(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def movie_id(chat: openai.OpenAI) -> str:
    (model,) = chat.models.list().data
    return model.id


def user(content: Any) -> Any:
    return [{"role": "user", "content": content}]


def video(url: str, text: str = WHAT) -> Any:
    """A message with a movie and a question."""
    return user([{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": text}])


def test_movies_are_models(chat: openai.OpenAI, movie_id: str) -> None:
    model = chat.models.retrieve(movie_id)
    assert (model.id, model.owned_by, model.object) == (movie_id, "chunkv2l", "model")
    assert model.created > 0
    with pytest.raises(openai.NotFoundError, match="There is no movie"):
        chat.models.retrieve("none")


def test_an_answer_is_the_apis_own(chat: openai.OpenAI, movie_id: str, server: Running) -> None:
    done = chat.chat.completions.create(model=movie_id, messages=user(WHAT), temperature=0.7, max_tokens=16)
    with server.client() as client:
        expected = client.post(f"/api/movies/{movie_id}/ask", json={"question": WHAT}).json()
    assert done.choices[0].message.content == expected["answer"]
    assert done.choices[0].finish_reason == "stop"
    assert done.object == "chat.completion"
    beside = (done.model_extra or {})["chunkv2l"]
    assert {**beside, "timing": None} == {**expected, "timing": None}


def test_usage_counts_the_prompt_and_no_picture(chat: openai.OpenAI, movie_id: str) -> None:
    usage = chat.chat.completions.create(model=movie_id, messages=user(WHAT)).usage
    assert usage is not None
    assert usage.prompt_tokens == len(fake_model().vlm.prompt_ids(WHAT))
    assert usage.completion_tokens >= 1
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    details = usage.prompt_tokens_details
    assert details is not None and (details.model_extra or {})["visual_tokens"] == 0
    moments = chat.chat.completions.create(model=movie_id, messages=user(WHEN)).usage
    assert moments is not None and moments.total_tokens == 0  # nothing was generated


def test_it_streams(chat: openai.OpenAI, movie_id: str) -> None:
    for question in (WHAT, WHEN):
        whole = chat.chat.completions.create(model=movie_id, messages=user(question))
        pieces = list(
            chat.chat.completions.create(
                model=movie_id, messages=user(question), stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == whole.choices[0].message.content
        assert pieces[0].choices[0].delta.role == "assistant"
        assert pieces[-2].choices[0].finish_reason == "stop"
        assert pieces[-1].usage is not None and whole.usage is not None
        assert pieces[-1].usage.total_tokens == whole.usage.total_tokens
        assert len({piece.id for piece in pieces}) == 1


def test_a_video_url_names_a_movie_under_the_paths(chat: openai.OpenAI, folder: Path) -> None:
    expected = chat.chat.completions.create(model="movie.idx", messages=user(WHAT)).choices[0].message.content
    movie = folder / "movie.mp4"
    for url in (str(movie), movie.as_uri(), "movie.mp4", f"file://localhost{movie}"):
        done = chat.chat.completions.create(model="chunkv2l", messages=video(url))
        assert done.choices[0].message.content == expected
        assert done.model == "chunkv2l"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.org/movie.mp4", "Movies aren't fetched"),
        ("data:video/mp4;base64,AAAA", "Movies aren't fetched"),
        ("file://example.org/movie.mp4", "Movies aren't fetched"),
        ("/etc/passwd", "There is no movie"),
        ("file:///etc/passwd", "There is no movie"),
        ("../secret.txt", "There is no movie"),
        ("x\0y.mp4", "There is no movie"),
    ],
)
def test_other_addresses_are_refused(chat: openai.OpenAI, url: str, words: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=words):
        chat.chat.completions.create(model="x", messages=video(url))


def test_the_last_message_of_the_user_is_the_question(chat: openai.OpenAI, movie_id: str) -> None:
    talk: Any = [
        {"role": "system", "content": "Answer in French."},
        {"role": "user", "content": "What runs?"},
        {"role": "assistant", "content": "A dog."},
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "on the grass?"}]},
        {"role": "assistant", "content": ""},
    ]
    done = chat.chat.completions.create(model=movie_id, messages=talk)
    assert (done.model_extra or {})["chunkv2l"]["question"] == "What is\non the grass?"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (user(""), "The question is empty"),
        (user("x" * 3000), "3000 characters"),
        ([{"role": "system", "content": "x"}], "no message of the user"),
        (
            user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]),
            "text and video_url parts only",
        ),
        ([], "messages"),
    ],
)
def test_bad_requests_are_errors_of_the_client(chat: openai.OpenAI, movie_id: str, messages: Any, words: str) -> None:
    with pytest.raises((openai.BadRequestError, openai.UnprocessableEntityError), match=words) as caught:
        chat.chat.completions.create(model=movie_id, messages=messages)
    body = caught.value.body
    assert isinstance(body, dict)
    assert body["type"] == "invalid_request_error"


def test_an_address_may_be_escaped_or_not(tmp_path: Path) -> None:
    index_with_movie(tmp_path, "50 % (a)")
    movie = tmp_path / "50 % (a).mp4"
    with running(make_service(tmp_path)) as server, openai.OpenAI(base_url=f"{server.url}/v1", api_key="x") as client:
        for url in (movie.as_uri(), f"file://{movie}"):
            assert client.chat.completions.create(model="x", messages=video(url)).choices[0].message.content


def test_an_error_while_streaming_is_an_event(server: Running, movie_id: str) -> None:
    with server.client() as client:
        body = {"model": movie_id, "messages": user("When?"), "stream": True}
        told = client.post("/v1/chat/completions", json=body).text
    events = [line.removeprefix("data: ") for line in told.splitlines() if line]
    assert events[-1] == "[DONE]"
    assert "names nothing to look for" in json.loads(events[-2])["error"]["message"]


def test_the_token_is_the_api_key(tmp_path: Path) -> None:
    index_with_movie(tmp_path)
    with running(make_service(tmp_path, token="a-token-of-the-tests")) as locked:
        with openai.OpenAI(base_url=f"{locked.url}/v1", api_key="a-token-of-the-tests") as client:
            assert len(client.models.list().data) == 1
        wrong = openai.OpenAI(base_url=f"{locked.url}/v1", api_key="another")
        with wrong, pytest.raises(openai.AuthenticationError):
            wrong.models.list()

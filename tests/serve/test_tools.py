"""The MCP tools, through the SDK's own client, over streamable HTTP and over stdio."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import av
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from PIL import Image

from chunkv2l.serve.tools import create_tools
from tests.helpers.serving import Running, index_with_movie, make_service, running

ROOT = Path(__file__).parents[2]
TOOLS = {"list_videos", "search_moments", "ask_video", "get_transcript", "get_frame", "export_clip"}
WHAT = "What is on the grass?"


def over_http(server: Running, use: Callable[[Client], Awaitable[Any]]) -> Any:
    """Use the tools over streamable HTTP."""

    async def run() -> Any:
        async with Client(f"{server.url}/mcp") as client:
            return await use(client)

    return asyncio.run(run())


def call(server: Running, tool: str, **arguments: Any) -> Any:
    """Call a tool; returns its structured result."""

    async def use(client: Client) -> Any:
        return await client.call_tool(tool, arguments)

    result = over_http(server, use)
    assert not result.is_error, result.content
    return result.structured_content


def refusal(server: Running, tool: str, **arguments: Any) -> str:
    """Call a tool that refuses; returns what it says."""

    async def use(client: Client) -> Any:
        return await client.call_tool(tool, arguments)

    result = over_http(server, use)
    assert result.is_error
    return str(result.content[0].text)


def test_tools_have_schemas_and_say_what_they_change(server: Running) -> None:
    async def use(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in over_http(server, use)}
    assert tools.keys() == TOOLS
    for name, tool in tools.items():
        assert tool.description and tool.title
        assert tool.annotations.read_only_hint is (name != "export_clip")
        assert tool.annotations.open_world_hint is False
        assert (tool.output_schema is None) == (name == "get_frame")
    assert tools["export_clip"].annotations.destructive_hint is False
    assert set(tools["ask_video"].input_schema["required"]) == {"question"}
    assert tools["get_frame"].input_schema["properties"]["seconds"]["minimum"] == 0


def test_nobody_waits_for_messages_that_never_come(server: Running) -> None:
    """Without sessions, a GET held its connection for ever, of which a server has 256."""
    with server.client(headers={"accept": "text/event-stream"}) as client:
        assert client.get("/mcp").status_code == client.delete("/mcp").status_code == 405


def test_videos_are_listed(server: Running) -> None:
    (video,) = call(server, "list_videos")["result"]
    assert (video["name"], video["state"], video["segments"]) == ("movie.idx", "ready", 6)


def test_answers_are_the_apis_own(server: Running, movie: str) -> None:
    with server.client() as client:
        expected = client.post(f"{movie}/ask", json={"question": WHAT}).json()
    answer = call(server, "ask_video", video=movie.split("/")[-1], question=WHAT)
    assert {key: answer[key] for key in expected if key != "timing"} == {
        key: value for key, value in expected.items() if key != "timing"
    }
    assert call(server, "ask_video", video="movie.mp4", question=WHAT, policy="window")["policy"] == "window"


def test_moments_are_searched_in_all_videos_or_in_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        index_with_movie(tmp_path, name)
    with running(make_service(tmp_path)) as server:
        everywhere = call(server, "search_moments", query="A dog runs.", limit=7)
        assert len(everywhere["moments"]) == 7
        assert 0 < everywhere["not_there"] < 1 and len({moment["video"] for moment in everywhere["moments"]}) == 2
        shares = [moment["probability"] for moment in everywhere["moments"]]
        assert shares == sorted(shares, reverse=True)
        first = everywhere["moments"][0]
        assert first["time"].startswith("from 0:0")
        alone = call(server, "search_moments", query="A dog runs.", video="b.idx")
        assert len({moment["video"] for moment in alone["moments"]}) == 1 and alone["not_there"] is not None
        asked = call(server, "ask_video", question="When does a dog run?")
        assert {span["id"] for span in asked["spans"]} == {moment["video"] for moment in everywhere["moments"]}
        assert "question about one movie" in refusal(server, "ask_video", question="How long is the video?")


def test_what_is_asked_about_a_part_says_which_part(server: Running, movie: str) -> None:
    question = "When does a dog run in the first 5 seconds?"
    searched = call(server, "search_moments", query=question, video="movie.idx")
    asked = call(server, "ask_video", video="movie.idx", question=question)
    assert searched["within"] == asked["within"] == [0.0, 5.0] and searched["parts"] == []
    question = "When does a dog run except from 0:01 to 0:04?"
    searched = call(server, "search_moments", query=question, video="movie.idx")
    asked = call(server, "ask_video", video="movie.idx", question=question)
    assert searched["parts"] == asked["parts"] and asked["parts"][0] == [0.0, 1.0]
    assert "these parts of the video: 0:00 – 0:01 and 0:04" in asked["notes"][0]


def test_transcripts_are_cut_by_time(server: Running) -> None:
    whole = call(server, "get_transcript", video="movie")
    assert [cue["text"] for cue in whole["cues"]] == ["We begin <here> & now.", "A dog!"]
    assert whole["cues"][0] == {"start": 0.5, "end": 1.5, "text": "We begin <here> & now.", "source": "given"}
    assert whole["is_complete"] is True
    assert [cue["text"] for cue in call(server, "get_transcript", video="movie", start=2, end=3.5)["cues"]] == [
        "A dog!"
    ]


def test_a_frame_is_a_picture_of_that_time(server: Running, folder: Path) -> None:
    async def use(client: Client) -> Any:
        return await client.call_tool("get_frame", {"video": "movie", "seconds": 4.55})

    (content,) = over_http(server, use).content
    assert (content.type, content.mime_type) == ("image", "image/jpeg")
    with Image.open(io.BytesIO(base64.b64decode(content.data))) as frame:
        assert frame.size == (96, 64)
        shown = frame.convert("RGB").getpixel((1, 1))
    with av.open(str(folder / "movie.mp4")) as container:
        expected = list(container.decode(video=0))[45].to_image().getpixel((1, 1))
    assert shown == pytest.approx(expected, abs=6)
    assert "lasts 12 s: 99 s isn't in it" in refusal(server, "get_frame", video="movie", seconds=99)


def test_without_the_movie_a_frame_is_the_indexs_picture(tmp_path: Path) -> None:
    index_with_movie(tmp_path)
    (tmp_path / "movie.mp4").unlink()
    with running(make_service(tmp_path)) as server:

        async def use(client: Client) -> Any:
            return await client.call_tool("get_frame", {"video": "movie", "seconds": 1})

        (content,) = over_http(server, use).content
        assert content.type == "image"
        assert "isn't beside it" in refusal(server, "export_clip", video="movie", start=0, end=1)


def test_a_clip_is_written_beside_the_movie(tmp_path: Path) -> None:
    index_with_movie(tmp_path)
    with running(make_service(tmp_path)) as server:
        clip = call(server, "export_clip", video="movie", start=2, end=4, exact=True)
        assert (clip["file"], clip["start"], clip["end"]) == ("movie.2.0-4.0.mp4", 2.0, 4.0)
        assert str(tmp_path) not in clip["description"]
        with av.open(str(tmp_path / clip["file"])) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20
    with running(make_service(tmp_path, read_only=True)) as server:
        assert "only reads" in refusal(server, "export_clip", video="movie", start=4, end=6)
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["movie.2.0-4.0.mp4", "movie.mp4"]


def test_errors_are_sentences(server: Running) -> None:
    assert "There is no movie" in refusal(server, "ask_video", video="../secret.txt", question=WHAT)
    assert "The question is empty" in refusal(server, "ask_video", video="movie", question=" ")
    assert "no policy" in refusal(server, "ask_video", video="movie", question=WHAT, policy="mine.py:f")


@pytest.mark.skipif(os.name != "posix", reason="processes of POSIX")
def test_over_stdio(tmp_path: Path, folder: Path) -> None:
    """The command, in a process of its own: the same tools, and nothing but messages on its standard output."""
    shutil.copy(folder / "movie.idx", tmp_path)
    shutil.copy(folder / "movie.mp4", tmp_path)
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "chunkv2l", "mcp", str(tmp_path)], cwd=ROOT, env={**os.environ}
    )

    async def run() -> tuple[Any, Any, Any]:
        async with Client(stdio_client(command)) as client:
            listed = (await client.list_tools()).tools
            videos = await client.call_tool("list_videos", {})
            transcript = await client.call_tool("get_transcript", {"video": "movie"})
            return listed, videos, transcript

    listed, videos, transcript = asyncio.run(run())
    assert {tool.name for tool in listed} == TOOLS
    (video,) = videos.structured_content["result"]
    assert video["state"] == "ready"
    assert json.loads(transcript.content[0].text)["cues"][1]["text"] == "A dog!"


def test_all_answers_are_the_same_without_a_transport(tmp_path: Path) -> None:
    service = make_service(index_with_movie(tmp_path))

    async def run() -> Any:
        async with Client(create_tools(service)) as client:
            return await client.call_tool("ask_video", {"video": "movie", "question": WHAT})

    assert asyncio.run(run()).structured_content["visual_tokens"] == 0
    service.close()

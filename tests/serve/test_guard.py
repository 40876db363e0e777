"""Requests that no client of the server sends are refused, each with the right status, and read nothing outside."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from chunkv2l.serve.guard import CONTENT_SECURITY_POLICY
from chunkv2l.serve.settings import Limits
from tests.helpers.serving import Running, index_with_movie, make_service, running

TOKEN = "a-token-of-the-tests"
SECRET = b"the secret outside"


def send(server: Running, request: bytes, seconds: float = 20.0) -> tuple[int, bytes]:
    """Send bytes as they are; returns the answer's status, 0 where the connection is just closed, and all of it."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        answer = b""
        with suppress(ConnectionError):  # what is too large isn't read to its end
            connection.sendall(request)
        with suppress(ConnectionError):
            while block := connection.recv(1 << 16):
                answer += block
    return (int(answer.split()[1]) if answer else 0), answer


def get(path: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A request with PORT and MOVIE to be filled in; it names its host unless the headers do."""
    lines = [*headers]
    if not any(header.lower().startswith(b"host:") for header in headers):
        lines.insert(0, b"Host: 127.0.0.1:PORT")
    return b"\r\n".join((method + b" " + path + b" HTTP/1.1", *lines, b"Connection: close", b"", body))


def ask(body: bytes, *headers: bytes, length: int | None = None) -> bytes:
    """A question, as JSON unless the headers say something else."""
    lines = [*headers, b"Content-Length: %d" % (len(body) if length is None else length)]
    if not any(header.lower().startswith(b"content-type:") for header in headers):
        lines.append(b"Content-Type: application/json")
    return get(b"/api/movies/MOVIE/ask", *lines, method=b"POST", body=body)


QUESTION = b'{"question": "What is on the grass?"}'
HOSTILE: dict[str, tuple[bytes, tuple[int, ...]]] = {
    # paths
    "steps up": (get(b"/../../secret.txt"), (400,)),
    "steps up in static": (get(b"/static/../../../secret.txt"), (400,)),
    "escaped steps up": (get(b"/static/%2e%2e/%2e%2e/secret.txt"), (400,)),
    "escaped slashes": (get(b"/static/..%2f..%2f..%2fsecret.txt"), (400,)),
    "escaped twice": (get(b"/static/%252e%252e/secret.txt"), (404,)),
    "backslashes": (get(b"/static/..\\..\\secret.txt"), (400,)),
    "escaped backslashes": (get(b"/static/..%5c..%5csecret.txt"), (400,)),
    "steps up in an id": (get(b"/api/movies/..%2f..%2fsecret.txt"), (400,)),
    "a path as an id": (get(b"/api/movies/%2fetc%2fpasswd"), (400,)),
    "a file's name as an id": (get(b"/api/movies/movie.idx"), (404,)),
    "the secret's name as an id": (get(b"/api/movies/secret.txt/movie"), (404,)),
    "a null byte": (get(b"/api/movies/x%00.idx"), (400,)),
    "a line's end": (get(b"/api/movies/x%0d%0aSet-Cookie:%20a=b"), (400,)),
    "not UTF-8": (get(b"/api/movies/%ff%fe"), (400,)),
    "overlong UTF-8": (get(b"/static/%c0%ae%c0%ae/secret.txt"), (400,)),
    "a surrogate": (get(b"/api/movies/%ed%a0%80"), (400,)),
    "two slashes": (get(b"//example.org/api/movies"), (400,)),
    "an address as a target": (get(b"http://example.org/api/movies"), (400,)),
    "a very long path": (get(b"/" + b"a" * 9000), (414,)),
    "an endless path": (get(b"/" + b"a" * 70_000), (400, 414)),
    "an endless header": (get(b"/", b"X-A: " + b"a" * 70_000), (400, 431)),
    # names and origins
    "a foreign Host": (get(b"/api/movies", b"Host: evil.example"), (421,)),
    "a foreign Host with the port": (get(b"/api/movies", b"Host: evil.example:PORT"), (421,)),
    "a Host that begins well": (get(b"/api/movies", b"Host: 127.0.0.1.evil.example:PORT"), (421,)),
    "a Host with a user": (get(b"/api/movies", b"Host: 127.0.0.1@evil.example"), (421,)),
    "another port": (get(b"/api/movies", b"Host: 127.0.0.1:1"), (421,)),
    "another address": (get(b"/api/movies", b"Host: 10.0.0.1:PORT"), (421,)),
    "an empty Host": (get(b"/api/movies", b"Host: "), (421, 400)),
    "two Hosts": (get(b"/api/movies", b"Host: 127.0.0.1:PORT", b"Host: evil.example"), (400, 421)),
    "no Host": (b"GET /api/movies HTTP/1.0\r\n\r\n", (400, 421)),
    "a foreign Origin": (ask(QUESTION, b"Origin: https://evil.example"), (403,)),
    "a foreign Origin that only reads": (get(b"/api/movies", b"Origin: https://evil.example"), (403,)),
    "no Origin's Origin": (ask(QUESTION, b"Origin: null"), (403,)),
    "the Origin of another port": (ask(QUESTION, b"Origin: http://127.0.0.1:1"), (403,)),
    "two Origins": (ask(QUESTION, b"Origin: http://127.0.0.1:PORT", b"Origin: https://evil.example"), (403,)),
    "a picture on another site": (
        get(b"/api/movies/MOVIE/thumbnail/0", b"Sec-Fetch-Site: cross-site", b"Sec-Fetch-Mode: no-cors"), (403,),
    ),
    "a preflight": (
        get(b"/api/movies/MOVIE/ask", b"Origin: https://evil.example", method=b"OPTIONS"), (403, 405),
    ),
    # methods and bodies
    "an unknown method": (get(b"/api/movies", method=b"PROPFIND"), (405,)),
    "TRACE": (get(b"/api/movies", method=b"TRACE"), (405,)),
    "a form": (ask(b"question=x", b"Content-Type: application/x-www-form-urlencoded"), (415,)),
    "text that is JSON": (ask(QUESTION, b"Content-Type: text/plain"), (415,)),
    "a huge body": (ask(b'{"question": "' + b"x" * 300_000 + b'"}'), (413,)),
    "a promise of a huge body": (ask(b"{}", length=10**12), (413,)),
    "a length that is no number": (get(b"/api/movies/MOVIE/ask", b"Content-Length: ten", method=b"POST"), (400,)),
    "a negative length": (get(b"/api/movies/MOVIE/ask", b"Content-Length: -1", method=b"POST"), (400,)),
    "two lengths": (get(b"/api/movies/MOVIE/ask", b"Content-Length: 2", b"Content-Length: 3", method=b"POST"), (400,)),
    "no JSON": (ask(b"{question"), (422,)),
    "JSON that isn't UTF-8": (ask(b'{"question": "\xff\xfe"}'), (400, 422)),
    "JSON nested deeply": (ask(b'{"question": ' + b"[" * 100_000), (400, 422)),
    "a question that is a file": (ask(b'{"question": "x", "policy": "../../secret.txt:f"}'), (400,)),
    "a number of a million digits": (ask(b'{"question": "x", "top_k": ' + b"9" * 200_000 + b"}"), (400, 422)),
    # ranges
    "a range behind the end": (get(b"/api/movies/MOVIE/movie", b"Range: bytes=99999999-"), (416,)),
    "a range backwards": (get(b"/api/movies/MOVIE/movie", b"Range: bytes=9-1"), (400, 416)),
    "no range": (get(b"/api/movies/MOVIE/movie", b"Range: bytes=x-y"), (400, 416)),
    "thousands of ranges": (
        get(b"/api/movies/MOVIE/movie", b"Range: bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(0, 6000, 2))),
        (400, 416),
    ),
    # odd protocols
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (0, 400)),
    "HTTP/2 by itself": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (0, 400, 405, 421)),
    "a web socket": (
        get(b"/api/movies", b"Upgrade: websocket", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), (200, 400, 426),
    ),
}  # fmt: skip


def test_there_are_fifty_hostile_requests() -> None:
    assert len(HOSTILE) >= 50


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_requests_are_refused(server: Running, movie: str, name: str) -> None:
    request, statuses = HOSTILE[name]
    port, movie_id = b"%d" % server.port, movie.split("/")[-1].encode()
    status, answer = send(server, request.replace(b"PORT", port).replace(b"MOVIE", movie_id))
    assert status in statuses, answer[:500]
    assert SECRET not in answer
    assert b"root:" not in answer
    assert b"Traceback" not in answer
    assert b"set-cookie" not in answer.lower()


def test_its_own_requests_pass(server: Running, movie: str) -> None:
    for host in (f"127.0.0.1:{server.port}", f"localhost:{server.port}", f"[::1]:{server.port}"):
        with server.client(headers={"host": host, "origin": f"http://{host}"}) as client:
            assert client.post(f"{movie}/ask", json={"question": "What is on the grass?"}).status_code == 200


@pytest.mark.parametrize(
    ("path", "mode", "target", "status"),
    [
        ("/", "navigate", "document", 200),
        ("/movie/MOVIE?q=x", "navigate", "document", 200),
        ("/movie/MOVIE", "navigate", "iframe", 403),
        ("/api/movies/MOVIE", "navigate", "document", 403),
        ("/api/movies", "cors", "empty", 403),
    ],
)
def test_links_from_other_sites_lead_to_pages_and_to_nothing_else(
    client: httpx2.Client, movie: str, path: str, mode: str, target: str, status: int
) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": mode, "sec-fetch-dest": target}
    assert client.get(path.replace("MOVIE", movie.split("/")[-1]), headers=headers).status_code == status


def test_every_answer_says_what_a_browser_may_do(client: httpx2.Client, movie: str) -> None:
    for path in ("/api/movies", f"{movie}/thumbnail/0", f"{movie}/movie", "/nothing", "/static/..%2fx"):
        headers = client.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers
        assert "access-control-allow-origin" not in headers
    assert "'unsafe" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY


# ---- time

IMPATIENT = Limits(header_seconds=0.3, body_seconds=0.3, answer_seconds=0.3, connections=6)


@pytest.fixture(scope="module")
def impatient(folder: Path) -> Iterator[Running]:
    """A server whose clients have a moment to send a request."""
    with running(make_service(folder, limits=IMPATIENT)) as started:
        yield started


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET /api", b"GET /api/movies HTTP/1.1\r\nHost: 127.0.0.1\r\nX-"],
    ids=["nothing", "line", "header"],
)
def test_a_slow_header_is_given_up(impatient: Running, begun: bytes) -> None:
    assert send(impatient, begun)[0] == 408


def test_a_slow_second_request_is_given_up_too(impatient: Running) -> None:
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=20) as connection:
        connection.sendall(b"GET /api/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /api")
        answer = b""
        while block := connection.recv(1 << 16):
            answer += block
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_a_slow_body_is_given_up(impatient: Running) -> None:
    request = b"POST /api/movies/x/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    assert send(impatient, request + b"Content-Length: 100\r\n\r\n{")[0] == 408


def test_an_answer_that_nobody_takes_is_given_up(impatient: Running) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", impatient.port))
        connection.sendall(b"GET /static/style.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 900)
        deadline = time.monotonic() + 20
        with pytest.raises(ConnectionError):  # what is sent to a closed connection is answered with a reset
            while time.monotonic() < deadline:
                connection.sendall(b" ")
                time.sleep(0.02)


def test_open_connections_are_bounded(impatient: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", impatient.port)) for _ in range(6)]
    with impatient.client() as client:
        assert client.get("/api/status").status_code == 503
        for connection in idle:
            connection.close()
        deadline = time.monotonic() + 20
        while client.get("/api/status").status_code != 200:
            assert time.monotonic() < deadline


# ---- the token


@pytest.fixture(scope="module")
def locked(folder: Path) -> Iterator[Running]:
    with running(make_service(folder, token=TOKEN)) as started:
        yield started


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer"},
        {"authorization": f"Basic {TOKEN}"},
        {"cookie": f"chunkv2l={TOKEN}"},
        {"cookie": "chunkv2l="},
        {"cookie": "chunkv2l=" + "0" * 64},
        {"authorization": "Bearer \xff\xfe"},
    ],
)
def test_without_the_token_nothing_is_served(locked: Running, headers: dict[str, str]) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    with locked.client() as client:
        for path in ("/api/movies", "/openapi.json", "/api/status", "/v1/models", "/mcp", "/static/page.js", "/"):
            answer = client.get(path, headers=raw)
            assert answer.status_code == 401, path
            assert "movie" not in answer.text.replace("/api/movies", "")


def test_a_long_cookie_takes_no_time(locked: Running) -> None:
    cookie = b'chunkv2l="' + b"\\" * 30_000 + b'"'  # Python's own parser takes seconds, in which nobody is answered
    begin = time.monotonic()
    host = b"Host: 127.0.0.1:%d" % locked.port
    status, _ = send(locked, get(b"/api/movies", host, b"Cookie: " + cookie))
    assert (status, time.monotonic() - begin < 1) == (401, True)


def test_programs_send_the_token_in_a_header(locked: Running) -> None:
    with locked.client(headers={"authorization": f"Bearer {TOKEN}"}) as client:
        assert client.get("/api/movies").status_code == 200


def test_browsers_get_a_cookie_for_the_token(locked: Running) -> None:
    with locked.client(headers={"accept": "text/html"}) as client:
        page = client.get("/")
        assert (page.status_code, 'type="password"' in page.text) == (401, True)
        assert client.get("/?token=wrong").status_code == 401
        assert client.get(f"/?token={TOKEN}", follow_redirects=False).headers["location"] == "/"
        cookie = client.get(f"/?token={TOKEN}", follow_redirects=False).headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert TOKEN not in cookie
        assert client.get("/api/movies").status_code == 200


def test_the_login_form_gives_the_cookie(locked: Running) -> None:
    with locked.client(headers={"accept": "text/html"}) as client:
        wrong = client.post("/login", data={"token": "wrong"})
        assert wrong.status_code == 401
        assert "That isn’t the token." in wrong.text
        assert client.post("/login", data={"token": TOKEN}, follow_redirects=False).status_code == 303
        assert client.get("/api/movies").status_code == 200


def test_a_name_that_was_allowed_is_known(tmp_path: Path) -> None:
    index_with_movie(tmp_path)
    with running(make_service(tmp_path, token=TOKEN, hosts=("movies.example",), host="0.0.0.0")) as server:
        headers = {"authorization": f"Bearer {TOKEN}"}
        for host, status in ((f"movies.example:{server.port}", 200), (f"10.1.2.3:{server.port}", 200), ("x.org", 421)):
            with server.client(headers={**headers, "host": host}) as client:
                assert client.get("/api/movies").status_code == status

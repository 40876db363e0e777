"""Commands that serve indexes to browsers and programs; they need the extra `serve`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chunkv2l import defaults
from chunkv2l.cli import streams
from chunkv2l.cli.options import Command, complete_model, examples, model_options
from chunkv2l.errors import InputError
from chunkv2l.sanitize import plural

if TYPE_CHECKING:
    from chunkv2l.serve.settings import ServeSettings

PACKAGES: Final = ("fastapi", "uvicorn", "jinja2", "mcp")
"""The packages that the extra brings."""


def check_extra(command: str) -> None:
    """Raise InputError if the packages that a command needs aren't installed."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"chunkv2l {command} needs {', '.join(missing)}, which the extra brings: pip install 'chunkv2l[serve]'."
        )


paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
read_only_option = click.option("--read-only", is_flag=True, help="Write nothing: no builds, no clips beside movies.")
model_option = click.option(
    "--model",
    metavar="MODEL",
    shell_complete=complete_model,
    help="The model that built the indexes, if their names don't find it here.",
)


@click.command(
    cls=Command,
    short_help="Serve a page and an API for movies.",
    epilog=examples(
        "chunkv2l serve movie.idx --open                          # a page in the browser",
        "chunkv2l serve ~/movies --read-only",
        "chunkv2l serve movies --host 0.0.0.0                     # for others, with a token",
        "curl -s localhost:8642/api/movies | jq '.[].id'",
    ),
)
@paths_argument
@click.option("--host", default=defaults.HOST, show_default=True, help="The address to listen to.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=defaults.PORT, show_default=True, help="The port to listen to."
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--token",
    envvar="CHUNKV2L_TOKEN",
    metavar="TEXT",
    help="A secret that every request must carry.  [default: a new one, if HOST isn't this machine alone]",
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that the server goes by, as behind a proxy."
)
@read_only_option
@model_option
@model_options
def serve(
    paths: Sequence[str],
    host: str,
    port: int,
    open_browser: bool,
    token: str | None,
    hosts: Sequence[str],
    read_only: bool,
    model: str | None,
    hypernet: str | None,
    device: str,
) -> None:
    """Serve the indexes at PATH, or in folders, on this machine: a page to ask them, and a JSON API.

    Nothing outside PATH is read. Other machines reach it only with another --host, and then need a token.
    """
    check_extra("serve")
    from chunkv2l.models import ModelSpec
    from chunkv2l.serve.settings import ServeSettings, choose_token

    secret = choose_token(host, token)
    spec = ModelSpec(model, hypernet, device)
    files = tuple(Path(path) for path in paths)
    _serve(ServeSettings(files, host, port, secret, tuple(hosts), read_only, spec), open_browser)


def _serve(settings: ServeSettings, open_browser: bool) -> None:
    import socket
    from contextlib import closing
    from dataclasses import replace

    from chunkv2l.serve.server import serve as run_server
    from chunkv2l.serve.service import Service

    name, host = settings.host, settings.host
    if host in ("", "0.0.0.0", "::"):
        name = socket.gethostname()
        settings = replace(settings, hosts=(*settings.hosts, name))
    address = f"http://{f'[{name}]' if ':' in name else name}:{settings.port}/"
    if settings.token is not None:
        address = f"{address}?token={settings.token}"

    def announce() -> None:
        movies = plural(len(service.catalogue.entries()), "movie")
        streams.say(f"Serving {movies} at {address} (Ctrl+C ends it).")
        if open_browser:
            import webbrowser

            webbrowser.open(address)

    with closing(Service(settings)) as service:
        run_server(service, announce)


@click.command(
    cls=Command,
    short_help="Offer movies to agents, as MCP tools over stdio.",
    epilog=examples(
        "chunkv2l mcp ~/movies                                    # as an agent's configuration starts it",
        "chunkv2l mcp movie.idx --read-only",
    ),
)
@paths_argument
@read_only_option
@model_option
@model_options
def mcp(paths: Sequence[str], read_only: bool, model: str | None, hypernet: str | None, device: str) -> None:
    """Offer the indexes at PATH, or in folders, to an agent that has started this command: MCP over standard streams.

    Its tools list, search and ask videos, read transcripts, look at frames, and cut clips.
    """
    check_extra("mcp")
    from contextlib import closing

    from chunkv2l.models import ModelSpec
    from chunkv2l.serve.service import Service
    from chunkv2l.serve.settings import ServeSettings
    from chunkv2l.serve.tools import create_tools

    files = tuple(Path(path) for path in paths)
    settings = ServeSettings(files, read_only=read_only, spec=ModelSpec(model, hypernet, device))
    with closing(Service(settings)) as service:
        create_tools(service).run("stdio")


SERVING: tuple[click.Command, ...] = (serve, mcp)

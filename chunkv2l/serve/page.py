"""The page: templates and static files, all of them chunkv2l's own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from chunkv2l.serve.service import Service
from chunkv2l.serve.templates import render

STATIC: Final = Path(__file__).parent / "static"


def add_pages(app: FastAPI, service: Service) -> None:
    """Add the pages and what they load."""

    @app.get("/", include_in_schema=False)
    async def list_movies() -> HTMLResponse:
        return HTMLResponse(render("movies.html", read_only=service.settings.read_only))

    @app.get("/movie/{movie_id}", include_in_schema=False)
    async def show_movie(movie_id: str) -> HTMLResponse:
        service.catalogue.entry(movie_id)
        return HTMLResponse(render("movie.html", movie_id=movie_id))

    app.mount("/static", StaticFiles(directory=STATIC), name="static")

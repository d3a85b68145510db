"""An example server: a page of one's own that has the live lessons in frames, with real training on the server's device.

`python -m grpo_lessons serve`, for those who have a GPU to share. Trainings queue for it, one at a time.
"""

import argparse
from collections.abc import Callable

import marimo
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from grpo_lessons.course import LESSONS
from grpo_lessons.here import NOTEBOOKS
from grpo_lessons.web.render import render


def live_lessons(made: Callable = lambda app: None, **options):
    """The live lessons as an application, each at `/NAME/`; the options are those of `marimo.create_asgi_app`.

    `made` is called with the application of each. Light or dark as the visitor's system is: this machine's own marimo
    settings are not theirs.
    """

    def as_theirs(app):
        made(app)
        app.state.config_manager = app.state.config_manager.with_overrides({"display": {"theme": "system"}})
        return app

    lessons = marimo.create_asgi_app(**options)
    for name in LESSONS:
        lessons = lessons.with_app(path=f"/{name}", root=str(NOTEBOOKS / f"grpo_{name}.py"), middleware=[as_theirs])
    return lessons.build()


def create_app() -> FastAPI:
    """The application: a page for each lesson at `/lessons/NAME`, the live lesson itself mounted at `/live/NAME/`.

    >>> [route.path for route in create_app().routes if route.path.startswith(("/lessons", "/live"))]
    ['/lessons/{name}', '/live']
    """
    app = FastAPI(title="GRPO Lessons")

    @app.get("/")
    def first() -> RedirectResponse:
        return RedirectResponse(f"lessons/{next(iter(LESSONS))}")

    @app.get("/lessons/{name}")
    def page(name: str) -> HTMLResponse:
        if name not in LESSONS:
            return HTMLResponse(f"No such lesson. There are: {', '.join(LESSONS)}.", status_code=404)
        return HTMLResponse(render("frame.html", name=name, lessons=LESSONS))

    app.mount("/live", live_lessons())
    return app


def main(argv: list[str] | None = None) -> None:
    """Serve the example until Ctrl+C."""
    parser = argparse.ArgumentParser(prog="python -m grpo_lessons serve", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(argv)
    uvicorn.run(create_app(), host=options.host, port=options.port)

"""An example server: a page of one's own that has the live lessons in frames, with real training on the server's device.

`python -m grpo_lessons.server`, for those who have a GPU to share. Trainings queue for it, one at a time.
"""

from pathlib import Path

import marimo
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, RedirectResponse

from grpo_lessons.site import LESSONS

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>:root{{color-scheme:light dark}}body{{margin:0 auto;max-width:62rem;padding:1rem;font:1rem/1.5 system-ui,sans-serif}}
iframe{{width:100%;height:82vh;border:1px solid rgba(128,134,145,.4);border-radius:.6rem}}nav a{{margin-right:1rem}}</style>
<nav>{links}</nav><h1>{title}</h1>
<iframe src="../live/{name}/?embed=true" title="{title}" sandbox="allow-scripts allow-same-origin allow-forms allow-popups allow-downloads"></iframe></html>"""


def live_lessons(**options):
    """The live lessons as an application, each at `/NAME/`; the options are those of `marimo.create_asgi_app`.

    Light or dark as the visitor's system is: this machine's own marimo settings are not theirs.
    """

    def as_theirs(app):
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
    links = "".join(f'<a href="{name}">{title}</a>' for name, (title, _) in LESSONS.items())

    @app.get("/")
    def first() -> RedirectResponse:
        return RedirectResponse(f"lessons/{next(iter(LESSONS))}")

    @app.get("/lessons/{name}")
    def page(name: str) -> HTMLResponse:
        if name not in LESSONS:
            return HTMLResponse(f"No such lesson. There are: {', '.join(LESSONS)}.", status_code=404)
        return HTMLResponse(PAGE.format(title=LESSONS[name][0], name=name, links=links))

    app.mount("/live", live_lessons())
    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), host="127.0.0.1", port=8000)

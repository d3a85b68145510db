"""The teacher's page of a class: how others come in, who trains and may be stopped, and the class closed and opened anew."""

from collections.abc import Sequence

import segno
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from grpo_lessons.training import line
from grpo_lessons.web.render import render
from grpo_lessons.web.seats import Seats


def desk(seats: Seats, address: str, password: str | None, managers: Sequence) -> list[Route]:
    """The routes of the page at `/desk`, all of them a teacher's only.

    Args:
        seats: of the class.
        address: where others come to it; "" for where it was asked.
        password: what they type, if there is one.
        managers: of marimo's sessions, which end with their group: thirty take a gigabyte.
    """

    def page(request: Request) -> Response:
        at = address or str(request.base_url).rstrip("/")
        words = {"address": at, "code": qr_code(at), "password": password, "runs": seats.folder, "group": seats.group}
        return HTMLResponse(render("desk.html", **words))

    def now(request: Request) -> Response:
        trains = [
            {"seat": seat.number, "name": seat.called, "doing": training.doing}
            for seat in list(seats.seats.values())
            for training in seat.trainings
        ]
        waits = [{"who": ticket.who, "seconds": ticket.seconds} for ticket in line.line()]
        return JSONResponse({"open": seats.is_open, "trains": trains, "line": waits})

    def stop(request: Request) -> Response:
        seat = seats.seats.get(request.path_params["seat"])
        for training in seat.trainings if seat else ():
            training.stop()
        return Response(status_code=204)

    async def close(request: Request) -> Response:
        await seats.close()
        return Response(status_code=204)

    async def open_again(request: Request) -> Response:
        seats.is_open = True
        return Response(status_code=204)

    async def open_anew(request: Request) -> Response:
        await seats.open_anew()
        for manager in managers:
            manager.close_all_sessions()
        return Response(status_code=204)

    asked = {"/desk": page, "/desk/now": now}
    done = {
        "/desk/stop/{seat:int}": stop,
        "/desk/close": close,
        "/desk/open": open_again,
        "/desk/anew": open_anew,
    }
    return [Route(path, seats.for_teachers(each)) for path, each in asked.items()] + [
        Route(path, seats.for_teachers(each), methods=["POST"]) for path, each in done.items()
    ]


def qr_code(address: str) -> str:
    """An address as a QR code, in SVG: dark on light in every theme, for cameras read it so.

    >>> qr_code("http://192.168.0.7:8000").startswith("<svg")
    True
    """
    return segno.make(address, micro=False).svg_inline(
        scale=8, border=4, dark="#000", light="#fff", omitsize=True, title="QR code of the class's address"
    )

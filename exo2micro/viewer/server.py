"""A small web server for one page on this machine, which answers nobody else.

It listens on the loopback address only, and answers only requests that bear the token of this
session and name this machine as the host: other users, other programs and other web pages (by DNS
rebinding) learn nothing. Nothing in a request becomes the name of a file.
"""

import hmac
import json
import logging
import os
import re
import secrets
import threading
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from exo2micro.errors import Exo2microError, ParameterError
from exo2micro.viewer.slide import Slide
from exo2micro.viewer.tiles import Look

logger = logging.getLogger(__name__)

ADDRESS: Final = "127.0.0.1"
HOSTS: Final = (ADDRESS, "localhost")

_STATIC: Final = {
    "": ("viewer.html", "text/html; charset=utf-8"),
    "viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "openseadragon.js": ("openseadragon.min.js", "text/javascript; charset=utf-8"),
    **{
        name: (name, "text/javascript; charset=utf-8")
        for name in ("main.js", "pane.js", "colours.js", "objects.js", "readout.js")
    },
}
"""Answers that are files of the package."""

_EMPTY_STYLE: Final = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""OpenSeadragon adds a style of its own unless there is one, which may be empty."""

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_EMPTY_STYLE}; "
        "img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_TILE: Final = re.compile(r"tile/([a-z]{1,20})/(\d{1,2})/(\d{1,5})_(\d{1,5})\.png")
_TOKEN_BYTES: Final = 24


@dataclass(frozen=True)
class Answer:
    """What a request gets."""

    status: HTTPStatus
    kind: str
    content: bytes

    @classmethod
    def words(cls, status: HTTPStatus, text: str) -> "Answer":
        """Return an answer in words."""
        return cls(status, "text/plain; charset=utf-8", f"{text}\n".encode())

    @classmethod
    def json(cls, content: bytes) -> "Answer":
        """Return a JSON document."""
        return cls(HTTPStatus.OK, "application/json", content)


class LoopbackServer(ThreadingHTTPServer):
    """The server of one slide.

    Parameters
    ----------
    slide : Slide
        What to show.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, slide: Slide) -> None:
        self._slide = slide
        self._token = secrets.token_urlsafe(_TOKEN_BYTES)
        # A tile takes tens of milliseconds of one core: more at once would only take memory.
        self._drawing = threading.Semaphore(max(2, os.cpu_count() or 1))
        super().__init__((ADDRESS, 0), _Handler)

    @property
    def url(self) -> str:
        """Address of the page; whoever knows it can see the slide."""
        return f"http://{ADDRESS}:{self.server_port}/{self._token}/"

    def answer(self, target: str, host: str, origin: str = "") -> Answer:
        """Return the answer to a GET request; no request changes anything.

        Parameters
        ----------
        target : str
            Path and query.
        host : str
            The Host header.
        origin : str
            The Origin header, which browsers send for requests that another page makes.
        """
        name = host.rpartition(":")[0] if ":" in host else host
        if name not in HOSTS or origin not in ("", f"http://{host}"):
            return Answer.words(HTTPStatus.FORBIDDEN, "this page is for this machine only")
        parts = urlsplit(target)
        _, _, rest = parts.path.partition("/")
        token, slash, path = rest.partition("/")
        if not (slash and hmac.compare_digest(token.encode(), self._token.encode())):
            return Answer.words(
                HTTPStatus.FORBIDDEN,
                "wrong or missing token: open the address that `exo2micro view` printed",
            )
        try:
            return self._answer(path, {k: v[-1] for k, v in parse_qs(parts.query).items()})
        except ParameterError as error:
            return Answer.words(HTTPStatus.BAD_REQUEST, str(error))
        except (Exo2microError, OSError) as error:
            logger.warning("the page asked for %s: %s", path, error)
            return Answer.words(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))

    def _answer(self, path: str, query: dict[str, str]) -> Answer:
        if path in _STATIC:
            name, kind = _STATIC[path]
            file = resources.files("exo2micro.viewer") / "static" / name
            return Answer(HTTPStatus.OK, kind, file.read_bytes())
        if path == "slide.json":
            return Answer.json(json.dumps(self._slide.describe(), allow_nan=False).encode())
        if path == "objects.json":
            return Answer.json(self._slide.objects_json)
        if path == "values.json":
            values = self._slide.values(_whole(query, "x"), _whole(query, "y"))
            return Answer.json(json.dumps(values, allow_nan=False).encode())
        if match := _TILE.fullmatch(path):
            layer, level, column, row = match.groups()
            look = Look(_real(query, "low"), _real(query, "high"), query.get("colours", ""))
            with self._drawing:
                place = int(column), int(row)
                picture = self._slide.tile(layer, int(level), place, look)
            return Answer(HTTPStatus.OK, "image/png", picture)
        return Answer.words(HTTPStatus.NOT_FOUND, "there is no such page")

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Log what went wrong with a request; a browser that went away is no error."""
        logger.debug("request from %s (%s)", client_address, request, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Hands requests to the server and sends its answers."""

    server: LoopbackServer
    server_version = "exo2micro"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        answer = self.server.answer(
            self.path, self.headers.get("Host", ""), self.headers.get("Origin", "")
        )
        self.send_response(answer.status)
        for keyword, value in _HEADERS.items():
            self.send_header(keyword, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401
        logger.debug("%s", format % args)


def _whole(query: dict[str, str], name: str) -> int:
    text = query.get(name, "")
    if not re.fullmatch(r"\d{1,9}", text):
        msg = f"{name} must be a whole number >= 0, got {text!r}"
        raise ParameterError(msg)
    return int(text)


def _real(query: dict[str, str], name: str) -> float:
    try:
        return float(query.get(name, "0"))
    except ValueError:
        msg = f"{name} must be a number, got {query[name]!r}"
        raise ParameterError(msg) from None

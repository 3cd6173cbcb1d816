"""Who may speak to the studio: pages that it served itself, from this machine unless asked otherwise.

viser answers whoever connects. A page of another site could open a socket to 127.0.0.1, or have its own name resolve
there (DNS rebinding), and so see a user's photos and press the buttons. So every request is looked at before viser.
"""

from __future__ import annotations

import hmac
import http
import ipaddress
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

LOOPBACK = "127.0.0.1"
COOKIE = "unscene"
NAMES_OF_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host that is listened on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class Door:
    """host: what is listened on. token: what a visitor must bring, where others than this machine can connect."""

    host: str = LOOPBACK
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def asks_for_token(self) -> bool:
        return not is_loopback(self.host)

    def address(self, port: int) -> str:
        """Where the page is, with the token that it asks for."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{port}/" + (f"?token={self.token}" if self.asks_for_token else "")

    def refusal(self, request: Request) -> Response | None:
        """What to answer a request that comes from elsewhere, or without the token; None for one that may pass."""
        headers = request.headers
        host, origin = headers.get("Host", ""), headers.get("Origin")
        if not self.asks_for_token and urlsplit(f"//{host}").hostname not in NAMES_OF_LOOPBACK:
            return _refused(http.HTTPStatus.FORBIDDEN, "this page is for this machine; open it as 127.0.0.1")
        if origin is not None and urlsplit(origin).netloc != host:
            return _refused(http.HTTPStatus.FORBIDDEN, "another page may not speak to this one")
        if self.asks_for_token and not self._has_token(request):
            return _refused(http.HTTPStatus.UNAUTHORIZED, "open the address with the token that the terminal shows")
        return None

    def _has_token(self, request: Request) -> bool:
        asked = parse_qs(urlsplit(request.path).query).get("token", [])
        try:
            kept = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            kept = None
        brought = [*asked, *([kept.value] if kept else [])]
        return any(hmac.compare_digest(value.encode(), self.token.encode()) for value in brought)

    def watched(self, answer: Callable[[Any, Request], Response | None]) -> Callable[[Any, Request], Response | None]:
        """An answer to requests that turns away whom it must, and lets a page that was opened rightly come again."""

        def look(connection: Any, request: Request) -> Response | None:
            if refused := self.refusal(request):
                return refused
            response = answer(connection, request)
            if response is not None:
                response.headers["X-Frame-Options"] = "DENY"
                response.headers["Referrer-Policy"] = "no-referrer"
                if self.asks_for_token:
                    response.headers["Set-Cookie"] = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
            return response

        return look


@contextmanager
def watching(door: Door) -> Iterator[None]:
    """Servers that are started meanwhile, viser's among them, let nobody in whom the door refuses."""
    serve = websockets.asyncio.server.serve

    def watched(*arguments: Any, process_request: Any = None, **options: Any) -> Any:
        answer = process_request or (lambda connection, request: None)
        return serve(*arguments, process_request=door.watched(answer), **options)

    websockets.asyncio.server.serve = watched  # viser has no option for it
    try:
        yield
    finally:
        websockets.asyncio.server.serve = serve


def _refused(status: http.HTTPStatus, why: str) -> Response:
    body = f"{why}\n".encode()
    headers = Headers({"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))})
    return Response(status.value, status.phrase, headers, body)

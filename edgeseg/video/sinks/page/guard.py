"""Who may see the page: the token, the host and the origin of every request."""

import re
import secrets
from collections.abc import Iterable
from html import escape
from http.cookies import SimpleCookie
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PUBLIC = frozenset({"/page.css", "/icon.svg"})
"""What the page that asks for the token looks like."""
COOKIE_AGE_S = 30 * 24 * 3600

_REFUSED = (Path(__file__).parent / "static" / "refused.html").read_text(encoding="utf-8")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class Guard:
    """Lets through what may pass, and adds the headers that keep a browser within the page.

    A page for this machine alone answers to names of this machine only: another site whose name
    was made to point here (DNS rebinding) is refused.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, hosts: Iterable[str] | None, cookie: str
    ) -> None:
        self._app, self._token, self._cookie = app, token, cookie
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        connection = HTTPConnection(scope)
        host = connection.headers.get("host", "")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(MutableHeaders(scope=message), connection, host)
            await send(message)

        refusal = self._refusal(connection, host)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refusal(self, connection: HTTPConnection, host: str) -> HTMLResponse | None:
        matched = _HOST.fullmatch(host)
        if matched is None or (self._hosts is not None and matched[1].lower() not in self._hosts):
            names = ", ".join(sorted(self._hosts or ["its address"]))
            return _refused(403, "Not under this name", f"Open this page as one of: {names}.")
        origin = connection.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return _refused(403, "Not from another site", "Open the page itself.")
        if connection.url.path in PUBLIC or self._may_see(connection):
            return None
        return _refused(
            401,
            "This page has a token",
            "Open the complete address that <code>edgeseg run</code> printed when it started "
            f"(<code>http://{escape(host)}/?token=…</code>), or type the token here.",
        )

    def _may_see(self, connection: HTTPConnection) -> bool:
        if self._token is None:
            return True
        scheme, _, bearer = connection.headers.get("authorization", "").partition(" ")
        given = [connection.query_params.get("token", ""), connection.cookies.get(self._cookie, "")]
        given += [bearer.strip()] if scheme.lower() == "bearer" else []
        return any([self._is_token(text) for text in given])

    def _is_token(self, text: str) -> bool:
        wanted = self._token or ""
        return secrets.compare_digest(text.encode(), wanted.encode())

    def _add_headers(self, headers: MutableHeaders, connection: HTTPConnection, host: str) -> None:
        # Older Safari does not count the page's own websocket as 'self'.
        own = f"'self' ws://{host} wss://{host}" if _HOST.fullmatch(host) else "'self'"
        headers["content-security-policy"] = (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
            f"connect-src {own}; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
        )
        headers["x-content-type-options"] = "nosniff"
        headers["referrer-policy"] = "no-referrer"
        # A dashboard on the same machine may show the pictures; another site may not.
        headers["cross-origin-resource-policy"] = "same-site"
        headers.setdefault("cache-control", "no-store")
        if self._token is not None and self._is_token(connection.query_params.get("token", "")):
            headers.append("set-cookie", self._cookie_text())

    def _cookie_text(self) -> str:
        jar = SimpleCookie({self._cookie: self._token or ""})
        morsel = jar[self._cookie]
        morsel["httponly"], morsel["samesite"] = True, "Strict"
        morsel["path"], morsel["max-age"] = "/", COOKIE_AGE_S
        return morsel.OutputString()


def _refused(status: int, title: str, text: str) -> HTMLResponse:
    form = "" if status == 401 else " hidden"
    page = _REFUSED.replace("{title}", title).replace("{text}", text).replace("{form}", form)
    headers = {"www-authenticate": 'Bearer realm="edgeseg"'} if status == 401 else None
    return HTMLResponse(page, status_code=status, headers=headers)

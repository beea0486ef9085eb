"""What stands between visitors and Gradio: refuses what the demo never needs, before any of it is read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from semdepth.apps.demo_site.store import Store

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' data: blob: ws: wss:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)
"""The browser itself refuses whatever lies on other hosts: fonts, scripts, counters."""
_FORM_BYTES = 64 * 1024
_BODY_BYTES = 1024 * 1024


class Guard:
    """ASGI middleware; see `refusal` for what it turns away."""

    def __init__(self, app: Application, store: Store) -> None:
        self.app, self.store = app, store
        self.uploading = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on with a content security policy."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path, method = unquote(scope["path"]), scope["method"]
        length = dict(scope["headers"]).get(b"content-length", b"")
        refused = self.refusal(method, path, int(length) if length.isdigit() else None)
        if refused is not None:
            await _answer(send, *refused)
            return

        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                extra = [(b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"),
                         (b"referrer-policy", b"no-referrer")]  # fmt: skip
                message["headers"] = [*message.get("headers", []), *extra]
            await send(message)

        is_upload = method == "POST" and path.endswith("/upload")
        self.uploading += is_upload
        try:
            await self.app(scope, receive, with_policy)
        finally:
            self.uploading -= is_upload

    def refusal(self, method: str, path: str, length: int | None) -> tuple[int, str] | None:
        """Return the status and the words with which a request is turned away; None: it is welcome.

        Args:
            method: GET, POST, …
            path: decoded, without the query.
            length: of the body in bytes, if stated.
        """
        limits = self.store.limits
        _, asks_file, name = path.partition("/file=")
        if asks_file and ("\0" in name or "://" in name or name.startswith(("http:", "https:", "//"))):
            return 403, "no such file"  # Gradio would fetch other hosts' files for the visitor
        if "/proxy=" in path:
            return 403, "no such file"
        if method != "POST":
            return None
        if length is None:
            return 411, "state the length of the request"
        if not path.endswith("/upload"):
            return (413, "the request is too large") if length > _BODY_BYTES else None
        if length > limits.upload_mb * 2**20 + _FORM_BYTES:
            return 413, f"the file is over {limits.upload_mb} MB; make it smaller"
        if self.uploading >= limits.uploading or self.store.is_full():
            return 503, "the server is busy; try again in a minute"
        return None


async def _answer(send: Send, status: int, words: str) -> None:
    body = words.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

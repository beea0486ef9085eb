"""A hub of the tests' own: the part of the Hugging Face hub's HTTP interface that pushing and loading use, on localhost."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FakeHub:
    """What the hub holds. ``files`` by repository and revision: every commit keeps the whole tree."""

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    trees: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    cards: list[str] = field(default_factory=list)

    def commit(self, repository: str, added: dict[str, bytes]) -> str:
        revisions = self.trees[repository]
        tree = revisions.get("main", {}) | added
        oid = hashlib.sha1(repr(sorted(tree.items())).encode()).hexdigest()
        revisions["main"] = revisions[oid] = tree
        return oid

    def head(self, repository: str) -> str:
        tree = self.trees[repository].get("main")
        return next((k for k, v in self.trees[repository].items() if v is tree and k != "main"), "0" * 40)


@contextmanager
def serve() -> Iterator[FakeHub]:
    """Serve a hub until the block ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, code: int, body: bytes = b"{}", **headers: str) -> None:
            self.send_response(code)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def answer_json(self, value: Any, code: int = 200) -> None:
            self.answer(code, json.dumps(value).encode(), Content_Type="application/json")

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            parts = self.path.split("?")[0].strip("/").split("/")
            if parts == [""]:
                self.answer(200)
            elif parts[:2] == ["api", "models"]:
                name = "/".join(parts[2:4])
                if name in hub.trees:
                    self.answer_json({"id": name, "private": hub.private[name], "sha": hub.head(name), "siblings": []})
                else:
                    self.answer(404, X_Error_Code="RepoNotFound")
            elif len(parts) > 4 and parts[2] == "resolve":
                self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self.answer(404)

        def resolve(self, name: str, revision: str, file: str) -> None:
            tree = hub.trees.get(name, {}).get(revision)
            if name not in hub.trees or tree is None or file not in tree:
                code = (
                    "RepoNotFound" if name not in hub.trees else "RevisionNotFound" if tree is None else "EntryNotFound"
                )
                self.answer(404, X_Error_Code=code)
                return
            commit = revision if revision != "main" else hub.head(name)
            self.answer(200, tree[file], ETag=f'"{hashlib.sha1(tree[file]).hexdigest()}"', X_Repo_Commit=commit)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if "Bearer hf_" not in self.headers.get("Authorization", ""):
                self.answer_json({"error": "Invalid username or password."}, 401)
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked['organization']}/{asked['name']}"
                exists = name in hub.trees
                hub.trees.setdefault(name, {})
                wanted = asked.get("private") or asked.get("visibility") == "private"
                hub.private.setdefault(name, bool(wanted))
                self.answer_json({"url": f"{hub.url}/{name}", "name": name}, 409 if exists else 200)
            elif self.path == "/api/validate-yaml":
                hub.cards.append(json.loads(body)["content"])
                self.answer_json({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
                self.answer_json({"files": modes})
            else:
                self.commit("/".join(self.path.split("/")[3:5]), body)

        def commit(self, name: str, body: bytes) -> None:
            lines = [json.loads(line) for line in body.splitlines()]
            added = {e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in lines if e["key"] == "file"}
            oid = hub.commit(name, added)
            answer = {"success": True, "commitOid": oid, "commitUrl": f"{hub.url}/{name}/commit/{oid}"}
            self.answer_json(answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

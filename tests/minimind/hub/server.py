"""A hub on the loopback: what huggingface_hub and ModelScope's interface ask of one, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """Repositories as {"models/owner/name": {file: content}}, and what is to go wrong.

    `faults` maps the end of a file's name to faults that its next downloads meet, one each: ("cut", bytes),
    ("status", code), ("flip",), ("whole",) for an answer without ranges, ("long",) for too many bytes. `wild` names are
    listed besides. `requests` is what was asked.
    """

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    wild: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    redirect_to: str = ""
    private: bool = False

    def start(self) -> str:
        """Serve from a thread; returns the address."""
        hub = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.hub = hub
                super().__init__(*arguments)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Stop serving: connections are refused from then on."""
        self._server.shutdown()
        self._server.server_close()

    def fault(self, name: str) -> tuple[Any, ...]:
        """The fault that a download of `name` meets now."""
        waiting = next((faults for ending, faults in self.faults.items() if name.endswith(ending) and faults), None)
        return waiting.pop(0) if waiting else ("none",)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, dict(self.headers)))
        if self.hub.private:
            return self.reply(401, b"", {"X-Error-Code": "GatedRepo"})
        if found := re.fullmatch(r"/api/v1/(models|datasets)/([^/]+/[^/]+)/repo/(?:files|tree)", path):
            return self.modelscope(f"{found[1]}/{found[2]}")
        if found := re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+?)(/revision/[^/]+|/tree/[^/]+)?", path):
            return self.listing(f"{found[1]}/{found[2]}", found[2], tree="/tree/" in (found[3] or ""))
        if found := re.fullmatch(r"/(models/|datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.file(f"{found[1] or 'models/'}{found[2]}", found[4])
        return self.reply(404, b"")

    def reply(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def listing(self, key: str, repository: str, *, tree: bool) -> None:
        files = self.hub.repositories.get(key)
        if files is None:
            return self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if not tree:
            data: Any = {"id": repository, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": []}
        else:
            data = [self.entry(name, content) for name, content in files.items()]
            data += [{"type": "file", "path": name, "size": 1, "oid": "0" * 40} for name in self.hub.wild]
        return self.reply(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        """Large files are in LFS and have a sha256; small ones only the id of their git blob."""
        blob = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
        made: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": blob}
        if len(content) > 1000:
            made["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return made

    def modelscope(self, key: str) -> None:
        files = self.hub.repositories.get(key)
        if files is None:
            return self.reply(404, b'{"Code": 10010205001}')
        listed = [{"Path": "onnx", "Type": "tree", "Size": 0}]
        listed += [
            {"Path": name, "Type": "blob", "Size": len(content), "Sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        ]
        return self.reply(200, json.dumps({"Code": 200, "Data": {"Files": listed}}).encode())

    def file(self, key: str, name: str) -> None:
        content = self.hub.repositories.get(key, {}).get(name)
        if content is None:
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
        if self.hub.redirect_to:
            return self.reply(302, b"", {"Location": f"{self.hub.redirect_to}{self.path}"})
        fault = self.hub.fault(name)
        if fault[0] == "status":
            return self.reply(fault[1], b"busy")
        if fault[0] == "flip":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault[0] == "long":
            content += b"more"
        code, headers = 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and fault[0] != "whole":
            start = int(wanted[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            code, content = 206, content[start:]
        if fault[0] == "cut":
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: fault[1]])
            self.close_connection = True
            return None
        return self.reply(code, content, headers)

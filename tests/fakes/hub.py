"""A model hub on loopback: what huggingface_hub 2.4 asks for, and faults on demand.

The CDN that files redirect to is the same port under another host name, so that it is another origin.

`python -m tests.fakes.hub ROOT` serves ROOT/OWNER/REPO/FILE and prints its port. `ROOT/OWNER/REPO/.meta.json`
adds to the repository's metadata (`gated`, `cardData`, `gguf`). Faults are set with `POST /_control` (a JSON
object, merged into `Controls`), and `GET /_stats` tells what was sent: requests, bytes, and bytes sent twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CHUNK = 1 << 15


@dataclass
class Controls:
    """The faults. `faults` are used up, one for each request for a file's bytes."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    """{"kind": "cut" | "stall", "after": n}, {"kind": "status", "status": 429, "retry_after": 1},
    {"kind": "reset"}, {"kind": "silence"} or {"kind": "page"} (a login page)."""
    api_faults: list[dict[str, Any]] = field(default_factory=list)
    """Of kind "status", "silence" or "page", for the metadata requests."""
    cuts: int = 0
    """So many more replies break off after a random number of bytes."""
    cut_within: tuple[int, int] = (1, 4_000_000)
    ranges: bool = True
    lie: str = ""
    """"offset": another Content-Range than asked; "body": the start of the file under the right headers;
    "etag": another hash where it redirects than in the metadata."""
    wrong_hash: bool = False
    only_get: bool = False
    """Answer 403 to HEAD, as an address does that is signed for GET."""
    token: str = ""
    """What a gated repository wants to see."""
    signature: int = 0
    """Part of the address that files redirect to; older ones are refused with 403."""
    rate: float = 0
    """Bytes a second of all connections together, 0 for as fast as it goes."""
    rate_each: float = 0
    """Bytes a second of one connection, as mirrors limit it and as long ways with losses do."""


class Hub(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, root: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.root = root
        self.controls = Controls()
        self.lock = threading.Lock()
        self.random = random.Random(7)
        self.requests: Counter[str] = Counter()
        self.sent: dict[str, list[tuple[int, int]]] = {}
        self.tokens: list[str] = []
        self._hashes: dict[tuple[str, int, float], str] = {}
        self._line_free = 0.0

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is not an error."""

    def sha256(self, path: Path) -> str:
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime)
        if key not in self._hashes:
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
            self._hashes[key] = digest.hexdigest()
        return self._hashes[key]

    def next_fault(self, queue: str) -> dict[str, Any]:
        with self.lock:
            waiting = getattr(self.controls, queue)
            if waiting:
                fault: dict[str, Any] = waiting.pop(0)
                return fault
            if queue == "faults" and self.controls.cuts > 0:
                self.controls.cuts -= 1
                return {"kind": "cut", "after": self.random.randint(*self.controls.cut_within)}
        return {"kind": "none"}

    def wait_for_line(self, n_bytes: int) -> None:
        """Sleep as long as a line of `rate` takes for these bytes, all connections sharing it."""
        if not self.controls.rate:
            return
        with self.lock:
            self._line_free = max(self._line_free, time.monotonic()) + n_bytes / self.controls.rate
            pause = self._line_free - time.monotonic()
        time.sleep(max(0.0, pause))

    def count(self, name: str, start: int, end: int) -> None:
        if end > start:
            with self.lock:
                self.sent.setdefault(name, []).append((start, end))

    def stats(self) -> dict[str, Any]:
        with self.lock:
            total = sum(end - start for spans in self.sent.values() for start, end in spans)
            once = sum(_covered(spans) for spans in self.sent.values())
            return {
                "requests": dict(self.requests),
                "bytes": total,
                "twice": total - once,
                "faults_left": len(self.controls.faults) + self.controls.cuts,
                "tokens": self.tokens,
            }


def _covered(spans: list[tuple[int, int]]) -> int:
    covered, at = 0, 0
    for start, end in sorted(spans):
        covered += max(0, end - max(start, at))
        at = max(at, end)
    return covered


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"
    free_at = 0.0

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on stderr."""

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = {f.name for f in fields(Controls)}
        with self.server.lock:
            for key, value in given.items():
                assert key in known, key
                setattr(self.server.controls, key, value)
        self._json({})

    def do_HEAD(self) -> None:
        self._route()

    def do_GET(self) -> None:
        self._route()

    def _route(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        kind = path.split("/")[1]
        if kind == "_stats":
            return self._json(self.server.stats())
        with self.server.lock:
            self.server.requests[kind if kind in ("api", "cdn") else "resolve"] += 1
        if token := self.headers.get("Authorization"):
            self.server.tokens.append(f"{kind if kind in ('api', 'cdn') else 'resolve'} {token}")
        if kind == "cdn":
            return self._cdn(path)
        if self._misbehave(self.server.next_fault("api_faults")):
            return None
        if kind == "api":
            return self._api(path.split("/")[3:])
        return self._resolve(path)

    def _repo(self, owner: str, name: str) -> tuple[Path, dict[str, Any]] | None:
        folder = self.server.root / owner / name
        if not folder.is_dir():
            self._refuse(401, "RepoNotFound", "Repository not found")
            return None
        meta_path = folder / ".meta.json"
        return folder, json.loads(meta_path.read_text()) if meta_path.exists() else {}

    def _commit(self, folder: Path) -> str:
        state = [(p.name, p.stat().st_size, p.stat().st_mtime) for p in sorted(folder.iterdir())]
        return hashlib.sha1(repr(state).encode()).hexdigest()

    def _api(self, parts: list[str]) -> None:
        """/api/models/OWNER/NAME[/revision/REV | /tree/REV]"""
        repo = self._repo(*parts[:2])
        if repo is None:
            return
        folder, meta = repo
        files = [p for p in sorted(folder.iterdir()) if p.name != ".meta.json"]
        if len(parts) > 2 and parts[2] == "tree":
            self._json([self._tree_entry(p) for p in files])
            return
        siblings = [
            {
                "rfilename": p.name,
                "size": p.stat().st_size,
                "blobId": "0" * 40,
                "lfs": {"sha256": self._hash(p), "size": p.stat().st_size, "pointerSize": 134},
            }
            for p in files
        ]
        name = "/".join(parts[:2])
        info = {"id": name, "modelId": name, "sha": self._commit(folder), "gated": False, "private": False}
        self._json({**info, "tags": [], "siblings": siblings, **meta})

    def _tree_entry(self, path: Path) -> dict[str, Any]:
        size = path.stat().st_size
        lfs = {"oid": self._hash(path), "size": size, "pointerSize": 134}
        return {"type": "file", "path": path.name, "size": size, "oid": "0" * 40, "lfs": lfs}

    def _hash(self, path: Path) -> str:
        return "f" * 64 if self.server.controls.wrong_hash else self.server.sha256(path)

    def _resolve(self, path: str) -> None:
        """/OWNER/NAME/resolve/REV/FILE, which redirects to the CDN."""
        _, owner, name, _, _, file_name = path.split("/", 5)
        repo = self._repo(owner, name)
        if repo is None:
            return
        folder, meta = repo
        wanted = self.server.controls.token
        if meta.get("gated") and self.headers.get("Authorization") != f"Bearer {wanted}":
            status = 403 if self.headers.get("Authorization") else 401
            self._refuse(status, "GatedRepo", f"Access to model {owner}/{name} is restricted.")
            return
        file = folder / file_name
        if not file.is_file():
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        self.send_response(302)
        cdn = f"http://localhost:{self.server.server_port}/cdn/{self.server.controls.signature}"
        self.send_header("Location", f"{cdn}/{owner}/{name}/{urllib.parse.quote(file_name)}")
        self.send_header("X-Repo-Commit", self._commit(folder))
        etag = "e" * 64 if self.server.controls.lie == "etag" else self._hash(file)
        self.send_header("X-Linked-Etag", f'"{etag}"')
        self.send_header("X-Linked-Size", str(file.stat().st_size))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _cdn(self, path: str) -> None:
        """/cdn/SIGNATURE/OWNER/NAME/FILE, the bytes."""
        _, _, signature, relative = path.split("/", 3)
        if int(signature) != self.server.controls.signature:
            self._refuse(403, "", "Request has expired")
            return
        if self.command == "HEAD" and self.server.controls.only_get:
            self._refuse(403, "", "Signed for GET")
            return
        fault = self.server.next_fault("faults") if self.command == "GET" else {"kind": "none"}
        if self._misbehave(fault):
            return
        file = self.server.root / relative
        size = file.stat().st_size
        start, end = self._range(size)
        if start >= size:
            self._refuse(416, "", "Range not satisfiable")
            return
        self._announce(start, end, file.stat())
        if self.command == "GET":
            self._send_bytes(relative, file, start, end, fault)

    def _range(self, size: int) -> tuple[int, int]:
        asked = self.headers.get("Range")
        if not asked or not self.server.controls.ranges:
            return 0, size
        first, _, last = asked.removeprefix("bytes=").partition("-")
        return int(first), min(int(last) + 1, size) if last else size

    def _announce(self, start: int, end: int, state: os.stat_result) -> None:
        size, etag = state.st_size, f"{state.st_mtime_ns:x}-{state.st_size:x}"
        partial = self.headers.get("Range") is not None and self.server.controls.ranges
        self.send_response(206 if partial else 200)
        if partial:
            shown = max(0, start - 1000) if self.server.controls.lie == "offset" else start
            self.send_header("Content-Range", f"bytes {shown}-{end - 1}/{size}")
        if self.server.controls.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", f'"{etag}"')
        self.end_headers()

    def _send_bytes(self, name: str, file: Path, start: int, end: int, fault: dict[str, Any]) -> None:
        stop = min(end, start + int(fault["after"])) if fault["kind"] in ("cut", "stall") else end
        at = start
        try:
            with file.open("rb") as source:
                if self.server.controls.lie != "body":
                    source.seek(start)
                slow = self.server.controls.rate or self.server.controls.rate_each
                if not slow and stop == end:
                    self.connection.sendfile(source, source.tell(), end - start)
                    at = end
                while at < stop:
                    chunk = source.read(min(CHUNK, stop - at))
                    self.server.wait_for_line(len(chunk))
                    self._wait_for_connection(len(chunk))
                    self.wfile.write(chunk)
                    at += len(chunk)
        finally:
            self.server.count(name, start, at)
        if stop < end:
            self._break_off(fault["kind"])

    def _wait_for_connection(self, n_bytes: int) -> None:
        """Sleep as long as a connection of `rate_each` takes for these bytes."""
        if self.server.controls.rate_each:
            self.free_at = max(self.free_at, time.monotonic()) + n_bytes / self.server.controls.rate_each
            time.sleep(max(0.0, self.free_at - time.monotonic()))

    def _break_off(self, kind: str) -> None:
        if kind == "stall":
            with contextlib.suppress(OSError):
                self.connection.recv(1)  # until the client gives up
        self.close_connection = True

    def _misbehave(self, fault: dict[str, Any]) -> bool:
        """Do a fault that replaces the whole reply; False if there is none."""
        if fault["kind"] == "reset":
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            return True
        if fault["kind"] == "silence":
            self._break_off("stall")
            return True
        if fault["kind"] == "page":
            self._page()
            return True
        if fault["kind"] != "status":
            return False
        self._refuse(fault["status"], "", "Try later", fault.get("retry_after"))
        return True

    def _page(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"<html>Please log in</html>" * 100)
        self.close_connection = True

    def _refuse(self, status: int, code: str, message: str, retry_after: object = None) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self._body(body)

    def _json(self, value: object) -> None:
        self.send_response(200)
        self._body(json.dumps(value).encode())

    def _body(self, body: bytes) -> None:
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    hub = Hub(Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    print(hub.server_port, flush=True)  # noqa: T201
    hub.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()

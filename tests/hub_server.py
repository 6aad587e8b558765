"""A Hugging Face hub on 127.0.0.1: the answers that huggingface_hub asks for, and every way in which they fail."""

import hashlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BIG = 10_000  # bytes from which a file is LFS's: its address redirects to another host
CHUNK = 1024


@dataclass
class Trouble:
    """What goes wrong with requests whose path holds `where`, for the next `times` of them.

    method: 'HEAD' or 'GET'; '': both. status: the answer is this error, with `code` as hub's name of it and `headers`.
    after: the body ends, and the connection with it, after so many bytes. bytes_per_second: of the body.
    stalls: the body stops after `after` bytes, but the connection stays, until the hub is closed.
    """

    where: str
    method: str = ""
    times: int = 1_000_000
    status: int = 0
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None
    bytes_per_second: int = 0
    stalls: bool = False


@dataclass
class Hub:
    """A hub that serves the repositories put into it. asked: method, path and Range of every request.

    gated: repositories that show their list of files and refuse the files themselves, as to those not logged in.
    """

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    troubles: list[Trouble] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def put(self, repository: str, files: Path | Mapping[str, bytes]) -> None:
        """Publish the files of a folder, or these, as a repository; a data set's name starts with 'datasets/'."""
        if isinstance(files, Path):
            found = [path for path in sorted(files.rglob("*")) if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        self.repositories[repository] = dict(files)

    def fails(self, where: str, **how: Any) -> None:
        """Let requests whose path holds `where` fail in the way that `Trouble` describes."""
        self.troubles.append(Trouble(where, **how))

    def mend(self) -> None:
        """Let everything succeed from now on."""
        self.troubles.clear()
        self.gated.clear()

    def trouble(self, method: str, path: str) -> Trouble | None:
        """What goes wrong with this request, counted."""
        for each in self.troubles:
            if each.times > 0 and each.where in path and each.method in ("", method):
                each.times -= 1
                return each
        return None

    def sha(self, repository: str) -> str:
        """The commit of a repository: it changes with the files."""
        files = self.repositories[repository]
        return hashlib.sha1(json.dumps({name: _sha256(files[name]) for name in sorted(files)}).encode()).hexdigest()


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub without repositories, until the block ends."""
    hub = Hub()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Answer", (_Answer,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        hub.closed.set()
        server.shutdown()
        server.server_close()


class _Answer(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlparse(self.path).path)
        self.hub.asked.append((self.command, path, self.headers.get("Range", "")))
        trouble = self.hub.trouble(self.command, path)
        if trouble is not None and trouble.status:
            self._refuse(trouble.status, trouble.code, trouble.headers)
            return
        parts = path.strip("/").split("/")
        if path == "/":
            self._send(b"hub")
        elif parts[0] == "api":
            self._api(parts[1:])
        elif parts[0] == "cdn":
            self._send(self._file("/".join(parts[2:-1]), parts[1], parts[-1].replace("%2F", "/")), trouble=trouble)
        elif "resolve" in parts:
            at = parts.index("resolve")
            self._resolve("/".join(parts[:at]), "/".join(parts[at + 2 :]), trouble)
        else:
            self._refuse(404, "RepoNotFound")

    def _api(self, parts: list[str]) -> None:
        kind, rest = parts[0], parts[1:]
        verb = next((at for at, part in enumerate(rest) if part in ("revision", "tree")), len(rest))
        name = "/".join(rest[:verb])
        repository = name if kind == "models" else f"{kind}/{name}"
        files = self.hub.repositories.get(repository)
        if files is None:
            self._refuse(401, "RepoNotFound")
        elif rest[verb : verb + 1] == ["tree"]:
            self._json([_entry(path, content) for path, content in files.items()])
        else:
            siblings = [{"rfilename": path} for path in files]
            about = {"_id": "1", "private": False, "gated": repository in self.hub.gated, "tags": [], "downloads": 1}
            self._json({**about, "id": name, "modelId": name, "sha": self.hub.sha(repository), "siblings": siblings})

    def _resolve(self, repository: str, filename: str, trouble: Trouble | None) -> None:
        if repository not in self.hub.repositories:
            self._refuse(401, "RepoNotFound")
            return
        if repository in self.hub.gated:
            self._refuse(401, "GatedRepo")
            return
        commit = {"X-Repo-Commit": self.hub.sha(repository)}
        content = self.hub.repositories[repository].get(filename)
        if content is None:
            self._refuse(404, "EntryNotFound", commit)
            return
        about = {**commit, "ETag": f'"{_sha1(content)}"', "Accept-Ranges": "bytes"}
        if len(content) < BIG:
            self._send(content, headers=about, trouble=trouble)
            return
        port = self.server.server_address[1]
        place = f"http://localhost:{port}/cdn/{_sha256(content)}/{repository}/{filename.replace('/', '%252F')}"
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{_sha256(content)}"', "Location": place}
        self._send(b"", status=302, headers={**about, **linked})

    def _file(self, repository: str, digest: str, filename: str) -> bytes:
        content = self.hub.repositories[repository][filename]
        assert _sha256(content) == digest
        return content

    def _send(
        self, content: bytes, *, status: int = 200, headers: Mapping[str, str] = {}, trouble: Trouble | None = None
    ) -> None:
        first, total = self._first(len(content)), len(content)
        if first:
            status, headers = 206, {**headers, "Content-Range": f"bytes {first}-{total - 1}/{total}"}
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(total - first)}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self._body(content[first:], trouble)

    def _body(self, content: bytes, trouble: Trouble | None) -> None:
        end = len(content) if trouble is None or trouble.after is None else trouble.after
        slow = trouble.bytes_per_second if trouble is not None else 0
        try:
            for start in range(0, min(end, len(content)), CHUNK) if slow else [0]:
                self.wfile.write(content[start : min(start + CHUNK, end)] if slow else content[:end])
                self.wfile.flush()
                if slow and self.hub.closed.wait(CHUNK / slow):
                    break
            if trouble is not None and trouble.stalls:
                self.hub.closed.wait()
        except OSError:
            pass  # who asked has gone
        if end < len(content):
            self.close_connection = True
            self.connection.close()

    def _first(self, total: int) -> int:
        asked = self.headers.get("Range", "")
        return min(int(asked.removeprefix("bytes=").partition("-")[0]), total) if asked.startswith("bytes=") else 0

    def _refuse(self, status: int, code: str = "", headers: Mapping[str, str] = {}) -> None:
        content = json.dumps({"error": code or http.server.HTTPStatus(status).phrase}).encode()
        named = {"X-Error-Code": code, "X-Error-Message": code} if code else {}
        self.send_response(status)
        for key, value in {**named, **headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), headers={"Content-Type": "application/json"})


def _entry(path: str, content: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(content), "oid": _sha1(content)}
    if len(content) >= BIG:
        entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
    return entry


def _sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

"""The endpoints of the Hugging Face hub, and plain files, on a loopback address; for tests alone."""

import hashlib
import http.server
import json
import threading
from typing import NamedTuple
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Repository(NamedTuple):
    """What the hub has under a name."""

    files: dict[str, bytes]
    commit: str = COMMIT
    gated: bool = False


class Hub(http.server.ThreadingHTTPServer):
    """A server of `repositories` (by OWNER/NAME) and `plain` files (by name); notes all `requests`."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.plain: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []  # method, path, range
        self.spoiled: dict[bytes, bytes] = {}  # what is sent in place of a content that was announced
        self.breaks: list[int] = []  # after how many bytes the next contents break off
        self.status = 0  # of every answer, if not 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def downloads(self) -> int:
        return sum(method == "GET" and "/files/" in path for method, path, _ in self.requests)

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def timm_config(architecture: str, **pictures) -> bytes:
    """A `config.json` with the fields of timm's repositories."""
    cfg = {
        "tag": "a1_in1k",
        "custom_load": False,
        "input_size": [3, 224, 224],
        "test_input_size": [3, 288, 288],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.95,
        "test_crop_pct": 1.0,
        "crop_mode": "center",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
        "num_classes": 1000,
        "pool_size": [7, 7],
        "first_conv": "conv1",
        "classifier": "fc",
        "license": "apache-2.0",
    }
    extra = {key: pictures.pop(key) for key in ("model_args", "global_pool") if key in pictures}
    cfg |= pictures
    head = {"architecture": architecture, "num_classes": cfg["num_classes"], "num_features": 512}
    return json.dumps({**head, **extra, "pretrained_cfg": cfg}).encode()


def suffixed(name: str, content: bytes) -> str:
    """A file's name with the first eight digits of its SHA-256, as torchvision names files."""
    stem, _, suffix = name.partition(".")
    return f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.{suffix}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        path = unquote(self.path.partition("?")[0])
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        if self.server.status:
            return self._refuse(self.server.status, "")
        if path.startswith("/files/"):
            return self._send(self.server.plain.get(path.removeprefix("/files/")), {})
        owner, name, resolve, revision, file = (path[1:].split("/", 4) + [""] * 5)[:5]
        found = self.server.repositories.get(f"{owner}/{name}")
        if resolve != "resolve" or found is None:
            return self._refuse(404, "RepoNotFound")
        if found.gated:
            return self._refuse(403, "GatedRepo")
        if revision not in ("main", found.commit):
            return self._refuse(404, "RevisionNotFound")
        if file not in found.files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": found.commit})
        content, told = found.files[file], {"X-Repo-Commit": found.commit}
        if not file.endswith(".safetensors"):
            return self._send(content, told | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})
        digest = hashlib.sha256(content).hexdigest()  # large files lie elsewhere, under their digest
        self.server.plain[digest] = content
        told |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        elsewhere = self.server.url.replace(
            "127.0.0.1", "localhost"
        )  # on another host, or the client looks there first
        self._send(b"", told | {"Location": f"{elsewhere}/files/{digest}"}, 302)

    def _refuse(self, status, code, more=None):
        self._send(b"", (more or {}) | ({"X-Error-Code": code} if code else {}), status)

    def _send(self, content, headers, status=200):
        if content is None:
            return self._refuse(404, "")
        content = self.server.spoiled.get(content, content)
        asked = self.headers.get("Range", "")
        if asked and status == 200:
            first = int(asked.removeprefix("bytes=").partition("-")[0])
            if first >= len(content):
                return self._refuse(416, "")
            headers |= {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
            content, status = content[first:], 206
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD" or not content:
            return
        stop = self.server.breaks.pop(0) if self.server.breaks and len(content) > 1000 else None
        self.wfile.write(content[:stop])
        if stop is not None:
            self.close_connection = True
            self.connection.shutdown(2)

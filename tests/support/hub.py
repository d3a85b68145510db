"""A Hub on this machine, for the real client of huggingface_hub: one model, one gated, and connections that break."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHA = "a" * 40


class Hub(ThreadingHTTPServer):
    """Serves the files of a folder as the model `me/small`; knows `me/gated` and nothing else."""

    daemon_threads = True

    def __init__(self, folder: Path, breaks: bool = False):
        super().__init__(("127.0.0.1", 0), Answers)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        self.breaks = breaks  # every download ends in the middle
        self.asked = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        _, *parts = self.path.split("?")[0].split("/")
        if parts[:2] == ["api", "models"]:
            repo = "/".join(parts[2:4])
            if repo not in ("me/small", "me/gated"):
                return self.say(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            said = self.tree() if "tree" in parts else self.about(repo)
            return self.say(200, json.dumps(said).encode())
        repo, name = "/".join(parts[:2]), "/".join(parts[4:])
        if repo == "me/gated":
            return self.say(403, b"", {"X-Error-Code": "GatedRepo"})
        body = self.server.files.get(name)
        if body is None:
            return self.say(404, b"")
        tag = hashlib.sha256(body).hexdigest()
        self.say(200, body, {"ETag": f'"{tag}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes"})

    def about(self, repo: str) -> dict:
        files = [{"rfilename": name, "size": len(body), "type": "file"} for name, body in self.server.files.items()]
        return {"id": repo, "sha": SHA, "siblings": files, "private": False, "gated": repo == "me/gated"}

    def tree(self) -> list:
        return [
            {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
            for name, body in self.server.files.items()
        ]

    def say(self, status: int, body: bytes, headers: dict | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.breaks and len(body) > 100_000:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

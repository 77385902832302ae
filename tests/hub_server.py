"""A local server with the endpoints of the Hugging Face Hub that pushing and pulling one model needs."""

import base64
import contextlib
import functools
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub


class Repositories(BaseHTTPRequestHandler):
    """Keeps the files of every commit, by repository: ``server.commits[repo]`` is a list of dicts of bytes."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        commits = self.server.commits
        self.server.requests.append(self.path)
        if self.path == "/api/repos/create":
            wanted = json.loads(body)
            repo = "/".join(filter(None, [wanted.get("organization"), wanted["name"]]))
            commits.setdefault(repo, [])
            self.server.visibility[repo] = wanted.get("visibility")
            return self.answer({"url": f"{self.server.url}/{repo}"})
        if self.path == "/api/validate-yaml":  # of cards
            return self.answer({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
            return self.answer({"files": modes})
        files = dict(commits[repo][-1]) if commits[repo] else {}
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commits[repo].append(files)
        sha = f"{len(commits[repo]):040x}"
        return self.answer({"commitOid": sha, "commitUrl": f"{self.server.url}/{repo}/commit/{sha}"})

    def do_GET(self):
        self.server.requests.append(self.path)
        if self.path.startswith("/api/models/"):  # of the revision before a commit
            repo = "/".join(self.path.split("/")[3:5])
            return self.answer({"id": repo, "sha": f"{len(self.server.commits[repo]):040x}", "private": False})
        owner, name, _, revision, path = (self.path.strip("/").split("/", 4) + [""] * 4)[:5]
        commits = self.server.commits.get(f"{owner}/{name}", [])
        number = int(revision, 16) if re.fullmatch(r"[0-9a-f]{40}", revision) else len(commits)
        if not 0 < number <= len(commits) or path not in commits[number - 1]:
            return self.answer({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        data = commits[number - 1][path]
        digest = hashlib.sha256(data).hexdigest()
        return self.answer(data, 200, {"ETag": f'"{digest}"', "X-Repo-Commit": f"{number:040x}"})

    do_HEAD = do_GET

    def answer(self, content, status=200, headers=()):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_): ...


def use_server(monkeypatch, server, folder):
    """Let huggingface_hub use a server and a folder, as HF_ENDPOINT and HF_HOME do when it is imported."""
    api = huggingface_hub.HfApi(server.url, token="hf_test")
    download = functools.partial(api.hf_hub_download, cache_dir=folder, token=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for name in ("create_repo", "create_commit"):
        monkeypatch.setattr(huggingface_hub, name, getattr(api, name))


@contextlib.contextmanager
def serve_hub():
    """Run the server in a thread; gives it, with ``url``, ``commits``, ``visibility`` and ``requests``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repositories)
    server.url = f"http://127.0.0.1:{server.server_port}"
    server.commits, server.visibility, server.requests = {}, {}, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

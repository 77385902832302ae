"""A local web server that sends stretches of files, counts what it sends, and fails when told to."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RangeServer:
    """Files by path, the faults of the server, and what it has answered so far."""

    def __init__(self, url):
        self.url = url
        self.files = {}
        self.tags = {}  # of files, stated as ETag; those without one have no tag
        self.knows_ranges = True
        self.failures = []  # status codes of the next answers; 0 closes the connection
        self.before = None  # is called after each request, before it is answered
        self.requests = []  # methods and paths
        self.n_bytes = 0

    def add(self, name, content):
        self.files[f"/{name}"] = content
        self.tags[f"/{name}"] = str(hash(content))
        return f"{self.url}/{name}"


@contextmanager
def serve():
    """Run a server on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(with_content=False)

        def do_GET(self):
            self.answer(with_content=True)

        def answer(self, with_content):
            server.requests.append((self.command, self.path))
            if server.before:
                server.before()
            if server.failures:
                if status := server.failures.pop(0):
                    self.send_error(status)
                self.close_connection = True
                return
            if self.path not in server.files:
                self.send_error(404)
                return
            content = server.files[self.path]
            stretch = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if stretch and server.knows_ranges:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {stretch[1]}-{stretch[2]}/{len(content)}")
                content = content[int(stretch[1]) : int(stretch[2]) + 1]
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            if self.path in server.tags:
                self.send_header("ETag", server.tags[self.path])
            if self.path.endswith("/"):
                self.send_header("Content-Type", "text/html")
            self.end_headers()
            if with_content:
                server.n_bytes += len(content)
                self.wfile.write(content)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        http_server.daemon_threads = True
        server = RangeServer(f"http://127.0.0.1:{http_server.server_port}")
        options = {"kwargs": {"poll_interval": 0.01}, "daemon": True}
        thread = threading.Thread(target=http_server.serve_forever, **options)
        thread.start()
        try:
            yield server
        finally:
            http_server.shutdown()
            thread.join()

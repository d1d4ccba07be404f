"""A web server on 127.0.0.1 that can be told what to do wrong."""

import contextlib
import http.server
import socket
import threading


class Server:
    """files: {path: bytes}. faults: one for each of the next answers, then `always`; None is a right answer.

    A fault is a status (404), 'cut' (half of the body, then the connection ends), 'stall' (half of it, then nothing
    until the server stops) or 'shift' (another range than was asked for). asked: (path, Range header) of each request;
    sent: bytes of each body; headers: of each request; moved: {path: where it redirects to}. While `gate` is cleared,
    bodies wait.
    """

    def __init__(self, files):
        self.files, self.faults, self.always, self.ranges = dict(files), [], None, True
        self.asked, self.sent, self.headers, self.moved = [], [], [], {}
        self.seen, self.gate, self.end = threading.Event(), threading.Event(), threading.Event()
        self.gate.set()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                with contextlib.suppress(ConnectionError):
                    server.answer(self)

            def log_message(self, *args):
                pass

        self.web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.web.server_port}'

    def answer(self, request):
        fault = self.faults.pop(0) if self.faults else self.always
        asked = request.headers.get('Range')
        self.asked.append((request.path, asked))
        self.headers.append(dict(request.headers))
        if request.path in self.moved:
            request.send_response(302)
            request.send_header('Location', self.moved[request.path])
            return request.end_headers()
        self.seen.set()
        body = self.files.get(request.path)
        if isinstance(fault, int) or body is None:
            return request.send_error(fault or 404)
        start = int(asked[len('bytes=') : -1]) if asked and self.ranges else 0
        if start >= len(body):
            return request.send_error(416)
        start = 0 if fault == 'shift' else start
        request.send_response(206 if asked and self.ranges else 200)
        request.send_header('Content-Length', str(len(body) - start))
        if asked and self.ranges:
            request.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        request.end_headers()
        part = body[start:] if fault in (None, 'shift') else body[start : start + (len(body) - start) // 2]
        self.sent.append(len(part))
        self.gate.wait(30)
        request.wfile.write(part)
        request.wfile.flush()
        if fault == 'stall':
            self.end.wait(30)
        return None

    def __enter__(self):
        threading.Thread(target=self.web.serve_forever, kwargs=dict(poll_interval=0.01), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.end.set()
        self.gate.set()
        self.web.shutdown()
        self.web.server_close()


def nobody():
    """The URL of a port at which nobody listens."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return f'http://127.0.0.1:{free.getsockname()[1]}'

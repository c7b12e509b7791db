"""Stands for AWS Lambda: starts the program as `bootstrap`, and is the runtime API that it asks for invocations.

Times are those of the requests as they arrive here, and of the start of the process. The peak of memory is the kernel's own figure for
the process (VmHWM).
"""

import http.server
import json
import os
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from lab import command

LIMIT = 60  # seconds: far above what the function needs
API = "/2018-06-01/runtime/"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_SESSION_TOKEN": "example",
    "AWS_REGION": "us-east-1",
}


class Sandbox:
    """A process of the function, for as long as the `with` block does. `folder` is that of the package, without the program."""

    def __init__(self, program, folder, environment=None, memory=128):
        self.program, self.folder, self.memory = program, folder, memory
        self.environment = environment or {}
        self.asked, self.answers, self.invocations = queue.Queue(), queue.Queue(), queue.Queue()

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory()
        package = Path(self.scratch.name) / "task"
        shutil.copytree(self.folder, package)
        os.symlink(self.program, package / "bootstrap")
        self.server = Server(("127.0.0.1", 0), handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.log = open(package.parent / "log", "w+")  # noqa: SIM115
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [package / "bootstrap"],
            cwd=package,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={
                **CREDENTIALS,
                "PATH": os.environ["PATH"],
                "TMPDIR": str(self.scratch.name),
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory),
                "LAMBDA_TASK_ROOT": str(package),
                **self.environment,
            },
        )
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.server.shutdown()
        self.server.server_close()
        self.log.close()
        self.scratch.cleanup()

    def start_seconds(self):
        """Returns the time from the start of the process to its first request for an invocation."""
        return self.take(self.asked) - self.started

    def invoke(self, payload):
        """Returns the time that an invocation took, and the response. Raises command.Failed if it is an error."""
        began = time.monotonic()
        self.invocations.put(json.dumps(payload).encode())
        ended, path, body = self.take(self.answers)
        if not path.endswith("/response"):
            raise command.Failed(f"{path}: {body}; {self.text()}")
        return ended - began, json.loads(body)

    def take(self, source):
        try:
            return source.get(timeout=LIMIT)
        except queue.Empty:
            raise command.Failed(f"the function did not answer: {self.text()}") from None

    def text(self):
        """Returns the end of what the function logged."""
        return Path(self.log.name).read_text(errors="replace")[-2000:]

    def peak_megabytes(self):
        """Returns the most memory that the process has had."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(kilobytes) * 1024 / 1e6


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A connection ends with the process."""


def handler(sandbox):
    """Returns the runtime API of a sandbox."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            sandbox.asked.put(time.monotonic())
            body = sandbox.invocations.get()
            deadline = int((time.time() + LIMIT) * 1000)
            headers = {"Lambda-Runtime-Aws-Request-Id": "8476a536", "Lambda-Runtime-Deadline-Ms": str(deadline)}
            self.answer(200, body, headers)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sandbox.answers.put((time.monotonic(), self.path.removeprefix(API), body.decode()))
            self.answer(202, b"{}", {})

        def answer(self, status, body, headers):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler

"""Runs a command and tells what it cost.

CPU seconds and peak memory are the kernel's own figures for the finished process (wait4), so nothing is sampled and nothing missed.
The peak is never below that of this small script, from which the process is started.
"""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import tempfile
import termios
import threading
import time
from dataclasses import dataclass

ROWS_AND_COLUMNS = (40, 120)  # a usual terminal: bars that know no width draw nothing


@dataclass
class Usage:
    """What one run of a command cost."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str


class Failed(Exception):
    """The command did not end as a measurement must: its figures mean nothing."""


def run(argv, env=None, terminal=False, expect=0, limit=3600):
    """Runs `argv` to its end. With `terminal`, stderr is one, so that progress bars are drawn and paid for.

    Raises Failed when the exit code is not `expect`, or after `limit` seconds.
    """
    argv = [str(word) for word in argv]
    with tempfile.TemporaryFile() as output, contextlib.ExitStack() as stack:
        screen = stack.enter_context(drained_terminal()) if terminal else output
        started = time.monotonic()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=screen, env={**os.environ, **(env or {})}
        )
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode != expect:
        raise Failed(f"{' '.join(argv)} ended with {process.returncode} after {seconds:.0f} s: {text[-2000:]}")
    return Usage(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6, text)


@contextlib.contextmanager
def drained_terminal():
    """Yields one end of a terminal whose other end a thread reads empty."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *ROWS_AND_COLUMNS, 0, 0))

    def drain():
        with contextlib.suppress(OSError):
            while os.read(ours, 65536):
                pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    try:
        yield theirs
    finally:
        os.close(theirs)
        reader.join(timeout=5)
        os.close(ours)

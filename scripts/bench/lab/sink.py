"""The null sink as a process: started on a free port, asked for its counters, ended at the end."""

import json
import subprocess
import urllib.request


class Sink:
    """A null sink that runs for as long as the `with` block does."""

    def __init__(self, program, *arguments):
        self.argv = [str(program), "--port", "0", *map(str, arguments)]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"{self.argv[0]} did not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def reset(self):
        """Clears the counters."""
        reset(self.url)

    def counters(self):
        """Returns what was counted since the last reset."""
        return counters(self.url)


def counters(url):
    """Returns what the sink at `url` counted since the last reset."""
    with urllib.request.urlopen(url + "/_sink", timeout=60) as answer:
        return json.load(answer)


def reset(url):
    """Clears the counters of the sink at `url`."""
    urllib.request.urlopen(url + "/_sink/reset", data=b"", timeout=60).close()

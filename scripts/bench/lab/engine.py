"""A real engine: its API, its CPU time, and how to make it forget what a loader left in it."""

import contextlib
import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "engine"
HEAP = "2g"  # as in all published figures: with 1g the collector is part of what is measured
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
TEMPLATES = (("_index_template", "index_templates"), ("_component_template", "component_templates"))
OWN_SETTINGS = (
    "uuid",
    "creation_date",
    "provided_name",
    "version",
    "history",
    "resize",
)  # refused when an index is made


class Engine:
    """An engine that answers at `url`; its CPU time is read from /proc, so it runs on this machine."""

    def __init__(self, name, url):
        self.name, self.url = name, url
        self.pid = listener(int(url.rsplit(":", 1)[1].strip("/")))
        self.product, number = self.introduce()
        self.title = f"{'OpenSearch' if self.product == 'opensearch' else 'Elasticsearch'} {number}"
        self.templates_before = self.templates()

    def call(self, method, path, body=None):
        """Calls the API and returns the answer; raises urllib.error.HTTPError on any refusal, with the answer in it."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data=data, method=method, headers={"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            error.msg = error.read().decode(errors="replace")[:500]
            raise

    def introduce(self):
        """Returns product and version. The Elasticsearch 9 that Maven serves lacks the module that answers `GET /`."""
        try:
            version = self.call("GET", "/")["version"]
            return version.get("distribution", "elasticsearch"), version["number"]
        except urllib.error.HTTPError:
            nodes = self.call("GET", "/_nodes?filter_path=nodes.*.version")["nodes"]
            return "elasticsearch", next(iter(nodes.values()))["version"]

    def cpu_seconds(self):
        """Returns the user and system time that the engine has used since it started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def templates(self):
        """Returns the templates there are, as (kind, name)."""
        found = set()
        for kind, field in TEMPLATES:
            found |= {(kind, one["name"]) for one in self.call("GET", f"/{kind}")[field]}
        return found

    def forget(self, prefix):
        """Deletes the indices of `prefix` and every template that was not there when we came."""
        indices = [one["index"] for one in self.call("GET", f"/_cat/indices/{prefix}*?format=json")]
        if indices:
            self.call("DELETE", f"/{','.join(indices)}")
        # Index templates first: a component template in use cannot be deleted.
        for kind, name in sorted(self.templates() - self.templates_before, reverse=True):
            self.call("DELETE", f"/{kind}/{name}")

    def indices(self, prefix):
        """Returns aliases, mappings and settings of the indices of `prefix`, ready to make them again."""
        found = self.call("GET", f"/{prefix}*")
        for index in found.values():
            settings = index["settings"]["index"]
            index["settings"] = {"index": {key: value for key, value in settings.items() if key not in OWN_SETTINGS}}
        return {
            name: {part: index[part] for part in ("aliases", "mappings", "settings")} for name, index in found.items()
        }

    def documents(self, prefix):
        """Returns how many documents the indices of `prefix` show after a refresh."""
        self.call("POST", f"/{prefix}*/_refresh")
        return self.call("GET", f"/{prefix}*/_count")["count"]


def listener(port):
    """Returns the process that listens on `port`.

    Found by its socket, because a start script's process id is often that of a launcher.
    """
    sockets = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == "0A" and int(words[1].rsplit(":", 1)[1], 16) == port:
                    sockets.add(f"socket:[{words[9]}]")
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if any(os.readlink(file) in sockets for file in (process / "fd").iterdir()):
                    return int(process.name)
    raise RuntimeError(f"nothing that we may look at listens on port {port}")


@contextlib.contextmanager
def started(name, folder):
    """Starts the engine `name` with scripts/engine, yields it, stops it and deletes its data. `NAME=URL` names one that runs."""
    if "=" in name:
        yield Engine(*name.split("=", 1))
        return
    place = ["--dir", str(folder / f"engine-{name}")]
    try:
        answer = subprocess.run(
            [SCRIPT, "start", name, "--heap", HEAP, *place], check=True, stdout=subprocess.PIPE, text=True
        )
        yield Engine(name, re.findall(r"http://\S+", answer.stdout)[-1])
    finally:
        subprocess.run([SCRIPT, "stop", name, "--purge", *place], check=True)

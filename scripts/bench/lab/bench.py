"""What is measured and what it is fed: the programs, the corpora, the peers, all in one folder outside the tree."""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from lab import command

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]


class Bench:
    """The workplace of all cases."""

    def __init__(self, folder, trailload=None, samples=None, quick=False):
        self.folder, self.quick, self.samples = folder, quick, samples
        self.folder.mkdir(parents=True, exist_ok=True)
        self.trailload = trailload or build("--bin", "trailload") / "trailload"

    @functools.cached_property
    def tools(self):
        """The folder of the programs that stand for engines and AWS, built once a case needs one."""
        return build("--examples") / "examples"

    @property
    def nullsink(self):
        return self.tools / "nullsink"

    @property
    def replay(self):
        return self.tools / "replay"

    @property
    def fakeaws(self):
        return self.tools / "fakeaws"

    def corpus(self, name, *arguments):
        """Returns the folder of a corpus, made first where it is missing or was made otherwise, and its manifest."""
        out = self.folder / name
        samples = ["--samples", str(self.samples)] if self.samples else []
        subprocess.run(
            [sys.executable, HERE / "corpus", out, *map(str, arguments), *samples],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        return out, json.loads((out / "manifest.json").read_text())

    def copies(self, source, times):
        """Returns a folder that holds the trail files of `source` so many times, as hard links: many names, no more disk."""
        out = self.folder / f"{source.name}-times-{times}"
        shutil.rmtree(out, ignore_errors=True)
        for number in range(times):
            for path in source.rglob("*.json.gz"):
                copy = out / f"copy-{number:03}" / path.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, copy)
        return out

    def python(self):
        """Returns a Python with the clients that we compare with, installed once."""
        place, wanted = self.folder / "venv", HERE / "peers" / "requirements.txt"
        done = place / "requirements.txt"
        if not (done.is_file() and done.read_text() == wanted.read_text()):
            subprocess.run([sys.executable, "-m", "venv", place], check=True)
            pip = [place / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted]
            subprocess.run(pip, check=True)
            shutil.copy(wanted, done)
        return place / "bin" / "python"

    def peer(self, source, url, *options):
        """Returns the command of the Python loader."""
        return [self.python(), HERE / "peers" / "parallel_bulk.py", source, url, *options]

    def load(self, source, url, *options, terminal=False, under=(), aside=0, env=None):
        """Runs `trailload load` as on the first day: its own new checkpoint. Returns the usage and the summary.

        Raises command.Failed unless every document read was created or there already, but for so many set `aside`.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as fresh:
            summary = Path(fresh) / "summary.json"
            target = ["--into", url, "--checkpoint", f"{fresh}/checkpoint", "--summary", summary]
            argv = [*under, self.trailload, "load", source, *target, *options]
            usage = command.run(argv, env=env, terminal=terminal, expect=3 if aside else 0)
            facts = json.loads(summary.read_text())
        if facts["dead_letters"] != aside or facts["read"] != facts["created"] + facts["duplicates"] + aside:
            raise command.Failed(f"trailload did not bring everything: {facts}")
        return usage, facts


def build(*targets):
    """Builds release programs and returns the folder that they are in."""
    subprocess.run(["cargo", "build", "--release", "--quiet", *targets], cwd=ROOT, check=True)
    facts = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    return Path(json.loads(facts.stdout)["target_directory"]) / "release"


def cache_folder():
    """Returns where corpora and peers are kept: beside the engines that scripts/engine fetches."""
    if named := os.environ.get("TRAILLOAD_CACHE"):
        return Path(named).resolve() / "bench"
    if os.geteuid() == 0:
        return Path("/var/cache/trailload/bench")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trailload" / "bench"

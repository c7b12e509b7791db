"""How long a command takes that has nothing to do, and how large the program is."""

import statistics
import tempfile

from lab import command, table
from lab.sink import Sink

TITLE = "Start-up and size"
MEASURES = "seconds of --help and status, and the size of the program"

GOAL_MILLISECONDS, GOAL_MEGABYTES = 50, 20
RUNS, QUICK_RUNS = 40, 10


def run(bench, _):
    trail, _ = bench.corpus("corpus-10000", "--events", 10_000)
    with Sink(bench.nullsink) as sink, tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        checkpoint = f"{folder}/checkpoint"
        command.run([bench.trailload, "load", trail, "--into", sink.url, "--checkpoint", checkpoint])
        commands = {"--help": ["--help"], "status, after a load": ["status", "--checkpoint", checkpoint]}
        rows = []
        for label, words in commands.items():
            argv = [bench.trailload, *words]
            times = [command.run(argv).seconds * 1000 for _ in range(QUICK_RUNS if bench.quick else RUNS)]
            met = table.verdict(statistics.median(times) <= GOAL_MILLISECONDS)
            rows.append([f"{label}, ms", f"≤ {GOAL_MILLISECONDS}", table.spread(times, 1), met])
    size = bench.trailload.stat().st_size / 1e6
    rows.append(["program, MB", f"≤ {GOAL_MEGABYTES}", f"{size:.1f}", table.verdict(size <= GOAL_MEGABYTES)])
    return table.markdown(["goal", "wanted", "measured", ""], rows)

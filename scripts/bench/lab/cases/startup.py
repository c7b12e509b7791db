"""How long a command takes that has nothing to do, and how large the program is."""

import json
import statistics
import tempfile
from pathlib import Path

from lab import command, table
from lab.sink import Sink

TITLE = "Start-up and size"
MEASURES = "milliseconds of --version, --help, status and a load of one event, and the size of the program"

GOAL_MILLISECONDS, GOAL_MEGABYTES = 50, 25
RUNS, QUICK_RUNS = 40, 10
EVENT = {
    "eventVersion": "1.11",
    "eventTime": "2024-06-01T10:00:00Z",
    "eventSource": "sts.amazonaws.com",
    "eventName": "AssumeRole",
    "awsRegion": "us-east-1",
    "eventID": "0a1b2c3d-4e5f-4a6b-8c7d-000000000001",
    "recipientAccountId": "111122223333",
}


def run(bench, _):
    trail, _ = bench.corpus("corpus-10000", "--events", 10_000)
    with Sink(bench.nullsink) as sink, tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        checkpoint = f"{folder}/checkpoint"
        command.run([bench.trailload, "load", trail, "--into", sink.url, "--checkpoint", checkpoint])
        one = Path(folder) / "one.json"
        one.write_text(json.dumps({"Records": [EVENT]}))
        commands = {
            "--version": ["--version"],
            "--help": ["--help"],
            "status, after a load": ["status", "--checkpoint", checkpoint],
            "load of one event": ["load", one, "--into", sink.url, "--checkpoint", checkpoint, "--reload"],
        }
        rows = []
        for label, words in commands.items():
            argv = [bench.trailload, *words]
            times = [command.run(argv).seconds * 1000 for _ in range(QUICK_RUNS if bench.quick else RUNS)]
            met = table.verdict(statistics.median(times) <= GOAL_MILLISECONDS)
            rows.append([f"{label}, ms", f"≤ {GOAL_MILLISECONDS}", table.spread(times, 1), met])
    size = bench.trailload.stat().st_size / 1e6
    rows.append(["program, MB", f"≤ {GOAL_MEGABYTES}", f"{size:.1f}", table.verdict(size <= GOAL_MEGABYTES)])
    return table.markdown(["goal", "wanted", "measured", ""], rows)

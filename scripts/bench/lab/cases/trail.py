"""Trail buckets: what S3 costs beside files, how much memory large buckets take, and how soon a bucket is seen to be done."""

import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from lab import command, table
from lab.aws import BUCKET, FakeAws
from lab.sink import Sink

TITLE = "Trail buckets"
MEASURES = "CPU and memory from the fake S3 to the null sink, beside files; and a second run over 460,000 done objects"

GOAL_RATE = 120_000
EVENTS, QUICK_EVENTS = 400_000, 36_000
ROUNDS, QUICK_ROUNDS = 5, 2
# Mean events of an object. The first is that of all other cases; the second is a quiet account's.
OBJECTS = (900, 50)

GOAL_MEGABYTES = 268  # 256 MiB, the default of --memory
COPIES, QUICK_COPIES = 25, 1  # of 400,000 events: ten million

# A year of an organization: 3 accounts, 20 Regions, so many days and objects a day.
DAYS, DAILY, QUICK_DAYS = 366, 21, 30
GOAL_SECONDS, GOAL_CHECKPOINT = 60, 50


def run(bench, _):
    parts = []
    for part in (speed, memory, done):
        parts.append(part(bench))
        print(parts[-1][0], file=sys.stderr, flush=True)  # it takes minutes until all is there
    goals = [goal for _, goal_rows in parts for goal in goal_rows]
    tables = [text for text, _ in parts] + [table.markdown(["goal", "wanted", "measured", ""], goals)]
    return "\n\n".join(tables)


def aws(bench, *arguments):
    """Returns the fake, without any latency: what is measured here is work."""
    return FakeAws(bench.fakeaws, "--latency", 0, "--events", 1, *arguments)


def speed(bench):
    """Loads the same logs from S3 and from files, in turn."""
    rows, reached = [], None
    for per_file in OBJECTS:
        events = QUICK_EVENTS if bench.quick else EVENTS
        name = f"corpus-{events}" if per_file == OBJECTS[0] else f"corpus-{events}-of-{per_file}"
        trail, facts = bench.corpus(name, "--events", events, "--per-file", per_file)
        rates, ratios, peaks = [], [], []
        with aws(bench, "--folder", trail) as fake, Sink(bench.nullsink) as sink:
            for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS):
                ours, found = bench.load(BUCKET, sink.url, env=fake.environment)
                files, _ = bench.load(trail, sink.url)
                if found["read"] != facts["events"]:
                    raise command.Failed(f"{found['read']} of {facts['events']} events read: {found}")
                rates.append(facts["events"] / ours.cpu_seconds)
                ratios.append(ours.cpu_seconds / files.cpu_seconds)
                peaks.append(ours.peak_megabytes)
        reached = reached or statistics.median(rates)
        row = [f"{facts['events']:,}", f"{facts['files']:,}", table.spread(rates, 0), f"{table.spread(ratios)} ×"]
        rows.append([*row, f"{max(peaks):.0f}"])
    header = ["documents", "objects", "documents per CPU second", "CPU, times that of files", "peak MB"]
    goal = ["documents per CPU second", f"≥ {GOAL_RATE:,}", f"{reached:,.0f}", table.verdict(reached >= GOAL_RATE)]
    return table.markdown(header, rows), [goal]


def memory(bench):
    """Loads very many events, and one very large object."""
    trail, facts = bench.corpus(f"corpus-{EVENTS}", "--events", EVENTS)
    copies = QUICK_COPIES if bench.quick else COPIES
    single, single_facts = bench.corpus("single-gzip", "--single", "gzip", "--megabytes", 50)
    key = Path("AWSLogs/111122223333/CloudTrail/us-east-1/2024/06/01")
    name = "111122223333_CloudTrail_us-east-1_20240601T0000Z_0a1b2c3d4e5f6071.json.gz"
    inputs = {
        "objects of 900 events": (["--folder", trail, "--copies", copies], facts["events"] * copies),
        "one object of 50 MB": (None, single_facts["events"]),
    }
    rows, most = [], 0.0
    with tempfile.TemporaryDirectory(dir=bench.folder) as fresh:
        folder = Path(fresh) / key
        folder.mkdir(parents=True)
        shutil.copy(single / "single.json.gz", folder / name)
        for label, (arguments, events) in inputs.items():
            with aws(bench, *(arguments or ["--folder", fresh])) as fake, Sink(bench.nullsink) as sink:
                usage, found = bench.load(BUCKET, sink.url, env=fake.environment)
            if found["read"] != events:
                raise command.Failed(f"{label}: {found['read']} of {events} events read")
            most = max(most, usage.peak_megabytes)
            rows.append([label, f"{events:,}", f"{usage.peak_megabytes:.0f}", f"{usage.seconds:.1f}"])
    goal = ["peak MB, any of them", f"≤ {GOAL_MEGABYTES}", f"{most:.0f}", table.verdict(most <= GOAL_MEGABYTES)]
    return table.markdown(["input", "events", "peak MB", "seconds"], rows), [goal]


def done(bench):
    """Loads a year of small objects, and again with the checkpoint of the first run."""
    days = QUICK_DAYS if bench.quick else DAYS
    rows = []
    with tempfile.TemporaryDirectory(dir=bench.folder) as fresh:
        with aws(bench, "--days", days, "--objects", DAILY, "--records", 1) as fake, Sink(bench.nullsink) as sink:
            for label in ("first", "second"):
                calls = fake.figures()["s3"]
                usage, found = once_more(bench, fake, sink, Path(fresh))
                asked = {name: count - calls.get(name, 0) for name, count in fake.figures()["s3"].items()}
                checkpoint = sum(path.stat().st_size for path in Path(fresh).glob("checkpoint*")) / 1e6
                fetched, skipped = asked.get("GetObject", 0), sum(one["skipped"] for one in found["sources"])
                rows.append(
                    [label, f"{fetched:,}", f"{skipped:,}", f"{asked['ListObjectsV2']:,}", f"{usage.seconds:.1f}"]
                    + [f"{usage.cpu_seconds:.1f}", f"{usage.peak_megabytes:.0f}", f"{checkpoint:.1f}"]
                )
        if fetched:
            raise command.Failed(f"{fetched} objects were fetched again")
    header = ["run", "objects fetched", "done already", "lists", "seconds", "CPU s", "peak MB", "checkpoint MB"]
    met = table.verdict
    goals = [
        ["seconds of the second run", f"< {GOAL_SECONDS}", f"{usage.seconds:.1f}", met(usage.seconds < GOAL_SECONDS)],
        ["checkpoint MB", f"< {GOAL_CHECKPOINT}", f"{checkpoint:.1f}", met(checkpoint < GOAL_CHECKPOINT)],
    ]
    return table.markdown(header, rows), goals


def once_more(bench, fake, sink, fresh):
    summary = fresh / "summary.json"
    target = ["--into", sink.url, "--checkpoint", fresh / "checkpoint", "--summary", summary]
    usage = command.run([bench.trailload, "load", BUCKET, *target], env=fake.environment)
    return usage, json.loads(summary.read_text())

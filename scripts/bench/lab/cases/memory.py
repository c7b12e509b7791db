"""Peak memory: flat from few events to many, and for one very large file."""

import json
import shutil

from lab import command, table
from lab.sink import Sink

TITLE = "Peak memory"
MEASURES = "peak resident memory for 10 thousand to 10 million events, and for one file of 50 MB"

GOAL_MEGABYTES = 150
GOAL_GROWTH = 1.5  # "flat": what 10 million events may need of what 400 thousand need
EVENTS, COPIES = 400_000, (1, 3, 25)  # 0.4, 1.2 and 10 million
QUICK_COPIES = (1,)
SINGLES = {
    "plain": "one file of 50 MB of JSON",
    "inflated": "one gzip file that inflates to 50 MB",
    "gzip": "one gzip file of 50 MB",
}
# Millions of bytes of one record, between two small ones. The longest that trailload takes has 32 MiB.
RECORDS = {30: "one record of 30 MB", 50: "one record of 50 MB, a dead letter"}


def run(bench, _):
    rows, peaks = [], {}
    with Sink(bench.nullsink) as sink:
        for label, source, events, aside in inputs(bench):
            sink.reset()
            usage, facts = bench.load(source, sink.url, "--workers", "2", "--reload", aside=aside)
            if facts["read"] != events:
                raise command.Failed(f"{label}: {facts['read']} of {events} events read")
            peaks[events if label == "trail files" else label] = usage.peak_megabytes
            speed = f"{events / usage.seconds:,.0f}"
            rows.append([label, f"{events:,}", f"{usage.peak_megabytes:.0f}", f"{usage.seconds:.1f}", speed])
    many = [peak for key, peak in peaks.items() if isinstance(key, int) and key >= EVENTS]
    most, growth = max(peaks.values()), many[-1] / many[0]
    goals = [
        ["peak MB", f"≤ {GOAL_MEGABYTES}", f"{most:.0f}", table.verdict(most <= GOAL_MEGABYTES)],
        [
            "growth from the first 400,000 on",
            f"≤ {GOAL_GROWTH} ×",
            f"{growth:.2f} ×",
            table.verdict(growth <= GOAL_GROWTH),
        ],
    ]
    header = ["input", "events", "peak MB", "seconds", "events per second"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def inputs(bench):
    """Yields label, place, events and how many will be dead letters; many events are one corpus under many names."""
    small, facts = bench.corpus("corpus-10000", "--events", 10_000)
    yield "trail files", small, facts["events"], 0
    trail, facts = bench.corpus(f"corpus-{EVENTS}", "--events", EVENTS)
    for times in QUICK_COPIES if bench.quick else COPIES:
        copies = bench.copies(trail, times)
        yield "trail files", copies, facts["events"] * times, 0
        shutil.rmtree(copies)
    for kind, label in SINGLES.items():
        single, facts = bench.corpus(f"single-{kind}", "--single", kind, "--megabytes", 50)
        yield label, single / ("single.json" if kind == "plain" else "single.json.gz"), facts["events"], 0
    for megabytes, label in RECORDS.items():
        path = bench.folder / f"record-{megabytes}.json"
        with open(path, "w") as file:
            write_records(file, megabytes)
        yield label, path, 3, int("dead letter" in label)
        path.unlink()


def write_records(file, megabytes):
    """Writes three events, with a long text in the second; in parts, since a child's peak is never below its parent's."""
    for number in (1, 2, 3):
        event = {
            "eventVersion": "1.11",
            "eventTime": "2024-06-01T10:00:00Z",
            "eventSource": "s3.amazonaws.com",
            "eventName": "PutObject",
            "eventID": f"0a1b2c3d-4e5f-4a6b-8c7d-{number:012x}",
            "requestParameters": {"text": "@TEXT@"},
        }
        before, after = json.dumps(event).split("@TEXT@")
        file.write(('{"Records": [' if number == 1 else ", ") + before)
        for _ in range(megabytes if number == 2 else 1):
            file.write("x" * (1_000_000 if number == 2 else 1))
        file.write(after)
    file.write("]}")

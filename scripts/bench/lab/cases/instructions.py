"""Instructions per document: the figure that does not drift with the machine's other work, so the one to watch in reviews."""

import re

from lab import command, table
from lab.sink import Sink

TITLE = "Instructions per document"
MEASURES = "instructions that valgrind counts for 36,000 documents, less those for 1,000"

GOAL = 30_000
# Large enough that the fields met for the first time, a few hundred in the first files, are a small part.
SMALL, LARGE = 1_000, 36_000
CACHEGRIND = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")


def run(bench, _):
    with Sink(bench.nullsink) as sink:
        counted = {events: count(bench, sink, events) for events in (SMALL, LARGE)}
    each = (counted[LARGE] - counted[SMALL]) / (LARGE - SMALL)
    rows = [[f"{events:,}", f"{instructions / 1e6:,.1f}"] for events, instructions in counted.items()]
    goals = [["instructions per document", f"≤ {GOAL:,}", f"{each:,.0f}", table.verdict(each <= GOAL)]]
    return (
        table.markdown(["documents", "million instructions"], rows)
        + "\n\n"
        + table.markdown(["goal", "wanted", "measured", ""], goals)
    )


def count(bench, sink, events):
    """Returns the instructions of a whole load, start-up included. One worker: waiting threads would count as noise."""
    trail, _ = bench.corpus(f"corpus-{events}", "--events", events)
    usage, _ = bench.load(trail, sink.url, "--workers", "1", under=CACHEGRIND)
    found = re.search(r"I\s+refs:\s+([\d,]+)", usage.output)
    if not found:
        raise command.Failed(f"valgrind counted nothing: {usage.output[-2000:]}")
    return int(found[1].replace(",", ""))

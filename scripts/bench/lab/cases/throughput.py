"""Documents per CPU second from gzip trail files to a sink that costs nothing, alternating with the peers."""

import shutil
import statistics
import sys

from lab import command, table
from lab.bench import HERE
from lab.sink import Sink

TITLE = "Documents per CPU second"
MEASURES = "CPU from gzip trail files to the null sink, beside opensearch-py, elasticsearch-py and espipe"

GOAL_RATE, GOAL_RATIO = 150_000, 20
EVENTS, PEER_EVENTS = 400_000, 36_000  # the peers are so much slower that they get fewer events, of the same kind
ROUNDS, QUICK_ROUNDS = 5, 2
BEST_PEER = "opensearch-py parallel_bulk"


def run(bench, _):
    events = PEER_EVENTS if bench.quick else EVENTS
    trail, facts = bench.corpus(f"corpus-{events}", "--events", events)
    short, short_facts = bench.corpus(f"corpus-{PEER_EVENTS}", "--events", PEER_EVENTS)
    with Sink(bench.nullsink) as opensearch, Sink(bench.nullsink, "--product", "elasticsearch") as elasticsearch:
        loaders = {"trailload": (lambda: bench.load(trail, opensearch.url, terminal=True)[0], opensearch, facts)}
        for name, sink, argv in peers(bench, short, opensearch, elasticsearch):
            loaders[name] = (lambda argv=argv: command.run(argv), sink, short_facts)
        runs = {name: [] for name in loaders}
        for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS):
            for name, (start, sink, expected) in loaders.items():
                runs[name].append(measure(name, start, sink, expected["events"]))
    return render(runs)


def peers(bench, short, opensearch, elasticsearch):
    """Yields name, sink and command of each peer. espipe only where it is installed: it takes minutes to build."""
    yield BEST_PEER, opensearch, bench.peer(short, opensearch.url)
    yield "opensearch-py streaming_bulk", opensearch, bench.peer(short, opensearch.url, "--helper", "streaming")
    client = ["--client", "elasticsearch"]
    yield "elasticsearch-py parallel_bulk", elasticsearch, bench.peer(short, elasticsearch.url, *client)
    if espipe := shutil.which("espipe"):
        plain = bench.folder / "peer.ndjson"
        command.run([sys.executable, HERE / "peers" / "ndjson.py", short, plain])
        yield "espipe, from plain NDJSON", opensearch, [espipe, plain, f"{opensearch.url}/trail"]


def measure(name, start, sink, expected):
    """Runs a loader once and returns its usage and documents; raises command.Failed if the sink did not get them all."""
    sink.reset()
    usage, arrived = start(), sink.counters()["documents"]
    if arrived != expected:
        raise command.Failed(f"{name} brought {arrived} of {expected} documents: {usage.output[-2000:]}")
    return usage, arrived


def render(runs):
    def rates(name):
        return [documents / usage.cpu_seconds for usage, documents in runs[name]]

    rows = []
    for name, done in runs.items():
        ratios = [ours / theirs for ours, theirs in zip(rates("trailload"), rates(name), strict=False)]
        rows.append(
            [
                name,
                f"{done[0][1]:,}",
                table.spread([usage.cpu_seconds for usage, _ in done]),
                table.spread(rates(name), 0),
                table.spread([documents / usage.seconds for usage, documents in done], 0),
                f"{max(usage.peak_megabytes for usage, _ in done):.0f}",
                "" if name == "trailload" else f"{table.spread(ratios, 1)} ×",
            ]
        )
    header = [
        "loader",
        "documents",
        "CPU s",
        "documents per CPU second",
        "documents per second",
        "peak MB",
        "trailload is better by",
    ]
    rate = statistics.median(rates("trailload"))
    ratio = statistics.median(a / b for a, b in zip(rates("trailload"), rates(BEST_PEER), strict=False))
    goals = [
        ["documents per CPU second", f"≥ {GOAL_RATE:,}", f"{rate:,.0f}", table.verdict(rate >= GOAL_RATE)],
        [f"times {BEST_PEER}", f"≥ {GOAL_RATIO}", f"{ratio:.1f}", table.verdict(ratio >= GOAL_RATIO)],
    ]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)

"""Real engines: what a user waits for, and what the engine pays, alternating in one warm run.

A round: trailload `standard`, the same bodies replayed into the same mapping, the two again for `lean`, and a Python loader that
leaves the mapping to the engine, each into an empty engine. A JVM just started costs 2.5 times as much as a warm one and hides every
smaller difference, so unmeasured rounds come first, and all ratios are taken within a round.
"""

import json
import statistics
import sys
from dataclasses import dataclass

from lab import command, engine, table
from lab.sink import Sink

TITLE = "Real engines"
MEASURES = "seconds and engine CPU beside a replay of the same bodies and a Python loader that leaves the mapping to the engine"

DEFAULT_ENGINES = ("opensearch3", "elasticsearch")
FEW, MANY = 12_000, 60_000  # into an empty index: all fields are new; then long enough for known fields to matter
WARM_UPS, ROUNDS = 5, 5
QUICK_WARM_UPS, QUICK_ROUNDS = 2, 2
PREFIX = "bench"
FIELD_LIMIT = 10_000  # the engine's own 1,000 would refuse most of the corpus
SCALARS = ("string", "long", "double", "boolean")
KEYWORDS = {
    "date_detection": False,
    "dynamic_templates": [
        {kind: {"match_mapping_type": kind, "mapping": {"type": "keyword", "ignore_above": 1024}}} for kind in SCALARS
    ],
}
PYTHON = {
    "Python, engine's default mapping": {},
    "Python, dynamic keyword": KEYWORDS,
}
GOALS = {  # documents: (what, over what, at least)
    FEW: [("Python, engine's default mapping", "standard", 20.0)],
    MANY: [("replay of standard", "standard", 0.97), ("Python, dynamic keyword", "standard", 6.0)],
}
GOAL_LEAN = 0.6


@dataclass
class Pass:
    """One load into an empty engine."""

    seconds: float
    cpu_seconds: float  # the engine's, until the loader had its last answer
    cpu_with_refresh: float  # and until all of it could be searched
    documents: int


def run(bench, options):
    texts = []
    for name in options.engine or DEFAULT_ENGINES:
        with engine.started(name, bench.folder) as node:
            for events in (FEW, MANY):
                rounds = trial(bench, node, events)
                texts.append(f"### {node.title}, {events:,} events into an empty index\n\n{render(rounds, events)}")
    return "\n\n".join(texts)


def trial(bench, node, events):
    """Returns the measured rounds: each a pass by loader."""
    trail, _ = bench.corpus(f"corpus-{events}", "--events", events)
    bodies = {fields: record(bench, node, trail, fields) for fields in ("standard", "lean")}
    rounds = []
    warm_ups = QUICK_WARM_UPS if bench.quick else WARM_UPS
    for number in range(warm_ups + (QUICK_ROUNDS if bench.quick else ROUNDS)):
        warm = number >= warm_ups
        one = {}
        for fields in ("standard", "lean"):
            one[fields], made = trailload(bench, node, trail, fields)
            one[f"replay of {fields}"] = replay(bench, node, bodies[fields], made, one[fields].documents)
        if warm:
            for label, mapping in python_loaders(events):
                one[label] = python(bench, node, trail, label, mapping, made)
            rounds.append(one)
        tell(node, events, "round" if warm else "warm-up", one)
    node.forget(PREFIX)
    return rounds


def tell(node, events, what, one):
    """Says on stderr what a round brought: a whole trial takes many minutes."""
    print(f"{node.title}, {events:,} events, {what}:", file=sys.stderr)
    for label, done in one.items():
        used = f"{done.seconds:.2f} s, engine CPU {done.cpu_seconds:.2f} s"
        print(f"  {label}: {used}, {done.documents:,} documents", file=sys.stderr, flush=True)


def python_loaders(events):
    """Returns the Python loaders to compare with. The default mapping does not end in a sensible time on many events."""
    return [(label, mapping) for label, mapping in PYTHON.items() if mapping or events == FEW]


def record(bench, node, trail, fields):
    """Returns a file with the very bodies that trailload sends."""
    out = bench.folder / f"bodies-{trail.name}-{fields}.ndjson"
    with Sink(bench.nullsink, "--product", node.product, "--record", out) as sink:
        bench.load(trail, sink.url, "--index", PREFIX, "--fields", fields)
    return out


def measured(node, work):
    """Runs `work`, which returns its seconds, and returns the pass."""
    before = node.cpu_seconds()
    seconds = work()
    loaded = node.cpu_seconds() - before
    documents = node.documents(PREFIX)
    return Pass(seconds, loaded, node.cpu_seconds() - before, documents)


def trailload(bench, node, trail, fields):
    """Loads into an engine that knows nothing of us; returns the pass and the indices it made."""
    node.forget(PREFIX)

    def work():
        return bench.load(trail, node.url, "--index", PREFIX, "--fields", fields)[0].seconds

    return measured(node, work), node.indices(PREFIX)


def replay(bench, node, bodies, indices, expected):
    """Sends the bodies of trailload into indices that have their final mapping from the start."""
    node.forget(PREFIX)
    for name, index in indices.items():
        node.call("PUT", f"/{name}", index)

    def work():
        figures = json.loads(command.run([bench.replay, bodies, "--url", node.url]).output.splitlines()[-1])
        if figures["failed"]:
            raise command.Failed(f"replay: {figures}")
        return figures["seconds"]

    done = measured(node, work)
    if done.documents != expected:
        raise command.Failed(f"replay left {done.documents} documents, trailload {expected}")
    return done


def python(bench, node, trail, label, mapping, indices):
    """Loads with Python into an index with the same settings whose mapping is the engine's affair."""
    node.forget(PREFIX)
    settings = next(iter(indices.values()))["settings"]["index"]
    same = {
        key: settings[key] for key in ("number_of_shards", "number_of_replicas", "refresh_interval") if key in settings
    }
    index = {**same, "mapping.total_fields.limit": FIELD_LIMIT}
    node.call("PUT", f"/{PREFIX}-python", {"settings": {"index": index}, "mappings": mapping})
    argv = bench.peer(trail, node.url, "--index", f"{PREFIX}-python", "--client", node.product)

    done = measured(node, lambda: command.run(argv).seconds)
    if not done.documents:
        raise command.Failed(f"{label}: nothing arrived")
    return done


def render(rounds, events):
    def ratio(what, over, part):
        return [getattr(one[what], part) / getattr(one[over], part) for one in rounds]

    rows = []
    for label in rounds[0]:
        done = [one[label] for one in rounds]
        rows.append(
            [
                label,
                table.spread([one.seconds for one in done]),
                table.spread([one.cpu_seconds / events * 1000 for one in done], 3),
                table.spread([one.cpu_with_refresh / events * 1000 for one in done], 3),
                f"{done[-1].documents:,}",
                table.spread(ratio(label, "standard", "seconds")),
                table.spread(ratio(label, "standard", "cpu_seconds")),
            ]
        )
    goals = []
    for what, over, wanted in GOALS[events]:
        reached = statistics.median(ratio(what, over, "seconds"))
        goals.append(
            [f"seconds of {what} to {over}", f"≥ {wanted}", f"{reached:.2f}", table.verdict(reached >= wanted)]
        )
    lean = statistics.median(ratio("lean", "standard", "cpu_seconds"))
    goals.append(["engine CPU of lean to standard", f"≤ {GOAL_LEAN}", f"{lean:.2f}", table.verdict(lean <= GOAL_LEAN)])
    header = [
        "loader",
        "seconds",
        "engine CPU s a 1,000 events",
        "the same with the refresh",
        "documents in the index",
        "seconds to standard",
        "engine CPU to standard",
    ]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)

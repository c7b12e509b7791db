"""Real engines: what a user waits for, and what the engine pays, alternating in one warm run.

A round: trailload `standard`, the same bodies replayed into the same mapping, the two again for `lean`, trailload into that mapping
too, and Python loaders that leave the mapping to the engine, all others into an empty engine. A JVM just started costs 2.5 times as
much as a warm one and hides every smaller difference, so unmeasured rounds come first, and all ratios are taken within a round.
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
PROFILES = ("standard", "lean")
OURS, REPLAY = "trailload, {}", "replay of what it sent, {}"
IN_PLACE = "trailload, standard, mapping in place"  # as replay has it, and as a month has after its first load
GOALS = {  # documents: what takes at least how many times the seconds of which
    FEW: [("Python, engine's default mapping", OURS.format("standard"), 20.0)],
    MANY: [
        (REPLAY.format("standard"), OURS.format("standard"), 0.97),
        (REPLAY.format("standard"), IN_PLACE, 0.97),
        ("Python, dynamic keyword", OURS.format("standard"), 6.0),
    ],
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
    made, steps = {}, {}
    for fields in PROFILES:
        bodies = record(bench, node, trail, fields)
        first, made[fields] = trailload(bench, node, trail, fields)
        steps[OURS.format(fields)] = lambda fields=fields: trailload(bench, node, trail, fields)[0]
        steps[REPLAY.format(fields)] = lambda fields=fields, bodies=bodies, expected=first.documents: replay(
            bench, node, bodies, made[fields], expected
        )
    steps[IN_PLACE] = lambda: trailload(bench, node, trail, "standard", made["standard"])[0]
    rounds = []
    warm_ups = QUICK_WARM_UPS if bench.quick else WARM_UPS
    for number in range(warm_ups + (QUICK_ROUNDS if bench.quick else ROUNDS)):
        # Every other round goes backwards: who comes first after the Python loaders finds an engine with more to tidy up.
        order = list(steps) if number % 2 == 0 else list(reversed(steps))
        one = {label: steps[label]() for label in order}
        if number >= warm_ups:
            for label, mapping in python_loaders(events):
                one[label] = python(bench, node, trail, label, mapping, made["standard"])
            rounds.append(one)
        tell(node, events, "round" if number >= warm_ups else "warm-up", one)
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


def trailload(bench, node, trail, fields, indices=None):
    """Loads into an engine that knows nothing of us, but for these indices; returns the pass and the indices there are."""
    node.forget(PREFIX)
    for name, index in (indices or {}).items():
        node.call("PUT", f"/{name}", index)

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
    ours, lean = (OURS.format(fields) for fields in PROFILES)

    def ratio(label, part, to=ours):
        return [getattr(one[label], part) / getattr(one[to], part) for one in rounds]

    def thousand(label, part):
        return table.spread([getattr(one[label], part) / events * 1000 for one in rounds], 3)

    rows = [
        [
            label,
            table.spread([one[label].seconds for one in rounds]),
            thousand(label, "cpu_seconds"),
            thousand(label, "cpu_with_refresh"),
            f"{rounds[-1][label].documents:,}",
            table.spread(ratio(label, "seconds")),
            table.spread(ratio(label, "cpu_seconds")),
        ]
        for label in sorted(rounds[0], reverse=True)
    ]
    header = [
        "loader",
        "seconds",
        "engine CPU s per 1,000 events",
        "with the refresh",
        "documents in the index",
        "seconds ÷ trailload's",
        "engine CPU ÷ trailload's",
    ]
    goals = []
    for label, to, wanted in GOALS[events]:
        reached = statistics.median(ratio(label, "seconds", to))
        goals.append([f"seconds of {label} ÷ {to}", f"≥ {wanted}", f"{reached:.2f}", table.verdict(reached >= wanted)])
    cheap = statistics.median(ratio(lean, "cpu_seconds"))
    goals.append(
        [f"engine CPU of {lean} ÷ {ours}", f"≤ {GOAL_LEAN}", f"{cheap:.2f}", table.verdict(cheap <= GOAL_LEAN)]
    )
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)

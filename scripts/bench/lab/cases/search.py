"""Search over gzip trail files, beside jq and a loop in Python; and the first events from 20 Regions of the event history.

The peers use one thread (and `zcat` a second one), trailload one for each processor. So both ratios are given: of CPU seconds, which count all
threads, and of seconds on the clock, which a person waits.
"""

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import time

from lab import command, table
from lab.aws import FakeAws
from lab.bench import HERE

TITLE = "Search"
MEASURES = "events per CPU second of a search over gzip trail files, beside jq and Python, and the first event of 20 Regions"

EVENTS, PEER_EVENTS = 400_000, 36_000  # the peers are so much slower that they get fewer events, of the same kind
ROUNDS, QUICK_ROUNDS = 5, 2
LATENCY_MS, REGIONS = 500, 20
FIELDS = {"userIdentity.type": "IAMUser", "errorCode": "None"}
# Name, action, goal in events per CPU second, ratio to the peers that is wanted.
# EC2, because its actions have the names of its events; s3:Get* also finds HeadObject and CopyObject.
QUERIES = (("ec2:Describe* and two --match", "ec2:Describe*", 250_000, 20), ("two --match on every event", "*", 120_000, None))
# Searches without a peer: name, options, goal.
OTHERS = (
    ("--where on every event", ["--where", "detail.userIdentity.type == 'IAMUser' && !(detail.errorCode)"], 120_000),
    ("--where with a function", ["--where", "contains(detail.requestParameters.bucketName || '', 'log')"], 120_000),
    ("$..userName == on every event", ["--match", "$..userName == 'alice'"], None),
)
GOAL_MEGABYTES, GOAL_LATENCIES = 100, 1.5


def run(bench, _):
    events = PEER_EVENTS if bench.quick else EVENTS
    long, long_facts = bench.corpus(f"corpus-{events}", "--events", events)
    short, short_facts = bench.corpus(f"corpus-{PEER_EVENTS}", "--events", PEER_EVENTS)
    rounds = QUICK_ROUNDS if bench.quick else ROUNDS
    rows, goals, peaks = [], [], []
    for label, action, goal, ratio in QUERIES:
        tools = {
            "trailload": (ours(bench, long, action), long_facts["events"]),
            "jq": (jq(short, action), short_facts["events"]),
            "Python": ([sys.executable, HERE / "peers" / "search_loop.py", short, action, *conditions()], short_facts["events"]),
        }
        same_events(ours(bench, short, action), tools["jq"][0], tools["Python"][0])
        runs = {tool: [] for tool in tools}
        for _ in range(rounds):
            for tool, (argv, _) in tools.items():
                runs[tool].append(command.run(discarding(argv)))
        rates = {tool: [count / one.cpu_seconds for one in runs[tool]] for tool, (_, count) in tools.items()}
        clock = {tool: [count / one.seconds for one in runs[tool]] for tool, (_, count) in tools.items()}
        peaks += [one.peak_megabytes for one in runs["trailload"]]
        for tool, (_, count) in tools.items():
            last = ["", ""]
            for number, (of, by) in enumerate(((rates, "CPU seconds"), (clock, "seconds"))):
                if tool == "trailload":
                    break
                better = [ours / theirs for ours, theirs in zip(of["trailload"], of[tool], strict=True)]
                last[number] = f"{table.spread(better, 1)} ×"
                if ratio:
                    middle = statistics.median(better)
                    what = f"{label}, times {tool}, by {by}"
                    goals.append([what, f"≥ {ratio}", f"{middle:.1f}", table.verdict(middle >= ratio)])
            peak = max(one.peak_megabytes for one in runs[tool])
            rows.append([label, tool, f"{count:,}", table.spread(rates[tool], 0), table.spread(clock[tool], 0), f"{peak:.0f}", *last])
        goals.append(rate_goal(label, rates["trailload"], goal))
    for label, options, goal in OTHERS:
        argv = [bench.trailload, "search", "--quiet", "--in", long, *options]
        runs = [command.run(discarding(argv)) for _ in range(rounds)]
        rates = [long_facts["events"] / one.cpu_seconds for one in runs]
        clock = [long_facts["events"] / one.seconds for one in runs]
        peaks += [one.peak_megabytes for one in runs]
        peak = max(one.peak_megabytes for one in runs)
        rows.append([label, "trailload", f"{long_facts['events']:,}", table.spread(rates, 0), table.spread(clock, 0), f"{peak:.0f}", "", ""])
        if goal:
            goals.append(rate_goal(label, rates, goal))
    goals.append(["peak MB", f"≤ {GOAL_MEGABYTES}", f"{max(peaks):.0f}", table.verdict(max(peaks) <= GOAL_MEGABYTES)])
    first = [first_event(bench) for _ in range(rounds)]
    middle = statistics.median(first)
    wanted = f"≤ {GOAL_LATENCIES}"
    label = f"first event of {REGIONS} Regions, in latencies of one request"
    goals.append([label, wanted, table.spread(first), table.verdict(middle <= GOAL_LATENCIES)])
    header = ["search", "tool", "events", "events per CPU second", "events per second", "peak MB"]
    header += ["trailload is better by, CPU", "and on the clock"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def rate_goal(label, rates, goal):
    """Returns the line of a goal in events per CPU second."""
    rate = statistics.median(rates)
    return [f"{label}, events per CPU second", f"≥ {goal:,}", f"{rate:,.0f}", table.verdict(rate >= goal)]


def discarding(argv):
    """Returns a command without output: kept, it would raise the peak of the commands that this process starts."""
    return ["sh", "-c", f"{shlex.join(str(word) for word in argv)} > /dev/null"]


def ours(bench, folder, action):
    """Returns the command of trailload."""
    matches = []
    for field, value in FIELDS.items():
        literal = value if value == "None" else json.dumps(value)
        matches += ["--match", f"$.{field} == {literal}"]
    return [bench.trailload, "search", "--quiet", *([] if action == "*" else [action]), "--in", folder, *matches]


def jq(folder, action):
    """Returns the pipeline of zcat and jq, as one command so that the CPU time of both counts."""
    if not shutil.which("jq"):
        raise command.Failed("jq is not installed")
    tests = [f".{field} == {'null' if value == 'None' else json.dumps(value)}" for field, value in FIELDS.items()]
    if action != "*":
        service, _, name = action.partition(":")
        tests.insert(0, f'.eventSource == "{service}.amazonaws.com" and (.eventName | test("^{name.replace("*", ".*")}$"))')
    # A few events of the corpus hold a text where others hold an object.
    chosen = f"jq -c '.Records[] | select((.userIdentity | type) == \"object\") | select({' and '.join(tests)})'"
    return ["sh", "-c", f"find {folder} -name '*.json.gz' -exec zcat {{}} + | {chosen}"]


def conditions():
    """Returns the conditions as the loop in Python expects them."""
    return [f"{field}={value}" for field, value in FIELDS.items()]


def same_events(*commands):
    """Raises command.Failed unless all commands find the same events. trailload prints an event once that was delivered twice."""
    sets = []
    for argv in commands:
        output = subprocess.run([str(word) for word in argv], check=True, stdout=subprocess.PIPE).stdout
        sets.append({json.loads(line)["eventID"] for line in output.splitlines()})
    if not sets[0] or any(found != sets[0] for found in sets[1:]):
        raise command.Failed(f"different events were found: {[len(found) for found in sets]}")


def first_event(bench):
    """Returns after how many latencies of one request the first event of all Regions was printed, from the first request on."""
    with FakeAws(bench.fakeaws, "--regions", REGIONS, "--latency", LATENCY_MS, "--events", 1_000) as aws:
        process = subprocess.Popen(
            [str(bench.trailload), "search", "--limit", "1"],
            env={**os.environ, **aws.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        line = process.stdout.readline()
        printed = time.monotonic()
        process.stdout.close()
        process.wait()
        figures = aws.figures()
        # The clock of the fake, at the moment when the event was printed.
        seconds = figures["seconds"] - (time.monotonic() - printed)
    if not line:
        raise command.Failed("no event came from the event history")
    return (seconds - min(place["first"] for place in figures["lookup"])) / (LATENCY_MS / 1000)

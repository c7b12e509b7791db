"""Search of the event history beside aws-spitzel, which asks with one chain of pages for each action, in one Region.

Both search the same Region of the fake AWS, one after the other, and must find the same events. The latencies are those of a near Region,
and of us-east-1 as users have measured it. Only searches that aws-spitzel answers correctly are compared: one action, no condition, UTC.
"""

import json
import os

from lab import command, table
from lab.aws import FakeAws

TITLE = "Search of the event history"
MEASURES = "time of a search of the event history of one Region, beside aws-spitzel"

# Name, milliseconds until a response, events in the Region, action.
SEARCHES = (
    ("a slow Region, a glob", 4_000, 5_000, "ec2:Get*"),
    ("a near Region, a glob", 200, 2_000, "ec2:Get*"),
    ("a near Region, one action", 200, 2_000, "ec2:DescribeInstances"),
)
QUICK_EVENTS = 1_000
GOAL_RATIO = 5  # of the slow Region; in a near one, the quota limits both
MOST_SECONDS = 900


def run(bench, _):
    rows, goals = [], []
    for label, latency, events, action in SEARCHES:
        events = QUICK_EVENTS if bench.quick else events
        ours, ours_asked, found = search(bench, latency, events, [bench.trailload, "search", "--quiet", action])
        theirs, theirs_asked, same = search(bench, latency, events, [bench.python().parent / "aws-spitzel", action])
        if found != same:
            raise command.Failed(f"{label}: {len(found)} events, and {len(same)} of aws-spitzel")
        ratio = theirs / ours
        for tool, seconds, asked in (("trailload", ours, ours_asked), ("aws-spitzel", theirs, theirs_asked)):
            last = "" if tool == "trailload" else f"{ratio:.1f} ×"
            granted, refused = asked
            rows.append([label, tool, f"{len(found):,} of {events:,}", f"{seconds:.1f}", granted, refused, last])
        if not goals:
            goals.append([f"{label}, times aws-spitzel", f"≥ {GOAL_RATIO}", f"{ratio:.1f}", table.verdict(ratio >= GOAL_RATIO)])
    goals.append(["the same events", "yes", "yes", table.verdict(True)])
    header = ["search", "tool", "events", "seconds", "requests granted", "refused", "trailload is better by"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def search(bench, latency, events, argv):
    """Searches a Region of its own; returns the seconds, the requests granted and refused, and the IDs of the events."""
    fake = FakeAws(bench.fakeaws, "--regions", 1, "--latency", latency, "--events", events, "--days", 1)
    with fake as aws:
        region = aws.environment.get("AWS_REGION", "us-east-1")
        environment = {**os.environ, **aws.environment, "AWS_DEFAULT_REGION": region, "TZ": "UTC"}
        usage = command.run(argv, env=environment, limit=MOST_SECONDS)
        places = aws.figures()["lookup"]
    asked = tuple(sum(place[part] for place in places) for part in ("granted", "throttled"))
    lines = [line for line in usage.output.splitlines() if line.startswith("{")]
    return usage.seconds, asked, sorted(json.loads(line)["eventID"] for line in lines)

"""Rules over gzip trail files: 1,000 generated ones of several kinds, and public Sigma rules.

Each rule set is measured in a run that remembers alerts in a checkpoint, and in a dry run, which prints them.
"""

import json
import re
import shutil
import statistics
import tempfile
from pathlib import Path

from lab import command, table
from lab.bench import ROOT

TITLE = "Rules"
MEASURES = "events per CPU second of 1,000 rules and of 57 Sigma rules over gzip trail files"

EVENTS, QUICK_EVENTS = 400_000, 36_000
ROUNDS, QUICK_ROUNDS = 3, 2
RULES = 1_000
GOAL, SIGMA_GOAL, GOAL_MEGABYTES = 100_000, 150_000, 100
SIGMA = ROOT / "tests" / "data" / "sigma" / "rules"
# The rule that nearly half of the events match.
FREQUENT = "aws_sts_assumerole_misuse.yml"

# Each has a value of its own, as rules about users, buckets and addresses have. The last ones are decided by no text that is required.
CONDITIONS = (
    "contains(detail.userIdentity.arn, 'user-{n}')",
    "detail.userIdentity.userName == 'user-{n}' && detail.errorCode == null",
    "contains(detail.userAgent, 'tool-{n}') && !starts_with(detail.sourceIPAddress, '10.')",
    "detail.requestParameters.bucketName == 'bucket-{n}'",
    "starts_with(detail.sourceIPAddress, '203.0.{n}.')",
    "detail.userIdentity.type == 'Root' && contains(detail.userAgent, 'x-{n}')",
    "flat.\"requestParameters.groupId\" == 'sg-{n}'",
    "detail.requestParameters.storageEncrypted == `false` && detail.awsRegion == 'region-{n}'",
    "length(not_null(detail.resources, `[]`)[?ARN == 'arn:aws:s3:::b{n}']) > `0`",
    "detail.eventName != 'Thing{n}' && detail.errorCode == 'Error{n}'",
)
SOURCES = [
    f"{name}.amazonaws.com"
    for name in "ec2 s3 iam ssm kms rds secretsmanager sts lambda cloudtrail logs monitoring dynamodb sqs sns elasticloadbalancing".split()
]
NAMES = "Decrypt AssumeRole GetUser ConsoleLogin RunInstances GetBucketAcl DescribeInstances ListBuckets CreateUser GetObject".split()
KINDS = {
    "by event name": lambda n: {"events": [NAMES[n % len(NAMES)]]},
    "by source": lambda n: {"sources": [SOURCES[n % len(SOURCES)]]},
    "for all events": lambda _: {"events": ["*"]},
}


def run(bench, _):
    events = QUICK_EVENTS if bench.quick else EVENTS
    corpus, facts = bench.corpus(f"corpus-{events}", "--events", events)
    rules = {f"{RULES:,} rules {label}": (write(bench, label, selection), GOAL) for label, selection in KINDS.items()}
    rules["57 Sigma rules"] = (SIGMA, SIGMA_GOAL)
    rules["56 Sigma rules"] = (without(bench, FREQUENT), None)
    rows, goals, peaks = [], [], []
    for label, (path, goal) in rules.items():
        runs = [(watch(bench, path, corpus), dry_run(bench, path, corpus)) for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS)]
        rates = [[facts["events"] / both[mode].cpu_seconds for both in runs] for mode in (0, 1)]
        peaks += [one.peak_megabytes for both in runs for one in both]
        matches = matches_in(runs[0][0].output)
        peak = max(one.peak_megabytes for both in runs for one in both)
        rows.append([label, f"{facts['events']:,}", f"{matches:,}", *(table.spread(rate, 0) for rate in rates), f"{peak:.0f}"])
        rate = statistics.median(rates[0])
        if goal:
            goals.append([f"{label}, events per CPU second", f"≥ {goal:,}", f"{rate:,.0f}", table.verdict(rate >= goal)])
    goals.append(["peak MB", f"≤ {GOAL_MEGABYTES}", f"{max(peaks):.0f}", table.verdict(max(peaks) <= GOAL_MEGABYTES)])
    header = ["rules", "events", "matches", "events per CPU second", "the same, --dry-run", "peak MB"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def watch(bench, rules, corpus):
    """Runs `watch` with a new checkpoint. The events are old, so their alerts are remembered, not sent."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as fresh:
        actions = Path(fresh) / "actions.yml"
        actions.write_text(f"default:\n  kind: file\n  path: {fresh}/alerts.ndjson\n", encoding="utf-8")
        files = ["--actions", actions, "--checkpoint", f"{fresh}/checkpoint"]
        return command.run([bench.trailload, "watch", rules, *files, "--in", corpus])


def dry_run(bench, rules, corpus):
    """Prints every alert, and discards it."""
    argv = f"'{bench.trailload}' watch --quiet '{rules}' --dry-run --in '{corpus}' > /dev/null"
    return command.run(["sh", "-c", argv])


def matches_in(summary):
    """Returns the number of matches that the last line of a run names."""
    found = re.search(r"([\d,]+) match", summary)
    return int(found[1].replace(",", "")) if found else 0


def without(bench, name):
    """Returns a folder with the Sigma rules but one."""
    folder = bench.folder / "sigma-rules"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SIGMA, folder, ignore=shutil.ignore_patterns(name))
    return folder


def write(bench, label, selection):
    """Writes a rule file, which is JSON and so YAML too."""
    path = bench.folder / f"rules-{label.replace(' ', '-')}.yml"
    rules = [
        {"name": f"rule {n}", **selection(n), "match": CONDITIONS[n % len(CONDITIONS)].format(n=n)} for n in range(RULES)
    ]
    path.write_text(json.dumps(rules, indent=1), encoding="utf-8")
    return path

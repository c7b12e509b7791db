"""Rules over gzip trail files: 1,000 generated ones of several kinds, and public Sigma rules."""

import json
import statistics

from lab import command, table
from lab.bench import ROOT

TITLE = "Rules"
MEASURES = "events per CPU second of 1,000 rules and of 57 Sigma rules over gzip trail files"

EVENTS, QUICK_EVENTS = 400_000, 36_000
ROUNDS, QUICK_ROUNDS = 5, 2
RULES = 1_000
GOAL, SIGMA_GOAL, GOAL_MEGABYTES = 100_000, 150_000, 100
SIGMA = ROOT / "tests" / "data" / "sigma" / "rules"

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
    rows, goals, peaks = [], [], []
    for label, (path, goal) in rules.items():
        argv = ["sh", "-c", f"'{bench.trailload}' watch --quiet '{path}' --dry-run --in '{corpus}' > /dev/null"]
        runs = [command.run(argv) for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS)]
        rates = [facts["events"] / one.cpu_seconds for one in runs]
        peaks += [one.peak_megabytes for one in runs]
        rows.append([label, f"{facts['events']:,}", table.spread(rates, 0), f"{max(one.peak_megabytes for one in runs):.0f}"])
        rate = statistics.median(rates)
        goals.append([f"{label}, events per CPU second", f"≥ {goal:,}", f"{rate:,.0f}", table.verdict(rate >= goal)])
    goals.append(["peak MB", f"≤ {GOAL_MEGABYTES}", f"{max(peaks):.0f}", table.verdict(max(peaks) <= GOAL_MEGABYTES)])
    header = ["rules", "events", "events per CPU second", "peak MB"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def write(bench, label, selection):
    """Writes a rule file, which is JSON and so YAML too."""
    path = bench.folder / f"rules-{label.replace(' ', '-')}.yml"
    rules = [
        {"name": f"rule {n}", **selection(n), "match": CONDITIONS[n % len(CONDITIONS)].format(n=n)} for n in range(RULES)
    ]
    path.write_text(json.dumps(rules, indent=1), encoding="utf-8")
    return path

"""The function of AWS Lambda: how long it takes to start, to answer the first and a later invocation, and its memory."""

import datetime
import gzip
import json
import shutil
import statistics
import tempfile
from pathlib import Path

from lab import command, table
from lab.bench import ROOT
from lab.cases import rules
from lab.moto import Moto
from lab.sandbox import Sandbox
from lab.sink import Sink

TITLE = "Function of AWS Lambda"
MEASURES = "cold start, invocations and memory of the function: packed rules, queues, objects, a shared state, an engine"

GOAL_MILLISECONDS, GOAL_MEGABYTES = 100, 64
RUNS, QUICK_RUNS = 15, 3
RULES = 500
MESSAGES, EVENTS = 10, 100
OBJECT_MEGABYTES = 5  # as stored, which is gzip
BUCKET, TABLE = "trail-of-the-function", "alerts-of-the-function"


def run(bench, _):
    runs = QUICK_RUNS if bench.quick else RUNS
    with Moto() as moto, Sink(bench.nullsink) as sink, tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        starter, many = package(folder, "starter", starter_rules()), package(folder, "many", many_rules())
        none = package(folder, "none", {})
        key, events_in_object = put_object(bench, moto)
        moto.create_table(TABLE)
        aws = {"AWS_ENDPOINT_URL": moto.url}
        shared = {"TRAILLOAD_ALERT_STATE": f"dynamodb://{TABLE}", **aws}
        batch = queue([{"Records": [event(100 * message + n) for n in range(EVENTS)]} for message in range(MESSAGES)])
        cases = [
            ("one event, starter rules", starter, envelope(event(1)), {}, 1),
            (f"one event, {RULES} rules", many, envelope(event(1)), {}, 1),
            (f"{MESSAGES} messages of {EVENTS} events, starter rules", starter, batch, {}, None),
            (f"an object of {OBJECT_MEGABYTES} MB, starter rules", starter, queue([notification(key)]), aws, None),
            ("one event, starter rules, shared state", starter, queue([envelope(root(1))]), shared, None),
            ("one event, into an engine", none, envelope(event(1)), {"TRAILLOAD_INTO": sink.url}, 1),
            (f"an object of {OBJECT_MEGABYTES} MB, into an engine", none, notification(key), {"TRAILLOAD_INTO": sink.url, **aws}, events_in_object),
        ]
        rows, starts, peaks = [], [], []
        for label, files, payload, environment, events in cases:
            figures = [once(bench.trailload, files, payload, environment, events) for _ in range(runs)]
            start, first, later, peak = zip(*figures, strict=True)
            rows.append([label, *(table.spread([1000 * one for one in some], 1) for some in (start, first, later)), f"{max(peak):.0f}"])
            starts.append(1000 * statistics.median(start))
            peaks.append(max(peak))
    goals = [
        ["start, ms", f"≤ {GOAL_MILLISECONDS}", f"{max(starts):.1f}", table.verdict(max(starts) <= GOAL_MILLISECONDS)],
        ["peak MB", f"≤ {GOAL_MEGABYTES}", f"{max(peaks):.0f}", table.verdict(max(peaks) <= GOAL_MEGABYTES)],
    ]
    header = ["invocation", "start, ms", "first invocation, ms", "second invocation, ms", "peak MB"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def once(program, files, payload, environment, events):
    """Returns the times of start, first and second invocation, and the peak of memory, of a new sandbox."""
    with Sandbox(program, files, environment) as sandbox:
        start = sandbox.start_seconds()
        first, response = sandbox.invoke(payload)
        later, _ = sandbox.invoke(payload)
        if response.get("batchItemFailures") or (events is not None and response.get("events") != events):
            raise command.Failed(f"the function did not process everything: {response}; {sandbox.text()}")
        return start, first, later, sandbox.peak_megabytes()


def package(folder, name, files):
    """Returns a folder with the files of a package: rules by their names. Without actions, their alerts go to the log."""
    place = Path(folder) / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    if files:
        (place / "rules").mkdir()
    for path, text in files.items():
        (place / "rules" / path).write_text(text)
    return place


def starter_rules():
    return {path.name: path.read_text() for path in sorted((ROOT / "rules").glob("*.yml"))}


def many_rules():
    """Returns rules of several kinds, as the case `rules` writes them."""
    kinds = list(rules.KINDS.values())
    made = [
        {
            "name": f"rule {n}",
            **kinds[n % len(kinds)](n),
            "match": rules.CONDITIONS[n % len(rules.CONDITIONS)].format(n=n),
        }
        for n in range(RULES)
    ]
    return {"many.yml": json.dumps(made, indent=1)}


def put_object(bench, moto):
    """Stores a log file, and returns its key and its number of events."""
    path, facts = bench.corpus("function-object", "--single", "gzip", "--megabytes", OBJECT_MEGABYTES)
    key = "AWSLogs/111122223333/CloudTrail/us-east-1/2024/06/01/111122223333_CloudTrail_us-east-1_20240601T1000Z_a.json.gz"
    content = (path / "single.json.gz").read_bytes()
    moto.put(BUCKET, key, content)
    return key, len(json.loads(gzip.decompress(content))["Records"])


def event(number):
    """Returns an event of now."""
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "principalId": "AROAEXAMPLE:alice",
            "arn": "arn:aws:sts::111122223333:assumed-role/Admin/alice",
            "accountId": "111122223333",
        },
        "eventTime": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "ec2.amazonaws.com",
        "eventName": "DescribeInstances",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "203.0.113.9",
        "userAgent": "aws-cli/2.15.0",
        "requestParameters": {"instancesSet": {"items": [{"instanceId": f"i-{number:017x}"}]}, "filterSet": {}},
        "responseElements": None,
        "requestID": f"0a1b2c3d-0000-4a6b-8c7d-{number:012x}",
        "eventID": f"0a1b2c3d-4e5f-4a6b-8c7d-{number:012x}",
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
        "eventCategory": "Management",
    }


def root(number):
    """Returns an event that raises an alert."""
    identity = {"type": "Root", "arn": "arn:aws:iam::111122223333:root", "accountId": "111122223333"}
    return {**event(number), "userIdentity": identity}


def envelope(record):
    """Returns an event as EventBridge delivers it."""
    return {"version": "0", "detail-type": "AWS API Call via CloudTrail", "source": "aws.ec2", "detail": record}


def notification(key):
    """Returns what S3 sends about a new object."""
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "awsRegion": "us-east-1",
                         "s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}]}  # fmt: skip


def queue(bodies):
    """Returns a batch of a queue."""
    return {
        "Records": [
            {"messageId": str(number), "eventSource": "aws:sqs", "body": json.dumps(body)} for number, body in enumerate(bodies)
        ]
    }

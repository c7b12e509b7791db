"""Very many small files: what memory the first run takes, and how soon the second one has seen that all is done."""

import gzip
import json
import os
import shutil
import tempfile
from pathlib import Path

from lab import command, table
from lab.sink import Sink

TITLE = "Many small files"
MEASURES = "memory for 10 thousand to a million files, and seconds to skip them when they are done"

# Each folder holds one file under so many names: file systems allow about 65,000 links, and a trail's days hold no more.
NAMES_A_FOLDER = 1_000
MANY, QUICK = (10, 100, 1_000), (10, 100)
SKIPPED, GOAL_SECONDS = 100_000, 2.0
GOAL_MEGABYTES = 150
GOAL_GROWTH = 1.5  # "bounded": what a hundred times the files may take in memory


def run(bench, _):
    rows, first, second, most, skipping = [], [], [], 0.0, 0.0
    all_folders = QUICK if bench.quick else MANY
    shapes = [(folders, "") for folders in all_folders] + [(all_folders[-1], ", in one folder")]
    for folders, shape in shapes:
        files = folders * NAMES_A_FOLDER
        with tempfile.TemporaryDirectory(dir=bench.folder) as fresh:
            many = fill(Path(fresh) / "trail", folders, flat=bool(shape))
            load, skip, checkpoint = twice(bench, many, Path(fresh), files)
            shutil.rmtree(many)
        most = max(most, load.peak_megabytes, skip.peak_megabytes)
        if not shape:
            first.append(load.peak_megabytes)
            second.append(skip.peak_megabytes)
            skipping = skip.seconds if files == SKIPPED else skipping
        per_file = f"{checkpoint / files:.0f}"
        rows.append([f"{files:,}{shape}", *figures(load), *figures(skip, 2), f"{checkpoint / 1e6:,.1f}", per_file])
    header = ["files", "peak MB", "seconds", "peak MB, all done", "seconds, all done", "checkpoint MB", "bytes per file"]
    goals = [
        ["peak MB, any of them", f"≤ {GOAL_MEGABYTES}", f"{most:.0f}", table.verdict(most <= GOAL_MEGABYTES)],
        growth("peak MB", first),
        growth("peak MB, all done", second),
        [
            f"seconds to skip {SKIPPED:,} done files",
            f"< {GOAL_SECONDS}",
            f"{skipping:.2f}",
            table.verdict(skipping < GOAL_SECONDS),
        ],
    ]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def figures(usage, digits=1):
    return f"{usage.peak_megabytes:.0f}", f"{usage.seconds:.{digits}f}"


def growth(what, peaks):
    times = peaks[-1] / peaks[0]
    met = table.verdict(times <= GOAL_GROWTH)
    return [f"{what}, most files ÷ fewest", f"≤ {GOAL_GROWTH} ×", f"{times:.2f} ×", met]


def fill(trail, folders, flat):
    """Returns a folder with folders of trail files, one event each; in each of them all are links to the first.

    With `flat` there is but one folder, with as many files.
    """
    for number in range(folders):
        folder = trail / "AWSLogs" / "111122223333" / "CloudTrail" / "us-east-1" / ("all" if flat else f"{number:05}")
        folder.mkdir(parents=True, exist_ok=True)
        start = f"111122223333_CloudTrail_us-east-1_{number:05}T"
        names = [f"{start}{name:04}Z_0a1b2c3d4e5f6071.json.gz" for name in range(NAMES_A_FOLDER)]
        original = folder / names[0]
        original.write_bytes(gzip.compress(json.dumps({"Records": [event(number)]}).encode(), mtime=0))
        for name in names[1:]:
            os.link(original, folder / name)
    return trail


def event(number):
    return {
        "eventVersion": "1.11",
        "userIdentity": {"type": "AWSService", "invokedBy": "ec2.amazonaws.com"},
        "eventTime": "2024-06-01T10:00:00Z",
        "eventSource": "sts.amazonaws.com",
        "eventName": "AssumeRole",
        "awsRegion": "us-east-1",
        "sourceIPAddress": "ec2.amazonaws.com",
        "requestParameters": {"roleArn": "arn:aws:iam::111122223333:role/example", "roleSessionName": f"session-{number}"},
        "eventID": f"0a1b2c3d-4e5f-4a6b-8c7d-{number:012x}",
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "111122223333",
    }


def twice(bench, source, fresh, files):
    """Loads, and loads again with the same checkpoint. Returns both usages and the bytes of the checkpoint."""
    with Sink(bench.nullsink) as sink:
        usages = []
        for skipped in (0, files):
            summary = fresh / "summary.json"
            target = ["--into", sink.url, "--checkpoint", fresh / "checkpoint", "--summary", summary]
            usages.append(command.run([bench.trailload, "load", source, *target, "--workers", "2"]))
            facts = json.loads(summary.read_text())
            seen = sum(one["skipped"] for one in facts["sources"])
            if (facts["created"], seen) != (files - skipped, skipped):
                raise command.Failed(f"{files} files, {skipped} of them done: {facts}")
    return *usages, sum(path.stat().st_size for path in fresh.glob("checkpoint*"))

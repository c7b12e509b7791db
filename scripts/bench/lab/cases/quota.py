"""Event history: how much of what AWS allows is used, and how often AWS says no.

A cell is one load of all Regions of an account from the fake AWS, which answers late and refuses whoever asks faster than twice a second
in a Region. It is stopped after a while. All latencies of a row run at once: they wait, and hardly compute.
"""

import os
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab import command, table
from lab.aws import FakeAws
from lab.sink import Sink

TITLE = "Event history: the quota"
MEASURES = "share of 2 requests per second in each Region, and of refused requests, for latencies of 0.05 to 5 s"

REGIONS, LATENCIES = (1, 4, 20), (0.05, 0.2, 1, 5)
QUICK_REGIONS, QUICK_LATENCIES = (4,), (0.05, 5)
SECONDS, QUICK_SECONDS = 90, 45  # from the first request on
EVENTS = 20_000  # in each Region: 9,000 would be asked for in 90 seconds
QUOTA = 2  # requests per second, account and Region
GOAL_SHARE, GOAL_REFUSED, GOAL_MEGABYTES = 0.97, 0.03, 157  # 150 MiB
STOPPED = 4  # exit code of a load that was asked to stop


@dataclass
class Cell:
    """What one load reached."""

    share: float
    least: float  # in the Region that was served worst
    refused: float
    peak_megabytes: float
    documents: int


def run(bench, _):
    all_regions, latencies = (QUICK_REGIONS, QUICK_LATENCIES) if bench.quick else (REGIONS, LATENCIES)
    cells = {}
    for regions in all_regions:
        with ThreadPoolExecutor(len(latencies)) as pool:
            loads = {latency: pool.submit(load, bench, regions, latency) for latency in latencies}
        cells.update({(regions, latency): done.result() for latency, done in loads.items()})
    return render(cells)


def load(bench, regions, latency):
    """Loads for a while, and returns what was reached until then."""
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    fake = FakeAws(bench.fakeaws, "--regions", regions, "--latency", round(latency * 1000), "--events", EVENTS, "--days", 1)
    with fake as aws, Sink(bench.nullsink) as sink, tempfile.TemporaryDirectory(dir=bench.folder) as fresh:
        argv = [bench.trailload, "load", "lookup", "--into", sink.url, "--checkpoint", f"{fresh}/checkpoint"]
        with open(f"{fresh}/output", "w+") as output:
            environment = {**os.environ, **aws.environment}
            process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            try:
                figures = after(aws, process, seconds)
            finally:
                process.send_signal(signal.SIGTERM)
                _, status, used = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                output.seek(0)
                text = output.read()
        if process.returncode != STOPPED:
            raise command.Failed(f"a load of {regions} Regions ended with {process.returncode}: {text[-2000:]}")
        documents = sink.counters()["documents"]
    return cell(figures, regions, used.ru_maxrss * 1024 / 1e6, documents)


def after(aws, process, seconds):
    """Waits until so long after the first request, and returns the figures of that moment."""
    while process.poll() is None:
        figures = aws.figures()
        begun = min((place["first"] for place in figures["lookup"]), default=figures["seconds"])
        left = begun + seconds - figures["seconds"]
        if left <= 0:
            return figures
        time.sleep(min(left, 1))
    raise command.Failed("the load ended before its time")


def cell(figures, regions, peak_megabytes, documents):
    places = figures["lookup"]
    passed = figures["seconds"] - min(place["first"] for place in places)
    shares = [place["granted"] / (QUOTA * passed) for place in places]
    granted, refused = (sum(place[part] for place in places) for part in ("granted", "throttled"))
    if len(places) != regions:
        raise command.Failed(f"{len(places)} of {regions} Regions were asked")
    return Cell(sum(shares) / regions, min(shares), refused / (granted + refused), peak_megabytes, documents)


def render(cells):
    def percent(share):
        return f"{share * 100:.1f} %"

    rows = [
        [regions, latency, percent(cell.share), percent(cell.least), percent(cell.refused)]
        + [f"{cell.documents:,}", f"{cell.peak_megabytes:.0f}"]
        for (regions, latency), cell in cells.items()
    ]
    header = ["Regions", "latency, s", "of the quota", "worst Region", "refused", "documents", "peak MB"]
    share = min(cell.share for cell in cells.values())
    refused = max(cell.refused for cell in cells.values())
    most = max(cell.peak_megabytes for cell in cells.values())
    goals = [
        ["of the quota, anywhere", f"≥ {percent(GOAL_SHARE)}", percent(share), table.verdict(share >= GOAL_SHARE)],
        ["refused, anywhere", f"≤ {percent(GOAL_REFUSED)}", percent(refused), table.verdict(refused <= GOAL_REFUSED)],
        ["peak MB, any of them", f"≤ {GOAL_MEGABYTES}", f"{most:.0f}", table.verdict(most <= GOAL_MEGABYTES)],
    ]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)

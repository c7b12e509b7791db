"""The page of all dashboards from log files: seconds, memory and the size of the file."""

from lab import command, table

TITLE = "A page without an engine"
MEASURES = "seconds, processor time, peak memory and the size of the page that `dashboards --html` writes from log files"

GOAL_SECONDS, GOAL_MEGABYTES, GOAL_PAGE_MEGABYTES = 15, 200, 2
EVENTS = (10_000, 100_000, 1_000_000)
QUICK_EVENTS = (10_000, 100_000)


def run(bench, _):
    rows, usage, size = [], None, 0
    page = bench.folder / "page.html"
    for events in QUICK_EVENTS if bench.quick else EVENTS:
        corpus, facts = bench.corpus(f"corpus-{events}", "--events", events)
        page.unlink(missing_ok=True)
        usage = command.run([bench.trailload, "dashboards", "--html", page, "--from", corpus])
        counted = f"{facts['distinct_ids']:,} events"
        if counted not in usage.output:
            raise command.Failed(f"expected {counted}: {usage.output[-500:]}")
        size = page.stat().st_size / 1e6
        page.unlink()
        rows.append([f"{events:,}", f"{usage.seconds:.1f}", f"{usage.cpu_seconds:.1f}", f"{usage.peak_megabytes:.0f}", f"{size:.2f}"])
    goals = [
        [f"seconds, {rows[-1][0]} events", f"≤ {GOAL_SECONDS}", f"{usage.seconds:.1f}", table.verdict(usage.seconds <= GOAL_SECONDS)],
        ["peak MB", f"≤ {GOAL_MEGABYTES}", f"{usage.peak_megabytes:.0f}", table.verdict(usage.peak_megabytes <= GOAL_MEGABYTES)],
        ["page, MB", f"≤ {GOAL_PAGE_MEGABYTES}", f"{size:.2f}", table.verdict(size <= GOAL_PAGE_MEGABYTES)],
    ]
    header = ["events", "seconds", "CPU seconds", "peak MB", "page, MB"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)

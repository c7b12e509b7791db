"""How much processor time and memory any answer of `trailload schema` takes, from the start of the process.

On a machine with nothing else to do, that is the time on the clock; only --find has several threads.
"""

import json
import os
import statistics
import subprocess

from lab import command, table

TITLE = "Schema"
MEASURES = "processor time and peak memory of `schema` for the operations of all services, in every format, and of --find"

# Those of --find are shared by two threads or more.
GOAL_MILLISECONDS, GOAL_FIND_MILLISECONDS, GOAL_MEGABYTES = 30, 2 * 100, 40
# Operations from one that is asked for to the next.
STRIDE, QUICK_STRIDE = 20, 400
FORMATS = ("json", "yaml", "tree", "table", "markdown")
FINDS = ("name", "kmsKeyId", "instanceprofile")
# The largest answers: 55,000 fields each.
LARGEST = ("quicksight.CreateDashboard", "quicksight.CreateTemplate", "quicksight.UpdateAnalysis")
RUNS, QUICK_RUNS = 9, 3


def run(bench, _):
    operations = names(bench)
    rows, goals = [], []
    for form in FORMATS:
        stride = QUICK_STRIDE if bench.quick else STRIDE
        chosen = [name for name in operations[::stride] if name not in LARGEST]
        answers = sorted((answer(bench, [name, "--format", form]), name) for name in chosen)
        times = [milliseconds for (milliseconds, _), _ in answers]
        peak = max(megabytes for (_, megabytes), _ in answers)
        (slowest, _), name = answers[-1]
        largest = [repeated(bench, [name, "--format", form]) for name in LARGEST]
        middle = max(statistics.median(milliseconds for milliseconds, _ in runs) for runs in largest)
        peak = max(peak, *(megabytes for runs in largest for _, megabytes in runs))
        rows.append([form, f"{len(chosen):,}", f"{statistics.median(times):.1f}", f"{percentile(times, 99):.1f}",
                     f"{slowest:.1f} ({name})", f"{middle:.1f}", f"{peak:.0f}"])
        goals += [[f"{form}, 99 % of the answers, CPU ms", f"≤ {GOAL_MILLISECONDS}", f"{percentile(times, 99):.1f}",
                   table.verdict(percentile(times, 99) <= GOAL_MILLISECONDS)],
                  [f"{form}, the largest answers, CPU ms", f"≤ {GOAL_MILLISECONDS}", f"{middle:.1f}",
                   table.verdict(middle <= GOAL_MILLISECONDS)],
                  [f"{form}, peak MB", f"≤ {GOAL_MEGABYTES}", f"{peak:.0f}", table.verdict(peak <= GOAL_MEGABYTES)]]
    for word in FINDS:
        runs = repeated(bench, ["--find", word])
        middle = statistics.median(milliseconds for milliseconds, _ in runs)
        peak = max(megabytes for _, megabytes in runs)
        goals += [[f"--find {word}, CPU ms", f"≤ {GOAL_FIND_MILLISECONDS}", f"{middle:.1f}", table.verdict(middle <= GOAL_FIND_MILLISECONDS)],
                  [f"--find {word}, peak MB", f"≤ {GOAL_MEGABYTES}", f"{peak:.0f}", table.verdict(peak <= GOAL_MEGABYTES)]]
    header = ["format", "operations", "median ms", "99 % ms", "slowest of them, ms", "largest answers, ms", "peak MB"]
    return table.markdown(header, rows) + "\n\n" + table.markdown(["goal", "wanted", "measured", ""], goals)


def names(bench):
    """Returns all operations."""
    listed = command.run([bench.trailload, "schema", "*.*", "--format", "json"], env={"HOME": "/nonexistent"})
    return json.loads(listed.output)


def repeated(bench, words):
    return [answer(bench, words) for _ in range(QUICK_RUNS if bench.quick else RUNS)]


def answer(bench, words):
    """Returns milliseconds of processor time and peak megabytes of an answer, which is not kept."""
    process = subprocess.Popen([str(bench.trailload), "schema", *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={**os.environ, "HOME": "/nonexistent"})
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise command.Failed(f"schema {' '.join(words)} ended with {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss * 1024 / 1e6


def percentile(sorted_values, percent):
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * percent // 100)]

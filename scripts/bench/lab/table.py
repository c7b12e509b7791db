"""How results look: Markdown tables, and the places for them in BENCHMARKS.md."""

import os
import platform
import re
import statistics


def spread(values, digits=2):
    """Returns median and, where there are several, least and greatest: `1.50 (1.44–1.88)`."""
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def markdown(header, rows):
    """Returns a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def verdict(met):
    """Returns how a goal ended."""
    return "met" if met else "**missed**"


def machine():
    """Describes the machine as far as figures depend on it; nothing that names it."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    size = next((step for step in (2, 4, 8, 16, 24, 32, 48, 64, 128, 256) if memory <= step), 512)
    return f"{os.cpu_count()} cores ({platform.machine()}), {size} GiB memory, {platform.system()}"


def put(page, name, text):
    """Replaces what stands in BENCHMARKS.md between the marks of `name`."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    old = page.read_text()
    if not marks.search(old):
        raise ValueError(f"{page} has no place for {name}")
    page.write_text(marks.sub(lambda found: found[1] + text + "\n" + found[2], old))

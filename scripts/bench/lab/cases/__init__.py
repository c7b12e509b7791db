"""What is asked, one module a case: `TITLE`, `MEASURES` (one sentence for --help), and `run(bench, options)`, which returns Markdown."""

from lab.cases import engines, files, instructions, memory, startup, throughput

CASES = {
    "throughput": throughput,
    "instructions": instructions,
    "memory": memory,
    "files": files,
    "startup": startup,
    "engines": engines,
}

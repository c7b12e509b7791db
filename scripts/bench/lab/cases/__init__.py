"""What is asked, one module a case: `TITLE`, `MEASURES` (one sentence for --help), and `run(bench, options)`, which returns Markdown."""

from lab.cases import (
    engines,
    files,
    function,
    history,
    instructions,
    memory,
    page,
    quota,
    rules,
    schema,
    search,
    startup,
    throughput,
    trail,
)

CASES = {
    "throughput": throughput,
    "instructions": instructions,
    "memory": memory,
    "files": files,
    "quota": quota,
    "trail": trail,
    "search": search,
    "history": history,
    "rules": rules,
    "schema": schema,
    "page": page,
    "startup": startup,
    "function": function,
    "engines": engines,
}

"""Compares events with the table: lists paths that it lacks, and those among them that hold several kinds."""
import collections
import gzip
import json

from . import table
from .facts import DOCUMENT, MAP, OBJECT


def report(tree, folder):
    seen = collections.defaultdict(collections.Counter)      # path -> what it held -> how often
    sources = collections.defaultdict(set)
    events = 0
    for file in sorted(folder.rglob("*.ndjson*")):
        with (gzip.open(file, "rt") if file.suffix == ".gz" else open(file)) as lines:
            for line in lines:
                event = json.loads(line)
                events += 1
                walk(event, tree, "", seen, sources, f"{event.get('eventSource', '?')}:{event.get('eventName', '?')}".replace(".amazonaws.com", ""))
    def known(path):
        return find(tree, path) is not None
    unknown = [path for path in sorted(seen) if not known(path)]
    torn = [path for path in unknown if len(seen[path]) > 1]
    values = sum(sum(counter.values()) for counter in seen.values())
    missed = sum(sum(seen[path].values()) for path in unknown)
    print(f"{events} events, {len(seen)} paths, {values} values")
    print(f"{len(unknown)} paths unknown ({missed} values), {len(torn)} of them with two kinds")
    rewritten = [path for path in sorted(seen) if path.endswith(("_object", "_value"))]
    print(f"{len(rewritten)} renamed paths")
    for path in rewritten:
        print(f"renamed: {path} {dict(seen[path])} {sorted(sources[path])[:4]}")
    for path in torn:
        print(f"two kinds: {path} {dict(seen[path])} {sorted(sources[path])[:4]}")
    for path in sorted(unknown, key=lambda path: (-sum(seen[path].values()), path)):
        print(f"unknown: {path} {dict(seen[path])} {sorted(sources[path])[:3]}")
    return 1 if torn else 0


def walk(value, node, path, seen, sources, call):
    """Counts one value under its path in the document. Does not descend into maps and documents."""
    if isinstance(value, list):
        for item in value:
            walk(item, node, path, seen, sources, call)
        return
    if value is None:
        return
    holds = OBJECT if isinstance(value, dict) else table.SCALAR
    if node and path and node.kind == DOCUMENT:
        return
    if path:
        path, node, value, holds = spelled(value, node, path, holds, call, seen, sources)
        if path is None:
            return
    if holds == OBJECT and not (node and node.kind in (MAP, DOCUMENT)):
        for name, child in value.items():
            walk(child, node.children.get(name) if node else None, f"{path}.{name}" if path else name, seen, sources, call)


def spelled(value, node, path, holds, call, seen, sources):
    """Applies the rewrite rules to the key, so that renamed fields count under their new key."""
    if node and holds == OBJECT and node.kind == table.SCALAR:
        if set(value) == {"value"} and not isinstance(value["value"], (dict, list)):
            return None, None, None, None
        path, node = path + "_object", None
    elif node and holds == table.SCALAR and node.kind != table.SCALAR:
        if value == "":
            return None, None, None, None
        path, node = path + "_value", None
    seen[path][holds] += 1
    sources[path].add(call)
    return path, node, value, holds


def find(tree, path):
    """Returns the node at a path, trying every split at dots because names may contain them."""
    node = tree
    for name in path.split("."):
        node = node.children.get(name)
        if node is None:
            return None
    return node

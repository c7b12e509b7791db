"""Updates mappings/conflicts.json: keeps entries written by hand and regenerates those derived from the API models.

The reason of a derived entry starts with `models: `.
"""
import json

from . import table
from .facts import DOCUMENT, MAP, NON_SCALAR, OBJECT

WORDS = {OBJECT: "object", MAP: "map", DOCUMENT: "any JSON", "string": "text", "blob": "text", "date": "a date",
         "long": "a number", "double": "a number", "boolean": "a boolean"}
SAMPLES = {"string": "text", "blob": "dGV4dA==", "date": "2024-05-01T12:00:00Z", "long": 1, "double": 0.5, "boolean": True}
FROM_MODELS = "models: "
# Number of services that a reason names before "+n".
NAMED = 3


def read(path):
    return json.loads(path.read_text()) if path.exists() else []


def merge(declared, paths):
    """Returns the entries written by hand and one for each other conflict of the models, sorted by field."""
    entries = {entry["field"]: entry for entry in declared if not entry["why"].startswith(FROM_MODELS)}
    placed = list(table.place(paths, {field: entry["kind"] for field, entry in entries.items()}))
    tree = table.Node()
    for path, kind, _classes, other in placed:
        tree.at(path.split(".")).kind = kind
        if other:
            tree.at(table.suffixed(path, other).split(".")).kind = other
    for path, kind, classes, other in placed:
        if other and path not in entries:
            entries[path] = entry(path, kind, classes, other, tree)
    return [entries[field] for field in sorted(entries)]


def entry(path, kind, classes, other, tree):
    name = path.rpartition(".")[2]
    scalar = SAMPLES[sorted(set(classes) - NON_SCALAR)[-1]]
    shape_at, scalar_at = (table.suffixed(path, other), path) if kind == table.SCALAR else (path, table.suffixed(path, other))
    shape = tree.at(shape_at.split("."))
    examples = [{"given": scalar, "under": scalar_at.rpartition(".")[2]},
                {"given": sample_object(shape), "under": shape_at.rpartition(".")[2]}]
    if kind == table.SCALAR and list(shape.children) == ["value"]:      # a wrapper: unwrapped, not renamed
        examples[1] = {"given": {"value": scalar}, "under": name, "becomes": scalar}
    return {"field": path, "kind": kind, "why": reason(classes), "rewrite": "key-by-type", "examples": examples}


def sample_object(node):
    """Returns a small object with some of the keys, but never {"value": x}, which is unwrapped and not renamed."""
    names = [name for name, child in sorted(node.children.items()) if child.kind == table.SCALAR and name != "value"]
    if names:
        return {names[0]: "text"}
    return {"Some-Key": "text"} if node.kind == MAP else {}


def reason(classes):
    """Describes the kinds in the models: `object in a, b, c (+9), text in d`."""
    sides = {}
    for cls in sorted(classes, key=lambda cls: (cls not in NON_SCALAR, WORDS[cls])):
        sides.setdefault(WORDS[cls], set()).update(classes[cls])
    return FROM_MODELS + "; ".join(f"{word} in {named(sorted(names))}" for word, names in sides.items())


def named(names):
    more = f" (+{len(names) - NAMED})" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def render(entries):
    """Renders one property per line, so that diffs are readable."""
    def text(value):
        return json.dumps(value, ensure_ascii=False)
    out = []
    for entry in entries:
        examples = ",\n                  ".join(text(example) for example in entry["examples"])
        out.append(f'  {{ "field": {text(entry["field"])}, "kind": {text(entry["kind"])},\n'
                   f'    "why": {text(entry["why"])},\n'
                   f'    "rewrite": {text(entry["rewrite"])},\n'
                   f'    "examples": [ {examples} ] }}')
    return "[\n" + ",\n".join(out) + "\n]\n"


def write(path, entries):
    path.write_text(render(entries))

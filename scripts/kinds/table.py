"""The kind table: assigns one kind to each path, and renders the table as text.

Text form: a line `trailload-kinds 1 SOURCES`, then one tree. `name` is a scalar, `name{…}` an object with known children,
`name*` (or `name*{…}`) a map with free keys, `name?` any JSON. Children are sorted and separated by commas; in a name, each of
`{},*?\\` is escaped by a backslash. src/normalize/kind_table.rs parses it.

Keys are those of documents, after the rewrite: if the kind of a path is scalar and a service sends an object, its children are
below `name_object`; if the kind is object and a service sends text, there is a `name_value`. Renamed fields thus have a kind too.
"""
import collections
import re

from .facts import DOCUMENT, MAP, NON_SCALAR, OBJECT
from .walk import below_map
from .weigh import canonical

FORMAT = "trailload-kinds 1"
SCALAR = "scalar"
# Levels below the root. Deeper paths are never mapped (about 1 % of those seen), so their kinds decide nothing.
DEPTH = 7
MARKS = {SCALAR: "", OBJECT: "", MAP: "*", DOCUMENT: "?"}
LEVEL = 22


class Node:
    """A path: its kind, and its children by name."""

    def __init__(self, kind=OBJECT):
        self.kind = kind
        self.children = {}

    def at(self, path):
        """Returns the node at a path below this one, creating it and its parents (as objects) if needed."""
        node = self
        for name in path:
            node = node.children.setdefault(name, Node())
        return node


Placed = collections.namedtuple("Placed", "path kind classes other_kind")


def place(paths, declared):
    """Yields every path with the keys of documents, and the kind of its plain key.

    `other_kind` is the kind of the suffixed key, if a service sends values of another kind.
    `declared` (path -> kind) takes precedence over the models.
    """
    parents = {path.rpartition(".")[0] for path in paths if not path.endswith(".*")}
    below = {}      # original path -> the path its children are placed under, None if they are not known
    for path in sorted(paths, key=lambda path: path.split(".")):
        classes = paths[path]
        above, _, name = path.rpartition(".")
        base = below.get(above, above)
        if below_map(path) or base is None or path.count(".") > DEPTH:
            continue
        placed = f"{base}.{name}" if base else name
        side = object_kind(classes, path in parents)
        kind = declared.get(placed) or (SCALAR if canonical(path, classes) == SCALAR else side)
        other = None
        if kind == SCALAR:
            other = side if set(classes) & NON_SCALAR else None
        elif set(classes) - NON_SCALAR:
            other = SCALAR
        keeper = placed + "_object" if kind == SCALAR else placed
        below[path] = None if DOCUMENT in (kind, other) else keeper
        yield Placed(placed, kind, classes, other)


def object_kind(classes, has_children):
    """Distinguishes objects, maps with free keys and documents of any JSON.

    A map that is an object in another service keeps the children of the object. An object that is any JSON in another service
    stays an object, so that its children can be searched; without known children it is any JSON.
    """
    if MAP in classes:
        return MAP
    return DOCUMENT if DOCUMENT in classes and not has_children else OBJECT


def build(paths, record, seen, conflicts):
    """Returns the tree of all known paths: core fields, paths of the models, observed paths, declared conflicts."""
    declared = {entry["field"]: entry["kind"] for entry in conflicts}
    tree = Node()
    for path, kind, _, other in place(paths, declared):
        tree.at(path.split(".")).kind = kind
        if other:
            tree.at(suffixed(path, other).split(".")).kind = other
    graft(tree, record)
    fill(tree, seen)
    for path, kind in declared.items():
        node = tree.at(path.split("."))
        node.kind = kind
        if kind in (SCALAR, DOCUMENT):
            node.children.clear()
        if kind != DOCUMENT:
            other = OBJECT if kind == SCALAR else SCALAR
            name = suffixed(path, other).split(".")
            tree.at(name[:-1]).children.setdefault(name[-1], Node(other))
    return tree


def suffixed(path, kind):
    """Returns the key for values that the plain key does not accept."""
    return path + ("_value" if kind == SCALAR else "_object")


def graft(tree, record):
    """Merges the core fields into the tree; they override."""
    tree.kind = record.kind
    for name, child in record.children.items():
        graft(tree.children.setdefault(name, Node()), child)


def fill(tree, seen):
    """Adds missing paths below objects; known kinds stay."""
    for name, child in seen.children.items():
        known = tree.children.setdefault(name, Node(child.kind))
        if known.kind in (OBJECT, MAP):
            fill(known, child)


def count(tree):
    return sum(1 + count(child) for child in tree.children.values())


# ---------------------------------------------------------------- text
def render(tree, sources):
    return f"{FORMAT} {sources}\n{members(tree)}\n"


def members(node):
    return ",".join(one(name, node.children[name]) for name in sorted(node.children))


def one(name, node):
    text = re.sub(r"([{},*?\\])", r"\\\1", name) + MARKS[node.kind]
    if node.children or node.kind == OBJECT:
        text += "{" + members(node) + "}"
    return text


def parse(text):
    """Parses the text form without its first line; white space and `# …` comments are allowed."""
    tokens = re.findall(r"(?:\\.|[^{},*?\s\\])+|[{},*?]", re.sub(r"#.*", "", text))
    root, stack, last = Node(), [], None
    stack.append(root)
    for token in tokens:
        if token == "{":
            last.kind = OBJECT if last.kind == SCALAR else last.kind
            stack.append(last)
        elif token == "}":
            stack.pop()
        elif token in "*?":
            last.kind = MAP if token == "*" else DOCUMENT
        elif token != ",":
            last = stack[-1].children[re.sub(r"\\(.)", r"\1", token)] = Node(SCALAR)
    assert stack == [root], "braces do not match"
    return root


def write(path, text):
    import zstandard
    path.write_bytes(zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text.encode()))


def read(path):
    import zstandard
    return zstandard.ZstdDecompressor().decompress(path.read_bytes()).decode() if path.exists() else ""

"""Collects path -> class -> services from API models, with the keys that CloudTrail uses.

Member names start in lower case (`DBInstanceIdentifier` -> `dBInstanceIdentifier`). Lists add no key, as in an index. `*` stands
for the free keys of a map; a map with enumerated keys counts as an object. Responses are included only for calls that change
something. Each protocol has a function for its differences.
"""
import collections

from .facts import ANSWERED, AS_SENT, DOCUMENT, FIXED, MAP, OBJECT, READ_ONLY, SCALAR, SOURCE
from .models import models


def lower_first(name):
    return name[:1].lower() + name[1:]


class Walker:
    """Collector of path -> class -> services over any number of models."""

    def __init__(self):
        self.paths = collections.defaultdict(lambda: collections.defaultdict(set))
        self.recursive = set()

    # -- one service ---------------------------------------------------------
    def service(self, name, model):
        meta = model["metadata"]
        self.shapes = model["shapes"]
        self.protocol = meta["protocol"]
        # Naming style: how CloudTrail spells members for this protocol family.
        self.style = ("s3" if name in ("s3", "s3control")
                      else "ec2" if self.protocol == "ec2" else "plain")
        self.source = SOURCE.get(name) or meta.get("signingName") or meta["endpointPrefix"].split(".")[-1]
        self.memo = {}
        self.as_sent = name in AS_SENT
        for op_name, op in model["operations"].items():
            self.request(op_name, op)
            if not READ_ONLY.match(op_name) or (self.source, op_name) in ANSWERED:
                self.response(op_name, op)

    def add(self, path, cls):
        self.paths[path][cls].add(self.source)

    def add_all(self, prefix, rel):
        for path, cls in rel:
            self.paths[prefix + path][cls].add(self.source)

    def request(self, op_name, op):
        root = "requestParameters"
        if self.style == "s3":
            self.s3_request(root, op)
        elif "input" in op:
            shape = op["input"]["shape"]
            self.add_all(root, self.members(shape, "in"))
            if self.as_sent:
                self.add_all(root, self.members(shape, "wire"))
            if self.style == "ec2":
                wrap = f"{root}.{op_name}Request"
                self.add(wrap, OBJECT)
                self.add_all(wrap, self.members(shape, "raw"))

    def response(self, op_name, op):
        root = "responseElements"
        if self.style == "s3":          # S3 answers are request ids only
            for h in ("x-amz-request-id", "x-amz-id-2"):
                self.add(f"{root}.{h}", "string")
            for ref in self.shapes.get(op.get("output", {}).get("shape"), {}).get("members", {}).values():
                if ref.get("location") == "header":
                    self.add(f"{root}.{ref['locationName']}", "string")
            return
        if self.style == "ec2":
            self.add(f"{root}.requestId", "string")
            self.add(f"{root}._return", "boolean")
            self.ec2_response(f"{root}.{op_name}Response", op)
        if "output" not in op:
            return
        shape = op["output"]["shape"]
        self.add_all(root, self.members(shape, "out"))
        if self.as_sent:
            self.add_all(root, self.members(shape, "wire"))
        if self.protocol == "query":    # single wrapped result: wrapper level is dropped
            for ref in self.shapes[shape].get("members", {}).values():
                if self.shapes[ref["shape"]].get("wrapper"):
                    self.add_all(root, self.members(ref["shape"], "out"))

    def ec2_response(self, wrap, op):
        """Adds the response of a newer call, which is wrapped in a key of its own, as in its XML."""
        self.add(wrap, OBJECT)
        for name in ("requestId", "xmlns"):
            self.add(f"{wrap}.{name}", "string")
        if "output" in op:
            self.add_all(wrap, self.members(op["output"]["shape"], "item"))

    def s3_request(self, root, op):
        uri = op["http"]["requestUri"]
        self.add(f"{root}.Host", "string")
        self.add(f"{root}.host", "string")
        if "?" in uri:                  # sub-resource marker, logged as [""]
            for part in uri.split("?", 1)[1].split("&"):
                self.add(f"{root}.{part.split('=')[0]}", "string")
        shape = self.shapes.get(op.get("input", {}).get("shape"), {})
        for member, ref in shape.get("members", {}).items():
            where, wire = ref.get("location"), ref.get("locationName", member)
            cls_rel = self.member(ref, "xml")
            if where == "uri":
                wire = {"Bucket": "bucketName", "Key": "key"}.get(member, lower_first(member))
            elif where == "headers":
                continue
            elif not where and self.shapes[ref["shape"]].get("streaming"):
                continue                # object data never reaches the log
            self.add_all(f"{root}.{wire}", cls_rel)
            if not where and self.shapes[ref["shape"]]["type"] == "structure":
                self.add(f"{root}.{wire}.xmlns", "string")

    # -- shapes --------------------------------------------------------------
    # The mode says how names and lists are spelled: "in" and "out" as CloudTrail spells requests and answers, "raw" and
    # "item" as EC2's XML was, "xml" as S3's is, "wire" as the service's JSON was sent.
    def members(self, shape_name, mode, stack=()):
        """Returns [(relative path, class)] below a structure."""
        key = (shape_name, mode)
        if key in self.memo:
            return self.memo[key]
        if shape_name in stack:
            self.recursive.add((self.source, shape_name))
            return ()
        out = []
        shape = self.shapes[shape_name]
        if shape.get("eventstream"):
            return ()
        before = len(self.recursive)
        for member, ref in shape.get("members", {}).items():
            target = self.shapes[ref["shape"]]
            if target.get("eventstream") or ref.get("location") == "headers":
                continue
            rel = self.member(ref, mode, stack + (shape_name,))
            for name in self.names(member, ref, target, mode):
                out.extend((f".{name}{p}", c) for p, c in rel)
                if mode == "raw" and target["type"] == "list":   # list items are numbered
                    out.append((f".{name}.tag", "long"))
        out = tuple(dict.fromkeys(out))
        if not stack or before == len(self.recursive):
            self.memo[key] = out
        return out

    def member(self, ref, mode, stack=()):
        shape = self.shapes[ref["shape"]]
        if ref.get("jsonvalue"):
            return [("", "string")]
        return self.value(ref["shape"], shape, mode, stack, ref.get("locationName"))

    def value(self, shape_name, shape, mode, stack, wire=None):
        kind = shape["type"]
        if shape.get("document"):
            return [("", DOCUMENT)]
        if kind == "structure":
            return [("", OBJECT), *self.members(shape_name, mode, stack)]
        if kind == "list":
            item = shape["member"]["shape"]
            inner = self.value(item, self.shapes[item], mode, stack) if item not in stack else [("", OBJECT)]
            if self.style == "ec2" and mode in ("in", "out"):
                return [("", OBJECT), *(self.ec2_items(shape, inner, mode, wire))]
            if self.style == "ec2" and mode == "item":
                return [("", OBJECT), *((".item" + p, c) for p, c in inner)]
            if self.style == "ec2" and all(not p for p, _ in inner):    # {"tag": n, "content": x}
                return [("", OBJECT), *((".content", c) for _, c in inner)]
            wire = shape["member"].get("locationName")
            if mode == "xml" and wire and not shape.get("flattened") and any(not p and c == OBJECT for p, c in inner):
                return [*inner, *((f".{wire}{p}", c) for p, c in inner)]    # <TagSet><Tag>…
            return inner
        if kind == "map":
            target = shape["value"]["shape"]
            keys = self.shapes[shape["key"]["shape"]].get("enum")
            inner = self.value(target, self.shapes[target], mode, stack) if target not in stack else [("", OBJECT)]
            if keys:            # closed set of keys: as good as a structure
                return [("", OBJECT), *((f".{k}{p}", c) for k in keys for p, c in inner)]
            return [("", MAP), *((".*" + p, c) for p, c in inner)]
        return [("", SCALAR[kind])]

    def ec2_items(self, shape, inner, mode, wire):
        """EC2 lists are logged as {"items": [...]}; scalar items get a key of their own on input."""
        if mode == "in" and all(not p for p, _ in inner):
            name = lower_first(wire or shape["member"].get("locationName", "value"))
            name = "value" if name == "item" else name
            return [(".items", OBJECT), *((f".items.{name}", c) for _, c in inner)]
        return [(".items" + p, c) for p, c in inner]

    def names(self, member, ref, target, mode):
        """Returns the keys of a member: most have one, EC2 lists have several."""
        if mode == "wire":
            return (ref.get("locationName", member),)
        if mode in ("raw", "xml"):
            wire = ref.get("queryName") or ref.get("locationName", member)
            return (wire if mode == "xml" else wire[:1].upper() + wire[1:],)
        if self.style == "ec2":
            base = lower_first(ref.get("locationName") or ref.get("queryName") or member)
            if target["type"] == "list" and mode == "in" and not base.endswith("Set"):
                short = base[:-2] if base.endswith("Id") else base      # vpcId -> vpcSet
                return tuple(dict.fromkeys((lower_first(member), base + "Set", short + "Set",
                                            short + "sSet", lower_first(member) + "Set")))
            return (base,)
        plain = lower_first(member)
        if self.protocol == "query" and target.get("flattened"):
            wire = ref.get("locationName") or target.get("member", {}).get("locationName")
            if wire and lower_first(wire) != plain:
                return (plain, lower_first(wire))
        return (plain,)


def all_paths(wheels):
    """Returns path -> class -> services for all models of the wheels, and the facts that no model contains."""
    walker = Walker()
    for wheel in wheels:
        for name, model in models(wheel):
            walker.service(name, model)
    for path, cls, source in FIXED:
        walker.paths[path][cls].add(source)
    return {path: {cls: sorted(names) for cls, names in classes.items()} for path, classes in walker.paths.items()}


def below_map(path):
    """Returns whether a path is below the free keys of a map, where nothing is mapped."""
    return ".*" in path

#!/usr/bin/env python3
"""An independent model of Sigma on CloudTrail events: which events each rule of `rules/` matches.

Writes `expected.json`: rule title -> number of events that match, over the events of `tests/data/events`. It shares no code with the
program; what a comparison means on JSON is documented in `src/filter/sigma/mod.rs`.
"""
import fnmatch, glob, gzip, json, os, re
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))


def find(value, names):
    if not names:
        return [value]
    if isinstance(value, dict):
        return find(value[names[0]], names[1:]) if names[0] in value else []
    if isinstance(value, list):
        return [hit for item in value for hit in find(item, names)]
    return []


def text(value):
    if value is None:
        return []
    if isinstance(value, bool):
        return [str(value).lower()]
    if isinstance(value, (dict, list)):
        if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
            return [word for item in value for word in text(item)]
        return [json.dumps(value, separators=(",", ":"), ensure_ascii=False)]
    return [str(value)]


def wildcard(pattern):
    out, i = "", 0
    while i < len(pattern):
        character = pattern[i]
        if character == "\\" and i + 1 < len(pattern) and pattern[i + 1] in "*?\\":
            i += 1
            out += re.escape(pattern[i])
        else:
            out += {"*": ".*", "?": "."}.get(character, re.escape(character))
        i += 1
    return out


def test(event, key, wanted):
    name, *modifiers = key.split("|")
    hits = find(event, name.split("."))
    words = [word for hit in hits for word in text(hit)]
    results = []
    for value in wanted if isinstance(wanted, list) else [wanted]:
        if value is None:
            results.append(all(hit is None for hit in hits))
        elif "fieldref" in modifiers:
            others = [word.lower() for hit in find(event, value.split(".")) for word in text(hit)]
            results.append(any(word.lower() in others for word in words))
        elif "re" in modifiers:
            results.append(any(re.search(value, word) for word in words))
        else:
            pattern = wildcard(str(value).lower() if not isinstance(value, str) else value)
            if "contains" in modifiers or "endswith" in modifiers:
                pattern = ".*" + pattern
            if "contains" in modifiers or "startswith" in modifiers:
                pattern += ".*"
            results.append(any(re.fullmatch(pattern, word, re.I | re.S) for word in words))
    return all(results) if "all" in modifiers else any(results)


def search(event, identifier):
    if isinstance(identifier, dict):
        return all(test(event, key, value) for key, value in identifier.items())
    return any(search(event, item) for item in identifier)


def matches(event, detection):
    names = [name for name in detection if name != "condition"]

    def several(quantifier):
        def replace(found):
            parts = [f"hit({name!r})" for name in names if fnmatch.fnmatchcase(name, found.group(1))]
            return "(" + quantifier.join(parts) + ")"
        return replace

    condition = re.sub(r"\b1 of (\S+)", several(" or "), detection["condition"])
    condition = re.sub(r"\ball of (\S+)", several(" and "), condition)
    for name in sorted(names, key=len, reverse=True):
        condition = re.sub(rf"(?<!['\w]){re.escape(name)}(?!['\w])", f"hit({name!r})", condition)
    return eval(condition, {"hit": lambda name: search(event, detection[name])})


def main():
    events = []
    for path in sorted(glob.glob(os.path.join(HERE, "../events/*.ndjson.gz"))):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            events += [json.loads(line) for line in lines]
    expected = {}
    for path in sorted(glob.glob(os.path.join(HERE, "rules/*.yml"))):
        rule = yaml.safe_load(open(path, encoding="utf-8"))
        expected[rule["title"]] = sum(matches(event, rule["detection"]) for event in events)
    with open(os.path.join(HERE, "expected.json"), "w", encoding="utf-8") as out:
        json.dump(expected, out, indent=1, sort_keys=True)
        out.write("\n")


main()

#!/usr/bin/env python3
"""Prints the events of trail files that a search finds, the way a short script does: gzip, json, fnmatch, one test after the other.

    search_loop.py FOLDER ACTION FIELD=VALUE…     ACTION as in s3:Get*, or '*'; FIELD as in userIdentity.type; VALUE 'None' = missing
"""

import fnmatch
import gzip
import json
import sys
from pathlib import Path


def lookup(event, path):
    for key in path:
        event = event.get(key) if isinstance(event, dict) else None
    return event


def main():
    folder, action, *conditions = sys.argv[1:]
    service, _, name = action.partition(":")
    wanted = []
    for condition in conditions:
        path, _, value = condition.partition("=")
        wanted.append((path.split("."), None if value == "None" else value))
    for file in Path(folder).rglob("*.json.gz"):
        with gzip.open(file) as text:
            records = json.load(text)["Records"]
        for event in records:
            if name and event.get("eventSource") != f"{service}.amazonaws.com":
                continue
            if name and not fnmatch.fnmatch(event.get("eventName", ""), name):
                continue
            if all(lookup(event, path) == value for path, value in wanted):
                print(json.dumps(event, separators=(",", ":")))


if __name__ == "__main__":
    main()

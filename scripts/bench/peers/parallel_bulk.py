#!/usr/bin/env python3
"""The usual way in Python: gzip, json, and the client's own bulk helper, with the keys renamed that are known to conflict.

    parallel_bulk.py FOLDER URL [--client opensearch|elasticsearch] [--helper parallel|streaming] [--index NAME]

Prints how often each status came back, as JSON. The index is the caller's: left alone, the engine maps what it meets.
"""

import argparse
import collections
import gzip
import json
from pathlib import Path

CONFLICTS = (
    "policy",
    "filter",
    "attribute",
    "rule",
    "iamInstanceProfile",
    "domainName",
    "endpoint",
    "source",
    "status",
)


def ending(value):
    """Returns what is put behind a key, so that one name means one type."""
    if isinstance(value, dict):
        return "Object"
    if isinstance(value, list):
        return "List"
    if isinstance(value, bool):
        return "Flag"
    return "Number" if isinstance(value, (int, float)) else ""


def rename(event):
    for part in ("requestParameters", "responseElements"):
        fields = event.get(part)
        for key in CONFLICTS if isinstance(fields, dict) else ():
            if end := ending(fields.get(key, "")):
                fields[key + end] = fields.pop(key)
    if isinstance(event.get("additionalEventData"), str):
        event["additionalEventDataText"] = event.pop("additionalEventData")


def actions(folder, index):
    for path in sorted(folder.rglob("*.json.gz")):
        with gzip.open(path, "rb") as file:
            events = json.load(file)["Records"]
        for event in events:
            rename(event)
            yield {"_op_type": "create", "_index": index, "_id": event["eventID"], "_source": event}


def connect(options):
    """Returns the client and its helpers. The names differ, the code behind them hardly does."""
    if options.client == "opensearch":
        from opensearchpy import OpenSearch, helpers

        return OpenSearch(options.url, timeout=300), helpers
    from elasticsearch import Elasticsearch, helpers

    return Elasticsearch(options.url, request_timeout=300), helpers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("url")
    parser.add_argument("--client", choices=("opensearch", "elasticsearch"), default="opensearch")
    parser.add_argument("--helper", choices=("parallel", "streaming"), default="parallel")
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=1000, help="documents of a request")
    parser.add_argument("--index", default="trail")
    options = parser.parse_args()
    client, helpers = connect(options)
    how = {"chunk_size": options.chunk, "raise_on_error": False, "raise_on_exception": False}
    source = actions(options.folder, options.index)
    if options.helper == "parallel":
        results = helpers.parallel_bulk(client, source, thread_count=options.threads, **how)
    else:
        results = helpers.streaming_bulk(client, source, **how)
    seen = collections.Counter()
    for _, item in results:
        seen[str(next(iter(item.values())).get("status", "exception"))] += 1
    print(json.dumps(seen))


if __name__ == "__main__":
    main()

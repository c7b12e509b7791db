#!/usr/bin/env python3
"""Unpacks trail files into one NDJSON file, for peers that read neither gzip nor {"Records": […]}.

ndjson.py FOLDER OUT [--wrap]      --wrap writes the {"_id", "_source"} lines of elasticdump
"""

import argparse
import gzip
import json
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--wrap", action="store_true")
    options = parser.parse_args()
    with open(options.out, "w", encoding="utf-8", errors="surrogatepass") as out:
        for path in sorted(options.folder.rglob("*.json.gz")):
            for event in json.loads(gzip.decompress(path.read_bytes()))["Records"]:
                line = {"_index": "trail", "_id": event["eventID"], "_source": event} if options.wrap else event
                out.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

"""Reads API models from botocore wheels. Only names and types are used, no documentation texts."""
import gzip
import json
import re
import zipfile

MODEL = re.compile(r"botocore/data/([^/]+)/([^/]+)/service-2\.json(\.gz)?$")


def models(wheel):
    """Yields (service, model) for every API version in a wheel, in a fixed order."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            found = MODEL.match(name)
            if found:
                raw = archive.read(name)
                yield found[1], json.loads(gzip.decompress(raw) if found[3] else raw)

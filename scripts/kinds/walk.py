"""Path -> class -> services of all API models, with the keys that CloudTrail uses.

The paths come from the example `models` (models.rs), which applies the rules of src/schema/spelling.rs. Lists add no key, as in an
index. `*` stands for the free keys of a map; a map with enumerated keys counts as an object. Responses are included only for calls
that change something.
"""
import json
import subprocess
import sys

from . import releases
from .facts import FIXED


def all_paths(program, folders):
    """Returns path -> class -> services for all models of the folders, and the facts that no model contains."""
    done = releases.models(program, "paths", *folders, stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(done.returncode)
    paths = json.loads(done.stdout)
    for path, cls, source in FIXED:
        services = set(paths.setdefault(path, {}).setdefault(cls, [])) | {source}
        paths[path][cls] = sorted(services)
    return paths


def below_map(path):
    """Returns whether a path is below the free keys of a map, where nothing is mapped."""
    return ".*" in path

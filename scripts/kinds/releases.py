"""The releases of botocore that the tables are made from, and the program that reads their models."""
import hashlib
import os
import pathlib
import subprocess
import sys
import zipfile

# The newest release is the main source; those of 2021 and 2018 contain calls and names that logs of those years contain.
# Each with the SHA-256 of its wheel.
RELEASES = {
    "1.44.8": "76342a76c338701db80dcb8afe1c9bd079283d6fffbb9d881442abb02a215043",
    "1.23.0": "3bee65a3bb003d1d96f001f44e54c9ed3ae5a107432b3554fbcac242a38a0d73",
    "1.12.0": "354dd98082dc1ca8aa127f5aff0e28404363f94a8c13c9a9ddbd24b9a70eb259",
}
ZSTANDARD = "zstandard==0.25.0"
SOURCES = "botocore " + " ".join(RELEASES)

# Exit code if an input is not available, so that CI can tell that from a difference.
UNAVAILABLE = 3

ROOT = pathlib.Path(__file__).resolve().parents[2]


def add_arguments(parser):
    """Adds the options that both scripts have."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    parser.add_argument("--check", action="store_true", help="compare with the committed files")
    parser.add_argument("--cache", type=pathlib.Path, default=cache / "trailload" / "kinds", help="folder for downloads")
    parser.add_argument("--program", type=pathlib.Path, help="the built example `models`, instead of building it")


def use_own_python(cache, script):
    """Restarts the script in a virtual environment, which the first run creates."""
    home = (cache / "venv").absolute()
    python = home / "bin" / "python"
    if pathlib.Path(sys.prefix).absolute() == home:
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    if subprocess.run([str(python), "-c", "import zstandard"], capture_output=True).returncode != 0:
        pip(ZSTANDARD, str(python), "install", ZSTANDARD)
    os.execv(python, [str(python), str(script), *sys.argv[1:]])


def folders(cache):
    """Returns the `data` folder of every release, the newest first."""
    return [data(cache, release) for release in RELEASES]


def data(cache, release):
    """Returns the `data` folder of a release, extracting its wheel if that was not done before."""
    folder = cache / f"botocore-{release}"
    done = folder / "complete"
    if not done.exists():
        with zipfile.ZipFile(wheel(cache, release)) as archive:
            models = [name for name in archive.namelist() if "/service-2." in name]
            archive.extractall(folder, models)
        done.touch()
    return folder / "botocore" / "data"


def wheel(cache, release):
    """Returns the wheel of a release, downloading it if it is not in the cache."""
    found = sorted(cache.glob(f"botocore-{release}-*.whl"))
    if not found:
        print(f"downloading botocore {release}", file=sys.stderr)
        pip(f"botocore {release}", sys.executable, "download", "--no-deps", "--only-binary=:all:", "--dest", str(cache),
            f"botocore=={release}")
        found = sorted(cache.glob(f"botocore-{release}-*.whl"))
    if hashlib.sha256(found[0].read_bytes()).hexdigest() != RELEASES[release]:
        sys.exit(f"{found[0]} does not have the expected SHA-256: delete it and run this script again")
    return found[0]


def pip(what, python, command, *arguments):
    """Runs pip, or exits if PyPI or its mirror does not deliver."""
    done = subprocess.run([python, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *arguments])
    if done.returncode != 0:
        print(f"could not {command} {what}: nothing is written or checked", file=sys.stderr)
        sys.exit(UNAVAILABLE)


def models(program, *arguments, **options):
    """Runs the example `models`, which reads API models and knows how CloudTrail spells their names."""
    command = [str(program)] if program else ["cargo", "run", "--quiet", "--locked", "--example", "models", "--"]
    return subprocess.run([*command, *map(str, arguments)], cwd=ROOT, **options)

"""The fake AWS as a process: started with so many Regions and objects, asked for what it was asked, ended at the end."""

import json
import subprocess
import urllib.request

BUCKET = "s3://trail-logs"


class FakeAws:
    """A fake AWS that runs for as long as the `with` block does. `environment` leads the loader there."""

    def __init__(self, program, *arguments):
        self.argv = [str(program), *map(str, arguments)]

    def __enter__(self):
        self.process = subprocess.Popen(self.argv, stdout=subprocess.PIPE, text=True)
        self.environment = {}
        for line in iter(self.process.stdout.readline, ""):
            name, value = line.strip().removeprefix("export ").split("=", 1)
            self.environment[name] = value
            if name == "AWS_EC2_METADATA_DISABLED":  # the last one
                return self
        raise RuntimeError(f"{self.argv[0]} did not start")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()

    def figures(self):
        """Returns what was asked until now: its clock, requests by account and Region, calls of S3."""
        with urllib.request.urlopen(self.environment["AWS_ENDPOINT_URL"] + "/_fake", timeout=60) as answer:
            return json.load(answer)

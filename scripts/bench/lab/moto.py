"""Services of AWS that are not AWS's, with moto (scripts/s3): a bucket and a table."""

import json
import subprocess
import tempfile
import urllib.request

from lab.bench import ROOT

SCRIPT = ROOT / "scripts" / "s3"
# moto recognizes a service by the scope of the signature, and verifies none.
SCOPE = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20240101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


class Moto:
    """A moto server that runs for as long as the `with` block does."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        start = [SCRIPT, "start", "--dir", f"{self.folder.name}/moto"]
        self.url = subprocess.run(start, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        return self

    def __exit__(self, *_):
        subprocess.run([SCRIPT, "stop", "--dir", f"{self.folder.name}/moto"], check=True)
        self.folder.cleanup()

    def put(self, bucket, key, content):
        """Stores an object; creates the bucket first."""
        self.send("s3", "PUT", f"/{bucket}", b"")
        self.send("s3", "PUT", f"/{bucket}/{key}", content)

    def create_table(self, name):
        """Creates a table for the state of alerts."""
        table = {
            "TableName": name,
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        }
        self.call("CreateTable", table)
        expiry = {"Enabled": True, "AttributeName": "expires"}
        self.call("UpdateTimeToLive", {"TableName": name, "TimeToLiveSpecification": expiry})

    def call(self, operation, body):
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": "application/x-amz-json-1.0"}
        self.send("dynamodb", "POST", "/", json.dumps(body).encode(), headers)

    def send(self, service, method, path, body, headers=None):
        # Without a type, the body would be taken for a form.
        headers = {"Authorization": SCOPE.format(service), "Content-Type": "application/octet-stream", **(headers or {})}
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers)
        urllib.request.urlopen(request, timeout=60).close()

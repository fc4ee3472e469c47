#!/usr/bin/env python3
"""The embedded delivery stream as boto3, aws-cli and botocore's own model of the service see it.

usage: embedded.py STANDPIPE (the program to test)
"""

import base64
import contextlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.session

STANDPIPE = sys.argv[1]
KEYS = ("AKID", "secret")


class Service:
    """One `standpipe local`, with its options."""

    def __init__(self, directory, *options):
        self.directory = pathlib.Path(directory)
        command = [STANDPIPE, "local", "--listen", "127.0.0.1:0", "--dir", directory, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.url = self.process.stdout.readline().strip()

    def client(self, keys=KEYS):
        return boto3.client(
            "firehose",
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=botocore.config.Config(retries={"max_attempts": 0}, proxies={}),
        )

    def cli(self, *words):
        environment = {
            "AWS_ENDPOINT_URL_FIREHOSE": self.url,
            "AWS_ACCESS_KEY_ID": KEYS[0],
            "AWS_SECRET_ACCESS_KEY": KEYS[1],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
            "NO_PROXY": "127.0.0.1",
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(sys.path),
        }
        command = [sys.executable, "-m", "awscli", "firehose", *words]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def flush(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(urllib.request.Request(self.url + "/_standpipe/flush", method="POST")).read()

    def delivered(self, stream):
        self.flush()
        files = sorted(self.directory.glob(f"{stream}/*/*/*/*/{stream}-*"))
        return b"".join(file.read_bytes() for file in files)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0


@contextlib.contextmanager
def service(*options):
    with tempfile.TemporaryDirectory() as directory:
        running = Service(directory, *options)
        try:
            yield running
        finally:
            running.stop()


def refused(call, **arguments):
    """The name of the exception that the call ends in."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    raise AssertionError("it was accepted")


def boto3_puts_and_reads_back():
    with service("--encrypted") as embedded:
        client = embedded.client()
        one = client.put_record(DeliveryStreamName="app", Record={"Data": b"one\n"})
        assert one["RecordId"] and one["Encrypted"] is True, one
        records = [{"Data": bytes([number]) + b"\n"} for number in range(256)]
        batch = client.put_record_batch(DeliveryStreamName="app", Records=records)
        assert batch["FailedPutCount"] == 0 and len(batch["RequestResponses"]) == 256, batch
        ids = {entry["RecordId"] for entry in batch["RequestResponses"]} | {one["RecordId"]}
        assert len(ids) == 257
        expected = b"one\n" + b"".join(record["Data"] for record in records)
        assert embedded.delivered("app") == expected


def boto3_sees_each_documented_exception():
    with service("--streams", "app,locked", "--invalid-key", "locked", "--quota-records", "10") as embedded:
        client = embedded.client()
        data = {"Data": b"x"}
        missing = {"DeliveryStreamName": "nowhere"}
        locked = {"DeliveryStreamName": "locked"}
        app = {"DeliveryStreamName": "app"}
        assert refused(client.put_record, Record=data, **missing) == "ResourceNotFoundException"
        assert refused(client.put_record_batch, Records=[data], **missing) == "ResourceNotFoundException"
        assert refused(client.put_record, Record=data, **locked) == "InvalidKMSResourceException"
        assert refused(client.put_record_batch, Records=[data], **locked) == "InvalidKMSResourceException"
        large = {"Data": b"x" * 1_024_001}
        assert refused(client.put_record, Record=large, **app) == "InvalidArgumentException"
        assert refused(client.put_record_batch, Records=[data] * 501, **app) == "InvalidArgumentException"
        batch = client.put_record_batch(Records=[data] * 25, **app)
        codes = [entry.get("ErrorCode") for entry in batch["RequestResponses"]]
        assert batch["FailedPutCount"] == 15, batch
        assert codes == [None] * 10 + ["ServiceUnavailableException"] * 15, codes
        # More than the quota in one second, whatever the machine does meanwhile: side by side.
        outcomes = []

        def put():
            for _ in range(10):
                try:
                    client.put_record(Record=data, **app)
                except botocore.exceptions.ClientError as error:
                    outcomes.append(error.response["Error"]["Code"])

        threads = [threading.Thread(target=put) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(outcomes) == {"ServiceUnavailableException"}, outcomes


def boto3_signs_what_the_service_verifies():
    with service("--access-key", "AKID", "--secret-key", "secret") as embedded:
        arguments = {"DeliveryStreamName": "app", "Record": {"Data": b"x\n"}}
        embedded.client().put_record(**arguments)
        wrong = embedded.client(("AKID", "Secret"))
        assert refused(wrong.put_record, **arguments) == "InvalidSignatureException"
        unknown = embedded.client(("AKIE", "secret"))
        assert refused(unknown.put_record, **arguments) == "UnrecognizedClientException"
        assert embedded.cli("list-delivery-streams").returncode == 0


def boto3_creates_describes_lists_and_deletes():
    with service("--streams", "first") as embedded:
        client = embedded.client()
        created = client.create_delivery_stream(
            DeliveryStreamName="second",
            S3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/r",
                "BucketARN": "arn:aws:s3:::b",
            },
        )
        assert created["DeliveryStreamARN"].endswith("deliverystream/second"), created
        assert refused(client.create_delivery_stream, DeliveryStreamName="second") == "ResourceInUseException"
        assert client.list_delivery_streams()["DeliveryStreamNames"] == ["first", "second"]
        described = client.describe_delivery_stream(DeliveryStreamName="second")
        assert described["DeliveryStreamDescription"]["DeliveryStreamStatus"] == "ACTIVE", described
        client.delete_delivery_stream(DeliveryStreamName="second")
        assert refused(client.describe_delivery_stream, DeliveryStreamName="second") == "ResourceNotFoundException"


def aws_cli_puts_and_sees_errors():
    with service("--streams", "app") as embedded:
        # Version 1 of the command line takes data as it is.
        put = embedded.cli("put-record", "--delivery-stream-name", "app", "--record", "Data=hello")
        assert put.returncode == 0 and json.loads(put.stdout)["RecordId"], put.stderr
        records = json.dumps([{"Data": "one"}, {"Data": "two"}])
        batch = embedded.cli("put-record-batch", "--delivery-stream-name", "app", "--records", records)
        assert batch.returncode == 0 and json.loads(batch.stdout)["FailedPutCount"] == 0, batch.stderr
        missing = embedded.cli("put-record", "--delivery-stream-name", "nowhere", "--record", "Data=x")
        assert "ResourceNotFoundException" in missing.stderr, missing.stderr
        listed = embedded.cli("list-delivery-streams")
        assert json.loads(listed.stdout)["DeliveryStreamNames"] == ["app"], listed.stderr
        assert embedded.delivered("app") == b"helloonetwo"


def fits(value, shape, path):
    """Whether an answer has the shape that the model gives it, and nothing besides."""
    if shape.type_name == "structure":
        assert isinstance(value, dict), path
        unknown = value.keys() - shape.members.keys()
        assert not unknown, f"{path} has {unknown}, which the model does not know"
        missing = set(shape.required_members) - value.keys()
        assert not missing, f"{path} lacks {missing}"
        for name, member in value.items():
            fits(member, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        assert isinstance(value, list), path
        for number, member in enumerate(value):
            fits(member, shape.member, f"{path}[{number}]")
    elif shape.type_name == "string":
        assert isinstance(value, str), path
        limits = shape.metadata
        assert limits.get("min", 0) <= len(value) <= limits.get("max", 1 << 30), f"{path}: {value}"
        assert not shape.enum or value in shape.enum, f"{path}: {value}"
        pattern = limits.get("pattern")
        assert not pattern or re.fullmatch(pattern, value), f"{path}: {value} is not {pattern}"
    elif shape.type_name in ("integer", "long"):
        assert isinstance(value, int) and not isinstance(value, bool), path
        assert value >= shape.metadata.get("min", value), f"{path}: {value}"
    elif shape.type_name == "boolean":
        assert isinstance(value, bool), path
    elif shape.type_name == "timestamp":
        assert isinstance(value, (int, float)), path
    else:
        raise AssertionError(f"{path} has a shape that nobody expected: {shape.type_name}")


def every_answer_has_the_shape_of_botocores_model():
    model = botocore.session.get_session().get_service_model("firehose")
    with service("--quota-records", "2", "--encrypted") as embedded:
        client = embedded.client()
        raw = {}

        def keep(response_dict, **_):
            raw["body"] = json.loads(response_dict["body"] or b"{}")

        client.meta.events.register("before-parse.firehose.*", keep)
        data = {"Data": b"x"}
        calls = [
            ("PutRecordBatch", client.put_record_batch, {"DeliveryStreamName": "app", "Records": [data] * 3}),
            ("DescribeDeliveryStream", client.describe_delivery_stream, {"DeliveryStreamName": "app"}),
            ("ListDeliveryStreams", client.list_delivery_streams, {}),
            ("PutRecord", client.put_record, {"DeliveryStreamName": "other", "Record": data}),
            ("CreateDeliveryStream", client.create_delivery_stream, {"DeliveryStreamName": "made"}),
            ("DeleteDeliveryStream", client.delete_delivery_stream, {"DeliveryStreamName": "made"}),
        ]
        for name, call, arguments in calls:
            call(**arguments)
            fits(raw["body"], model.operation_model(name).output_shape, name)
        errors = {shape.name for shape in model.operation_model("PutRecord").error_shapes}
        assert {"ResourceNotFoundException", "InvalidArgumentException", "InvalidKMSResourceException",
                "ServiceUnavailableException"} <= errors, errors


def the_limits_are_those_of_botocores_model():
    model = botocore.session.get_session().get_service_model("firehose")
    put = model.operation_model("PutRecordBatch").input_shape
    most_records = put.members["Records"].metadata["max"]
    most_bytes = model.shape_for("Record").members["Data"].metadata["max"]
    longest_name = put.members["DeliveryStreamName"].metadata["max"]
    with service("--quota-records", "0", "--quota-bytes", "0", "--quota-requests", "0") as embedded:
        # The client would hold back what its model forbids.
        client = embedded.client()
        client.meta.config.parameter_validation = False

        def put_all(name, records):
            return client.put_record_batch(DeliveryStreamName=name, Records=records)

        data = {"Data": b"x"}
        assert put_all("app", [data] * most_records)["FailedPutCount"] == 0
        assert refused(put_all, name="app", records=[data] * (most_records + 1)) == "InvalidArgumentException"
        assert put_all("app", [{"Data": b"x" * most_bytes}])["FailedPutCount"] == 0
        over = [{"Data": b"x" * (most_bytes + 1)}]
        assert refused(put_all, name="app", records=over) == "InvalidArgumentException"
        assert put_all("n" * longest_name, [data])["FailedPutCount"] == 0
        assert refused(put_all, name="n" * (longest_name + 1), records=[data]) == "InvalidArgumentException"
        assert refused(put_all, name="a b", records=[data]) == "InvalidArgumentException"


def the_manifest_says_where_each_record_is():
    with service("--manifest") as embedded:
        client = embedded.client()
        written = {}
        for size in (1, 500, 20):
            records = [{"Data": b"%d of %d\n" % (number, size)} for number in range(size)]
            batch = client.put_record_batch(DeliveryStreamName="app", Records=records)
            for entry, record in zip(batch["RequestResponses"], records):
                written[entry["RecordId"]] = record["Data"]
        embedded.flush()
        for line in (embedded.directory / "app" / "manifest.jsonl").read_text().splitlines():
            entry = json.loads(line)
            data = (embedded.directory / entry["object"]).read_bytes()
            found = data[entry["offset"]:entry["offset"] + entry["length"]]
            assert found == written.pop(entry["record_id"]), entry
        assert not written


def base64_is_taken_once():
    """`Don't concatenate two or more base64 strings`: what is encoded twice arrives encoded."""
    with service() as embedded:
        data = base64.b64encode(b"x\n")
        embedded.client().put_record(DeliveryStreamName="app", Record={"Data": data})
        assert embedded.delivered("app") == data


def control_paths_want_the_keys():
    """With keys, statistics and faults are for who has them: signed as every request is, and refused otherwise."""
    with service("--access-key", "AKID", "--secret-key", "secret") as embedded:
        def ask(method, path, body=b"", keys=None):
            request = botocore.awsrequest.AWSRequest(method, embedded.url + path, data=body)
            if keys:
                botocore.auth.SigV4Auth(botocore.credentials.Credentials(*keys), "firehose", "us-east-1").add_auth(request)
            try:
                prepared = request.prepare()
                plain = urllib.request.Request(prepared.url, data=body or None, headers=dict(prepared.headers),
                                               method=method)
                return urllib.request.urlopen(plain).status
            except urllib.error.HTTPError as error:
                return error.code

        paths = [("GET", "/_standpipe/stats", b""), ("GET", "/_standpipe/faults", b""),
                 ("POST", "/_standpipe/faults", b"{}"), ("POST", "/_standpipe/flush", b"")]
        for method, path, body in paths:
            assert ask(method, path, body) == 403, path
            assert ask(method, path, body, ("AKID", "another")) == 400, path
            assert ask(method, path, body, ("AKID", "secret")) in (200, 204), path


CHECKS = [
    control_paths_want_the_keys,
    boto3_puts_and_reads_back,
    boto3_sees_each_documented_exception,
    boto3_signs_what_the_service_verifies,
    boto3_creates_describes_lists_and_deletes,
    aws_cli_puts_and_sees_errors,
    every_answer_has_the_shape_of_botocores_model,
    the_limits_are_those_of_botocores_model,
    the_manifest_says_where_each_record_is,
    base64_is_taken_once,
]

for check in CHECKS:
    check()
    print(f"{check.__name__} ok")

#!/usr/bin/env python3
"""Each way to credentials, with the configuration and the profile that docs/aws.md shows for it, up to the delivery stream.

usage: ways.py STANDPIPE (the program to test)

A stand-in answers as the metadata service, the agents of ECS and EKS, STS and the delivery stream do, and says by which key
each request was signed. Environments are those that the platforms make.
"""

import base64
import datetime
import http.server
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import urllib.parse

STANDPIPE = sys.argv[1]
DOCUMENT = (pathlib.Path(__file__).parent.parent.parent / "docs/aws.md").read_text()
LINES = [b"%03d\n" % number for number in range(200)]
TRIED = b"a try\n"
ROLE = "arn:aws:iam::123456789012:role/log-writer"


def until():
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Aws(http.server.BaseHTTPRequestHandler):
    """All of AWS that a way meets; what it was asked lies in the server's `seen`."""

    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, **headers):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def keys(self, name, **more):
        self.server.seen.append((name, dict(self.headers)))
        self.answer(json.dumps({
            "AccessKeyId": name, "SecretAccessKey": "secret", "Token": "token", "Expiration": until(), **more
        }))

    def do_PUT(self):
        assert self.path == "/latest/api/token", self.path
        self.answer("metadata-token", X_Aws_Ec2_Metadata_Token_Ttl_Seconds=self.headers["X-Aws-Ec2-Metadata-Token-Ttl-Seconds"])

    def do_GET(self):
        if self.path.startswith("/latest/meta-data/"):
            assert self.headers["X-Aws-Ec2-Metadata-Token"] == "metadata-token", "only version 2 is spoken"
        if self.path == "/latest/meta-data/placement/region":
            self.answer("eu-central-1")
        elif self.path == "/latest/meta-data/iam/security-credentials/":
            self.answer("log-writer")
        elif self.path == "/latest/meta-data/iam/security-credentials/log-writer":
            self.keys("INSTANCE", Code="Success", Type="AWS-HMAC", LastUpdated=until())
        elif self.path == "/v2/credentials/task":
            self.keys("TASK")
        elif self.path == "/v1/credentials":
            self.keys("POD")
        else:
            self.answer("", 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signer = re.search(r"Credential=(\w+)/\d+/([\w-]+)/(\w+)", self.headers.get("Authorization", ""))
        signer = signer and signer.groups()
        if target := self.headers.get("X-Amz-Target"):
            self.firehose(target.rsplit(".", 1)[1], json.loads(body), signer)
        else:
            form = {name: values[0] for name, values in urllib.parse.parse_qs(body.decode()).items()}
            self.sts(form, signer)

    def firehose(self, operation, request, signer):
        self.server.seen.append((operation, signer))
        assert request["DeliveryStreamName"] == "app-logs", request
        if operation == "DescribeDeliveryStream":
            arn = "arn:aws:firehose:eu-central-1:123456789012:deliverystream/app-logs"
            about = {
                "DeliveryStreamName": "app-logs", "DeliveryStreamARN": arn, "DeliveryStreamStatus": "ACTIVE",
                "DeliveryStreamType": "DirectPut", "VersionId": "1", "Destinations": [], "HasMoreDestinations": False,
                "DeliveryStreamEncryptionConfiguration": {"Status": "ENABLED"},
            }
            return self.answer(json.dumps({"DeliveryStreamDescription": about}))
        assert operation == "PutRecord", operation
        self.server.records.append(base64.b64decode(request["Record"]["Data"]))
        return self.answer(json.dumps({"RecordId": str(len(self.server.records)), "Encrypted": True}))

    def sts(self, form, signer):
        self.server.seen.append((form, signer))
        action, key = form["Action"], {"AssumeRole": "ASSUMED", "AssumeRoleWithWebIdentity": "WEB"}[form["Action"]]
        self.answer(
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>"
            f"<Expiration>{until()}</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s"
            f"</Arn><AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser></{action}Result></{action}Response>",
            Content_Type="text/xml",
        )

    def log_message(self, *_):
        pass


def section(title):
    return re.search(rf"^### {re.escape(title)}\n(.*?)(?=^##)", DOCUMENT, re.MULTILINE | re.DOTALL)[1]


def block(text, language):
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else None


def in_general(said):
    """An answer of `check --online` without what is another one each time."""
    return re.sub(r"(access key|until|sent to) [^ ,\n]+", r"\1 …", said)


def try_way(title, directory, prepare):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Aws)
    server.seen, server.records = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    text = section(title)
    directory.mkdir()
    (directory / "app.log").write_bytes(b"".join(LINES))
    config = block(text, "toml") or block(DOCUMENT, "toml")
    config = re.sub(r"^paths = .*$", f'paths = ["{directory}/*.log"]', config, flags=re.MULTILINE)
    (directory / "standpipe.toml").write_text(f'state_dir = "{directory}/state"\n{config}\n[health]\nlisten = "off"\n')
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(directory),
        "AWS_ENDPOINT_URL_FIREHOSE": url, "AWS_ENDPOINT_URL_STS": url, "AWS_EC2_METADATA_DISABLED": "true",
    }
    key, judge = prepare(environment, url, directory, text)
    environment = {name: value for name, value in environment.items() if value is not None}
    for arguments in ["check", "--online", "--put", "a try"], ["run", "--once", "--timeout", "20s"]:
        said = subprocess.run(
            [STANDPIPE, *arguments, "-c", directory / "standpipe.toml"],
            env=environment, capture_output=True, text=True, check=False,
        )
        assert said.returncode == 0, f"{title}: {arguments}\n{said.stdout}{said.stderr}"
        if key == "INSTANCE" and "check" in arguments:
            assert in_general(said.stdout).endswith(in_general(block(DOCUMENT, "text"))), said.stdout
    server.shutdown()
    server.server_close()
    assert sorted(server.records) == [*LINES, TRIED], f"{title}: {len(server.records)} records"
    signers = {by for what, by in server.seen if what in ("PutRecord", "DescribeDeliveryStream")}
    assert signers == {(key, "eu-central-1", "firehose")}, f"{title}: signed by {signers}"
    judge([(what, about) for what, about in server.seen if what not in ("PutRecord", "DescribeDeliveryStream")])
    print(f"{title}: ok")


def instance(environment, url, _directory, _text):
    environment.update(AWS_EC2_METADATA_DISABLED=None, AWS_EC2_METADATA_SERVICE_ENDPOINT=url)
    return "INSTANCE", lambda seen: None


def task(environment, url, _directory, _text):
    # A path of the agent's own address, which nobody has here.
    environment.update(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{url}/v2/credentials/task")
    return "TASK", lambda seen: None


def web_identity(environment, _url, directory, text):
    annotation = re.search(r"eks\.amazonaws\.com/role-arn: (\S+)", block(text, "yaml"))[1]
    (directory / "token").write_text("a.projected.token")
    environment.update(
        AWS_REGION="eu-central-1", AWS_ROLE_ARN=annotation, AWS_WEB_IDENTITY_TOKEN_FILE=str(directory / "token")
    )

    def judge(seen):
        assert seen, "STS was not asked"
        for form, signer in seen:
            asked = form["Action"], form["RoleArn"], form["WebIdentityToken"], signer
            assert asked == ("AssumeRoleWithWebIdentity", ROLE, "a.projected.token", None), asked

    return "WEB", judge


def pod_identity(environment, url, directory, _text):
    (directory / "token").write_text("a.pod.token")
    environment.update(
        AWS_REGION="eu-central-1", AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{url}/v1/credentials",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(directory / "token"),
    )

    def judge(seen):
        tokens = {{name.lower(): value for name, value in headers.items()}.get("authorization") for _, headers in seen}
        assert tokens == {"a.pod.token"}, tokens

    return "POD", judge


def profile(environment, _url, directory, text):
    (directory / "aws-config").write_text(block(text, "ini"))
    # Those of the profile count, whatever else there is.
    environment.update(
        AWS_CONFIG_FILE=str(directory / "aws-config"), AWS_ACCESS_KEY_ID="OTHER", AWS_SECRET_ACCESS_KEY="other"
    )
    return "AKIDEXAMPLE", lambda seen: None


def process(environment, _url, directory, text):
    program = directory / "aws_signing_helper"
    credentials = {"Version": 1, "AccessKeyId": "HELPER", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": until()}
    program.write_text(f"#!/bin/sh\n[ \"$1\" = credential-process ] && echo '{json.dumps(credentials)}'\n")
    program.chmod(0o755)
    (directory / "aws-config").write_text(block(text, "ini").replace("/usr/local/bin/aws_signing_helper", str(program)))
    environment.update(AWS_CONFIG_FILE=str(directory / "aws-config"))
    return "HELPER", lambda seen: None


def another_role(environment, _url, _directory, _text):
    environment.update(AWS_ACCESS_KEY_ID="BASE", AWS_SECRET_ACCESS_KEY="secret")
    wanted = {
        "Action": "AssumeRole", "RoleArn": "arn:aws:iam::123456789012:role/firehose-writer", "ExternalId": "logs-of-team-a",
        "RoleSessionName": "web-1", "DurationSeconds": "3600",
    }

    def judge(seen):
        assert seen, "STS was not asked"
        for form, signer in seen:
            assert wanted.items() <= form.items() and signer == ("BASE", "eu-central-1", "sts"), (form, signer)

    return "ASSUMED", judge


WAYS = {
    "An EC2 instance": instance,
    "ECS": task,
    "EKS with IRSA": web_identity,
    "EKS with Pod Identity": pod_identity,
    "On premises, with a profile": profile,
    "On premises, with certificates (IAM Roles Anywhere)": process,
    "Another role or account": another_role,
}

ways = re.search(r"^## Credentials\n(.*?)^## ", DOCUMENT, re.MULTILINE | re.DOTALL)[1]
assert set(re.findall(r"^### (.*)$", ways, re.MULTILINE)) - {"Renewal"} == set(WAYS), "a way without a test, or the other way round"
with tempfile.TemporaryDirectory() as place:
    for number, (name, setup) in enumerate(WAYS.items()):
        try_way(name, pathlib.Path(place) / str(number), setup)

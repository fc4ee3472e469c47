#!/usr/bin/env python3
"""The daemon against another stand-in for the service: moto's, whose streams put each request into a bucket of its S3.

usage: against_moto.py STANDPIPE (the program to test)
"""

import logging
import os
import pathlib
import subprocess
import sys
import tempfile

import boto3
from moto.server import ThreadedMotoServer

STANDPIPE = sys.argv[1]
LINES = 5_000

logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"

keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
for proxy in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
    os.environ.pop(proxy, None)
os.environ.update(keys, AWS_DEFAULT_REGION="us-east-1")

s3 = boto3.client("s3", endpoint_url=url)
firehose = boto3.client("firehose", endpoint_url=url)


def objects(bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return [s3.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names]


def tiles(parts, whole):
    """Whether the parts, each where it belongs, are the whole: every byte once."""
    left = sorted((whole.index(part), part) for part in parts)
    return b"".join(part for _, part in left) == whole


with tempfile.TemporaryDirectory() as directory:
    directory = pathlib.Path(directory)
    for api in ("put_record", "auto", "put_record_batch"):
        stream = api.replace("_", "-")
        s3.create_bucket(Bucket=stream)
        firehose.create_delivery_stream(
            DeliveryStreamName=stream,
            S3DestinationConfiguration={
                "RoleARN": "arn:aws:iam::123456789012:role/firehose",
                "BucketARN": f"arn:aws:s3:::{stream}",
            },
        )
        lines = LINES if api != "put_record" else 300
        log = directory / f"{api}.log"
        # Numbered, so that each part can be in one place only; with bytes that are no text.
        whole = b"".join(b"%08d \xff\x00\r %s\n" % (number, b"=" * (number % 90)) for number in range(lines))
        log.write_bytes(whole)
        config = directory / f"{api}.toml"
        config.write_text(
            f'state_dir = "{directory}/state-{api}"\n[aws]\nendpoint_url = "{url}"\n[health]\nlisten = "off"\n'
            f'[[source]]\npaths = ["{log}"]\nstream = "{stream}"\n[stream.{stream}]\napi = "{api}"\n'
        )
        subprocess.run([STANDPIPE, "run", "--once", "-c", config], check=True, stdout=subprocess.DEVNULL)
        parts = objects(stream)
        assert tiles(parts, whole), f"{api}: {len(parts)} objects are not what was written"
        print(f"{api}: {lines} lines in {len(parts)} objects ok")
server.stop()

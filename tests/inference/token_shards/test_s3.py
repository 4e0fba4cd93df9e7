"""Token shards on an S3 server of the loopback, with a driver that is killed there."""

import os
import signal
import subprocess
import sys
import time

import pytest

from samples import PHOTOS

pytest.importorskip("moto", reason="needs moto[server] and s3fs: pip install 'vistok[test]'")
s3fs = pytest.importorskip("s3fs", reason="needs moto[server] and s3fs: pip install 'vistok[test]'")

URL = "s3://bucket/tokens"
COMMANDS = {
    name: f"from vistok.cli.launch import {name}; {name}()" for name in ("tokenize_images", "detokenize_images")
}


@pytest.fixture(scope="module")
def server():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    own = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    yield own | {"AWS_DEFAULT_REGION": "us-east-1"}
    server.stop()


@pytest.fixture
def bucket(server):
    filesystem = s3fs.S3FileSystem(
        endpoint_url=server["AWS_ENDPOINT_URL"], key="k", secret="s", use_listings_cache=False, skip_instance_cache=True
    )
    filesystem.mkdir("bucket")
    yield filesystem
    filesystem.rm("bucket", recursive=True)


def start(server, command, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", COMMANDS[command], *map(str, arguments)],
        env=os.environ | server,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(server, command, *arguments, code=0):
    process = start(server, command, *arguments)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == code, said
    return said


def files(bucket):
    return {path.rpartition("/")[2]: bucket.cat_file(path) for path in bucket.find("bucket/tokens")}


def test_a_killed_driver_on_s3_loses_nothing(server, bucket, tokenizer_folder, tokenize, detokenize, tmp_path):
    call = (PHOTOS, "--shard-size", 4)
    tokenize(*call, "--out", tmp_path / "local")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "local").iterdir()}
    process = start(server, "tokenize_images", *call, "--model", tokenizer_folder, "--out", URL)
    for _ in range(500):
        time.sleep(0.05)
        if process.poll() is not None or bucket.find("bucket/tokens", maxdepth=1):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    said = run(server, "tokenize_images", *call, "--model", tokenizer_folder, "--out", URL)
    assert f"in {URL}: " in said and files(bucket) == expected
    said = run(server, "detokenize_images", URL, "--model", tokenizer_folder, "--out", tmp_path / "back")
    detokenize(tmp_path / "local", "--out", tmp_path / "expected")
    back = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("back", "expected")]
    assert back[0] == back[1] and f"in {tmp_path / 'back'}" in said


def test_what_is_missing_on_s3_is_one_sentence(server, bucket, tokenizer_folder):
    said = run(server, "tokenize_images", PHOTOS, "--model", tokenizer_folder, "--out", "s3://nowhere/x", code=1)
    (line,) = said.strip().splitlines()
    assert line.startswith("tokenize-images: ") and "s3://nowhere/x" in line and "such as the bucket" in line
    gone = server | {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
    gone["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    said = run(gone, "tokenize_images", PHOTOS, "--model", tokenizer_folder, "--out", URL, code=1)
    assert len(said.strip().splitlines()) == 1 and URL in said

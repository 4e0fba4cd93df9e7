"""Token shards on an S3 server of the loopback, with a driver that is killed there."""

import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from s3_server import serve_s3
from samples import PHOTOS
from vistok.inference.token_shards import remote_store
from vistok.inference.token_shards.marker import Pace
from vistok.tokenizer import remote_files, retries

URL = "s3://bucket/tokens"
CALL = (PHOTOS, "--shard-size", 4, "--out", URL)
COMMAND = "from vistok.cli.launch import tokenize_images; tokenize_images()"


@pytest.fixture(scope="module")
def bucket():
    with serve_s3() as filesystem, pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_store, "PACE", Pace(beat=1, stale=5, settle=0))
        yield filesystem


def files(bucket):
    return {path.rpartition("/")[2]: bucket.cat_file(path) for path in bucket.find("bucket/tokens")}


def test_a_killed_driver_on_s3_loses_nothing(bucket, tokenizer_folder, tokenize, detokenize, tmp_path):
    tokenize(*CALL[:-1], tmp_path / "local")
    expected = {path.name: path.read_bytes() for path in (tmp_path / "local").iterdir()}
    command = [sys.executable, "-c", COMMAND, *map(str, CALL), "--model", str(tokenizer_folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not bucket.exists("bucket/tokens/images-00000.tar"):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    left = files(bucket)
    assert process.returncode and ".vistok.lock" in left  # its marker is that of a process that has ended
    tokenize(*CALL)
    assert files(bucket) == expected
    assert "0 written, 2 done before" in tokenize(*CALL)
    for source, name in ((URL, "back"), (tmp_path / "local", "expected")):
        detokenize(source, "--out", tmp_path / name)
    back, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("back", "expected")
    )
    assert back == expected and len(back) == 6


def test_a_bucket_that_is_not_there_is_one_sentence(bucket, tokenize):
    said = tokenize(*CALL[:-1], "s3://nowhere/x", code=1).strip()
    assert said.endswith("(s3://nowhere/x/.vistok.lock): check the name of the bucket or of the repository.")


def test_a_server_that_hangs_gets_one_request_for_each_try(bucket, tokenize, monkeypatch):
    monkeypatch.setitem(remote_files.S3_CONFIG, "read_timeout", 0.2)
    monkeypatch.setattr(retries, "FIRST_WAIT", 1e-4)
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept():
            while True:
                try:
                    requests.append(server.accept()[0])
                except OSError:  # closed
                    return

        threading.Thread(target=accept, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        said = tokenize(*CALL[:-1], "s3://hanging/x", code=1).strip()
        server.shutdown(socket.SHUT_RDWR)
    for request in requests:
        request.close()
    assert said.startswith("tokenize-images: failed 8 times in ") and len(requests) == retries.TRIES
    assert said.endswith("(s3://hanging/x): run the same command again when it answers.")

"""An S3 server on the loopback, for this process and those that it starts."""

import urllib.request
from contextlib import contextmanager

import pytest


@contextmanager
def serve_s3():
    """Serve a bucket named `bucket` that is empty, and give a filesystem of it; skip where packages are missing."""
    server = pytest.importorskip("moto.server", reason="needs moto[server] and s3fs")
    s3fs = pytest.importorskip("s3fs", reason="needs moto[server] and s3fs")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    try:
        # Servers of one process have the same buckets.
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST")).close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", url)
            for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1"}.items():
                patch.setenv(f"AWS_{name}", value)
            s3fs.S3FileSystem.clear_instance_cache()  # of another server
            filesystem = s3fs.S3FileSystem(use_listings_cache=False)
            filesystem.mkdir("bucket")
            yield filesystem
            filesystem.clear_instance_cache()
    finally:
        running.stop()

"""A file system of fsspec that fails as stores do: it refuses, is slow, cuts what it reads and writes, or vanishes."""

import random
import threading
import time

import fsspec
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem


class FlakyFileSystem(MemoryFileSystem):
    """`flaky://`: what lies in `contents`, given out or taken with faults."""

    protocol = "flaky"
    store: dict = {}
    pseudo_dirs: list = [""]
    root_marker = "/"
    fraction = 0.0
    """Of the calls that fail, each in one of three ways."""
    is_gone = False
    calls = 0
    faults = 0
    after_put = None
    """Called with the path of each file that was written."""
    _random = random.Random(0)
    _lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("flaky://").strip("/") if path.strip("/") else ""

    @classmethod
    def reset(cls, fraction=0.0):
        cls.store.clear()
        cls.pseudo_dirs[:] = [""]
        cls.fraction, cls.is_gone, cls.calls, cls.faults, cls.after_put = fraction, False, 0, 0, None
        cls._random.seed(0)

    def _fault(self):
        """Return how a call fails: "", "cut", or by an exception."""
        cls = type(self)
        with cls._lock:
            cls.calls += 1
            if cls.is_gone:
                raise ConnectionRefusedError(111, "Connection refused")
            if cls._random.random() >= cls.fraction:
                return ""
            cls.faults += 1
            fault = cls._random.choice(["refused", "slow", "cut"])
        if fault == "slow":
            time.sleep(0.001)
            raise TimeoutError("the read timed out")
        if fault == "refused":
            raise ConnectionResetError(104, "Connection reset by peer")
        return fault

    def cat_file(self, path, start=None, end=None, **kwargs):
        fault = self._fault()
        content = super().cat_file(path, start, end)
        return content[: len(content) // 2] if fault else content

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        fault = self._fault()
        path = self._strip_protocol(path)
        self.store[path] = MemoryFile(self, path, value[: len(value) // 2] if fault else value)
        if fault:
            raise ConnectionResetError(104, "Connection reset by peer")
        if type(self).after_put:
            type(self).after_put(path)

    def info(self, path, **kwargs):
        self._fault()
        return super().info(path)

    def ls(self, path, detail=True, **kwargs):
        self._fault()
        return super().ls(path, detail)

    def rm_file(self, path):
        self._fault()
        super().rm_file(path)


fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)

"""A small server of the Hugging Face hub's protocol on the loopback, with its way of storing large files elsewhere."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

TOKEN, STRANGER = "hf_friend", "hf_stranger"
"""Tokens of an account that has access to gated repositories, and of one that has none."""
LARGE = 1024
"""Bytes from which a file is stored elsewhere, as by git LFS."""
RESOLVE = re.compile(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
API = re.compile(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)/([^/]+)(?:/(.+))?)?")


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """Repositories, and what was asked for."""

    def __init__(self):
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.revisions: dict[tuple[str, str], str] = {}
        self.gated: set[str] = set()
        self.cuts: list[int] = []
        """Bytes after which the next answers with a large file break off."""
        self.status = 200
        """Another status for every answer of the API and of files."""
        self.requests: list[Request] = []
        self.received: list[list[str]] = []
        """Names of the files of each commit that came."""
        self.cards: list[str] = []
        """Cards whose metadata was checked."""

    def add(self, repository, files, revision="main"):
        """Commit files, and return the commit."""
        commit = hashlib.sha1(repr((repository, sorted(files.items()))).encode()).hexdigest()
        self.commits[repository, commit] = dict(files)
        self.revisions[repository, revision] = self.revisions[repository, commit] = commit
        return commit

    def says(self, sentence):
        """Return a pattern of a message, where URL is the address of this hub, and ... is anything."""
        return "^" + re.escape(sentence).replace("URL", re.escape(self.url)).replace(re.escape("..."), ".+") + "$"

    def asked(self, part):
        """Return the requests for a path that contains `part`."""
        return [request for request in self.requests if part in request.path]

    @property
    def blobs(self):
        return {
            hashlib.sha256(content).hexdigest(): content
            for files in self.commits.values()
            for content in files.values()
        }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def log_message(self, *arguments):
        pass

    def answer(self):
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.hub.requests.append(Request(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self.read_chunks()
        if path.startswith("/elsewhere/"):
            self.send_blob(path.rpartition("/")[2])
        elif path == "/":
            self.send_whole(b"")
        elif self.hub.status != 200:
            self.refuse(self.hub.status, "")
        elif found := RESOLVE.fullmatch(path):
            self.resolve(*found.groups())
        elif path == "/api/validate-yaml":
            self.hub.cards.append(json.loads(self.body)["content"])
            self.send_json({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create()
        elif found := API.fullmatch(path):
            self.api(*found.groups())
        else:
            self.refuse(404, "")

    def create(self):
        if self.account is None:
            return self.refuse(401, "")
        wanted = json.loads(self.body)
        name = f"{wanted.get('organization', 'me')}/{wanted['name']}"
        self.hub.add(name, {})
        return self.send_json({"url": f"{self.hub.url}/{name}"})

    def api(self, repository, what, revision, folder):
        commit = self.commit(repository, revision or "main")
        if commit is None:
            return None
        files = self.hub.commits[repository, commit]
        if what == "preupload":
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                for file in json.loads(self.body)["files"]
            ]
            return self.send_json({"files": modes})
        if what == "commit":
            return self.send_json(self.receive(repository, files, revision))
        if what == "tree":
            start = f"{folder}/" if folder else ""
            there = {name: content for name, content in files.items() if name.startswith(start)}
            if folder and not there:
                return self.refuse(404, "EntryNotFound")
            return self.send_json(
                [{"type": "file", "path": name, **self.facts(content)} for name, content in there.items()]
            )
        siblings = [{"rfilename": name, **self.facts(content)} for name, content in files.items()]
        gated = "manual" if repository in self.hub.gated else False
        return self.send_json(
            {
                "id": repository,
                "modelId": repository,
                "sha": commit,
                "gated": gated,
                "private": False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def receive(self, repository, files, revision):
        added = [json.loads(line) for line in self.body.splitlines() if line]
        files = files | {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in added if line["key"] == "file"
        }
        for line in added:
            if line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        commit = self.hub.add(repository, files, revision)
        self.hub.received.append(sorted(line["value"]["path"] for line in added if line["key"] != "header"))
        return {"commitUrl": f"{self.hub.url}/{repository}/commit/{commit}", "commitOid": commit, "success": True}

    def resolve(self, repository, revision, name):
        commit = self.commit(repository, revision)
        if commit is None:
            return None
        if repository in self.hub.gated and self.account != TOKEN:
            return self.refuse(401 if self.account is None else 403, "GatedRepo")
        content = self.hub.commits[repository, commit].get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if len(content) < LARGE:
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = content[int(wanted[1]) : int(wanted[2]) + 1] if wanted else content
            return self.send_whole(part, headers, 206 if wanted else 200)
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        headers["Location"] = f"http://localhost:{self.server.server_port}/elsewhere/{digest}"
        return self.send_whole(b"", headers, status=302)

    def send_blob(self, digest):
        if "Authorization" in self.headers:  # as the storage of the hub does
            return self.refuse(400, "")
        content = self.hub.blobs[digest]
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        content = content[: int(wanted[2]) + 1] if wanted and wanted[2] else content
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "GET":
            if self.hub.cuts:
                self.wfile.write(content[start : start + self.hub.cuts.pop(0)])
                self.close_connection = True
                return None
            self.wfile.write(content[start:])
        return None

    def commit(self, repository, revision):
        """Return the commit of a revision, or answer that there is none."""
        if (repository, "main") not in self.hub.revisions:
            return self.refuse(404 if self.account else 401, "RepoNotFound")
        commit = self.hub.revisions.get((repository, revision))
        return commit or self.refuse(404, "RevisionNotFound")

    @property
    def account(self):
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def facts(self, content):
        facts = {
            "size": len(content),
            "oid": hashlib.sha1(content).hexdigest(),
            "blobId": hashlib.sha1(content).hexdigest(),
        }
        if len(content) >= LARGE:
            facts["lfs"] = {
                "size": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
                "oid": hashlib.sha256(content).hexdigest(),
                "pointerSize": 130,
            }
        return facts

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def refuse(self, status, code, headers=None):
        self.send_whole(b"{}", {"X-Error-Code": code, **(headers or {})}, status)

    def send_json(self, values):
        self.send_whole(json.dumps(values).encode(), {"Content-Type": "application/json"})

    def send_whole(self, content, headers=None, status=200):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serve_hub(home):
    """Serve a hub whose client has its caches in `home`, and yield it."""
    hub = Hub()
    handler = type("HandlerOfThisHub", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.home, hub.url = home, f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()

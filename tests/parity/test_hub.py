"""Downloads from the hub: a real server on loopback that speaks its protocol."""

import contextlib
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("huggingface_hub", reason="downloads need the extra 'hub'")

import npgpt
from tests.hub.folders import TOKENIZER

COMMIT = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = "model.safetensors"


class Hub(http.server.ThreadingHTTPServer):
    """Serves one repository, owner/small, at the branches main and other."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, range
        self.cuts = 0  # how many answers with weights will break off


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        path = self.path.split("?")[0]
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        api = "/api/models/owner/small"
        if path in (
            api,
            f"{api}/revision/main",
            f"{api}/revision/other",
            f"{api}/revision/{COMMIT}",
        ):
            siblings = [{"rfilename": name} for name in self.server.files]
            info = {"id": "owner/small", "sha": COMMIT, "siblings": siblings, "private": False}
            return self.send(200, json.dumps(info).encode(), {}, with_body)
        if path.startswith(f"{api}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": etag(content)}
                for name, content in self.server.files.items()
            ]
            return self.send(200, json.dumps(tree).encode(), {}, with_body)
        if path.startswith(api):
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, with_body)
        start = f"/owner/small/resolve/{COMMIT}/"
        if path.startswith(start) and path.removeprefix(start) in self.server.files:
            return self.send_file(path.removeprefix(start), with_body)
        code = "EntryNotFound" if path.startswith("/owner/small/") else "RepoNotFound"
        return self.send(404, b"{}", {"X-Error-Code": code}, with_body)

    def send_file(self, name, with_body):
        content = self.server.files[name]
        begin = 0
        if self.headers.get("Range"):
            begin = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        headers = {
            "ETag": f'"{etag(content)}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
            "X-Linked-Size": str(len(content)),
        }
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        rest = content[begin:]
        if with_body and name == WEIGHTS and self.server.cuts:
            self.server.cuts -= 1
            self.send(206 if begin else 200, rest, headers, True, cut=2 * len(rest) // 3)
            return
        self.send(206 if begin else 200, rest, headers, with_body)

    def send(self, status, body, headers, with_body, cut=None):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True
            self.connection.close()


def etag(content):
    return hashlib.sha1(content).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of 25 MB: the client writes 10 MB at a time, so it can keep part of it."""
    folder = tmp_path_factory.mktemp("hub") / "small"
    config = npgpt.GPTConfig(270, 16, n_layers=8, n_heads=2, d_model=256)
    npgpt.GPT(config, seed=1).save_pretrained(folder, TOKENIZER)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody asks for")
    (folder / "README.md").write_text("# small")
    return folder


@pytest.fixture
def hub(folder):
    with Hub(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(cache, arguments, endpoint=None, **more):
    environment = {
        **os.environ, "HF_HOME": str(cache), "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1", **more,
    }  # fmt: skip
    if endpoint is not None:
        environment["HF_ENDPOINT"] = f"http://127.0.0.1:{endpoint.server_port}"
    return subprocess.run(
        [sys.executable, "-m", "npgpt", *arguments], cwd=cache, env=environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


GENERATE = ["generate", "owner/small", "the cat", "--max-new-tokens=5", "--temperature=0"]


def expected_text(folder):
    model = npgpt.GPT.from_pretrained(folder)
    ids = model.generate(TOKENIZER.encode("the cat"), 5, temperature=0.0)
    end = TOKENIZER.end_of_text_id
    return TOKENIZER.decode(ids[: np.argmax(ids == end)] if end in ids else ids)


def test_a_name_is_downloaded_once_then_works_offline(hub, folder, tmp_path):
    first = run(tmp_path, GENERATE, hub)
    assert first.returncode == 0, first.stderr
    assert first.stdout == expected_text(folder) + "\n"
    asked = {path.rsplit("/", 1)[-1] for method, path, _ in hub.requests if method == "GET"}
    assert {WEIGHTS, "config.json", "tokenizer.json"} <= asked
    assert not {"pytorch_model.bin", "README.md"} & asked
    hub.requests.clear()
    again = run(tmp_path, GENERATE, hub)
    assert again.stdout == first.stdout
    assert not [path for method, path, _ in hub.requests if method == "GET" and WEIGHTS in path]
    hub.requests.clear()
    offline = run(tmp_path, GENERATE, hub, HF_HUB_OFFLINE="1")
    assert offline.stdout == first.stdout
    assert not hub.requests


def test_a_broken_connection_is_taken_up_where_it_broke(hub, folder, tmp_path):
    hub.cuts = 1
    result = run(tmp_path, GENERATE, hub)
    assert result.returncode == 0, result.stderr
    assert result.stdout == expected_text(folder) + "\n"
    ranges = [r for method, path, r in hub.requests if method == "GET" and WEIGHTS in path]
    assert len(ranges) == 2
    begin = int(ranges[1].removeprefix("bytes=").split("-")[0])
    assert 0 < begin <= 2 * len(hub.files[WEIGHTS]) // 3


def test_a_revision_is_asked_for_and_one_that_is_not_there_is_named(hub, tmp_path):
    assert run(tmp_path, [*GENERATE, "--revision=other"], hub).returncode == 0
    assert any("/revision/other" in path for _, path, _ in hub.requests)
    missing = run(tmp_path, [*GENERATE, "--revision=nowhere"], hub)
    assert missing.returncode == 1
    assert missing.stderr.strip() == "Error: The model owner/small has no revision 'nowhere'."


def test_errors_are_one_sentence(hub, tmp_path):
    missing = run(tmp_path, ["generate", "owner/other", "x"], hub)
    assert missing.returncode == 1
    assert "no model of that name on the hub" in missing.stderr
    offline = run(tmp_path, GENERATE, hub, HF_HUB_OFFLINE="1")
    assert offline.returncode == 1
    assert "its cache does not hold that model" in offline.stderr
    for result in (missing, offline):
        assert result.stderr.count("\n") == 1
    with contextlib.suppress(FileNotFoundError):
        assert not list((tmp_path / "hub").glob("**/*.safetensors"))

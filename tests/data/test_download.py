from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dragon.data.download import check_digest, download, npm_package, read_tar
from dragon.errors import DataError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `cut` bytes at most in an answer, ranges only if `ranges`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cut = len(CONTENT)
        self.ranges = True
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers["Range"]
        self.server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and self.server.ranges else 0
        if "missing" in self.path or (start and start >= len(CONTENT)):
            self.send_error(404 if "missing" in self.path else 416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.server.cut])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_downloads_and_reports(tmp_path: Path, server: Server) -> None:
    seen: list[tuple[str, int, int | None]] = []
    target = download(server.url, tmp_path / "file.bin", SHA256, lambda *call: seen.append(call))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]
    download(server.url, target, SHA256)
    assert len(server.asked) == 1


def test_goes_on_from_a_part(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_complete_part_needs_nothing_more(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == CONTENT


def test_starts_again_where_ranges_are_not_served(tmp_path: Path, server: Server) -> None:
    server.ranges = False
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == CONTENT


def test_goes_on_when_the_line_breaks(tmp_path: Path, server: Server) -> None:
    server.cut = len(CONTENT) // 2 + 1
    assert download(server.url, tmp_path / "file.bin", SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_a_broken_line_keeps_what_came(tmp_path: Path, server: Server) -> None:
    server.cut = 300_000
    with pytest.raises(DataError, match=r"^http://127.*more expected"):
        download(server.url, tmp_path / "file.bin", SHA256)
    assert (tmp_path / "file.bin.part").read_bytes() == CONTENT[:900_000]
    assert not (tmp_path / "file.bin").exists()


def test_another_content_is_thrown_away(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match=f"file.bin is not the expected file: its SHA-256 is {SHA256}"):
        download(server.url, tmp_path / "file.bin", "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_unreachable_is_one_line(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match=r"missing: Not Found$"):
        download(server.url + "/missing", tmp_path / "file.bin", SHA256)
    with pytest.raises(DataError, match=r"^http://127\.0\.0\.1:9/x: .*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "file.bin", SHA256)
    assert len(server.asked) == 1


def test_check_digest() -> None:
    check_digest("file", CONTENT, SHA256)
    with pytest.raises(DataError, match="file is not the expected file"):
        check_digest("file", CONTENT[1:], SHA256)


def test_read_tar(tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("package/a", "package/b", "../outside"):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(name[-1:].encode() * 5))
    assert read_tar(archive, ["package/a"]) == {"package/a": b"aaaaa"}
    with pytest.raises(DataError, match=r"a\.tgz does not hold package/c"):
        read_tar(archive, ["package/a", "package/c"])
    archive.write_bytes(archive.read_bytes()[:60])
    with pytest.raises(DataError, match="is damaged and was removed"):
        read_tar(archive, ["package/a"])
    assert not archive.exists()


def fake_npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_npm_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    fake_npm(tmp_path / "bin", monkeypatch, 'echo "$@" > things-1.2.3.tgz')
    archive = npm_package("things", "1.2.3", tmp_path)
    assert archive == tmp_path / "things-1.2.3.tgz"
    assert archive.read_text().startswith("pack things@1.2.3 --ignore-scripts")
    fake_npm(tmp_path / "bin", monkeypatch, "exit 1")
    assert npm_package("things", "1.2.3", tmp_path) == archive
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "things-1.2.3.tgz"]


def test_npm_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, monkeypatch, "echo 'npm error code E404' >&2; echo more >&2; exit 1")
    with pytest.raises(DataError, match=r"^npm pack things: npm error code E404$"):
        npm_package("things", "1.2.3", tmp_path)
    fake_npm(tmp_path, monkeypatch, "exec sleep 30")
    with pytest.raises(DataError, match="timed out"):
        npm_package("things", "1.2.3", tmp_path, timeout=0.2)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="npm is not on PATH"):
        npm_package("things", "1.2.3", tmp_path)

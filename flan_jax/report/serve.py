"""``flan-jax report --serve``: the page of a run that is still going on, on this machine alone."""

import functools
import hashlib
import http.server
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.report.document import report_document
from flan_jax.report.page import render_report

HOST = "127.0.0.1"
"""Nobody but this machine: a run's folder may hold what is not for everyone."""
WATCHED = ("config.gin", "manifest.json", "metrics.jsonl", "model-info.txt", "eval/*/results.json")


def make_server(folders: Sequence[Path], port: int) -> http.server.ThreadingHTTPServer:
    """Makes a server of the report of runs, bound and not yet serving; ``server_port`` is its port.

    It answers ``/`` with the page, ``/data.json`` with its data as they are now, and ``/version`` with a digest that
    changes when the files do. The page asks for the last one, so a run is followed without a reload.

    Args:
        folders: of runs.
        port: 0 for one that is free.

    Raises:
        UserError: the port is taken, or this process may not have it.
    """
    try:
        return _Server((HOST, port), functools.partial(_Handler, tuple(folders)))
    except OSError as error:
        raise UserError(
            f"--port {port} cannot be used: {(error.strerror or str(error)).lower()}. Choose another one, or 0 for any that is free."
        ) from error


def files_version(folders: Sequence[Path]) -> str:
    """Digests names, sizes and times of the files that a report reads."""
    digest = hashlib.sha256()
    for folder in folders:
        for pattern in WATCHED:
            for path in sorted(folder.glob(pattern)):
                try:
                    found = os.stat(path)
                except FileNotFoundError:  # replaced at this very moment: its successor counts the next time
                    continue
                digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Two servers on one port would answer in turns.
    allow_reuse_port = False


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, folders: tuple[Path, ...], *arguments: Any) -> None:
        self._folders = folders
        super().__init__(*arguments)

    def do_GET(self) -> None:
        # A page of another origin could reach this server by a name of its own that leads here (DNS rebinding).
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            self.send_error(403, "asked for by another name than this machine's")
            return
        answers: dict[str, tuple[str, Callable[[], str]]] = {
            "/": ("text/html", lambda: render_report(self._folders, live=True)),
            "/data.json": ("application/json", self._data),
            "/version": ("text/plain", lambda: files_version(self._folders)),
        }
        if self.path == "/favicon.ico":  # which browsers ask for by themselves
            self.send_response(204)
            self.end_headers()
            return
        kind, answer = answers.get(self.path.partition("?")[0], ("", None))
        if answer is None:
            self.send_error(404)
            return
        try:
            body = answer().encode("utf-8", "replace")
        except UserError as error:  # as where the folder was removed
            self.send_error(503, explain=str(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def _data(self) -> str:
        return json.dumps({**report_document(self._folders), "live": True}, allow_nan=False)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: a line every two seconds would drown the address."""

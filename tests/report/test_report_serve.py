import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading

import pytest
from chromium import Chromium, find_chromium
from report_toys import make_run

from flan_jax.cli.main import main
from flan_jax.report.serve import files_version, make_server


@pytest.fixture
def served(tmp_path):
    folder = make_run(tmp_path / "live", scores=((0, 2),), steps=3)
    server = make_server([folder], 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, server.server_port
    server.shutdown()
    server.server_close()
    thread.join(10)


def get(port, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def log_step(folder, step, loss):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "loss": loss}) + "\n")


def test_it_answers_with_the_page_its_data_and_a_version_that_follows_the_files(served):
    folder, port = served
    status, page = get(port, "/")
    assert (status, page[:15]) == (200, "<!DOCTYPE html>")
    assert "connect-src 'self'" in page
    version = get(port, "/version")
    assert version == get(port, "/version") == (200, files_version([folder]))
    log_step(folder, 99, 0.125)
    assert get(port, "/version") != version
    data = json.loads(get(port, "/data.json")[1])
    assert (data["live"], data["runs"][0]["cost"]["last_loss"]) == (True, 0.125)
    assert get(port, "/../metrics.jsonl")[0] == 404


def test_only_this_machine_is_answered_and_only_by_its_name(served):
    _, port = served
    assert get(port, "/version", host=f"localhost:{port}")[0] == 200
    assert get(port, "/version", host="evil.example:80")[0] == 403
    assert get(port, "/version", host="evil.example")[0] == 403
    with make_server([], 0) as other:
        assert other.server_address[0] == "127.0.0.1"


def test_a_run_that_went_away_is_said_and_the_server_stays(served):
    folder, port = served
    folder.rename(folder.with_name("moved"))
    status, text = get(port, "/data.json")
    assert status == 503
    assert "There is no run folder" in text
    folder.with_name("moved").rename(folder)
    assert get(port, "/data.json")[0] == 200


def test_a_port_that_is_taken_or_impossible_is_one_sentence(tmp_path, capsys):
    folder = make_run(tmp_path / "r", scores=((0, 2),), steps=2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["report", str(folder), "--serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert (
        error
        == f"error: --port {port} cannot be used: address already in use. Choose another one, or 0 for any that is free.\n"
    )
    for words, named in (
        (["--serve", "--port", "70000"], "from 0 to 65535"),
        (["--port", "80"], "Add --serve"),
        (["--serve", "--json"], "exclude each other"),
    ):
        assert main(["report", str(folder), *words]) == 2
        assert named in capsys.readouterr().err


def test_ctrl_c_ends_it_with_130(tmp_path):
    folder = make_run(tmp_path / "r", scores=((0, 2),), steps=2)
    command = [sys.executable, "-m", "flan_jax.cli.main", "report", str(folder), "--serve", "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        address = process.stdout.readline()
        port = int(re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", address)[1])
        assert get(port, "/version")[0] == 200
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in error
    assert "Traceback" not in error


def test_a_browser_follows_the_run(served, tmp_path):
    if find_chromium() is None:
        pytest.skip("no Chromium is installed: nobody looks at the served page (FLAN_JAX_CHROMIUM names one)")
    folder, port = served
    browser = Chromium(find_chromium(), tmp_path / "profile")
    try:
        browser.open(f"http://127.0.0.1:{port}/")
        browser.wait("document.querySelector('.live')?.textContent.startsWith('live')")
        assert "1.333" in browser.run("document.querySelector('#overview').textContent")
        browser.run(
            "document.getElementById('search').value = 'x'; document.getElementById('search').dispatchEvent(new Event('input'))"
        )
        log_step(folder, 99, 0.125)
        browser.wait("document.querySelector('#overview').textContent.includes('0.125')")
        assert browser.run("document.getElementById('search').value") == "x"
        assert browser.errors() == []
        assert {address.rpartition("/")[2] for address in browser.requests()} <= {
            "",
            "version",
            "data.json",
            "favicon.ico",
        }
    finally:
        browser.close()

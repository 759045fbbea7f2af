"""`tools/soak.py`: what it takes for growth, its faults, and a minute of it."""

import json
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from bench_tool import tool
from s3_server import WITHOUT

TOOLS = Path(__file__).parents[3] / "tools"
processes, places, report = (tool(f"_soak_{name}", TOOLS) for name in ("processes", "places", "report"))


def life(memory_per_s: float, files_per_s: float = 0.0, *, seconds: int = 200):
    """A process that grows from 500 MiB and 40 files, with a peak every twenty seconds."""
    samples = [
        (float(at), 500 + memory_per_s * at + (300 if at % 20 == 0 else 0), round(40 + files_per_s * at))
        for at in range(seconds)
    ]
    return processes.Life("disturbed", 1, samples, trains_after_s=10.0)


def test_growth_is_a_slope_that_peaks_do_not_turn() -> None:
    flat = processes.growth(life(0.0))
    assert (flat["flat"], flat["memory_grew_mib"], flat["memory_mib"], flat["files"]) == (True, 0.0, 500.0, 40)
    assert flat["measured_s"] == pytest.approx(150, abs=2), "a quarter of its life is for warming up"
    leaks = processes.growth(life(0.2))
    assert leaks["memory_mib_per_hour"] == pytest.approx(720, rel=0.01)
    assert not leaks["flat"]
    assert not processes.growth(life(0.0, 0.05))["flat"], "files that stay open"
    assert processes.growth(life(0.0, seconds=80)) is None, "too short a life says nothing"
    never = life(0.0)
    never.trains_after_s = None
    assert processes.growth(never) is None, "what only compiled says nothing, too"


def test_a_process_of_a_launch_is_found_by_its_number() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], env={'JAX_PROCESS_ID': '1'})"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as launch:
        while not (found := processes.children(launch.pid)):
            assert launch.poll() is None
        assert list(found) == [1]
        assert processes._memory_and_files(found[1])[0] > 0
        launch.communicate(b"\n")
    assert processes.children(launch.pid) == {}


def test_a_bucket_breaks_connections_when_it_is_told_to(tmp_path: Path) -> None:
    pytest.importorskip("moto.server", reason=WITHOUT)
    bucket = places.Bucket(tmp_path, random.Random(0))
    address = f"{bucket.options()['client_kwargs']['endpoint_url']}/soak"
    try:
        assert urllib.request.urlopen(address).status == 200
        bucket.mode = "refuse"
        with pytest.raises(OSError, match=r"[Rr]emote end closed|reset"):
            urllib.request.urlopen(address)
        assert bucket.broken > 0
        bucket.mode = "pass"
        assert urllib.request.urlopen(address).status == 200
    finally:
        bucket.close()


def test_the_table_names_what_was_wrong() -> None:
    event = {"fault": "kill", "at_s": 1.0, "detail": "", "at_step": 4, "ended_with": [137], "trains_after_s": 2.5}
    result = {
        "events": [event, {**event, "ended_with": [], "trains_after_s": 3.5}], "left_out": {"disk": "nobody may mount"},
        "lives": [processes.growth(life(0.2))], "minutes": 1, "undisturbed_minutes": 1, "steps": 9, "processes_seen": 4,
        "connections_broken": 0, "uploads_put_off": 0, "longest_stall_s": 0.1, "compared": {"arrays": 2, "lines and files": 3},
        "different": ["state a"], "copy_different": [], "unexpected": [],
    }  # fmt: skip
    text = "\n".join(report.table(result))
    assert "left out: nobody may mount" in text
    assert "  grows" in text
    assert text.endswith("2 arrays and 3 lines and files compared: 1 wrong: ['state a']")
    (kills,) = [line.split() for line in text.splitlines() if line.startswith("kill")]
    assert kills == ["kill", "2", "1", "3.0", "3.5"]


@pytest.mark.parametrize("words", [["--faults", "kil"], ["--minutes", "0"], ["--faults", ""]])
def test_bad_options_are_one_sentence(words: list[str]) -> None:
    done = subprocess.run([sys.executable, str(TOOLS / "soak.py"), *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "error: --" in done.stderr.splitlines()[-1]


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_a_minute_of_faults_changes_nothing(tmp_path: Path, one_device) -> None:
    asked = "kill,pause,disk" + (",storage,lost" if _installed() else "")
    words = ["--minutes", "1", "--seed", "0", "--faults", asked, "--json", str(tmp_path / "soak.json")]
    environment = {**one_device, "JAX_COMPILATION_CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"]}
    done = subprocess.run(
        [sys.executable, str(TOOLS / "soak.py"), *words], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "soak.json").read_text())
    assert found["passed"]
    assert found["events"]
    assert found["compared"]["arrays"] > 10


def _installed() -> bool:
    try:
        import moto
        import s3fs
    except ImportError:
        return False
    return bool(moto and s3fs)

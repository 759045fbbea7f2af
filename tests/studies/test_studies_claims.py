"""Claims among real processes: one holds at a time, the dead are succeeded by one, and who lost a claim is told."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flan_jax.studies import claims as module
from flan_jax.studies.claims import Claims, LostClaimError

CONTENDS = """
import os, sys, time
from pathlib import Path
from flan_jax.studies.claims import Claims
folder, times = Path(sys.argv[1]), int(sys.argv[2])
with Claims(folder / "claims") as claims:
    for _ in range(times):
        with claims.holding("work"):
            (folder / "inside").mkdir()  # fails where another process is inside
            count = folder / "count"
            count.write_text(str(int(count.read_text()) + 1))
            (folder / "inside").rmdir()
"""
TAKES = """
import sys, time
from pathlib import Path
from flan_jax.studies.claims import Claims
folder = Path(sys.argv[1])
print("ready", flush=True)
while not (folder / "go").exists():
    pass
claims = Claims(folder / "claims")
print(claims.take("work") is not None, flush=True)
sys.stdin.readline()  # a claim ends with its process
"""
HOLDS = """
import sys
from pathlib import Path
from flan_jax.studies.claims import Claims, LostClaimError
with Claims(Path(sys.argv[1]), heartbeat_s=0.05, dead_after_s=0.6) as claims:
    claim = claims.take("work")
    print("held", flush=True)
    for line in sys.stdin:
        try:
            claim.check()
            print("mine", flush=True)
        except LostClaimError:
            print("lost", flush=True)
"""


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ask(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return said(process)


def foreign_claim(folder: Path, age_s: float) -> Path:
    """One of a process on another machine, whose number says nothing here."""
    path = folder / "claims" / "work" / "000007.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "elsewhere", "boot": "b", "pid": 1, "started": "1", "since": "noon"}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_one_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    processes = [start(CONTENDS, tmp_path, 15) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "45"


def test_a_dead_claim_is_taken_over_by_one_only(tmp_path: Path) -> None:
    foreign_claim(tmp_path, age_s=601)
    processes = [start(TAKES, tmp_path) for _ in range(4)]
    assert [said(process) for process in processes] == ["ready"] * 4
    (tmp_path / "go").touch()
    assert sorted(said(process) for process in processes) == ["False", "False", "False", "True"]
    assert [path.name for path in (tmp_path / "claims" / "work").glob("*.json")] == ["000008.json"]
    for process in processes:
        process.communicate("\n")


def test_a_living_claim_of_another_machine_stands(tmp_path: Path) -> None:
    foreign_claim(tmp_path, age_s=590)
    with Claims(tmp_path / "claims") as claims:
        assert claims.take("work") is None
        owner = claims.owner("work")
        assert owner is not None
        assert (owner.host, owner.pid, round(owner.age_s, -1)) == ("elsewhere", 1, 590)


def test_a_killed_process_is_succeeded_at_once_and_it_is_said(tmp_path: Path) -> None:
    process = start(HOLDS, tmp_path)
    assert said(process) == "held"
    lines: list[str] = []
    with Claims(tmp_path, log=lines.append) as claims:
        assert claims.take("work") is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert claims.take("work") is not None
        assert claims.take("work") is None, "twice in one process"
    assert len(lines) == 1
    assert f"taking over work from a process that ended without a word (process {process.pid} on" in lines[0]
    assert Claims(tmp_path).take("work") is not None, "it was released"


def test_a_process_whose_heart_stopped_is_succeeded_and_finds_out(tmp_path: Path) -> None:
    process = start(HOLDS, tmp_path)
    assert said(process) == "held"
    assert ask(process) == "mine"
    process.send_signal(signal.SIGSTOP)
    with Claims(tmp_path, dead_after_s=0.6) as claims:
        deadline = time.monotonic() + 30
        while (claim := claims.take("work")) is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGCONT)
        assert ask(process) == "lost"
        process.communicate()  # it ends, and releases nothing that is not its own
        assert [path.name for path in claim.path.parent.iterdir()] == [claim.path.name]
    assert Claims(tmp_path).owner("work") is None


def test_who_looked_too_early_gets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a claim that is older than one that was taken, and tidied up after, while it looked."""
    old = foreign_claim(tmp_path, age_s=601)
    with Claims(tmp_path / "claims") as faster, Claims(tmp_path / "claims") as slower:
        claim = faster.take("work")
        assert claim is not None
        faster.release(claim)
        claim = faster.take("work")
        assert claim is not None
        assert claim.path.name == "000009.json"
        newest, looked = module._newest, iter([old])
        monkeypatch.setattr(module, "_newest", lambda folder: next(looked, None) or newest(folder))
        lives, judged = slower._lives, iter([False])
        monkeypatch.setattr(slower, "_lives", lambda path: next(judged, True) and lives(path))
        assert slower.take("work") is None
        assert next(judged, None) is None, "it was not put to the test"
        monkeypatch.undo()
        claim.check()
        assert [path.name for path in claim.path.parent.iterdir()] == ["000009.json"]
    with pytest.raises(LostClaimError):
        module.Claim(old).check()


def test_a_link_whose_answer_was_lost_is_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of NFS asks again where no answer came, and is told that the link exists, which it made itself."""
    link = os.link

    def answer_lost(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(target)

    with Claims(tmp_path / "claims") as claims:
        monkeypatch.setattr(os, "link", answer_lost)
        claim = claims.take("work")
        assert claim is not None
        claim.check()
        monkeypatch.undo()
        claims.release(claim)
        assert claims.take("work") is not None, "or nobody would get it while this process lives"


def test_where_there_are_no_links_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(target)

    monkeypatch.setattr(os, "link", refuse)
    with Claims(tmp_path / "claims") as claims, Claims(tmp_path / "claims") as others:
        assert claims.take("work") is not None
        assert others.take("work") is None

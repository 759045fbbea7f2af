"""The processes of a launch, as Linux shows them in /proc: which they are, and their memory and open files over time."""

import dataclasses
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

_SAMPLE_EVERY_S = 1.0
WARM_UP_S = 30.0
"""So long from its first step on, and a quarter of its life, a process fills caches and is not measured."""
MEASURED_S = 60.0
"""So long it must live after that."""
MEMORY_TOLERANCE = 0.03
"""Of a process's memory, by which it may grow over the time in which it is measured: allocators keep what they had once."""
FILES_TOLERANCE = 4
_POINTS = 200
_SHOWN = 20


@dataclasses.dataclass
class Life:
    """One process from its start to its end.

    Attributes:
        run: which of the two runs it is of.
        number: of the process in its run.
        samples: seconds since its start, MiB of resident memory, open files.
        trains_after_s: seconds from its start to its first step; before, it imports and compiles.
    """

    run: str
    number: int
    samples: list[tuple[float, float, int]] = dataclasses.field(default_factory=list)
    trains_after_s: float | None = None


def children(parent: int) -> dict[int, int]:
    """Returns the training processes that a launch has started: the number in the run → the process id."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            state, parent_id = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent_id) != parent or state == "Z":
                continue
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        for variable in variables:
            name, _, value = variable.partition(b"=")
            if name == b"JAX_PROCESS_ID":
                found[int(value)] = int(folder.name)
    return found


class Watch:
    """Samples memory and open files of a launch's processes, in a thread.

    Attributes:
        longest_stall_s: by which a sample came late at most: the machine itself stood still, or was that busy.
    """

    def __init__(self) -> None:
        self.longest_stall_s = 0.0
        self._lives: dict[int, Life] = {}
        self._begun: dict[int, float] = {}
        self._launch: tuple[str, int] | None = None
        threading.Thread(target=self._sample, daemon=True).start()

    def follow(self, run: str, launch: int) -> None:
        """Says which launch is to be watched from now on."""
        self._launch = (run, launch)

    def trains(self) -> None:
        """Says that the processes which are watched now have taken a step."""
        if self._launch is None:
            return
        for process in children(self._launch[1]).values():
            life = self._lives.get(process)
            if life is not None and life.trains_after_s is None:
                life.trains_after_s = time.monotonic() - self._begun[process]

    def lives(self) -> list[Life]:
        """All processes that were seen."""
        return list(self._lives.values())

    def _sample(self) -> None:
        while True:
            if self._launch is not None:
                run, launch = self._launch
                for number, process in children(launch).items():
                    seen = _memory_and_files(process)
                    if seen is not None:
                        begun = self._begun.setdefault(process, time.monotonic())
                        life = self._lives.setdefault(process, Life(run, number))
                        life.samples.append((time.monotonic() - begun, *seen))
            due = time.monotonic() + _SAMPLE_EVERY_S
            time.sleep(_SAMPLE_EVERY_S)
            self.longest_stall_s = max(self.longest_stall_s, time.monotonic() - due)


def _memory_and_files(process: int) -> tuple[float, int] | None:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len(os.listdir(f"/proc/{process}/fd"))
    except (OSError, IndexError):
        return None


def growth(life: Life) -> dict[str, Any] | None:
    """Says how a process grew once it was warm; None where it did not live long enough.

    The slope is Theil's and Sen's, the median of the slopes between all pairs of samples: a peak while a checkpoint is
    written does not turn it.
    """
    if not life.samples or life.trains_after_s is None:
        return None
    first = max(life.trains_after_s + WARM_UP_S, life.samples[-1][0] / 4)
    warm = [sample for sample in life.samples if sample[0] >= first]
    if not warm or warm[-1][0] - warm[0][0] < MEASURED_S:
        return None
    seconds = warm[-1][0] - warm[0][0]
    memory, files = (_slope([(sample[0], sample[place]) for sample in warm]) for place in (1, 2))
    mib = statistics.median(sample[1] for sample in warm)
    return {
        "run": life.run,
        "process": life.number,
        "measured_s": round(seconds, 1),
        "memory_mib": round(mib, 1),
        "memory_mib_per_hour": round(memory * 3600, 2),
        "memory_grew_mib": round(memory * seconds, 2),
        "memory_over_time_mib": [round(sample[1], 1) for sample in warm[:: max(1, len(warm) // _SHOWN)]],
        "files": statistics.median(sample[2] for sample in warm),
        "files_most": max(sample[2] for sample in warm),
        "files_grew": round(files * seconds, 2),
        "flat": memory * seconds <= MEMORY_TOLERANCE * mib and files * seconds <= FILES_TOLERANCE,
    }


def _slope(points: list[tuple[float, float]]) -> float:
    """Theil's and Sen's, of points a second; of at most ``_POINTS`` of them, equally far apart."""
    points = points[:: max(1, -(-len(points) // _POINTS))]
    slopes = [
        (later[1] - one[1]) / (later[0] - one[0])
        for place, one in enumerate(points)
        for later in points[place + 1 :]
        if later[0] > one[0]
    ]
    return statistics.median(slopes) if slopes else 0.0

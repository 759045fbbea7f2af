"""Measures one part of a check: `python worker.py FOLDER`, with `settings.json` in it; writes `results.jsonl`."""

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Calls `measure(settings, report)` of the part's module; `report` writes what is known at once."""
    settings = json.loads((folder / "settings.json").read_text())

    def report(**values: Any) -> None:
        with (folder / "results.jsonl").open("a") as stream:
            stream.write(json.dumps(values) + "\n")
        if fault == "hang":
            time.sleep(1e6)

    fault = settings["fault"].get(settings["part"]["name"])
    if fault == "fail":
        raise RuntimeError("this part was asked to fail")

    importlib.import_module(f"device.{settings['part']['module']}").measure(settings, report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""The tutorial as a notebook: it says what the page says, and it runs. `make test-wheel` follows the page."""

import json
import os
import sys
from pathlib import Path

import pytest
from test_repo_guide import surroundings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools" / "dev"))
try:
    from tutorial_notebook import NOTEBOOK, PAGE, notebook
finally:
    del sys.path[0]


def test_the_notebook_is_the_page() -> None:
    written = notebook(PAGE.read_text(encoding="utf-8"))
    assert NOTEBOOK.read_text(encoding="utf-8") == written, "run python tools/dev/tutorial_notebook.py"
    cells = json.loads(written)["cells"]
    assert sum(cell["cell_type"] == "code" for cell in cells) == PAGE.read_text(encoding="utf-8").count("```bash")
    assert "".join(cells[0]["source"]).startswith("# Tutorial")


def measured(folder: Path) -> None:
    results = json.loads((folder / "runs/tutorial/eval/4/results.json").read_text(encoding="utf-8"))
    assert results["suites"]["held_out"]
    assert (folder / "runs/tutorial/report.html").is_file()


def patient() -> dict[str, str]:
    """The environment of commands that may take minutes: each is a process of its own, which nobody ends."""
    path = surroundings()["PATH"].split(os.pathsep)
    return {**surroundings(), "PATH": os.pathsep.join(part for part in path if "flan_jax_warm_" not in part)}


@pytest.mark.deep
@pytest.mark.timeout(1800)
def test_the_notebook_runs_from_a_clean_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = "the extra notebook-test is not installed: pip install 'flan-jax[notebook-test]'"
    nbclient = pytest.importorskip("nbclient", reason=missing)
    nbformat = pytest.importorskip("nbformat", reason=missing)
    pytest.importorskip("ipykernel", reason=missing)
    for name, value in patient().items():
        monkeypatch.setenv(name, value)
    read = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(read)
    nbclient.NotebookClient(read, timeout=1700, resources={"metadata": {"path": str(tmp_path)}}).execute()
    measured(tmp_path)
    assert all(cell.execution_count for cell in read.cells if cell.cell_type == "code")

"""The tutorial as a notebook says what the page says; `make test-wheel` runs it."""

import json
import sys
from pathlib import Path

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

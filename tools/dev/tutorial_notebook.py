"""Makes the notebook of the tutorial out of its page: `python tools/dev/tutorial_notebook.py`.

Every bash block of docs/tutorial.md becomes a cell that runs it, all else text; docs/tutorial.ipynb is written anew. What
to install is said in a console block, which stays text: a notebook runs where that is done.
"""

import json
import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, NOTEBOOK = DOCS / "tutorial.md", DOCS / "tutorial.ipynb"
_BASH = re.compile(r"^```bash\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)


def notebook(page: str) -> str:
    """Returns the notebook, as its file has it, of a page of Markdown."""
    cells: list[dict[str, Any]] = []
    for number, part in enumerate(_BASH.split(page)):
        text = part.strip("\n")
        if number % 2:
            cells.append({"cell_type": "code", "execution_count": None, "outputs": [], "source": f"%%bash\n{text}"})
        elif text:
            cells.append({"cell_type": "markdown", "source": text})
    for number, cell in enumerate(cells):
        cell |= {"id": f"cell-{number}", "metadata": {}, "source": cell["source"].splitlines(keepends=True)}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    found = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

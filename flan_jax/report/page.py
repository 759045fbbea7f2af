"""``report.html``: one self-contained file for a run, or for several side by side.

Everything it shows is the JSON document of ``document.py``, in a script element; programs of ours in ``assets/`` render
it with Observable Plot, which is bundled beside them. A content security policy lets the page run these programs by their
digests and nothing else, and load nothing.
"""

import base64
import functools
import hashlib
import html
import json
import re
import string
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import atomic_write_text
from flan_jax.report.document import report_document
from flan_jax.report.tables import results_table

PROGRAMS = ("dom.js", "charts.js", "shell.js", "results.js", "training.js", "examples.js", "report.js")
"""Of ours, in the order in which they are joined."""
LIBRARY = "plot.min.js"

# What ends a script element or begins a comment in it, and what JavaScript of old took for the end of a line.
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def write_report(folders: Sequence[Path], output: Path) -> Path:
    """Writes the page of one run, or of several side by side, and returns its path.

    Raises:
        UserError: a folder that does not exist, or an output that cannot be written.
    """
    return save_page(render_report(folders), output)


def save_page(page: str, output: Path) -> Path:
    """Writes a page and returns its path.

    Raises:
        UserError: the output cannot be written.
    """
    output = Path(output)
    try:
        atomic_write_text(output, page, errors="replace")
    except OSError as error:
        raise UserError(f"{str(output)!r} cannot be written ({error.strerror}). Choose another output.") from error
    return output


def render_report(folders: Sequence[Path], *, live: bool = False) -> str:
    """Builds the page as text.

    Args:
        folders: of runs.
        live: it is served, and asks the server for newer data.

    Raises:
        UserError: a folder that does not exist.
    """
    content = report_document(folders)
    table = "\n\n".join(found for folder in folders if (found := results_table(folder)))
    return page_text({**content, "live": True} if live else content, PROGRAMS, table=table, live=live)


def page_text(content: Mapping[str, Any], programs: tuple[str, ...], *, table: str, live: bool = False) -> str:
    """Builds a page of a document and of the programs that render it.

    Args:
        content: JSON values, with a ``title``.
        programs: names of ours in ``assets/``, in the order in which they are joined.
        table: what stands there without JavaScript.
        live: it is served, and asks the server for newer data.
    """
    library, program = _asset(LIBRARY), _program(programs)
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in (library, program))
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}"
    return string.Template(_asset("page.html")).substitute(
        policy=policy + ("; connect-src 'self'" if live else ""),
        title=html.escape(content["title"]),
        style=_asset("report.css"),
        table=html.escape(table),
        data=script_json(content),
        library=library,
        program=program,
    )


def script_json(content: Any) -> str:
    r"""Writes JSON that is harmless inside a script element, whatever its texts hold.

    >>> script_json(["</script>", "<!--", "a & b"])
    '["\\u003c/script\\u003e","\\u003c!--","a \\u0026 b"]'
    """
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


@functools.cache
def _asset(name: str) -> str:
    return resources.files("flan_jax.report").joinpath("assets", name).read_text(encoding="utf-8")


@functools.cache
def _program(programs: tuple[str, ...]) -> str:
    """Our programs as one, in a scope of its own."""
    return "(() => {\n'use strict';\n" + "\n".join(map(_asset, programs)) + "\n})();"


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

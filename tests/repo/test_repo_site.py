"""The site: every page has its place in the menu, and links that leave the documents are led to what the site has."""

import re
import runpy
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
HOOKS = runpy.run_path(str(ROOT / "tools/dev/site_hooks.py"))
MENU = re.findall(
    r"^ +- (?:[\w ]+: )?([\w/]+\.(?:md|html))$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
)
GENERATED = {*HOOKS["PAGES"].values(), "api/index.html"}


def relinked(text: str, source: str, page: str) -> str:
    return HOOKS["relinked"](text, PurePosixPath(source), PurePosixPath(page))


def test_every_page_is_in_the_menu_once() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert sorted(MENU) == sorted(pages | GENERATED)


@pytest.mark.parametrize(
    ("text", "source", "page", "then"),
    [
        ("[a](docs/guide/tasks.md#x)", "README.md", "index.md", "[a](guide/tasks.md#x)"),
        ("![p](docs/images/report_wide.png)", "README.md", "index.md", "![p](images/report_wide.png)"),
        (
            "[c](../../CONTRIBUTING.md#the-layers)",
            "docs/guide/tasks.md",
            "guide/tasks.md",
            "[c](../contributing.md#the-layers)",
        ),
        ("[`gin/runs`](../../gin/runs) x", "docs/guide/tasks.md", "guide/tasks.md", "`gin/runs` x"),
        ("[m](mixtures)", "README.md", "index.md", "m"),
        ("[w](https://a.b/c) [here](#x)", "README.md", "index.md", "[w](https://a.b/c) [here](#x)"),
        (
            "`[a](none.md)`\n```\n[a](none.md)\n```\n",
            "README.md",
            "index.md",
            "`[a](none.md)`\n```\n[a](none.md)\n```\n",
        ),
    ],
)
def test_a_link_leads_to_what_the_site_has(text: str, source: str, page: str, then: str) -> None:
    assert relinked(text, source, page) == then


def test_a_link_to_nothing_fails_the_build() -> None:
    with pytest.raises(ValueError, match=r"links to none\.md, which is not there"):
        relinked("[a](none.md)", "docs/data.md", "data.md")


def test_the_site_is_built_with_its_links_checked(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mkdocs")
    if not program.is_file():
        pytest.skip("mkdocs-material is not installed here; `make site` builds it in an environment of its own")
    built = subprocess.run(
        [program, "build", "--strict", "--site-dir", tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr

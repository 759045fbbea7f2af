"""Hooks of mkdocs: pages that lie outside docs/, links that leave it, and the API reference.

README.md becomes the site's first page. A link to a file of the repository that is no page of the site keeps its text
and loses its target; where the file is not there either, the build fails.
"""

import re
import runpy
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository that are pages, with their names on the site."""
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]\n]*)\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)


def relinked(text: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Rewrites the links of a page for the site.

    Args:
        text: Markdown, whose links are relative to ``source``.
        source: the file's path in the repository.
        page: its path on the site.

    Raises:
        ValueError: a link leads nowhere.
    """
    parts = _CODE.split(text)
    inside = [
        part if number % 2 else LINK.sub(lambda m: _link(m, source, page), part) for number, part in enumerate(parts)
    ]
    return _joined_links("".join(inside), source, page)


def _joined_links(text: str, source: PurePosixPath, page: PurePosixPath) -> str:
    """Links whose text is code were split in two: they are looked for in what is left, outside of blocks."""
    blocks = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    code = re.compile(r"(?P<picture>)\[(?P<text>`[^`\n]*`[^\]\n]*)\]\((?P<target>[^)\s]+)\)")
    found = [
        part if number % 2 else code.sub(lambda m: _link(m, source, page), part) for number, part in enumerate(blocks)
    ]
    return "".join(found)


def _link(match: "re.Match[str]", source: PurePosixPath, page: PurePosixPath) -> str:
    target, mark, anchor = match["target"].partition("#")
    if "://" in match["target"] or match["target"].startswith("mailto:") or not target:
        return match[0]
    place = _normal(source.parent / target)
    if not (ROOT / place).exists():
        raise ValueError(f"{source} links to {match['target']}, which is not there")
    if str(place) in PAGES:
        on_site = PurePosixPath(PAGES[str(place)])
    elif place.parts[:1] == ("docs",) and (ROOT / place).is_file():
        on_site = PurePosixPath(*place.parts[1:])
    else:
        return match["text"]
    return f"{match['picture']}[{match['text']}]({_relative(on_site, page)}{mark}{anchor})"


def _normal(path: PurePosixPath) -> PurePosixPath:
    found: list[str] = []
    for part in path.parts:
        if part == "..":
            found.pop()
        elif part != ".":
            found.append(part)
    return PurePosixPath(*found)


def _relative(target: PurePosixPath, page: PurePosixPath) -> str:
    up = [".."] * (len(page.parts) - 1)
    return "/".join([*up, *target.parts])


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that lie outside docs/, and the reference."""
    from mkdocs.structure.files import File

    for name, page in PAGES.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=relinked(text, PurePosixPath(name), PurePosixPath(page))))
    write = runpy.run_path(str(ROOT / "tools/dev/api_reference.py"))["write"]
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder)):
            files.append(File.generated(config, f"api/{path.name}", content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrites the links of a page of docs/ that leave the folder."""
    place = PurePosixPath(page.file.src_uri)
    if page.file.src_uri in PAGES.values():
        return markdown
    return relinked(markdown, PurePosixPath("docs") / place, place)

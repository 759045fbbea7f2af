"""The API reference: every public name with its signature and docstring, links that lead somewhere, text that stays text."""

import ast
import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("api_reference", ROOT / "tools/dev/api_reference.py")
api_reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(api_reference)


class Page(HTMLParser):
    """Anchors, links and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if "href" in values else []

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Page]:
    written = api_reference.write(tmp_path_factory.mktemp("api"))
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in written}


def test_every_layer_has_a_page_and_every_public_module_a_place(pages):
    layers = {f"{path.parent.name}.html" for path in ROOT.glob("flan_jax/*/__init__.py")}
    assert set(pages) == {*layers, "flan_jax.html", "index.html"}
    anchors = [anchor for page in pages.values() for anchor in page.anchors]
    public = [path for path in (ROOT / "flan_jax").rglob("*.py") if not re.search(r"/_(?!_init__)", str(path))]
    for path in public:
        parts = [part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__"]
        assert ".".join(parts) in anchors
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ".".join([*parts, node.name]) in anchors


def test_every_link_leads_somewhere(pages):
    links = {(name, link) for name, page in pages.items() for link in page.links}
    assert len(links) > len(pages)
    for name, link in links:
        file, _, anchor = link.partition("#")
        assert not anchor or anchor in pages[file or name].anchors, f"{name} links to {link}"
        assert file in pages


def test_signatures_fields_and_errors_are_shown(pages):
    text = pages["mixing.html"].text
    assert "class Proportional\n    cap: int | None = None\n    temperature: float = 1.0" in text
    assert "def rates(self, sizes: Mapping[str, float]) -> dict[str, float]" in text
    assert '>>> Proportional(cap=3000).rates({"small": 1000, "large": 90_000})' in text
    assert "_check_positive" not in text


def test_what_looks_like_markup_stays_text():
    shown = api_reference.docstring_html(
        "Takes ``a < b`` & <i>.\n\nArgs:\n    x: at most ``1 << 2``.\n        Or so.\n", {}
    )
    page = Page(shown)
    assert page.text == "Takes a < b & <i>.Argsxat most 1 << 2.\n        Or so."
    assert "<i>" not in shown


def test_long_signatures_are_split_at_their_commas():
    source = "def f(a: dict[str, int], b: str = 'x, (y', *, c: Callable[[int, int], str], d: tuple[int, ...] = (1, 2), e: int): ..."
    (member,) = api_reference.public_members(ast.parse(source).body)
    lines = [line.strip() for line in member.signature.splitlines()]
    assert lines == [
        "def f(",
        "a: dict[str, int],",
        "b: str='x, (y',",
        "*,",
        "c: Callable[[int, int], str],",
        "d: tuple[int, ...]=(1, 2),",
        "e: int,",
        ")",
    ]

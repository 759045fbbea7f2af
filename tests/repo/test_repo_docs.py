"""What the documents say is so: commands, options, links, code and files."""

import itertools
import json
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import flan_jax

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    """What git tracks; in an unpacked source archive, what lies in its folders."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        folders = ("flan_jax", "mixtures", "gin", "tests", "tools", "docs", "requirements")
        paths = [*ROOT.glob("*"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    return sorted(path for path in paths if path.is_file() and "__pycache__" not in path.parts)


TRACKED = tracked_files()
DOCUMENTS = sorted({path for path in TRACKED if path.suffix == ".md"} | set(ROOT.glob("*.md")))
README = (ROOT / "README.md").read_text()

# One letter of each stands in brackets, so that the patterns do not find themselves.
HOSTS = re.compile(r"pyp[i]\.org|pythonhoste[d]\.org|download\.pytorc[h]|npmj[s]\.|deb\.debia[n]")
PATHS = re.compile(r"/wor[k]/(main|shared|steering)|/roo[t]/|/far[m]/|/opt/pyp[i]|/tm[p]/t/")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of every command line in a document, without comments."""
    lines = "".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def all_commands(program: str) -> list[list[str]]:
    found = [words for path in DOCUMENTS for words in commands(path.read_text())]
    return [words for words in found if program in words[:2]]  # an assignment may stand before it


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_readme_shows_the_two_commands() -> None:
    assert blocks(README, "bash")[0].split("\n")[:2] == ["make quickstart", "make test"]


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    shown = {words[words.index("make") + 1] for words in all_commands("make")}
    for path in DOCUMENTS:
        shown |= set(re.findall(r"`(?:\w+=\S+ )?make ([a-z-]+)", path.read_text()))
    assert {"quickstart", "test", "setup"} <= shown
    assert shown <= targets, f"make has no target {sorted(shown - targets)}"


@pytest.mark.parametrize("command", sorted({words[1] for words in all_commands("flan-jax")}))
def test_every_command_and_option_exists(command: str) -> None:
    program = [str(Path(sys.executable).with_name("flan-jax")), command, "--help"]
    run = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"flan-jax {command} --help: {run.stderr}"
    assert "Example:" in run.stdout
    known = set(re.findall(r"(?<![\w-])--?[\w.]+", run.stdout))
    shown = {
        word.split("=")[0]
        for words in all_commands("flan-jax")
        if words[1] == command
        for word in itertools.takewhile("--".__ne__, words[2:])  # what stands behind is another program's
        if word.startswith("-") and not word.startswith("--gin.")
    }
    assert shown <= known, f"flan-jax {command} has no option {sorted(shown - known)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_resolves(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        assert linked.exists(), f"{path.name} links to {target}, which does not exist"
        if anchor:
            assert anchor in anchors(linked.read_text()), f"{path.name} links to {target}: no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_gin_file_that_is_named_exists(path: Path) -> None:
    for name in re.findall(r"(?<![\w/])(?:gin/)?((?:models|runs|papers|sweeps)/[\w.-]+\.gin)", path.read_text()):
        assert (ROOT / "gin" / name).is_file(), f"{path.name} names {name}, which does not exist"


def test_readme_code_runs(tmp_path: Path) -> None:
    reviews = [{"text": "A joy.", "label": "positive"}, {"text": "Two hours lost.", "label": "negative"}]
    (tmp_path / "reviews.jsonl").write_text("".join(json.dumps(review) + "\n" for review in reviews))
    code = blocks(README, "python")
    assert len(code) >= 2
    # A process of its own: the task that it registers must not stay in this one's catalogue.
    script = tmp_path / "readme.py"
    script.write_text("\n".join(code))
    run = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    for review in reviews:
        assert review["text"] in run.stdout


def test_architecture_names_every_layer_and_only_what_is_there() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    layers = {path.parent.name for path in ROOT.glob("flan_jax/*/__init__.py")}
    assert layers <= set(re.findall(r"\b(\w+)/", text)), "a layer is missing in docs/architecture.md"
    named = set(re.findall(r"(?<![\w./-])[a-z_]+/[\w/]*(?:\.py)?", re.sub(r"\]\([^)]*\)", "", text)))
    gone = {
        name
        for name in named
        if not any(path.exists() for path in (ROOT / name, ROOT / "flan_jax" / name))
        and not list((ROOT / "flan_jax").glob(f"*/{name}"))
    }
    assert not gone, f"docs/architecture.md names {sorted(gone)}"


def test_readme_task_takes_twelve_lines() -> None:
    body = blocks(README, "python")[0].rstrip("\n").split("\n\n")[-1].split("\n")
    assert len(body) == 12


def test_changelog_has_the_current_version() -> None:
    versions = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] in ("Unreleased", flan_jax.__version__)
    assert flan_jax.__version__ in versions


def test_picture_is_legible_in_light_and_dark() -> None:
    text = (ROOT / "docs/flow.svg").read_text()
    root = ElementTree.fromstring(text)
    assert root.find("{http://www.w3.org/2000/svg}title") is not None
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert "href" not in text


def test_no_host_and_no_path_of_a_machine() -> None:
    found = []
    for path in TRACKED:
        text = path.read_bytes().decode("utf-8", errors="ignore")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in [*HOSTS.finditer(text), *PATHS.finditer(text)]]
    assert not found

"""Writes the API reference: a page of HTML for every layer, from signatures and docstrings.

    python tools/dev/api_reference.py [FOLDER]        # build/api, or FOLDER

Sources are parsed and not imported, so it needs neither JAX nor TensorFlow and takes a second. Public is what has no
leading underscore in its name, or in that of its module or class.
"""

import ast
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
_SECTION = re.compile(rf"^({'|'.join(SECTIONS)}):$", re.MULTILINE)
_ITEM = re.compile(r"^ {4}(\S.*?): ?(.*(?:\n {5,}.*)*)", re.MULTILINE)
_CODE = re.compile(r"``(.+?)``|`([^`\n]+)`")

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 0.9em ui-monospace, monospace; } pre { overflow-x: auto; }
h2 { margin-top: 3rem; border-top: 1px solid; padding-top: 1rem; } h3 { margin-bottom: 0; } h4 { margin-bottom: 0; }
.signature { white-space: pre-wrap; padding: .4rem .6rem; background: color-mix(in srgb, currentColor 8%, transparent); }
.members { margin-left: 1.5rem; } dt { font-weight: 600; margin-top: .3rem; }
"""


class Member(NamedTuple):
    """A public class, function, method or constant.

    Attributes:
        name: its name.
        signature: as it is written in the source, without its body.
        docstring: "" where it has none.
        members: of a class.
    """

    name: str
    signature: str
    docstring: str
    members: tuple["Member", ...] = ()


class Module(NamedTuple):
    """A public module."""

    name: str
    docstring: str
    members: tuple[Member, ...]


def modules(package: Path) -> Iterator[Module]:
    """Yields the public modules of a package that have anything public, in the order of their names."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        if any(part.startswith("_") and part != "__init__" for part in parts):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = Module(
            ".".join(part for part in parts if part != "__init__"),
            ast.get_docstring(tree) or "",
            tuple(public_members(tree.body)),
        )
        if found.members or found.docstring:
            yield found


def public_members(body: list[ast.stmt]) -> Iterator[Member]:
    """Yields the public definitions of a module or class; constants and fields where a string behind them explains them."""
    for place, node in enumerate(body):
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield Member(node.name, _function_signature(node), ast.get_docstring(node) or "")
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = ", ".join(
                ast.unparse(base) for base in [*node.bases, *(keyword.value for keyword in node.keywords)]
            )
            members = tuple(public_members(node.body))
            signature = f"class {node.name}" + (f"({bases})" if bases else "") + _fields(node)
            yield Member(node.name, signature, ast.get_docstring(node) or "", members)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and place + 1 < len(body):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            text = _string(body[place + 1])
            if isinstance(target, ast.Name) and not target.id.startswith("_") and text:
                yield Member(target.id, ast.unparse(node), text)


def _string(node: ast.stmt) -> str:
    """The text of a statement that is a string and nothing else, else ""."""
    value = node.value if isinstance(node, ast.Expr) else None
    return value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""


def _function_signature(node: ast.FunctionDef) -> str:
    decorators = [f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list]
    arguments = ast.unparse(node.args)
    if len(arguments) > 90:
        arguments = "\n    " + ",\n    ".join(_split(arguments)) + ",\n"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{''.join(decorators)}def {node.name}({arguments}){returns}"


def _split(arguments: str) -> list[str]:
    """Splits at the commas that stand in no bracket and no text."""
    found, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(arguments):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            found.append(arguments[start:place].strip())
            start = place + 1
    return [*found, arguments[start:].strip()]


def _fields(node: ast.ClassDef) -> str:
    """The fields of a dataclass or named tuple, a line each."""
    lines = [ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign)]
    lines = [line for line in lines if not line.startswith("_")]
    return "".join(f"\n    {line}" for line in lines)


def markup(text: str, targets: dict[str, str]) -> str:
    """Escapes text; code in backticks is marked, and a module's name in it links to its page."""

    def code(match: re.Match[str]) -> str:
        inner = match[1] or match[2]
        place = targets.get(inner) or targets.get(inner.rpartition(".")[0])
        shown = f"<code>{html.escape(inner)}</code>"
        return f'<a href="{place}">{shown}</a>' if place else shown

    pieces, end = [], 0
    for match in _CODE.finditer(text):
        pieces += [html.escape(text[end : match.start()]), code(match)]
        end = match.end()
    return "".join([*pieces, html.escape(text[end:])])


def docstring_html(docstring: str, targets: dict[str, str]) -> str:
    """A docstring of Google's style as HTML: paragraphs, examples, and lists of arguments, attributes and errors."""
    head, *rest = _SECTION.split(docstring.strip())
    found = [_prose(head, targets)]
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        items = _ITEM.findall(body) if title not in ("Returns", "Yields") else []
        after = _ITEM.sub("", body) if items else body
        if items:
            terms = "".join(f"<dt><code>{html.escape(name)}</code><dd>{markup(text, targets)}" for name, text in items)
            found.append(f"<h4>{title}</h4><dl>{terms}</dl>")
        else:
            found.append(f"<h4>{title}</h4>")
        found.append(_prose(after, targets))
    return "".join(found)


def _prose(text: str, targets: dict[str, str]) -> str:
    """Paragraphs; those that are indented by four or begin with ``>>>`` stay as they are."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]
    return "".join(
        f"<pre>{html.escape(block)}</pre>"
        if block.lstrip().startswith(">>>") or (len(blocks) > 1 and block.startswith("    "))
        else f"<p>{markup(block, targets)}"
        for block in blocks
    )


def member_html(member: Member, prefix: str, targets: dict[str, str]) -> str:
    """A definition with its members."""
    anchor, level = f"{prefix}.{member.name}", 3 if member.name[:1].isupper() or "(" in member.signature else 4
    inner = "".join(member_html(own, anchor, targets) for own in member.members)
    return (
        f'<h{level} id="{anchor}"><code>{html.escape(member.name)}</code></h{level}>'
        f'<pre class="signature">{html.escape(member.signature)}</pre>'
        f"{docstring_html(member.docstring, targets)}" + (f'<div class="members">{inner}</div>' if inner else "")
    )


def page(title: str, body: str) -> str:
    """A whole page."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>{body}</html>\n"
    )


def layer_of(name: str) -> str:
    """The layer of a module; those of none have one page together."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and (ROOT / "flan_jax" / parts[1]).is_dir() else "flan_jax"


def write(folder: Path) -> list[Path]:
    """Writes a page for every layer and an index of all modules; returns the pages."""
    found = list(modules(ROOT / "flan_jax"))
    targets = {module.name: f"{layer_of(module.name)}.html#{module.name}" for module in found}
    layers: dict[str, list[Module]] = {}
    for module in found:
        layers.setdefault(layer_of(module.name), []).append(module)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for layer, members in layers.items():
        body = '<p><a href="index.html">all modules</a>' + "".join(
            f'<h2 id="{module.name}"><code>{module.name}</code></h2>{docstring_html(module.docstring, targets)}'
            + "".join(member_html(member, module.name, targets) for member in module.members)
            for module in members
        )
        written.append(folder / f"{layer}.html")
        written[-1].write_text(page(layer if layer == "flan_jax" else f"flan_jax.{layer}", body), encoding="utf-8")
    lines = "".join(
        f'<dt><a href="{targets[module.name]}"><code>{module.name}</code></a>'
        f"<dd>{markup(module.docstring.partition(chr(10))[0], targets)}"
        for module in found
    )
    written.append(folder / "index.html")
    written[-1].write_text(page("flan_jax: API reference", f"<dl>{lines}</dl>"), encoding="utf-8")
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "api"
    print(f"{len(write(target))} pages; begin at {target / 'index.html'}")

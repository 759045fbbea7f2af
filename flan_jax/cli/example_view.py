"""Examples as ``flan-jax inspect`` shows them: a heading, lines for people, an object for programs."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flan_jax.cli import ansi
from flan_jax.cli.ansi import Paint
from flan_jax.cli.escapes import json_text, visible
from flan_jax.data.sources.published_sizes import is_elsewhere
from flan_jax.errors import UserError
from flan_jax.tasks.prompt_spans import PromptSpans, Segment, aligned, unmarked
from flan_jax.tasks.records import numbered_records
from flan_jax.tasks.render import Renderer

if TYPE_CHECKING:
    from flan_jax.data.chat.prompts import ChatPrompts
    from flan_jax.data.tokenizers.token_display import DisplayPiece
    from flan_jax.data.tokenizers.vocabulary import Vocabulary
    from flan_jax.tasks.spec import Prompted, Record, Rendered, Task


@dataclasses.dataclass(frozen=True)
class ExampleView:
    """One example as it is printed.

    Attributes:
        heading: where it stands, and its template.
        row: what ``--json`` prints of it.
        lines: (label, text in its colours); a line without a label goes on.
    """

    heading: str
    row: dict[str, Any]
    lines: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class ViewOptions:
    """How examples are shown.

    Attributes:
        split: the split they are of.
        paint: colours.
        seed: which example gets which template.
        template: overrides that.
        vocabulary: counts tokens; ``None`` where none is named.
        max_length: of inputs, in tokens.
        pieces: show every piece that the vocabulary makes.
        chat: prompts and replies inside a chat template; ``None`` for none.
    """

    split: str
    paint: Paint
    seed: int = 0
    template: int | None = None
    vocabulary: "Vocabulary | None" = None
    max_length: int = 512
    pieces: bool = False
    chat: "ChatPrompts | None" = None


def prompted_examples(task: "Prompted", how: ViewOptions) -> Iterator[ExampleView | None]:
    """Examples of a task of ours in the source's order; ``None`` for each record that is left out.

    Raises:
        UserError: a record that cannot be read or rendered, or data that are not here.
    """
    marking = PromptSpans()
    length: Callable[[str], int] | None = None
    newlines = True
    if how.vocabulary is not None:
        from flan_jax.data.tokenizers.vocabulary import keeps_newlines

        newlines, length = keeps_newlines(how.vocabulary), _length(how.vocabulary, how.chat.around if how.chat else 1)
    renderer = Renderer(task, how.seed, newlines, length, how.max_length, marking)
    words = ansi.PROMPT if task.spec.renders_itself else ansi.INSTRUCTION
    for index, record in _records(task, how.split):
        rendered, marked = _rendered(renderer, marking, record, index, how)
        if rendered is None:
            yield None
            continue
        segments = aligned(marked, rendered.inputs, words=words)
        yield _prompted(task, rendered, segments, how)


def _length(vocabulary: "Vocabulary", around: int) -> Callable[[str], int]:
    return lambda text: len(vocabulary.encode(unmarked(text))) + around


def _records(task: "Prompted", split: str) -> Iterator[tuple[int, "Record"]]:
    """The records; where they would come from the hub, an error says what else there is."""
    try:
        yield from numbered_records(task.spec.source, split)
    except UserError as error:
        if not is_elsewhere(task.spec.source):
            raise
        raise UserError(
            f"{str(error).rstrip('.')}. Or name a folder of local copies with --source_dir (in it, {_folder(task)}/{split}.jsonl)."
        ) from error


def _folder(task: "Prompted") -> str:
    folders = getattr(task.spec.source, "folders", ())
    return folders[0] if folders else task.spec.name


def _rendered(
    renderer: Renderer, marking: PromptSpans, record: "Record", index: int, how: ViewOptions
) -> "tuple[Rendered | None, str]":
    """The example as a model sees it, and its inputs with marks."""
    try:
        marking.on = False
        rendered = renderer(record, index=index, split=how.split, template_id=how.template)
        if rendered is None:
            return None, ""
        marking.on = True
        marked = renderer(record, index=index, split=how.split, template_id=how.template)
    except UserError as error:
        place = getattr(renderer.task.spec.source, "place", None)
        raise UserError(f"{place(how.split, index)}: {error}") if place else error from error
    return rendered, "" if marked is None else marked.inputs


def _prompted(task: "Prompted", rendered: "Rendered", segments: Sequence[Segment], how: ViewOptions) -> ExampleView:
    colour = how.paint
    lines = [("input", colour.segments(segments)), ("target", colour(ansi.TARGET, rendered.targets))]
    if rendered.options:
        lines.append(("options", " | ".join(colour(ansi.OPTIONS, option) for option in rendered.options)))
    if len(rendered.references) > 1:
        lines.append(("accepts", " | ".join(colour(ansi.TARGET, reference) for reference in rendered.references)))
    if rendered.exemplars:
        records = ", ".join(map(str, rendered.exemplars))
        lines.append(("solved", f"{len(rendered.exemplars)} before it, of the training split: {records}"))
    tokens, pieces = None, None
    if how.vocabulary is not None and how.chat is not None:
        tokens, pieces, more = _in_turns(rendered, how, how.vocabulary, how.chat)
        lines += more
    elif how.vocabulary is not None:
        tokens = {side: how.vocabulary.encode(getattr(rendered, side)) for side in ("inputs", "targets")}
        counts = f"{len(tokens['inputs'])} + EOS → {len(tokens['targets'])} + EOS, as {how.vocabulary.name} reads them:"
        if how.pieces:
            from flan_jax.data.tokenizers.token_display import pieces_of

            made = {side: pieces_of(how.vocabulary, getattr(rendered, side)) for side in tokens}
            pieces = {side: [dataclasses.asdict(piece) for piece in own] for side, own in made.items()}
            lines.append(("tokens", counts + _troubles([*made["inputs"], *made["targets"]])))
            lines += [("", piece_text(made["inputs"], colour)), ("", "→ " + piece_text(made["targets"], colour))]
        else:
            lines += [("tokens", counts), ("", visible(how.vocabulary.decode(tokens["inputs"])))]
    inverted = " (inverted)" if task.templates[rendered.template_id].inverted else ""
    row = {
        "spec": task.spec.name,
        "collection": task.spec.collection,
        "cluster": task.cluster,
        "mode": str(task.mode),
        "style": task.style.name,
        **dataclasses.asdict(rendered),
        "inverted": bool(inverted),
        "segments": [{"kind": kind, "text": text} for kind, text in segments],
        "tokens": tokens,
    }
    heading = f"{rendered.example_id} · template {rendered.template_id}{inverted}"
    return ExampleView(heading, {**row, "pieces": pieces} if how.pieces else row, lines)


def _in_turns(
    rendered: "Rendered", how: ViewOptions, vocabulary: "Vocabulary", chat: "ChatPrompts"
) -> tuple[dict[str, list[int]], dict[str, list[dict[str, Any]]] | None, list[tuple[str, str]]]:
    """Ids, pieces and lines of an example inside a chat template."""
    from flan_jax.data.tokenizers.token_display import decoded_turns, pieces_of_ids

    tokens = {
        "inputs": chat.prompt(rendered.inputs).tolist(),
        "targets": [*chat.reply(rendered.targets).tolist(), *chat.end.tolist()],
    }
    counts = (
        f"{len(tokens['inputs'])} → {len(tokens['targets'])} inside the chat template, as {vocabulary.name} reads them:"
    )
    if not how.pieces:
        texts = [ansi.visible(decoded_turns(vocabulary, ids)) for ids in tokens.values()]
        return tokens, None, [("tokens", counts), ("", texts[0]), ("", f"→ {texts[1]}")]
    made = {side: pieces_of_ids(vocabulary, ids) for side, ids in tokens.items()}
    lines = [("tokens", counts + _troubles([*made["inputs"], *made["targets"]]))]
    lines += [("", piece_text(made["inputs"], how.paint)), ("", "→ " + piece_text(made["targets"], how.paint))]
    return tokens, {side: [dataclasses.asdict(piece) for piece in own] for side, own in made.items()}, lines


def _troubles(pieces: "Sequence[DisplayPiece]") -> str:
    """What is wrong with the pieces, behind their count."""
    unknown, lost = sum(piece.unknown for piece in pieces), sum(piece.lost for piece in pieces)
    found = [f"{unknown} unknown"] * bool(unknown) + [f"{lost} line end{'s' * (lost > 1)} lost"] * bool(lost)
    return f" {', '.join(found)}" if found else ""


def piece_text(pieces: "Sequence[DisplayPiece]", colour: Paint) -> str:
    """The pieces, each apart from the next; ⏎ is a line end that was dropped, and ⟦…⟧ unknown without colour."""
    parts = []
    for piece in pieces:
        parts += [colour(ansi.LOST, "⏎")] * piece.lost
        text = piece.text.replace("\n", "\\n")
        if piece.unknown:
            parts.append(colour(ansi.UNKNOWN, text) if colour.on else f"⟦{visible(text)}⟧")
        else:
            parts.append(visible(text))
    return "│".join(parts)


def produced_examples(task: "Task", how: ViewOptions) -> Iterator[ExampleView]:
    """What another kind of task gives: ids, and their text; then every further feature."""
    from flan_jax.data.prepare.config import PrepareConfig, RecordCounts
    from flan_jax.data.prepare.preprocessors import make_preprocessor
    from flan_jax.data.tokenizers.token_display import decoded_turns

    vocabulary = how.vocabulary
    assert vocabulary is not None
    made = make_preprocessor(task, PrepareConfig(vocabulary, seed=how.seed))
    for example in made.examples(how.split, RecordCounts()):
        ids = {"inputs": example.inputs.tolist(), "targets": example.targets.tolist()}
        text = {name: vocabulary.decode(side) for name, side in ids.items()}
        extras = {name: _plain(value) for name, value in example.extras.items()}
        mask = extras.pop("loss_mask", None)
        counts = f"{len(ids['inputs'])} → {len(ids['targets'])}, decoded by {vocabulary.name}"
        row: dict[str, Any] = {"spec": task.name, "cluster": task.cluster, "mode": None, **text}
        if mask is None:
            lines = [
                ("input", how.paint(ansi.PROMPT, text["inputs"])),
                ("target", how.paint(ansi.TARGET, text["targets"])),
            ]
        else:  # one text, of which a part is learnt
            runs = itertools.groupby(zip(mask, ids["targets"], strict=True), key=lambda pair: bool(pair[0]))
            parts = [
                (ansi.TARGET if learnt else ansi.PROMPT, decoded_turns(vocabulary, (index for _, index in run), END))
                for learnt, run in runs
            ]
            lines = [("text", how.paint.segments(parts))]
            row |= {"targets": "".join(own for _, own in parts), "segments": [{"kind": k, "text": t} for k, t in parts]}
        lines += [("tokens", counts), *(("", f"{name} = {json_text(value)}") for name, value in extras.items())]
        row |= {"references": list(example.references), "example_id": example.example_id, "tokens": ids}
        yield ExampleView(str(example.example_id), {**row, "features": extras}, lines)


END = "⟨EOS⟩"


def _plain(value: Any) -> Any:
    """A feature as JSON has it; text that is no UTF-8 with its odd bytes written out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return _plain(value.tolist()) if hasattr(value, "tolist") else value

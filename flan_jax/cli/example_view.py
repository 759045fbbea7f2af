"""Examples as ``flan-jax inspect`` shows them: a heading, lines for people, an object for programs."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flan_jax.cli import ansi
from flan_jax.cli.ansi import Palette
from flan_jax.cli.escapes import json_text, visible
from flan_jax.errors import UserError
from flan_jax.tasks.render import Renderer
from flan_jax.tasks.rendering.prompt_spans import PromptSpans, Segment, align_spans, strip_marks

if TYPE_CHECKING:
    from flan_jax.data.chat.prompts import ChatPrompts
    from flan_jax.data.tokenizers.protocol import Vocabulary
    from flan_jax.data.tokenizers.token_display import DisplayPiece
    from flan_jax.tasks.spec import Prompted, Record, Rendered
    from flan_jax.tasks.task import Task


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
    """Options of showing examples.

    Attributes:
        split: the split they are of.
        palette: colours.
        seed: which example gets which template.
        template: overrides that.
        vocabulary: counts tokens; ``None`` where none is named.
        max_length: of inputs, in tokens.
        pieces: show every token that the vocabulary makes.
        chat: prompts and replies inside a chat template; ``None`` for none.
    """

    split: str
    palette: Palette
    seed: int = 0
    template: int | None = None
    vocabulary: "Vocabulary | None" = None
    max_length: int = 512
    pieces: bool = False
    chat: "ChatPrompts | None" = None


def prompted_examples(task: "Prompted", options: ViewOptions) -> Iterator[ExampleView | None]:
    """Yields examples of a task of ours in the source's order; ``None`` for each record that is left out.

    Raises:
        UserError: a record that cannot be read or rendered, or data that are not here.
    """
    marking = PromptSpans()
    length: Callable[[str], int] | None = None
    newlines = True
    if options.vocabulary is not None:
        from flan_jax.data.tokenizers.protocol import keeps_newlines

        newlines, length = (
            keeps_newlines(options.vocabulary),
            _length(options.vocabulary, options.chat.overhead if options.chat else 1),
        )
    renderer = Renderer(task, options.seed, newlines, length, options.max_length, marking)
    words = ansi.PROMPT if task.spec.renders_itself else ansi.INSTRUCTION
    for index, record in _records(task, options.split):
        rendered, marked = _rendered(renderer, marking, record, index, options)
        if rendered is None:
            yield None
            continue
        segments = align_spans(marked, rendered.inputs, words=words)
        yield _prompted_view(task, rendered, segments, options)


def _length(vocabulary: "Vocabulary", overhead: int) -> Callable[[str], int]:
    return lambda text: len(vocabulary.encode(strip_marks(text))) + overhead


def _records(task: "Prompted", split: str) -> Iterator[tuple[int, "Record"]]:
    """Yields the records with their indices; where they would come from the hub, an error says what else there is."""
    try:
        yield from enumerate(task.spec.source.records(split))
    except UserError as error:
        if not task.spec.source.is_elsewhere:
            raise
        raise UserError(
            f"{str(error).rstrip('.')}. Or name a folder of local copies with --source_dir (in it, {_folder(task)}/{split}.jsonl)."
        ) from error


def _folder(task: "Prompted") -> str:
    return next(iter(task.spec.source.local_names()), task.spec.name)


def _rendered(
    renderer: Renderer, marking: PromptSpans, record: "Record", index: int, options: ViewOptions
) -> "tuple[Rendered | None, str]":
    """Renders an example twice: as a model sees it, and its inputs with marks between the parts of the prompt."""
    try:
        marking.on = False
        rendered = renderer(record, index=index, split=options.split, template_id=options.template)
        if rendered is None:
            return None, ""
        marking.on = True
        marked = renderer(record, index=index, split=options.split, template_id=options.template)
    except UserError as error:
        place = renderer.task.spec.source.place(options.split, index)
        raise UserError(f"{place}: {error}" if place else str(error)) from error
    return rendered, "" if marked is None else marked.inputs


def _prompted_view(
    task: "Prompted", rendered: "Rendered", segments: Sequence[Segment], options: ViewOptions
) -> ExampleView:
    palette = options.palette
    lines = [("input", palette.segments(segments)), ("target", palette(ansi.TARGET, rendered.targets))]
    if rendered.options:
        lines.append(("options", " | ".join(palette(ansi.OPTIONS, option) for option in rendered.options)))
    if len(rendered.references) > 1:
        lines.append(("accepts", " | ".join(palette(ansi.TARGET, reference) for reference in rendered.references)))
    if rendered.exemplars:
        records = ", ".join(map(str, rendered.exemplars))
        lines.append(("solved", f"{len(rendered.exemplars)} before it, of the training split: {records}"))
    tokens, pieces = None, None
    if options.vocabulary is not None and options.chat is not None:
        tokens, pieces, more = _chat_lines(rendered, options, options.vocabulary, options.chat)
        lines += more
    elif options.vocabulary is not None:
        tokens = {side: options.vocabulary.encode(getattr(rendered, side)) for side in ("inputs", "targets")}
        counts = (
            f"{len(tokens['inputs'])} + EOS → {len(tokens['targets'])} + EOS, as {options.vocabulary.name} reads them:"
        )
        if options.pieces:
            from flan_jax.data.tokenizers.token_display import display_pieces

            made = {side: display_pieces(options.vocabulary, getattr(rendered, side)) for side in tokens}
            pieces = {side: [dataclasses.asdict(piece) for piece in own] for side, own in made.items()}
            lines.append(("tokens", counts + _problem_counts([*made["inputs"], *made["targets"]])))
            lines += [("", piece_text(made["inputs"], palette)), ("", "→ " + piece_text(made["targets"], palette))]
        else:
            lines += [("tokens", counts), ("", visible(options.vocabulary.decode(tokens["inputs"])))]
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
    return ExampleView(heading, {**row, "pieces": pieces} if options.pieces else row, lines)


def _chat_lines(
    rendered: "Rendered", options: ViewOptions, vocabulary: "Vocabulary", chat: "ChatPrompts"
) -> tuple[dict[str, list[int]], dict[str, list[dict[str, Any]]] | None, list[tuple[str, str]]]:
    """Returns ids, tokens as text and lines of an example inside a chat template."""
    from flan_jax.data.tokenizers.token_display import decode_turns, display_id_pieces

    tokens = {
        "inputs": chat.prompt(rendered.inputs).tolist(),
        "targets": [*chat.reply(rendered.targets).tolist(), *chat.end.tolist()],
    }
    counts = (
        f"{len(tokens['inputs'])} → {len(tokens['targets'])} inside the chat template, as {vocabulary.name} reads them:"
    )
    if not options.pieces:
        texts = [ansi.visible(decode_turns(vocabulary, ids)) for ids in tokens.values()]
        return tokens, None, [("tokens", counts), ("", texts[0]), ("", f"→ {texts[1]}")]
    made = {side: display_id_pieces(vocabulary, ids) for side, ids in tokens.items()}
    lines = [("tokens", counts + _problem_counts([*made["inputs"], *made["targets"]]))]
    lines += [
        ("", piece_text(made["inputs"], options.palette)),
        ("", "→ " + piece_text(made["targets"], options.palette)),
    ]
    return tokens, {side: [dataclasses.asdict(piece) for piece in own] for side, own in made.items()}, lines


def _problem_counts(pieces: "Sequence[DisplayPiece]") -> str:
    """Counts the tokens that are unknown and the line ends that are lost, as words behind a count; ``""`` for none."""
    unknown, lost = sum(piece.unknown for piece in pieces), sum(piece.lost for piece in pieces)
    found = [f"{unknown} unknown"] * bool(unknown) + [f"{lost} line end{'s' * (lost > 1)} lost"] * bool(lost)
    return f" {', '.join(found)}" if found else ""


def piece_text(pieces: "Sequence[DisplayPiece]", palette: Palette) -> str:
    """Joins tokens, each apart from the next; ⏎ is a line end that was dropped, and ⟦…⟧ unknown without colour."""
    parts = []
    for piece in pieces:
        parts += [palette(ansi.LOST, "⏎")] * piece.lost
        text = piece.text.replace("\n", "\\n")
        if piece.unknown:
            parts.append(palette(ansi.UNKNOWN, text) if palette.on else f"⟦{visible(text)}⟧")
        else:
            parts.append(visible(text))
    return "│".join(parts)


def preprocessed_examples(task: "Task", options: ViewOptions) -> Iterator[ExampleView]:
    """Yields examples of another kind of task: ids, their text, and every further feature."""
    from flan_jax.data.prepare.config import PrepareConfig, RecordCounts
    from flan_jax.data.prepare.preprocessors import make_preprocessor
    from flan_jax.data.tokenizers.token_display import decode_turns

    vocabulary = options.vocabulary
    assert vocabulary is not None
    made = make_preprocessor(task, PrepareConfig(vocabulary, seed=options.seed))
    for example in made.examples(options.split, RecordCounts()):
        ids = {"inputs": example.inputs.tolist(), "targets": example.targets.tolist()}
        text = {name: vocabulary.decode(side) for name, side in ids.items()}
        extras = {name: _plain(value) for name, value in example.extras.items()}
        mask = extras.pop("loss_mask", None)
        counts = f"{len(ids['inputs'])} → {len(ids['targets'])}, decoded by {vocabulary.name}"
        row: dict[str, Any] = {"spec": task.name, "cluster": task.cluster, "mode": None, **text}
        if mask is None:
            lines = [
                ("input", options.palette(ansi.PROMPT, text["inputs"])),
                ("target", options.palette(ansi.TARGET, text["targets"])),
            ]
        else:  # one text, of which a part is learned
            runs = itertools.groupby(zip(mask, ids["targets"], strict=True), key=lambda pair: bool(pair[0]))
            parts = [
                (ansi.TARGET if learned else ansi.PROMPT, decode_turns(vocabulary, (index for _, index in run), END))
                for learned, run in runs
            ]
            lines = [("text", options.palette.segments(parts))]
            row |= {"targets": "".join(own for _, own in parts), "segments": [{"kind": k, "text": t} for k, t in parts]}
        lines += [("tokens", counts), *(("", f"{name} = {json_text(value)}") for name, value in extras.items())]
        row |= {"references": list(example.references), "example_id": example.example_id, "tokens": ids}
        yield ExampleView(str(example.example_id), {**row, "features": extras}, lines)


END = "⟨EOS⟩"


def _plain(value: Any) -> Any:
    """Converts a feature to JSON; text that is no UTF-8 with its odd bytes written out."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return _plain(value.tolist()) if hasattr(value, "tolist") else value

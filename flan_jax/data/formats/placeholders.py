"""Finds placeholders: an input that says there is none, an answer that is none, a mark of the end.

Records that a model wrote, and tables that went through other programs, have them. What is certain
in the field where it stands (``<noinput>`` as an input, ``<No Output>`` as an answer) loses nothing
when it is taken for what it means. What somebody may have meant as it stands (an answer ``N/A``, a
text that ends with ``</s>``) is counted, and changed on request only.
"""

import re
from typing import NamedTuple

_LONGEST = 40  # of a placeholder
_NO_INPUT = re.compile(r"[<\[(]\s*no[ _-]?input[^<>\[\]()]*[>\])]\.?|noinput\.?", re.IGNORECASE)
_MAYBE_NO_INPUT = re.compile(
    r"no[ _-]input( (needed|required|necessary|provided|given))?|(not )?applicable|n\.?/?a\.?|none|null|nan|-+|—|–",
    re.IGNORECASE,
)
_ATTACHED = re.compile(
    r"[<\[(][^<>\[\]()]*\b(attached|attachment|picture|image|photo|audio|video|file)\b[^<>\[\]()]*[>\])]", re.IGNORECASE
)
_NO_OUTPUT = re.compile(r"[<\[(]\s*no[ _-]?(output|answer|response)[^<>\[\]()]*[>\])]\.?|nooutput\.?", re.IGNORECASE)
_MAYBE_NO_OUTPUT = re.compile(
    r"n\.?/a\.?|nan|no[ _-]output( (needed|required|necessary|provided|given))?", re.IGNORECASE
)
_NUMBER_OR_NONE = re.compile("NaN|NAN|None|none|null|NULL|NA")

_END = (
    r"<\|(?:endoftext|im_end|end|eot_id|end_of_text|eom_id|end_of_turn|endofturn|EOT|eos|eot|assistant_end|return)\|>"
    r"|</s>|<eos>|<EOS>|\[EOS\]|<end_of_turn>|<end_of_utterance>|<｜end▁of▁sentence｜>|\[/?INST\]"
    r"|<\|(?:im_start|start_header_id|begin_of_text|user|assistant|system)\|>"
)
_MARK = re.compile(_END)
_AT_END = re.compile(rf"(?:\s*(?:{_END}))+\s*\Z")
_STRUCK = re.compile(r"<s\b[^<>]*>")
_NUMBERED = re.compile(r"\n\s*(?:#{2,}\s*)?\d+\.\s*Instruction:")
_HEADED = re.compile(r"\n\s*#{2,}\s*(?:Instruction|Human|User|Input|Question)s?\s*:", re.IGNORECASE)

NO_INPUT = "input that says there is none"
ATTACHED = "input that stands for an attachment"
NO_OUTPUT = "answer that says there is none"
MARK_AT_END = "answer that ends with a mark of the end"
MARK_WITHIN = "answer with such a mark inside"
GLUED = "answer that runs on into another instruction"


class Finding(NamedTuple):
    """A placeholder in a field, or the field's own text.

    Attributes:
        text: the replacement, or the text itself.
        kind: the kind of placeholder, for people; ``""`` for none.
        certain: nobody can have meant it as it stands.
        replaces: ``text`` can take its place; otherwise it is only counted.
    """

    text: str
    kind: str = ""
    certain: bool = False
    replaces: bool = False


def check_input(text: str) -> Finding:
    """Looks for a placeholder in an input.

    >>> check_input("<noinput>"), check_input("N/A").replaces, check_input("4 by 5").kind
    (Finding(text='', kind='input that says there is none', certain=True, replaces=True), True, '')
    """
    bare = text.strip() if len(text) < 2 * _LONGEST else text
    if not bare or len(bare) > _LONGEST:
        return Finding(text)
    if _NO_INPUT.fullmatch(bare):
        return Finding("", NO_INPUT, certain=True, replaces=True)
    if _MAYBE_NO_INPUT.fullmatch(bare.rstrip(".")):
        return Finding("", NO_INPUT, replaces=True)
    return Finding(text, ATTACHED if _ATTACHED.fullmatch(bare) else "")


def check_answer(text: str, *, label: bool = False) -> Finding:
    """Looks for a placeholder in an answer; ``text=""`` where the answer is none.

    Args:
        text: the answer.
        label: it may be one of a closed set, so that ``N/A`` is an answer as good as any.

    >>> check_answer("<nooutput>").certain, check_answer("4<|im_end|>").text, check_answer("<s>9</s>").kind
    (True, '4', 'answer with such a mark inside')
    """
    bare = text.strip() if len(text) < 2 * _LONGEST else text
    if bare and len(bare) <= _LONGEST:
        if _NO_OUTPUT.fullmatch(bare):
            return Finding("", NO_OUTPUT, certain=True, replaces=True)
        if _NUMBER_OR_NONE.fullmatch(bare):
            return Finding(text, "" if label else NO_OUTPUT)
        if _MAYBE_NO_OUTPUT.fullmatch(bare):
            return Finding(text) if label else Finding("", NO_OUTPUT, replaces=True)
    if "nstruction" in text or "##" in text:
        if (found := _NUMBERED.search(text)) and text[: found.start()].strip():
            return Finding(text[: found.start()].rstrip(), GLUED, replaces=True)
        if _HEADED.search(text):
            return Finding(text, GLUED)
    return _without_mark(text) if "<" in text or "[" in text else Finding(text)


def _without_mark(text: str) -> Finding:
    """Cuts a mark behind an answer, unless it is all of the answer or closes what the answer opens."""
    end = _AT_END.search(text)
    if end and text[: end.start()].strip() and not (_closes(text, end) or _MARK.search(text, 0, end.start())):
        return Finding(text[: end.start()], MARK_AT_END, replaces=True)
    return Finding(text, MARK_WITHIN if _MARK.search(text) else "")


def _closes(text: str, end: re.Match[str]) -> bool:
    """Tells whether what stands at the end is HTML's ``</s>`` or an instruction's bracket that was opened before."""
    opened = len(_STRUCK.findall(text, 0, end.start())) > text.count("</s>", 0, end.start())
    return "[/INST]" in end[0] or ("</s>" in end[0] and opened)

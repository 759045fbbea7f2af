"""Renders published chat templates, Jinja of strangers, in a sandbox and within a budget (``render_template``).

A template comes with a folder that somebody downloaded. It gets what transformers gives it, and can neither
reach Python's insides nor change what it is given; every loop, comparison, filter and call is paid for
(``jinja_budget``), so that one that loops or grows is stopped at the same place on every machine. Beside
promptsource's language it has macros, ``{% generation %}``, ``break`` and ``continue``.
"""

import datetime
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import filters, nodes
from jinja2.ext import Extension
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from flan_jax.data.templates.jinja_budget import RUN, Refused, RenderBudget
from flan_jax.data.templates.jinja_sandbox import PAYING, metered, paid
from flan_jax.data.tokenizers.encoding import BEGIN, END
from flan_jax.errors import UserError

_MAX_SOURCE = 200_000  # characters of a template; the longest published ones have a tenth
_MAX_BITS = 1024  # of a whole number that arithmetic makes
_PADDING = ("ljust", "rjust", "center", "zfill", "expandtabs")
# A width or a precision of four digits in a format, or one that is given with the values.
_WIDE = re.compile(r"\{[^{}]*:[^{}]*(?:\d{4}|\{)|%(?:\(\w*\))?[^a-zA-Z%]*(?:\*|\d{4})")
_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_OWN = ("join", "replace", "round", "format")
_SIZED = ("center", "indent", "batch", "slice", "wordwrap", "truncate", "tojson")


class _Budget(RenderBudget):
    """The budget of one rendering; a function that is only looked at costs nothing."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        super().__init__(lambda number: 0, given=_count_characters(variables))

    def _charge_inside(self, value: Any, depth: int) -> None:
        if not (callable(value) or (isinstance(value, Iterator) and depth)):
            super()._charge_inside(value, depth)


def _count_characters(value: Any) -> int:
    """Counts the characters of the texts in a conversation."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(map(_count_characters, value.values()))
    return sum(map(_count_characters, value)) if isinstance(value, list | tuple) else 0


class _Generation(Extension):
    """The tag ``{% generation %}…{% endgeneration %}``, which puts its text between marks."""

    tags = {"generation"}  # noqa: RUF012 (Jinja wants a set)

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_mark"), [], [], body).set_lineno(line)

    def _mark(self, caller: Callable[[], str]) -> str:
        return f"{BEGIN}{caller()}{END}"


class _Namespace(jinja2.utils.Namespace):
    """``namespace()`` without names that begin with an underscore."""

    def __setitem__(self, name: str, value: Any) -> None:
        if str(name).startswith("_"):
            raise jinja2.exceptions.SecurityError(f"a namespace has no room for {name!r}")
        super().__setitem__(name, value)


def _namespace(*pairs: Any, **values: Any) -> _Namespace:
    made = _Namespace()
    for name, value in dict(*pairs, **values).items():
        made[name] = value
    return made


def _raise_exception(message: str) -> str:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Writes plain JSON; Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _sized(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a filter whose output grows with a number, so that it pays for it."""
    inner = paid(function)

    @jinja2.pass_context
    @functools.wraps(function)
    def filtered(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        lines = 1 + str(value).count("\n") + (len(value) if isinstance(value, list | tuple | dict) else 0)
        for given in (*args, *kwargs.values()):
            if isinstance(given, int):
                RUN.get().text(abs(given) * lines)
        return inner(context, value, *args, **kwargs)

    filtered.jinja_pass_arg = jinja2.pass_context(lambda c: None).jinja_pass_arg  # type: ignore[attr-defined]
    return filtered


@jinja2.pass_context
def _finalize(context: Any, value: Any) -> str:
    if isinstance(value, Iterator):
        raise Refused("it shows a list that is not made yet. Add |list")
    return str(RUN.get().charge(value))


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "%", "**", "//"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, "jinja2.ext.loopcontrols"],
            optimized=False,  # what is worked out ahead of time would not be paid for
            finalize=_finalize,
        )
        sized = {name: _sized(filters.FILTERS[name]) for name in _SIZED if name != "tojson"}
        plain = {name: paid(function) for name, function in filters.FILTERS.items()}
        self.filters = {**plain, **sized, **{name: PAYING[name] for name in _OWN}, "tojson": _sized(_to_json)}
        self.filters |= {name: function for name, function in PAYING.items() if name.startswith("_")}
        del self.globals["lipsum"]
        self.globals.update(
            raise_exception=_raise_exception, namespace=_namespace, dict=lambda *pairs, **named: dict(*pairs, **named)
        )

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Calls what the sandbox allows, and charges for it."""
        run, owner, name = RUN.get(), getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        for given in (*args, *kwargs.values()):
            run.charge(given)
        run.spend(1 + len(args) + len(kwargs))
        if isinstance(owner, str):
            self._pay_for_text(run, owner, name, args)
        elif isinstance(owner, list | tuple | dict):
            run.spend(len(owner))
        result = super().call(context, obj, *args, **kwargs)
        return run.charge(result) if isinstance(owner, str) or isinstance(obj, Macro) else result

    def _pay_for_text(self, run: RenderBudget, owner: str, name: str, args: tuple[Any, ...]) -> None:
        run.charge(owner)
        if name in _PADDING and args and isinstance(args[0], int):
            run.text(abs(args[0]) * (1 + (owner.count("\t") if name == "expandtabs" else 0)))
        elif name == "replace" and len(args) > 1:
            run.text(len(owner) + owner.count(str(args[0])) * len(str(args[1])))
        elif name == "join" and args and hasattr(args[0], "__len__"):
            run.text(len(owner) * len(args[0]))
        elif name == "translate":
            run.text(len(owner) * 100)

    def wrap_str_format(self, value: Any) -> Any:
        """Allows ``str.format`` of a text without great widths."""
        owner = getattr(value, "__self__", None)
        if (
            isinstance(owner, str)
            and getattr(value, "__name__", "") in ("format", "format_map")
            and _WIDE.search(owner)
        ):
            raise Refused(f"it formats with {owner!r:.40}")
        return super().wrap_str_format(value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes a binary operation, and refuses large results."""
        run = RUN.get()
        if isinstance(left, str) and operator == "%" and _WIDE.search(left):
            raise Refused(f"it formats with {left!r:.40}")
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int):
                    run.text(len(one) * max(times, 0))
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * max(right, 0) > _MAX_BITS:
                raise Refused(f"it makes a number of more than {_MAX_BITS} bits")
        elif isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            run.text(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > _MAX_BITS:
            raise Refused(f"it makes a number of more than {_MAX_BITS} bits")
        return result

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        metered(source)
        return super()._generate(source, *args, **kwargs)


@functools.cache
def _environment() -> _Environment:
    return _Environment()


@functools.lru_cache(maxsize=64)
def _compiled(source: str) -> Any:
    if len(source) > _MAX_SOURCE:
        raise Refused(f"it is {len(source):,} characters long, when {_MAX_SOURCE:,} are the limit")
    return _environment().from_string(source)


def render_template(source: str, variables: Mapping[str, Any]) -> str:
    """Renders a chat template.

    Raises:
        Refused: it needs more than its budget, or makes more text.
        jinja2.TemplateError: whatever else Jinja finds.
    """
    program = _compiled(source)
    budget = _Budget(variables)
    token = RUN.set(budget)
    try:
        pieces: list[str] = []
        length = 0
        for piece in program.generate(dict(variables)):
            length += len(piece)
            if length > budget.longest:
                raise Refused(f"it renders more than {budget.longest:,} characters")
            pieces.append(piece)
        return "".join(pieces)
    except jinja2.UndefinedError as error:
        found = _UNDEFINED.fullmatch(str(error))
        if found is None or found[1] in variables:
            raise
        given = f"it reads the variable {found[1]!r}, which nothing gives: name its value in ChatTemplate.variables"
        raise jinja2.UndefinedError(f"{given}, or a default in the template") from error
    finally:
        RUN.reset(token)


def clock(today: str) -> Callable[[str], str]:
    """Returns ``strftime_now``, by which it is the same day on every day.

    Raises:
        UserError: no such day.
    """
    try:
        day = datetime.datetime.fromisoformat(today)
    except ValueError as error:
        raise UserError(f"A chat template's today={today!r} is no day. Write it as YYYY-MM-DD.") from error
    return day.strftime

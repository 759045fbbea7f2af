"""Compiles and renders strangers' Jinja in a narrowed sandbox and within a budget (``compiled``, ``Program``).

promptsource's templates are programs in a user's own copy of files that strangers wrote. They run
in Jinja's sandbox, narrowed to the part of the language that templates need: no macro, import or
power; listed filters, tests and methods only; no attribute of Python's own. What they read is a
private copy of the record, and text in it is never taken for a template. Every loop, comparison,
filter and call is paid for out of a fixed budget (``jinja_budget``).
"""

import collections
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jinja2
from jinja2 import filters, meta, nodes, sandbox
from jinja2.runtime import LoopContext
from jinja2.utils import Namespace

from flan_jax.data.templates.jinja_budget import BLOCK, MAX_OUTPUT, RUN, Refused, RenderBudget
from flan_jax.errors import UserError


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MAX_RANGE = 100_000
_MAX_SOURCE = 100_000  # characters of a template
_MAX_BITS = 1024  # of a whole number that arithmetic makes

_NODES = _words(
    "Template Output TemplateData Name Const Getattr Getitem Slice Filter Test Call Keyword Assign NSRef If For List "
    "Tuple Dict Pair CondExpr Compare Operand And Or Not Neg Pos Add Sub Mul Div FloorDiv Mod Concat"
)
_FILTERS = _words(
    "abs capitalize count default d dictsort first float int items join last length list lower map max min "
    "reject rejectattr replace reverse round select selectattr sort string title trim truncate unique upper "
    "wordcount"
)
_TESTS = _words(
    "boolean defined divisibleby eq equalto == even false float ge gt greaterthan >= > integer iterable le lessthan lt "
    "< <= lower mapping ne != none number odd sequence string true undefined upper"
)
_METHODS: dict[type, frozenset[str]] = {
    str: _words(
        "capitalize count endswith find index isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper "
        "join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split "
        "splitlines startswith strip swapcase title upper"
    ),
    list: _words("append count extend index insert pop remove reverse"),
    dict: _words("get items keys pop setdefault update values"),
}
_LOOP_METHODS = _words("cycle changed")
# A width of three digits or one that is given, or a name in brackets that could hide one.
_WIDE = re.compile(r"%(?:\((?!\w*\))|(?:\(\w*\))?[^a-zA-Z%(]*(?:\*|\d{3}))")


def paid(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a filter of Jinja so that it pays for its arguments and is never evaluated ahead of time."""
    wants = getattr(function, "jinja_pass_arg", None)
    passed = {"context": lambda c: c, "eval_context": lambda c: c.eval_ctx, "environment": lambda c: c.environment}
    first = passed.get(wants.name) if wants is not None else None

    @jinja2.pass_context
    @functools.wraps(function)
    def filtered(context: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        run = RUN.get()
        for given in (value, *args, *kwargs.values()):
            run.charge(given)
        result = function(*((first(context),) if first else ()), value, *args, **kwargs)
        if isinstance(result, list):
            run.spend(len(result))
        return map(run.charge, run.each(result)) if inspect.isgenerator(result) else result

    # functools.wraps copies what the wrapped one wants passed.
    filtered.jinja_pass_arg = jinja2.pass_context(lambda c: None).jinja_pass_arg  # type: ignore[attr-defined]
    return filtered


def _replaced(text: str, old: str, new: str) -> None:
    """Charges for a text in which ``old`` is replaced."""
    run = RUN.get()
    run.charge(text)
    run.text(len(text) + text.count(old) * max(0, len(new) - len(old)))


@jinja2.pass_context
def _join(context: Any, value: Any, d: str = "", attribute: Any = None) -> str:
    run = RUN.get()
    items = list(run.each(value))
    run.charge(items)
    run.text(len(items) * len(str(d)))
    return filters.sync_do_join(context.eval_ctx, items, str(d), attribute)


@jinja2.pass_context
def _replace(context: Any, s: Any, old: str, new: str, count: int | None = None) -> str:
    RUN.get().charge(s)
    _replaced(str(s), str(old), str(new))
    return filters.do_replace(context.eval_ctx, str(s), str(old), str(new), count)


@jinja2.pass_context
def _round(context: Any, value: Any, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 30:
        raise Refused(f"it rounds to {precision} places")
    return filters.do_round(value, precision, method)


@jinja2.pass_context
def _format(context: Any, value: Any, *args: Any, **kwargs: Any) -> str:
    if _WIDE.search(str(value)):
        raise Refused(f"it formats with {value!r:.40}")
    RUN.get().charge(list(args) + list(kwargs.values()))
    return filters.do_format(str(value), *args, **kwargs)


@jinja2.pass_context
def _choice(context: Any, items: Any) -> Any:
    return RUN.get().choose(items)


@jinja2.pass_context
def _most_frequent(context: Any, items: Any) -> list[Any] | None:
    """Returns the items that occur most often, in the order of their first occurrence; ``None`` for no items."""
    counted = collections.Counter(RUN.get().each(items or ()))
    most = max(counted.values(), default=0)
    return [item for item, count in counted.items() if count == most] or None


@jinja2.pass_context
def _highlight(context: Any, text: Any) -> Any:
    # promptsource's editor colours a text with this filter; a model is shown the text.
    return text


@jinja2.pass_context
def _charged(context: Any, value: Any) -> Any:
    return RUN.get().charge(value)


@jinja2.pass_context
def _each(context: Any, items: Any) -> Iterator[Any]:
    return RUN.get().each(items)


@jinja2.pass_context
def _concatenated(context: Any, values: Any) -> str:
    run = RUN.get()
    texts = [str(run.charge(value)) for value in values]
    run.text(sum(map(len, texts)))
    return "".join(texts)


def _range(*args: int) -> range:
    found = range(*args)
    if len(found) > _MAX_RANGE:
        raise Refused(f"range() of {len(found):,} numbers, when {_MAX_RANGE:,} are the limit")
    return found


def _zip(*lists: Any) -> Iterator[Any]:
    return RUN.get().each(zip(*lists, strict=False))


PAYING: dict[str, Callable[..., Any]] = {
    **{"join": _join, "replace": _replace, "round": _round, "format": _format},
    **{"_charged": _charged, "_each": _each, "_concatenated": _concatenated},
}
"""Filters that are written anew so that they pay, and those that ``metered`` inserts."""


class Environment(sandbox.SandboxedEnvironment):
    """The narrowed Jinja environment."""

    intercepted_binops = frozenset(("+", "-", "*", "%"))

    def __init__(self, truncate: int) -> None:
        super().__init__(optimized=False, autoescape=False, cache_size=0, finalize=_finalizer(truncate))
        own = {
            **{"choice": _choice, "random": _choice, "most_frequent": _most_frequent, "highlight": _highlight},
            **PAYING,
        }
        self.filters = {**{name: paid(filters.FILTERS[name]) for name in _FILTERS}, **own}
        self.tests = {name: test for name, test in self.tests.items() if name in _TESTS}
        self.globals = {"range": _range, "zip": _zip, "namespace": Namespace, "dict": dict}

    def is_safe_callable(self, obj: Any) -> bool:
        """Allows listed methods of text, lists and objects, and four functions."""
        if any(obj is function for function in (_range, _zip, Namespace, dict)):
            return True
        owner = getattr(obj, "__self__", None)
        methods = _LOOP_METHODS if isinstance(owner, LoopContext) else _METHODS.get(type(owner), _words(""))
        return getattr(obj, "__name__", "") in methods

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Calls what the sandbox allows, and charges for it."""
        name = getattr(obj, "__name__", type(obj).__name__)
        if not isinstance(obj, jinja2.Undefined) and not self.is_safe_callable(obj):
            raise Refused(f"it calls {name!r}, which templates may not")
        run = RUN.get()
        owner = getattr(obj, "__self__", None)
        for given in (*args, *kwargs.values()):
            run.charge(given)
        if isinstance(owner, str) and name == "replace" and len(args) > 1:
            _replaced(owner, *map(str, args[:2]))
        elif isinstance(owner, str) and name == "join" and args:
            args = (list(run.each(args[0])),)
            run.text(len(args[0]) * len(owner))
        elif isinstance(owner, str) or name in ("index", "count", "remove", "reverse"):
            run.charge(owner)
        else:
            run.spend(1 + (len(owner) if isinstance(owner, list | dict) else 0) // BLOCK)
        result = context.call(obj, *args, **kwargs)
        return run.charge(result) if isinstance(owner, str) else result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes a binary operation, and refuses large results."""
        run = RUN.get()
        if operator == "%" and isinstance(left, str):
            raise Refused("it formats with %")
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(times, int):
                    run.text(len(one) * max(times, 0) * (1 if isinstance(one, str) else BLOCK))
        elif isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
            run.charge(left)
            run.charge(right)
            run.text(len(left) + len(right))
        result = super().call_binop(context, operator, left, right)
        if isinstance(result, int) and result.bit_length() > _MAX_BITS:
            raise Refused(f"it makes a number of more than {_MAX_BITS} bits")
        return result

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        """Raises at once where Jinja would render nothing."""
        raise Refused(f"it reads {attribute!r}, which templates may not")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all(nodes.Node):
            kind = type(node).__name__
            if kind not in _NODES or (isinstance(node, nodes.For) and node.recursive):
                raise Refused(f"line {node.lineno} uses {kind}, which templates may not")
            if isinstance(node, nodes.Getattr) and node.attr.startswith("__"):
                raise Refused(f"line {node.lineno} reads {node.attr!r}, which templates may not")
            if isinstance(node, nodes.Name) and node.name in ("self", "super", "caller", "varargs", "kwargs"):
                raise Refused(f"line {node.lineno} uses {node.name!r}, which templates may not")
        return tree

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        # What the sandbox does not intercept is made to pass through a filter that pays.
        metered(source)
        return super()._generate(source, *args, **kwargs)


def metered(node: nodes.Node) -> None:
    """Inserts filters of ``PAYING`` into a syntax tree where the sandbox does not intercept, so that everything pays."""
    for child in list(node.iter_child_nodes()):
        metered(child)
    if isinstance(node, nodes.For):
        node.iter = _through("_each", node.iter)
    elif isinstance(node, nodes.Compare | nodes.Operand):
        node.expr = _through("_charged", node.expr)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = _through("_charged", node.node)
    elif isinstance(node, nodes.Getitem):
        node.arg = _through("_charged", node.arg)
    elif isinstance(node, nodes.Pair):
        node.key = _through("_charged", node.key)
    elif isinstance(node, nodes.Test):
        node.node = _through("_charged", node.node)
        node.args = [_through("_charged", given) for given in node.args]
    for name, value in list(node.iter_fields()):
        if isinstance(value, nodes.Concat):
            setattr(node, name, _as_call(value))
        elif isinstance(value, list):
            value[:] = [_as_call(item) if isinstance(item, nodes.Concat) else item for item in value]


def _through(name: str, node: Any) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _as_call(node: nodes.Concat) -> nodes.Expr:
    listed = nodes.List(node.nodes, lineno=node.lineno, environment=node.environment)
    return _through("_concatenated", listed)


def _finalizer(truncate: int) -> Callable[[Any, Any], Any]:
    """Makes the finalizer of printed values, cut to ``truncate`` characters as Jinja's filter does; 0 for all of it."""

    @jinja2.pass_context
    def finalize(context: Any, value: Any) -> str:
        run = RUN.get()
        if isinstance(value, Iterator):
            raise Refused("it shows a list that is not made yet. Add |list")
        text = str(run.charge(value))
        if truncate and len(text) > truncate + context.environment.policies["truncate.leeway"]:
            text = text[: truncate - len("...")].rsplit(" ", 1)[0] + "..."
        return text

    return finalize


@functools.cache
def _environment(truncate: int) -> Environment:
    return Environment(truncate)


class Program:
    """A compiled template.

    Attributes:
        needs: the fields of a record that it cannot do without.
    """

    def __init__(self, source: str, truncate: int) -> None:
        environment = _environment(truncate)
        if len(source) > _MAX_SOURCE:
            raise Refused(f"it is {len(source):,} characters long, when {_MAX_SOURCE:,} are the limit")
        tree = environment.parse(source)
        names = meta.find_undeclared_variables(tree) - set(environment.globals)
        own = {name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"}
        spared = {
            node.node.name
            for node in tree.find_all((nodes.Filter, nodes.Test))
            if node.name in ("default", "d", "defined", "undefined") and isinstance(node.node, nodes.Name)
        }
        self.needs = tuple(sorted(names - own - spared - {"answer_choices"}))
        self._template = environment.from_string(source)

    def __call__(self, fields: Mapping[str, Any], run: RenderBudget) -> str:
        """Renders.

        Raises:
            Refused: it asks for what the sandbox does not give.
            jinja2.TemplateError: whatever else Jinja finds.
        """
        token = RUN.set(run)
        try:
            pieces: list[str] = []
            length = 0
            for piece in self._template.generate(dict(fields)):
                length += len(piece)
                if length > MAX_OUTPUT:
                    raise Refused(f"it renders more than {MAX_OUTPUT:,} characters")
                pieces.append(piece)
            return "".join(pieces)
        finally:
            RUN.reset(token)


@functools.lru_cache(maxsize=8192)
def compiled(source: str, truncate: int = 0) -> Program:
    """Compiles the template in ``source``.

    Args:
        source: Jinja text.
        truncate: what it prints of one value at most, in characters; 0 for all.

    Raises:
        UserError: it is no Jinja, or uses a part of the language that is not given.
    """
    try:
        return Program(source, truncate)
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"is not valid Jinja ({error.message}, line {error.lineno})") from error
    except Refused as error:
        raise UserError(f"is refused: {error.message}") from error
    except (RecursionError, SyntaxError, ValueError) as error:
        raise UserError(f"cannot be compiled ({type(error).__name__})") from error

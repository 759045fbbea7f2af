"""The checks that the parts' figures are held to, as a table, and what of it decides the exit code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from device.parts import PARTS, CheckedPart

Status = Literal["passed", "measured", "below", "failed", "not judged", "missing"]
PEAK_WITHIN, TIME_WITHIN = 0.05, 0.20
"""How far a plan's peak of memory and its time of a step may be from what was measured."""
FASTER_THAN_TORCH = 1.3


class Check(NamedTuple):
    """A figure and its target.

    Attributes:
        part: that measured it.
        name: what it is.
        figure: as text.
        target: as text; empty where there is none.
        status: `passed`; `measured`, where there is no target; `below` its target; `failed`, of correctness; `not judged`, and `missing`, for a reason.
        correctness: it decides the exit code.
        reason: of what was not passed.
    """

    part: str
    name: str
    figure: str
    target: str
    status: Status
    correctness: bool = False
    reason: str = ""


def checks(parts: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    """Returns the checks of the parts that were asked for, in their order."""
    found: list[Check] = []
    for part in PARTS:
        ran = parts.get(part.name)
        if ran is None:
            continue
        if ran["status"] != "done":
            status: Status = "failed" if part.correctness else "missing"
            reason = f"{ran['status'].replace('_', ' ')}: {ran.get('reason', '')}"
            found.append(Check(part.name, "the part ran", ran["status"], "done", status, part.correctness, reason))
        for name, value in _DERIVED[part.module](ran.get("results", {})):
            found.append(Check(part.name, name, *value))
    return found


def failed(found: Sequence[Check]) -> list[Check]:
    """Returns the checks of correctness that were not passed."""
    return [check for check in found if check.correctness and check.status == "failed"]


def table(found: Sequence[Check]) -> list[str]:
    """Returns a line for each check, and a sentence on all of them."""
    rows = [("part", "check", "figure", "target", "")]
    rows += [(each.part, each.name, each.figure, each.target or "–", each.status) for each in found]
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    reasons = dict.fromkeys(f"{each.part}, {each.name}: {each.reason}" for each in found if each.reason)
    return [*lines, *(["", *reasons] if reasons else []), "", verdict(found)]


def verdict(found: Sequence[Check]) -> str:
    """Returns the sentence that says what the exit code is for."""
    wrong = failed(found)
    if wrong:
        return f"Not correct: {', '.join(f'{each.name} ({each.part})' for each in wrong)}. Exit code 1."
    below = sum(each.status == "below" for each in found)
    right = sum(each.correctness and each.status == "passed" for each in found)
    missing = sum(each.status in ("missing", "not judged") for each in found)
    return (
        f"All {right} checks of correctness passed. {below} figures of speed or planning are below their targets, which is "
        f"no failure; {missing} were not measured or not judged. Exit code 0."
    )


Value = tuple[str, str, Status, bool, str]
Derived = Iterator[tuple[str, Value]]


def _correct(error: float | None, tolerance: float) -> Value:
    good = error is not None and error <= tolerance
    figure = "–" if error is None else f"{error:.1e}" if error < 1e299 else "not finite"
    return figure, f"≤ {tolerance:g}", "passed" if good else "failed", True, ""


def _at_least(figure: float, target: float, text: Callable[[float], str], unjudged: str = "") -> Value:
    status: Status = "not judged" if unjudged else "passed" if figure >= target else "below"
    return text(figure), f"≥ {text(target)}", status, False, unjudged


def _within(measured: float, planned: float, share: float, text: Callable[[float], str], unjudged: str = "") -> Value:
    off = measured / planned - 1 if planned else float("inf")
    status: Status = "not judged" if unjudged else "passed" if abs(off) <= share else "below"
    return f"{text(measured)}, {off:+.1%} of {text(planned)}", f"within {share:.0%}", status, False, unjudged


def _told(figure: str, reason: str = "") -> Value:
    return figure, "", "not judged" if reason else "measured", False, reason


def _missing(reason: Any) -> Value:
    return "–", "", "missing", False, str(reason)


def _unjudged(found: Mapping[str, Any]) -> str:
    """Why figures are not held to targets of devices: empty where the device is in the table of peak rates."""
    source = found.get("peak_source", "")
    return "" if source == "data sheet" else f"the peak rates are {source or 'unknown'}"


def _machine(found: Mapping[str, Any]) -> Derived:
    if "product_flops" in found:
        share = found["product_flops"] / found["peak_flops"]
        yield "product of bfloat16", _told(f"{found['product_flops'] / 1e12:.3g} TFLOP/s, {share:.0%} of the peak")
    if "memory_bytes_per_s" in found:
        share = found["memory_bytes_per_s"] / found["bandwidth"]
        yield "memory", _told(f"{found['memory_bytes_per_s'] / 1e9:,.0f} GB/s, {share:.0%} of the peak")


def _parity(found: Mapping[str, Any]) -> Derived:
    for model, of_model in found.items():
        if model in ("tolerances", "device"):
            continue
        for kind, limits in found["tolerances"].items():
            for what, limit in limits.items():
                yield f"{model} {kind} {what}", _correct(of_model[kind][what], limit)


def _attention(found: Mapping[str, Any]) -> Derived:
    for shape, of_shape in found.items():
        if shape == "tolerance":
            continue
        for kind, why in of_shape["missing"].items():
            yield f"{shape} {kind}", _missing(why)
        for kind, each in of_shape.items():
            if kind in ("missing", "shape"):
                continue
            if "difference" in each:
                yield (
                    f"{shape} {kind} equals {of_shape['shape']['against'][0]}",
                    _correct(each["difference"], found["tolerance"]),
                )
        if "cudnn" in of_shape and "chunked" in of_shape:
            factor = of_shape["chunked"]["seconds"]["median"] / of_shape["cudnn"]["seconds"]["median"]
            yield f"{shape} cudnn faster than chunked", _at_least(factor, 1.0, _times)


def _decode(found: Mapping[str, Any]) -> Derived:
    for rows, each in found.items():
        if not rows.startswith("rows_"):
            continue
        if each["bound_share"] is None:
            yield rows, _missing("the texts were too short to tell the time of a token")
            continue
        figure = f"{each['tokens_per_s']:,.0f} tokens/s, {each['bound_share']:.0%} of what memory allows"
        yield rows, _told(figure, _unjudged(found))


def _groups(found: Mapping[str, Any]) -> Derived:
    for runs, each in found.items():
        if not runs.startswith("runs_"):
            continue
        yield f"{runs} losses as alone", _correct(each["difference"], found["tolerance"])
        if runs != "runs_1":
            yield f"{runs} faster than one after another", _at_least(each["faster_than_alone"], 1.0, _times)


def _train(found: Mapping[str, Any]) -> Derived:
    if "step_s" not in found:
        return
    step, why = found["step_s"]["median"], _unjudged(found)
    finite = all(abs(loss) < float("inf") for loss in found["losses"])
    yield "loss is finite", (f"{found['losses'][-1]:.3f}", "finite", "passed" if finite else "failed", True, "")
    yield "MFU", _at_least(found["mfu"], found["mfu_target"], lambda share: f"{share:.1%}", why)
    yield (
        "time of a step by the plan",
        _within(step, found["planned"]["seconds"]["bound"], TIME_WITHIN, _milliseconds, why),
    )
    before, behind = (found["memory"][when].get("peak") for when in ("before_steps", "behind_steps"))
    if behind is None:
        yield "peak of memory by the plan", _missing("the device does not say what is in use")
    elif behind == before:
        yield "peak of memory by the plan", _missing("drawing the weights took more than the step")
    else:
        yield "peak of memory by the plan", _within(behind, found["planned"]["memory"]["peak"], PEAK_WITHIN, _gib)


def _torch(found: Mapping[str, Any]) -> Derived:
    if "missing" in found:
        yield "PyTorch", _missing(found["missing"])
    for name, each in found.items():
        if name in ("missing", "versions"):
            continue
        if "missing" in each:
            yield name, _missing(each["missing"])
        else:
            yield f"{name} faster than PyTorch", _at_least(each["faster_than"], FASTER_THAN_TORCH, _times)


def _times(factor: float) -> str:
    return f"{factor:.2f} ×"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"


_DERIVED: Mapping[str, Callable[[Mapping[str, Any]], Derived]] = {
    "measure_machine": _machine,
    "measure_parity": _parity,
    "measure_attention": _attention,
    "measure_decode": _decode,
    "measure_groups": _groups,
    "measure_train": _train,
    "measure_torch": _torch,
}


def named(names: Sequence[str]) -> list[CheckedPart]:
    """Returns the parts of these names, in the order in which they run."""
    return [part for part in PARTS if part.name in names]

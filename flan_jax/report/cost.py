"""The cost of a run: commit, hardware, time, tokens and floating-point operations, from the files of its folder."""

import math
import re
from typing import Any

from flan_jax.report.run import Run, is_number, mapping

_LINE = re.compile(r"^(?P<path>\S+) +\((?P<shape>[\d, ]*)\) +\S+ +(?P<count>[\d,]+)(?: +(?P<mark>trained|frozen))?$")


def run_cost(run: Run) -> dict[str, Any]:
    """Collects the cost of a run as JSON values; what its files do not say is ``None``.

    Returns:
        ``commit`` (with ``changed``), ``hardware`` and ``versions`` as the manifest has them; ``steps``, and of them
        ``skipped_steps``, which changed nothing as their loss or gradient was not finite;
        ``training_seconds``, the logged windows added up, so without evaluations and stops; ``tokens`` of both sides without padding; ``loss_tokens``; ``examples`` drawn;
        ``tokens_per_second`` and ``mfu``, medians over windows; ``parameters`` and ``trained_parameters``; ``flops``, as
        ``training_flops`` estimates them.
    """
    loss = run.loss()
    code = mapping(run.manifest.get("code"))
    tokens, loss_tokens = _sum(run, "tokens"), _sum(run, "weight")
    counts = parameter_counts(run.model_info)
    drawn = [row["examples"] for row in run.sampled().values() if is_number(row.get("examples"))]
    return {
        "commit": str(code["commit"]) if code.get("commit") else None,
        "changed": bool(code.get("changed")),
        "hardware": dict(mapping(run.manifest.get("hardware"))) or None,
        "versions": dict(mapping(run.manifest.get("versions"))),
        "steps": loss[-1][0] if loss else None,
        "skipped_steps": _sum(run, "skipped"),
        "last_loss": loss[-1][1] if loss else None,
        "training_seconds": _sum(run, "seconds"),
        "tokens": tokens,
        "loss_tokens": loss_tokens,
        "examples": int(sum(drawn)) if drawn else None,
        "tokens_per_second": run.tokens_per_second(),
        "mfu": run.mfu(),
        "parameters": counts["total"] if counts else None,
        "trained_parameters": counts["trained"] if counts else None,
        "flops": training_flops(counts, tokens, loss_tokens) if counts and tokens and loss_tokens else None,
    }


def parameter_counts(model_info: str) -> dict[str, int]:
    """Adds up the parameters that ``model-info.txt`` lists; ``{}`` where it lists none.

    Returns:
        ``total``, ``trained``, and the matrix entries a token passes, by what it passes: ``encoder``, ``decoder`` (all
        of a decoder-only model) and ``head``, with ``trained_encoder`` and so on, those of them that are trained.
    """
    rows = [found for line in model_info.splitlines() if (found := _LINE.match(line.strip()))]
    if not rows:
        return {}
    counts = dict.fromkeys(
        ("total", "trained", "encoder", "decoder", "head", "trained_encoder", "trained_decoder", "trained_head"), 0
    )
    untied = any(row["path"] == "lm_head" for row in rows)
    for row in rows:
        count, path = int(row["count"].replace(",", "")), row["path"]
        trained = row["mark"] != "frozen"
        counts["total"] += count
        counts["trained"] += count * trained
        if path == "embedding":
            # Looking a row up multiplies nothing; a tied embedding is the head's matrix.
            part = "" if untied else "head"
        elif path == "lm_head":
            part = "head"
        elif "," not in row["shape"].rstrip(",") or {"scale", "bias"} & set(path.split("/")):
            part = ""  # nothing is multiplied by a matrix
        else:
            part = "encoder" if path.startswith("encoder/") else "decoder"
        if part:
            counts[part] += count
            counts[f"trained_{part}"] += count * trained
    return counts


def training_flops(counts: dict[str, int], tokens: float, loss_tokens: float) -> float:
    """Estimates the floating-point operations of training by the matrices that each token passes.

    A multiplication and an addition an entry forward, the same again for the gradient of activations, and again for the
    gradient of what is trained: 6 N a token where all is trained (Kaplan et al. 2020, section 2.1), 4 N + 2 M where M of
    N parameters are. In an encoder-decoder, tokens of inputs pass the encoder and those of targets the decoder. Products
    of attention scores, norms and recomputed activations are not counted.

    Args:
        counts: as ``parameter_counts`` gives them.
        tokens: of both sides, without padding.
        loss_tokens: those that the loss counted, which alone pass the head.
    """

    def operations(part: str) -> float:
        return 4.0 * counts[part] + 2.0 * counts[f"trained_{part}"]

    into_decoder = loss_tokens if counts["encoder"] else tokens
    into_encoder = max(tokens - loss_tokens, 0.0) if counts["encoder"] else 0.0
    return (
        operations("encoder") * into_encoder + operations("decoder") * into_decoder + operations("head") * loss_tokens
    )


def _sum(run: Run, name: str) -> float | None:
    found = [float(line[name]) for line in run.metrics if is_number(line.get(name))]
    return math.fsum(found) if found else None

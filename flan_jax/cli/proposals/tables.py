"""A proposal on a terminal: how good the fits are, what matters, what is proposed, predicted and measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.report.tables import text_table
from flan_jax.studies.fits.estimate import Estimate
from flan_jax.studies.proposals.coverage import Confirmed
from flan_jax.studies.proposals.effects import RISE

_SHOWN = 20


def proposal_text(document: Mapping[str, Any], paths: Sequence[str]) -> str:
    """Formats a proposal's document, and the paths of what was written."""
    direction = "higher" if document["higher_is_better"] else "lower"
    parts = [
        f"{document['runs']} runs, {len(document['mixtures']['proposed'])} weights, objective {document['objective']} "
        f"({direction} is better)",
        "",
        _fits(document),
        "",
        *_ceiling(document),
        *_chosen(document),
        "",
        _mixtures(document),
        "",
        _gain(document),
        *_beside(document),
        *([f"Held back by the limit on repeats: {', '.join(document['at_limit'])}."] if document["at_limit"] else []),
        "",
        f"Predicted change of {document['objective']} when a unit gains {RISE:.0%} of the mixture and all others shrink in "
        "proportion:",
        _effects(document),
        *_clusters(document),
    ]
    parts += [f"note: {note}" for note in document["notes"]]
    if paths:
        parts += ["", f"Written before any of them ran: {', '.join(paths)}"]
    return "\n".join(parts)


def coverage_text(runs: Sequence[Confirmed], counted: tuple[int, int, Estimate] | None) -> str:
    """Formats what was predicted beside what was measured, and how often the intervals covered it."""
    rows = [
        [
            run.place,
            run.name,
            _number(run.predicted.value),
            f"{_number(run.predicted.low)} to {_number(run.predicted.high)}",
            "not yet" if run.measured is None else _number(run.measured),
            {None: "", True: "yes", False: "no"}[run.covered],
        ]
        for run in runs
    ]
    table = text_table(["proposal", "mixture", "predicted", "95% interval", "measured", "covered"], rows)
    if counted is None:
        return f"{table}\n\nNone of these runs was measured yet."
    hit, count, share = counted
    return (
        f"{table}\n\nThe intervals covered {hit} of {count} measured runs: {share.value:.0%}, 95% interval "
        f"{share.low:.0%} to {share.high:.0%}; 95% was promised."
    )


def _fits(document: Mapping[str, Any]) -> str:
    rows = []
    for family, own in document["cross_validation"].items():
        marks = ["chosen"] if family == document["chosen_family"] else []
        marks += ["proposes"] if family == document["family"] != document["chosen_family"] else []
        marks += ["advised for so many runs"] if family == document["default_family"] else []
        marks += [] if own["beats_mean"] else ["no better than the mean"]
        rows.append([family, *(_estimate(own[key]) for key in ("spearman", "rmse", "explained")), ", ".join(marks)])
    return text_table(["out of fold", "Spearman", "RMSE", "explained", ""], rows)


def _ceiling(document: Mapping[str, Any]) -> list[str]:
    ceiling = document["noise_ceiling"]
    if ceiling is None:
        return ["No mixture was run twice, so how much of the error is noise is not known."]
    return [
        f"Noise ceiling, of {ceiling['replicates']} runs of {ceiling['points']} repeated mixtures: RMSE {_estimate(ceiling['sd'])}, "
        f"Spearman {_estimate(ceiling['spearman'])}; no fit can be better."
    ]


def _chosen(document: Mapping[str, Any]) -> list[str]:
    how = {
        "gradient": "by its gradient",
        "draws": "as the mean of the best 128 of 100,000 draws",
        "regmix": "as RegMix: the mean of the best 128 of 100,000 draws, without a pull to the prior",
    }[document["method"]]
    if document["family"] == document["chosen_family"]:
        sentence = f"Chosen by the least error out of fold: {document['family']}, whose optimum is found {how}."
    else:
        sentence = f"Asked for: {document['family']}, whose optimum is found {how}."
    return [
        f"{sentence} KL to the prior ({document['prior']}): {document['divergence']:.3g} nats, pulled by "
        f"{document['pull']:.3g} of the objective per nat."
    ]


def _mixtures(document: Mapping[str, Any]) -> str:
    mixtures = document["mixtures"]
    units = sorted(mixtures["proposed"], key=lambda unit: -mixtures["proposed"][unit])
    rows = [[unit, *(f"{100 * own[unit]:.1f}" for own in mixtures.values())] for unit in units]
    predictions = document["predictions"]
    rows.append(["predicted", *(_number(predictions[name]["value"]) for name in mixtures)])
    rows.append(
        [
            "95% of one run",
            *(f"{_number(predictions[name]['low'])} to {_number(predictions[name]['high'])}" for name in mixtures),
        ]
    )
    rows += [
        [f"  by {family}", *(_number(document["by_family"][name][family]) for name in mixtures)]
        for family in document["by_family"]["proposed"]
        if family != document["family"]
    ]
    return text_table(["per cent", *mixtures], rows)


def _gain(document: Mapping[str, Any]) -> str:
    gain = document["gain"]
    return (
        f"Expected gain over the prior: {gain['value']:+.3g}, 95% interval {gain['low']:+.3g} to {gain['high']:+.3g} "
        "(bootstrap over runs)."
    )


def _beside(document: Mapping[str, Any]) -> list[str]:
    beside = document["beside"]
    if not beside:
        return []
    predicted = ", ".join(f"{name} {_estimate(own)}" for name, own in beside["predictions"].items())
    return [f"Beside it, {beside['objective']} (Spearman {_estimate(beside['spearman'])}): {predicted}."]


def _effects(document: Mapping[str, Any]) -> str:
    rows = [
        [
            own["unit"],
            f"{own['change']['value']:+.3g}",
            f"{own['change']['low']:+.3g} to {own['change']['high']:+.3g}",
            str(own["runs"]),
        ]
        for own in document["effects"][:_SHOWN]
    ]
    more = len(document["effects"]) - _SHOWN
    table = text_table(["unit", "change", "95% interval", "runs with it"], rows)
    return table + (f"\n… and {more} more, in proposal.json" if more > 0 else "")


def _clusters(document: Mapping[str, Any]) -> list[str]:
    """Names the clusters that the proposed mixture helps or hurts, those it hurts most first."""
    laws, sign = document["clusters"], 1 if document["higher_is_better"] else -1
    if not laws:
        return []
    rows = [
        [
            law["objective"].removeprefix(f"{document['objective']}/"),
            *(_number(law["predictions"][name]) for name in ("proportional", "proposed")),
            f"{law['change']['value']:+.3g}",
            f"{law['change']['low']:+.3g} to {law['change']['high']:+.3g}",
            law["verdict"],
            _estimate(law["explained"]),
        ]
        for law in sorted(laws, key=lambda law: sign * law["change"]["value"])
    ]
    counts = {word: sum(law["verdict"] == word for law in laws) for word in ("helped", "hurt", "open", "not known")}
    counted = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return [
        "",
        f"Clusters, each by a law of its own ({laws[0]['family']}), from the proportional to the proposed mixture: {counted}.",
        text_table(
            ["cluster", "proportional", "proposed", "change", "95% interval", "", "explained out of fold"], rows
        ),
    ]


def _estimate(own: Mapping[str, float | None]) -> str:
    if own["value"] is None or own["value"] != own["value"]:
        return "–"
    return f"{_number(own['value'])} ({_number(own['low'])} to {_number(own['high'])})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"

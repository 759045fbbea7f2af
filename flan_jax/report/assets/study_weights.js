// Sections of weights: every run's shares colored by its score, the law that was fitted to them, what was proposed, shares over time.

const MOST_UNITS = 60;

/** A run's place between the worst and the best score, 0 to 1. */
function toneOf(runs) {
  const values = runs.map((run) => run.objective);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const up = data.objective.higher_is_better;
  const place = (value) => (high > low ? (value - low) / (high - low) : 0.5);
  return { low, high, of: (value) => (up ? place(value) : 1 - place(value)), legend: () => ramp(...(up ? [low, high] : [high, low]).map((value) => `${shown(data.objective, value)}${unitOf(data.objective)}`)) };
}

const largest = (shares, most = 4) => sorted(Object.entries(shares).filter(([, share]) => share > 0), ([, share]) => share, -1).slice(0, most).map(([unit, share]) => `${unit} ${percent(share)}%`);

function weights() {
  const runs = doneRuns().filter((run) => Object.keys(run.weights).length);
  if (!data.units.length || !runs.length) return null;
  const { objective } = data;
  const scale = toneOf(runs);
  const control = choice("Runs", "weightRuns", [["all", "All runs"], ["best", "Best quarter"], ["worst", "Worst quarter"]], refresh);
  const order = sorted(runs, (run) => scale.of(run.objective), 1);
  const some = Math.max(1, Math.round(runs.length / 4));
  const kept = new Set((state.weightRuns === "best" ? order.slice(-some) : state.weightRuns === "worst" ? order.slice(0, some) : order).map((run) => run.run));
  // Of very many units the heaviest: a run's line through hundreds of rows tells nobody anything.
  const heavy = (unit) => runs.reduce((sum, run) => sum + (run.weights[unit] ?? 0), 0);
  const units = data.units.length > MOST_UNITS ? sorted(data.units, heavy, -1).slice(0, MOST_UNITS) : data.units;
  const lines = order.map((run) => ({ name: run.run, shares: run.weights, tint: tone(scale.of(run.objective)), faint: !kept.has(run.run), words: `${run.run}\n${objective.name} ${shown(objective, run.objective)}${unitOf(objective)}` }));
  const wanted = data.proposal?.mixtures?.proposed;
  if (wanted) lines.push({ name: "proposed", shares: wanted, tint: INK, strong: true, words: "the proposed mixture" });
  const single = data.units.length === 3 ? ternary(runs, scale, wanted, kept) : null;
  return card("weights", "Weights and score", `Each line is a run: its share of every unit. Its color is its ${objective.name}.`, control,
    scale.legend(), wanted ? legend([["the proposed mixture", INK, "line"]]) : null,
    figure(`Shares of ${counted(units.length, "unit")} in ${counted(runs.length, "run")}, colored by ${objective.name}; the table of runs has the numbers.`, parallelRuns(units, lines), units.length < data.units.length ? `The ${units.length} units of ${data.units.length} that have most weight.` : null),
    single, against(runs));
}

function ternary(runs, scale, wanted, kept) {
  const { units, objective, law } = data;
  const shares = (own) => units.map((unit) => own[unit] ?? 0);
  const points = sorted(runs, (run) => scale.of(run.objective), 1).filter((run) => kept.has(run.run)).map((run) => ({ shares: shares(run.weights), tint: tone(scale.of(run.objective)), words: [run.run, `${objective.name} ${shown(objective, run.objective)}${unitOf(objective)}`, ...largest(run.weights)].join("\n") }));
  if (wanted) points.push({ shares: shares(wanted), ring: true, words: ["the proposed mixture", ...largest(wanted)].join("\n") });
  const places = law?.surface ? units.map((unit) => law.units.indexOf(unit)) : [];
  const surface = law?.surface ? law.surface.map((point) => ({ shares: places.map((place) => point.weights[place]), tint: tone(scale.of(point.value)) })) : [];
  return h("div", { class: "block" }, h("h3", {}, "Three units"),
    figure(`A triangle of the shares of ${units.join(", ")}: ${counted(points.length, "mixture")}, colored by ${objective.name}.`, triangle(units, points, surface), surface.length ? `Behind the runs: what ${law.chosen} predicts.${wanted ? " The ring is the proposed mixture." : ""}` : wanted ? "The ring is the proposed mixture." : null));
}

function against(runs) {
  const { objective } = data;
  const control = picker("Unit", "weightUnit", data.units.map((unit) => [unit, unit]), refresh);
  const unit = state.weightUnit;
  const points = runs.map((run) => ({ x: 100 * (run.weights[unit] ?? 0), y: scaleOf(objective) * run.objective, tint: color(0), words: `${run.run}\n${unit} ${percent(run.weights[unit] ?? 0)}%\n${shown(objective, run.objective)}${unitOf(objective)}` }));
  return h("div", { class: "block" }, h("h3", {}, "One unit's weight and the score"), h("div", { class: "controls" }, control),
    figure(`${objective.name} of ${counted(runs.length, "run")} by the weight of ${unit}.`, scatter(points, { over: `Weight of ${unit} (%)`, label: axisOf(objective) })));
}

function law() {
  const found = data.law;
  if (!found) return null;
  if (found.why) return card("law", "Fitted law", null, null, h("p", {}, `Nothing is fitted: ${found.why}`));
  const { objective } = data;
  const control = picker("Law", "family", [[found.chosen, `${found.chosen} (chosen)`], ...found.families.filter((one) => one.family !== found.chosen).map((one) => [one.family, one.family])], refresh);
  const points = found.measured.map((run) => ({ x: scaleOf(objective) * run.predicted[state.family], y: scaleOf(objective) * run.score, tint: color(0), words: `${run.run}\npredicted ${shown(objective, run.predicted[state.family])}\nmeasured ${shown(objective, run.score)}` }));
  const family = found.families.find((one) => one.family === state.family);
  const error = (estimate) => (estimate ? [shown(objective, estimate.value), h("span", { class: "sub" }, interval([estimate.low, estimate.high], (value) => shown(objective, value)))] : NOTHING);
  const plain = (estimate) => [isNumber(estimate.value) ? minus(estimate.value.toFixed(2)) : NOTHING, h("span", { class: "sub" }, interval([estimate.low, estimate.high], (value) => (isNumber(value) ? minus(value.toFixed(2)) : NOTHING)))];
  const columns = [
    { name: "Law", of: (row) => row.family, show: (row) => [row.family, h("span", { class: "sub wrap-text" }, [row.family === found.chosen && "chosen; ", row.family === found.default && "advised for so many runs; ", row.about])] },
    { name: "Spearman", title: "Rank correlation of predicted and measured, out of fold", number: true, of: (row) => row.spearman.value, show: (row) => plain(row.spearman) },
    { name: "RMSE", number: true, of: (row) => row.rmse.value, show: (row) => error(row.rmse) },
    { name: "Explained", title: "Share of the squared error of the mean that the law takes away", number: true, of: (row) => row.explained.value, show: (row) => [plain(row.explained), !row.beats_mean && h("span", { class: "sub" }, "no better than the mean")] },
  ];
  const ceiling = data.noise ? `Noise ceiling, of ${counted(data.noise.replicates, "run")} of ${counted(data.noise.points, "repeated point")}: no error below ${shown(objective, data.noise.sd.value)} (${interval([data.noise.sd.low, data.noise.sd.high], (value) => shown(objective, value))}), no Spearman above ${data.noise.spearman.value.toFixed(2)}.` : "No point was run twice, so how much of the error is noise is not known.";
  const verdict = found.beats_mean ? null : h("p", {}, h("strong", {}, `The fit is no better than the mean of the runs, so nothing supports weights that it proposes.`));
  return card("law", "Fitted law", `Laws of the weights, fitted to ${counted(found.runs, "run")}. Each prediction is by fits that had not seen the run: cross-validation, replicates in one fold.`, h("div", { class: "controls", style: "margin:0" }, control),
    verdict, h("h3", {}, "Predicted and measured"),
    figure(`Predicted against measured ${objective.name} of ${counted(points.length, "run")} by ${state.family}, Spearman ${isNumber(family.spearman.value) ? family.spearman.value.toFixed(2) : "not known"}.`, scatter(points, { over: axisOf(objective, "Predicted"), label: axisOf(objective, "Measured"), diagonal: true }), ceiling),
    table("Laws compared out of fold", columns, found.families),
    effectsBlock(found), clusterLawsBlock(found), tracesBlock(found), found.notes.length ? h("ul", { class: "small muted" }, found.notes.map((line) => h("li", {}, line))) : null);
}

function effectsBlock(found) {
  const { objective } = data;
  const good = (effect) => (effect.change.low > 0 || effect.change.high < 0 ? ((effect.change.value > 0) === objective.higher_is_better ? "var(--good)" : "var(--bad)") : MUTED);
  const rows = found.effects.slice(0, MOST_UNITS).map((effect) => ({ key: effect.unit, label: effect.unit, points: [{ value: effect.change.value, interval: [effect.change.low, effect.change.high], tint: good(effect), words: `${effect.unit}\n${change(objective, effect.change.value)}, interval ${interval([effect.change.low, effect.change.high], (value) => change(objective, value))}\n${counted(effect.runs, "run")} with it` }] }));
  const columns = [
    { name: "Unit", of: (row) => row.unit, show: (row) => breakable(row.unit) },
    { name: "Change", number: true, of: (row) => row.change.value, show: (row) => [change(objective, row.change.value), h("span", { class: "sub" }, interval([row.change.low, row.change.high], (value) => change(objective, value)))] },
    { name: "From", title: "The share where the change is looked at", number: true, of: (row) => found.prior[row.unit], show: (row) => `${percent(found.prior[row.unit])}%` },
    { name: "Runs with it", number: true, of: (row) => row.runs, show: (row) => count(row.runs) },
  ];
  return h("div", { class: "block" }, h("h3", {}, "What matters"),
    h("p", { class: "small muted" }, `Change of ${objective.name} that ${found.chosen} predicts when a unit gains ${percent(found.rise, 0)}% of the mixture and all others shrink in proportion, from ${found.of_prior}. Intervals: 95%, of fits to resampled points. Grey: the interval covers 0.`),
    figure(`Predicted effects of ${counted(rows.length, "unit")}; the table below has the numbers.`, joinedPoints(rows, { label: axisOf(objective, `Change of ${objective.name}`), scale: scaleOf(objective), origin: 0 })),
    h("details", {}, h("summary", {}, "The numbers"), table("Effects of units", columns, found.effects)));
}

/** The law of each cluster's score: how good it is, and the units that its score rises and falls with. */
function clusterLawsBlock(found) {
  if (!found.clusters.length) return null;
  const { objective } = data;
  const sure = (law, up) => law.effects.filter((effect) => (up ? effect.change.low > 0 : effect.change.high < 0)).slice(0, MOST_NAMED);
  const named = (effects) => (effects.length ? effects.map((effect) => `${effect.unit} ${change(objective, effect.change.value)}`).join(", ") : NOTHING);
  const two = (value) => (isNumber(value) ? minus(value.toFixed(2)) : NOTHING);
  const plain = (estimate) => [two(estimate.value), h("span", { class: "sub" }, interval([estimate.low, estimate.high], two))];
  const columns = [
    { name: "Cluster", of: clusterOf, show: (law) => breakable(clusterOf(law)) },
    { name: "Explained", title: "Share of the squared error of the mean that the law takes away, out of fold", number: true, of: (law) => law.explained.value, show: (law) => [plain(law.explained), !law.beats_mean && h("span", { class: "sub" }, "no better than the mean")] },
    { name: "Spearman", title: "Rank correlation of predicted and measured, out of fold", number: true, of: (law) => law.spearman.value, show: (law) => plain(law.spearman) },
    { name: "Rises with", of: (law) => named(sure(law, true)) },
    { name: "Falls with", of: (law) => named(sure(law, false)) },
  ];
  return h("div", { class: "block" }, h("h3", {}, "Laws of clusters"),
    h("p", { class: "small muted" }, `A law of each cluster's score, ${found.clusters[0].family}. Named are the units whose effect is told from 0 by its 95% interval, the largest ${MOST_NAMED} each way, with the change where a unit gains ${percent(found.rise, 0)}% of the mixture; nothing is corrected for the number of clusters and units.`),
    table("Laws of clusters out of fold", columns, found.clusters),
    found.without_law.length ? h("ul", { class: "small muted" }, found.without_law.map((line) => h("li", {}, line))) : null);
}

const MOST_NAMED = 3;
const clusterOf = (law) => law.objective.split("/").slice(2).join("/") || law.objective;

/** The clusters that a proposed mixture helps or hurts, beside the proportional one. */
function clustersBlock(found, measure) {
  if (!found.clusters?.length) return null;
  const up = found.higher_is_better;
  const laws = sorted(found.clusters, (law) => law.change.value, up ? 1 : -1);
  const tints = { helped: "var(--good)", hurt: "var(--bad)" };
  const ends = (law) => interval([law.change.low, law.change.high], (value) => change(measure, value));
  const rows = laws.slice(0, MOST_UNITS).map((law) => ({ key: law.objective, label: clusterOf(law), points: [{ value: law.change.value, interval: [law.change.low, law.change.high], tint: tints[law.verdict] ?? MUTED, words: `${clusterOf(law)}: ${law.verdict}\n${change(measure, law.change.value)}, interval ${ends(law)}` }] }));
  const counts = ["helped", "hurt", "open", "not known"].map((word) => [word, laws.filter((law) => law.verdict === word).length]).filter(([, number]) => number);
  const columns = [
    { name: "Cluster", of: clusterOf, show: (law) => breakable(clusterOf(law)) },
    { name: "Proportional", number: true, of: (law) => law.predictions.proportional, show: (law) => shown(measure, law.predictions.proportional) },
    { name: "Proposed", number: true, of: (law) => law.predictions.proposed, show: (law) => shown(measure, law.predictions.proposed) },
    { name: "Change", number: true, of: (law) => law.change.value, show: (law) => [change(measure, law.change.value), h("span", { class: "sub" }, ends(law))] },
    { name: "Verdict", of: (law) => law.verdict },
  ];
  return h("div", { class: "block" }, h("h3", {}, "Clusters that it helps and hurts"),
    h("p", { class: "small muted" }, `From the proportional to the proposed mixture, each cluster by a law of its own (${laws[0].family}): ${counts.map(([word, number]) => `${number} ${word}`).join(", ")}. Intervals: 95%, of fits to resampled points, not corrected for the number of clusters. Open: the interval covers 0. Not known: the cluster's law is no better than the mean.`),
    figure(`Predicted change of ${counted(rows.length, "cluster")}; the table below has the numbers.`, joinedPoints(rows, { label: axisOf(measure, "Predicted change"), scale: scaleOf(measure), origin: 0 })),
    h("details", {}, h("summary", {}, "The numbers"), table("Clusters under the proposed mixture", columns, laws)));
}

/** The fitted surface, cut along each unit. */
function tracesBlock(found) {
  if (!found.traces.length) return null;
  const { objective } = data;
  const scaled = (values) => values.map((value) => scaleOf(objective) * value);
  const many = found.traces.length > FEW_TRACES;
  const control = many ? picker("Unit", "traceUnit", found.effects.filter((effect) => found.traces.some((one) => one.unit === effect.unit)).map((effect) => [effect.unit, effect.unit]), refresh) : null;
  const drawn = many ? found.traces.filter((one) => one.unit === state.traceUnit) : found.traces;
  const lines = drawn.map((one) => ({ name: one.unit, tint: color(found.traces.indexOf(one)), steps: one.share.map((share) => 100 * share), values: scaled(one.value), low: scaled(one.low), high: scaled(one.high) }));
  return h("div", { class: "block" }, h("h3", {}, "The fitted surface, cut along each unit"), control && h("div", { class: "controls" }, control), legend(lines.map((one) => [one.name, one.tint, "line"])),
    figure(`${objective.name} that ${found.chosen} predicts as the share of ${drawn.map((one) => one.unit).join(", ")} changes and all others keep their proportions.`, stepCurves(lines, { label: axisOf(objective, "Predicted"), within: found.measured.map((run) => scaleOf(objective) * run.score), over: "Share of the unit (%)", format: (value) => `${plainNumber(value)}${unitOf(objective)}`, words: (point) => `share ${point.step.toFixed(0)}%` })));
}

const FEW_TRACES = 4;

function proposal() {
  const found = data.proposal;
  if (!found) return null;
  const measure = data.measures.find((one) => one.name === found.objective) ?? { ...data.objective, name: found.objective };
  const text = (value) => shown(measure, value);
  const names = Object.keys(found.mixtures);
  const rows = found.confirmed.map((run) => ({ key: run.name, label: run.name, points: [
    { value: run.predicted.value, interval: [run.predicted.low, run.predicted.high], tint: color(0), words: `${run.name}\npredicted ${text(run.predicted.value)}, ${interval([run.predicted.low, run.predicted.high], text)}` },
    { value: run.measured, ring: true, tint: color(1), words: `${run.name}\nmeasured ${text(run.measured)}` }] }));
  const measured = found.confirmed.filter((run) => isNumber(run.measured));
  const covered = measured.length ? `${count(measured.filter((run) => run.covered).length)} of ${counted(measured.length, "interval")} held what was measured.` : "None of these runs was measured yet.";
  const units = sorted(Object.keys(found.mixtures.proposed), (unit) => found.mixtures.proposed[unit], -1);
  const columns = [{ name: "Unit", of: (unit) => unit, show: (unit) => breakable(unit) }, ...names.map((name) => ({ name, number: true, of: (unit) => found.mixtures[name][unit], show: (unit) => `${percent(found.mixtures[name][unit])}%` }))];
  const results = [
    { name: "Mixture", of: (run) => run.name },
    { name: "Predicted", number: true, of: (run) => run.predicted.value, show: (run) => [text(run.predicted.value), h("span", { class: "sub" }, interval([run.predicted.low, run.predicted.high], text))] },
    { name: "Measured", number: true, of: (run) => run.measured, show: (run) => (isNumber(run.measured) ? text(run.measured) : "not yet") },
    { name: "Covered", of: (run) => (run.covered === null ? "" : run.covered ? "yes" : "no") },
  ];
  const gain = found.gain;
  const after = found.same_runs ? "" : " The runs have changed since: propose again for what they say now.";
  return card("proposal", "Proposal", `Written before any of its runs: by ${found.family} of ${counted(found.runs, "run")}, ${found.divergence.toFixed(3)} nats from the prior (${found.prior}).${after}`, null,
    h("p", {}, h("span", { class: `delta ${gain.low > 0 ? "up" : gain.high < 0 ? "down" : ""}` }, `${change(measure, gain.value)}${measure.percent ? " points" : ""} expected`, h("span", {}, `over the prior, 95% ${interval([gain.low, gain.high], (value) => change(measure, value))}`))),
    legend([["predicted, with the 95% interval of one run", color(0)], ["measured", color(1), "ring"]]),
    figure(`Predicted and measured ${found.objective}: ${found.confirmed.map((run) => `${run.name} ${text(run.predicted.value)}${isNumber(run.measured) ? `, measured ${text(run.measured)}` : ""}`).join("; ")}.`, joinedPoints(rows, { label: axisOf(measure, found.objective), scale: scaleOf(measure), zero: false }), covered),
    table("Predicted and measured", results, found.confirmed), h("h3", {}, "The mixtures"), table("Shares of the mixtures", columns, units), clustersBlock(found, measure),
    found.at_limit.length ? h("p", { class: "small" }, `Held back by the limit on repeats: ${found.at_limit.join(", ")}.`) : null,
    found.notes.length ? h("ul", { class: "small muted" }, found.notes.map((line) => h("li", {}, line))) : null);
}

function shares() {
  if (!data.shares.length) return null;
  const control = h("div", { class: "controls", style: "margin:0" }, picker("Run", "shareRun", data.shares.map((one) => [one.run, one.run]), refresh));
  const own = data.shares.find((one) => one.run === state.shareRun);
  const names = Object.keys(own.clusters);
  const lines = names.map((name, at) => ({ name, tint: at < 10 ? color(at) : MUTED, faint: at >= 10, steps: own.clusters[name].steps, values: own.clusters[name].shares.map((share) => 100 * share) }));
  const columns = [{ name: "Cluster", of: (row) => row.name }, { name: "First", number: true, of: (row) => row.values[0], show: (row) => `${row.values[0].toFixed(1)}%` }, { name: "Last", number: true, of: (row) => row.values.at(-1), show: (row) => `${row.values.at(-1).toFixed(1)}%` }];
  return card("shares", "Shares over time", "Of the runs whose weights changed while they trained, learned or in stages: each cluster's share of the tokens of the loss, over logged windows.", control,
    legend([...lines.slice(0, 10).map((one) => [one.name, one.tint, "line"]), ...(lines.length > 10 ? [[`${count(lines.length - 10)} more`, MUTED, "line"]] : [])]),
    figure(`Shares of ${counted(names.length, "cluster")} of ${own.run} by step; the table below has the first and the last values.`, stepCurves(lines, { label: "Share (%)", zero: true, format: (value) => `${value.toFixed(1)}%` })),
    h("details", {}, h("summary", {}, "The numbers"), table(`Shares of ${own.run}`, columns, lines)));
}

// The page of a study: the answer on top, factors level by level, curves over amounts, figures of papers.

const measureOf = (name) => data.measures.find((one) => one.name === name) ?? data.objective;
const scaleOf = (measure) => (measure.percent ? 100 : 1);
const plainNumber = (value) => (isNumber(value) ? minus(String(Number(value.toPrecision(4)))) : NOTHING);
/** A value of a measure as it is shown, and the same with its sign. */
const shown = (measure, value) => (measure.percent ? percent(value) : plainNumber(value));
const unitOf = (measure) => (measure.percent ? "%" : "");
const change = (measure, value) => (!isNumber(value) ? NOTHING : measure.percent ? signed(value) : `${value >= 0 ? "+" : ""}${plainNumber(value)}`);
const axisOf = (measure, words = "") => `${words || measure.name}${measure.percent ? " (%)" : ""}`;
const direction = () => (data.objective.higher_is_better ? "higher is better" : "lower is better");
const doneRuns = () => data.runs.filter((run) => run.state === "done" && isNumber(run.objective));
const stateWords = () => Object.entries(data.states).map(([name, runs]) => `${count(runs.length)} ${name}`).join(", ");

function chips() {
  return [
    h("span", { class: "chip held" }, data.objective.name, `, ${direction()}`),
    h("span", { class: "chip" }, h("b", {}, counted(data.runs.length, "run")), `: ${stateWords()}`),
  ];
}

function warnings() {
  const out = data.runs.filter((run) => run.state === "failed" || run.state === "diverged");
  const waiting = data.runs.filter((run) => ["pending", "running", "interrupted"].includes(run.state));
  const lines = out.map((run) => `${run.run} ${run.state}${isNumber(run.step) ? ` at step ${count(run.step)}` : ""}: ${run.reason || "no reason recorded"}`);
  for (const name of ["running", "interrupted", "pending"]) {
    const own = waiting.filter((run) => run.state === name);
    if (own.length) lines.push(`${name}: ${ranges(own)}`);
  }
  if (data.without_objective.length) lines.push(`Done, but without ${data.objective.name}: ${data.without_objective.join(", ")}`);
  return [callout("Runs without a result, in no mean and no fit", lines), callout("Not in this report", data.missing), callout("To be read with these results", data.notes)];
}

/** Names of runs, neighbors in one. */
function ranges(runs) {
  const found = [];
  for (const run of runs) {
    const last = found.at(-1);
    if (last && last[1].number + 1 === run.number) last[1] = run;
    else found.push([run, run]);
  }
  return found.map(([first, last]) => (first === last ? first.run : `${first.run} to ${last.run}`)).join(", ");
}

function overview() {
  return h("section", { class: "card", id: "overview", "aria-label": "Overview" }, h("div", { class: "hero" }, answer(), h("div", {}, studyCosts())),
    data.question.length ? [h("h3", {}, "What is varied"), h("ul", { class: "small" }, data.question.map((line) => h("li", {}, line)))] : null);
}

function answer() {
  const { best, objective, noise } = data;
  if (!best) {
    const others = data.measures.filter((one) => one.name !== objective.name).map((one) => one.name);
    return h("div", { class: "score" }, h("div", { class: "label" }, "Best point"), h("p", {}, `No run that is done has ${objective.name}, so nothing can be said of it.`),
      others.length ? h("p", { class: "muted small" }, `The runs have ${others.join(", ")}.`) : null);
  }
  const certain = best.interval ? `95% interval ${interval(best.interval, (value) => shown(objective, value))}, by the spread of all replicates (${counted(noise.freedom, "degree")} of freedom)` : "run once, and no point was run twice: its noise is not known";
  const levels = Object.entries(best.levels).filter(([name]) => name !== "draw");
  const weights = sorted(Object.entries(best.weights).filter(([, share]) => share > 0), ([, share]) => share, -1);
  return h("div", { class: "score" },
    h("div", { class: "label" }, `Best of ${counted(best.points, "point")}`, h("span", { class: "chip held" }, best.runs.join(", "))),
    h("div", { class: "value" }, shown(objective, best.mean), objective.percent && h("small", {}, "%")),
    h("p", { class: "muted small" }, `${objective.name} · ${best.runs.length > 1 ? `mean of ${counted(best.runs.length, "run")}` : "one run"} · ${certain}.`),
    h("p", {}, h("span", { class: "delta" }, `${change(objective, best.mean - best.mean_of_all)}${objective.percent ? " points" : ""}`, h("span", {}, `to the mean of all runs, ${shown(objective, best.mean_of_all)}${unitOf(objective)}`))),
    levels.length ? h("p", { class: "meta" }, levels.map(([name, level]) => [h("span", { class: "chip" }, `${name} `, h("b", {}, level)), " "])) : null,
    weights.length ? h("ul", { class: "bars" }, weights.slice(0, 8).map(([unit, share]) => h("li", { "--share": share.toFixed(3) }, h("span", {}, unit), h("span", {}, `${percent(share)}%`)))) : null,
    weights.length > 8 ? h("p", { class: "muted small" }, `and ${counted(weights.length - 8, "smaller share")}`) : null,
    best.points > 1 ? h("p", { class: "muted small" }, "The best of many is chosen after looking, so run again it tends to fall back toward the mean.") : null);
}

function studyCosts() {
  const { cost, noise, objective } = data;
  const hardware = cost.hardware[0];
  const more = (items) => (items.length > 1 ? `and ${counted(items.length - 1, "other")}` : null);
  const points = new Set(data.runs.map((run) => run.point)).size;
  const facts = [
    ["Runs", count(cost.runs), `of ${counted(points, "point")}; ${stateWords()}`],
    ["Noise of one run", noise ? `± ${shown(objective, noise.sd.value)}` : NOTHING, noise ? `standard deviation of ${counted(noise.replicates, "replicate")}, ${interval([noise.sd.low, noise.sd.high], (value) => shown(objective, value))}` : "no point was run twice"],
    ["Tokens", compact(cost.tokens), isNumber(cost.loss_tokens) && `${compact(cost.loss_tokens)} in the loss`],
    ["Training time", duration(cost.seconds), isNumber(cost.wall_seconds) && `${duration(cost.wall_seconds)} with all else`],
    ["Parameters", cost.parameters.length ? compact(cost.parameters[0]) : NOTHING, more(cost.parameters)],
    ["Hardware", hardware ? `${hardware.devices ?? "?"} × ${hardware.device_kind ?? hardware.platform ?? "?"}` : NOTHING, hardware && [hardware.processor && `${hardware.processor}, ${hardware.cores} cores`, more(cost.hardware)].filter(Boolean).join(" ")],
    ["Commit", cost.commits.length ? h("span", { class: "mono", title: cost.commits.join(", ") }, cost.commits[0].slice(0, 10)) : NOTHING, more(cost.commits)],
    ["Version", cost.versions.join(", ") || NOTHING, null],
  ];
  return h("dl", { class: "facts" }, facts.map(([name, value, words]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, words && h("small", {}, words)))));
}

const measurePicker = (key) => picker("Measure", key, data.measures.map((one) => [one.name, one.name]), refresh);

/** How the intervals of a factor are made. */
const intervalWords = (factor) => (factor.pooled
  ? "The runs of a level differ in their seed alone: their spread is pooled over the levels."
  : "Other factors vary too: the interval of a mean is over the runs of the level, that of a difference over pairs that are equal in all else.");

/** The same of several: one sentence for all, or none and each its own. */
const commonWords = (found) => (new Set(found.map(intervalWords)).size === 1 ? intervalWords(found[0]) : "");

/** Cells of a factor's levels: all runs, or the runs of each level of another factor. */
function seriesOf(factor, measure, by) {
  const split = by && factor.splits[by];
  const has = split && split.means.every((one) => one[measure]);
  if (!has) return [{ name: "", tint: color(0), cells: factor.means[measure] }];
  return split.levels.map((level, at) => ({ name: `${by} ${level}`, tint: color(at), cells: split.means[at][measure] }));
}

const bars = () => data.factors.filter((factor) => !factor.points);

function factors() {
  if (!bars().length) return null;
  const measure = (measurePicker("factorMeasure"), measureOf(state.factorMeasure));
  const others = [...new Set(bars().flatMap((factor) => Object.keys(factor.splits)))];
  const splitting = data.measures.slice(0, 2).some((one) => one.name === measure.name);
  const control = h("div", { class: "controls", style: "margin:0" },
    measurePicker("factorMeasure"),
    others.length && splitting ? picker("Split by", "factorSplit", [["", "nothing"], ...others.map((name) => [name, name])], refresh) : null,
    choice("Show", "factorShow", [["means", "Means"], ["differences", "Differences"]], refresh));
  const words = state.factorShow === "differences" ? "Differences to the level of the first run, with 95% intervals (Student's t)." : "Means over seeds and all other factors, with 95% intervals (Student's t).";
  return card("factors", "Factors", `${words} ${commonWords(bars())} Not corrected for the number of comparisons.`, control, h("div", { class: bars().length > 2 ? "pairs" : null }, bars().map((factor) => factorBlock(factor, measure))));
}

function factorBlock(factor, measure) {
  const series = seriesOf(factor, measure.name, splitOf(factor, "factorSplit"));
  const means = state.factorShow !== "differences";
  if (!series.some((one) => one.cells.some((cell) => cell.runs))) return h("div", { class: "block" }, h("h3", {}, factor.name), h("p", { class: "muted small" }, `No run that is done has ${measure.name}.`));
  const levels = factor.levels.map((level, at) => ({ ...level, at }));
  const compared = levels.filter((level) => level.level !== factor.first);
  const words = (one, level, cell) => [`${factor.name} ${level.level}`, one.name, `mean ${shown(measure, cell.mean)}${unitOf(measure)} of ${counted(cell.runs, "run")}, interval ${interval(cell.interval, (value) => shown(measure, value))}`, cell.difference && `${change(measure, cell.difference.value)} to ${factor.first}, interval ${interval(cell.difference.interval, (value) => change(measure, value))}, ${counted(cell.difference.pairs, "pair")}`].filter(Boolean).join("\n");
  const chart = means
    ? intervalBars(levels.map((level) => ({ key: level.level, label: level.level, cells: series.map((one) => { const cell = one.cells[level.at]; return isNumber(cell.mean) ? { value: cell.mean, interval: cell.interval, tint: one.tint, text: shown(measure, cell.mean), words: words(one, level, cell) } : null; }) })), { label: axisOf(measure), scale: scaleOf(measure), chance: measure.chance })
    : joinedPoints(compared.map((level) => ({ key: level.level, label: level.level, points: series.map((one) => { const cell = one.cells[level.at]; return { value: cell.difference?.value, interval: cell.difference?.interval, tint: one.tint, words: words(one, level, cell) }; }) })), { label: `${axisOf(measure)}, difference to ${factor.first}`, scale: scaleOf(measure), origin: 0 });
  const columns = [{ name: factor.name, of: (row) => (factor.numeric ? row.level.number : row.level.level), show: (row) => row.level.level }];
  if (series.length > 1) columns.push({ name: "Of", of: (row) => row.one.name });
  columns.push(
    { name: "Runs", number: true, of: (row) => row.cell.runs, show: (row) => [count(row.cell.runs), series.length < 2 && row.level.runs > row.cell.runs && h("span", { class: "sub" }, `of ${count(row.level.runs)}`)] },
    { name: "Mean", number: true, of: (row) => row.cell.mean, show: (row) => [shown(measure, row.cell.mean), h("span", { class: "sub" }, interval(row.cell.interval, (value) => shown(measure, value)))] },
    { name: "Difference", title: `to ${factor.first}, over pairs`, number: true, of: (row) => row.cell.difference?.value, show: (row) => differenceCell(measure, row.cell.difference) });
  const rows = levels.flatMap((level) => series.map((one) => ({ level, one, cell: one.cells[level.at] })));
  const key = [...(series.length > 1 ? series.map((one) => [one.name, one.tint]) : []), ...(means && isNumber(measure.chance) ? [["chance", CHANCE, "tick"]] : [])];
  return h("div", { class: "block" }, h("h3", {}, factor.name), key.length ? legend(key) : null,
    figure(`${measure.name} by ${factor.name}; the table below has the numbers.`, chart, commonWords(bars()) ? null : intervalWords(factor)),
    h("details", {}, h("summary", {}, "The numbers"), table(`${measure.name} by ${factor.name}`, columns, rows, { key: `factor ${factor.name}` })));
}

function differenceCell(measure, difference) {
  if (!difference) return NOTHING;
  const pair = difference.interval;
  const sign = measure.higher_is_better ? 1 : -1;
  const css = pair ? (pair[0] > 0 ? sign > 0 : pair[1] < 0 ? sign < 0 : null) : null;
  return [h("span", { class: css === null ? null : css ? "up" : "down" }, change(measure, difference.value)), h("span", { class: "sub" }, `${pair ? `${interval(pair, (value) => change(measure, value))}, ` : ""}${counted(difference.pairs, "pair")}`)];
}

const splitOf = (factor, key) => (state[key] && state[key] !== factor.name ? state[key] : "");

/** Factors that are amounts: how the score grows with clusters, tasks, templates, rates. */
function curves() {
  const found = data.factors.filter((factor) => factor.numeric);
  if (!found.length) return null;
  const others = [...new Set(found.flatMap((factor) => Object.keys(factor.splits)))];
  const suites = data.measures.filter((one) => one.metric === data.objective.metric && !one.part);
  const options = [...data.measures.map((one) => [one.name, one.name]), ...(suites.length > 1 ? [["*", `${data.objective.metric} of every suite`]] : [])];
  const of = picker("Measure", "curveMeasure", options, refresh);
  const measure = measureOf(state.curveMeasure);
  const splitting = state.curveMeasure !== "*" && data.measures.slice(0, 2).some((one) => one.name === measure.name);
  const control = h("div", { class: "controls", style: "margin:0" }, of,
    others.length && splitting ? picker("Split by", "curveSplit", [["", "nothing"], ...others.map((name) => [name, name])], refresh) : null);
  return card("curves", "Score by amount", `Factors that are amounts: means over seeds and all other factors, with 95% intervals (Student's t). ${commonWords(found)}`, control, h("div", { class: found.length > 2 ? "pairs" : null }, found.map((factor) => curveBlock(factor, measure, state.curveMeasure === "*" ? suites : null))));
}

function curveBlock(factor, measure, suites) {
  const label = suites ? axisOf(measure, measure.metric) : axisOf(measure);
  const numbers = factor.levels.map((level) => level.number);
  const log = Math.min(...numbers) > 0 && Math.max(...numbers) / Math.min(...numbers) >= 20;
  if (factor.points) {
    const points = factor.points[measure.name].map((point) => ({ x: point.number, y: scaleOf(measure) * point.value, tint: color(0), words: `${point.run}\n${factor.name} ${plainNumber(point.number)}\n${shown(measure, point.value)}${unitOf(measure)}` }));
    return h("div", { class: "block" }, h("h3", {}, factor.name), figure(`${measure.name} of ${points.length} runs by ${factor.name}.`, scatter(points, { over: factor.name, label, log })));
  }
  if (!factor.means[measure.name].some((cell) => cell.runs)) return h("div", { class: "block" }, h("h3", {}, factor.name), h("p", { class: "muted small" }, `No run that is done has ${measure.name}.`));
  const scaled = (values) => values.map((value) => (isNumber(value) ? scaleOf(measure) * value : null));
  const parts = suites ? suites.map((one, at) => ({ name: one.suite, tint: color(at), cells: factor.means[one.name] })) : seriesOf(factor, measure.name, splitOf(factor, "curveSplit"));
  const series = parts.map((one) => ({ name: one.name || measure.name, tint: one.tint, steps: numbers, values: scaled(one.cells.map((cell) => cell.mean)), low: scaled(one.cells.map((cell) => cell.interval?.[0])), high: scaled(one.cells.map((cell) => cell.interval?.[1])) }));
  if (isNumber(measure.chance) && !suites) series.push({ name: "chance", tint: CHANCE, faint: true, steps: numbers, values: scaled(numbers.map(() => measure.chance)), low: [], high: [] });
  const words = series.map((one) => `${one.name}: ${one.values.map((value, at) => `${plainNumber(value)} at ${plainNumber(numbers[at])}`).join(", ")}`).join("; ");
  return h("div", { class: "block" }, h("h3", {}, factor.name), legend(series.map((one) => [one.name, one.tint, "line"])),
    figure(`${measure.name} by ${factor.name}. ${words}.`, stepCurves(series, { label, over: factor.name, log, format: (value) => `${plainNumber(value)}${unitOf(measure)}`, words: (point) => `${factor.name} ${plainNumber(point.step)}` }), commonWords(data.factors.filter((one) => one.numeric)) ? null : intervalWords(factor)));
}

/** What papers report: of the same suites and tasks, and of the same questions on other data. */
function papers() {
  const same = data.published.map((figureOf) => {
    const ours = figureOf.ours.map((found) => ({ label: data.best.runs[found.run], value: found.value, tint: color(0), strong: true }));
    const all = [...figureOf.values.map((found) => ({ ...found, tint: MUTED })), ...ours];
    const here = figureOf.ours.map((found) => `${found.of ? `${found.tasks} of ${found.of} tasks` : counted(found.tasks, "task")}, ${count(found.n)} examples`);
    return h("div", { class: "block" }, h("h3", {}, figureOf.title), figure(`${figureOf.title}: ${all.map((bar) => `${bar.label} ${percent(bar.value)}`).join(", ")}`, scoreBars(all)), h("p", { class: "small muted" }, `${figureOf.differs} Here: ${[...new Set(here)].join("; ")}. Source: ${figureOf.source}.`));
  });
  const questions = data.findings.map((finding) => findingBlock(finding, data.factors.find((factor) => factor.name === finding.factor))).filter(Boolean);
  if (!same.length && !questions.length) return null;
  return card("published", "Published figures", "What papers report of the same question. Models, data and tasks are others, so compare the shape, not the height.", null, same, questions);
}

function findingBlock(finding, factor) {
  const measure = data.measures[0];
  if (!measure.percent || factor.points) return null;
  const cells = factor.means[measure.name];
  if (!cells.some((cell) => cell.runs)) return null;
  const text = h("p", { class: "small muted" }, `${finding.differs} Measured there: ${finding.metric}; here: ${measure.name}. Source: ${finding.source}.`);
  if (finding.axis === "number" && factor.numeric) {
    const all = [
      { name: `here: ${measure.name}`, tint: color(0), steps: factor.levels.map((level) => level.number), values: cells.map((cell) => (isNumber(cell.mean) ? 100 * cell.mean : null)), low: cells.map((cell) => cell.interval && 100 * cell.interval[0]), high: cells.map((cell) => cell.interval && 100 * cell.interval[1]) },
      { name: "published", tint: MUTED, steps: finding.values.map((found) => found.number), values: finding.values.map((found) => 100 * found.value), low: [], high: [] },
    ];
    return h("div", { class: "block" }, h("h3", {}, finding.title), legend(all.map((one) => [one.name, one.tint, "line"])),
      figure(`${finding.title}: published ${finding.values.map((found) => `${found.label} ${percent(found.value)}`).join(", ")}; here ${factor.levels.map((level, at) => `${level.level} ${percent(cells[at].mean)}`).join(", ")}.`, stepCurves(all, { label: "Score (%)", over: finding.title, format: (value) => `${value.toFixed(1)}%`, words: (point) => `${factor.name} ${plainNumber(point.step)}` })), text);
  }
  const bar = (label, value, pair, tint) => ({ key: label, label, cells: [{ value, interval: pair, tint, text: percent(value), words: `${label}\n${percent(value)}%, interval ${interval(pair)}` }] });
  const all = [...finding.values.map((found) => bar(`published: ${found.label}`, found.value, null, MUTED)), ...factor.levels.map((level, at) => bar(`here: ${level.level}`, cells[at].mean, cells[at].interval, color(0))).filter((row) => isNumber(row.cells[0].value))];
  return h("div", { class: "block" }, h("h3", {}, finding.title), figure(`${finding.title}: ${all.map((row) => `${row.label} ${row.cells[0].text}`).join(", ")}`, intervalBars(all, { label: "Score (%)", left: 270 })), text);
}

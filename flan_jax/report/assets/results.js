// Sections of scores: the headline, results by task, progress, shots, confusion, contamination, published figures.

const MOST_ROWS = 60;
const runColor = (index) => color(index);
const several = () => data.runs.length > 1;
const measured = () => data.runs.filter((run) => run.suites.length);

function overview() {
  return several()
    ? h("section", { class: "columns", id: "overview", "aria-label": "Overview" }, data.runs.map((run, index) => h("div", { class: "card" }, h("h2", {}, h("span", { class: "key", style: "display:inline-block;margin-right:.5rem", "--color": runColor(index) }), run.name), h("p", { class: "muted small" }, about(run)), headline(run, index), h("h3", {}, "What it cost"), costs(run))))
    : h("section", { class: "card", id: "overview", "aria-label": "Overview" }, h("div", { class: "hero" }, headline(data.runs[0], 0), h("div", {}, costs(data.runs[0]))));
}

const about = (run) => [run.mixture_name, run.held_out_clusters.length ? `held out: ${run.held_out_clusters.join(", ")}` : ""].filter(Boolean).join(" · ");

function headline(run, index) {
  const top = run.headline;
  if (!top) return h("div", { class: "score" }, h("p", { class: "muted" }, "No average of scores yet."));
  const { value, interval: pair, chance, tasks, n } = top.average;
  const change = top.delta;
  const rows = [{ key: "mean", label: "", chance, marks: [{ run: 0, value, interval: pair, before: top.before?.value, templates: [], tint: runColor(index), words: `${percent(value)}%, interval ${interval(pair)}` }] }];
  const words = `${percent(value)} per cent, 95% interval ${interval(pair)}, chance ${percent(chance)}${top.before ? `, ${percent(top.before.value)} at step ${run.before_step}` : ""}`;
  return h("div", { class: "score" },
    h("div", { class: "label" }, top.held_out ? "Held-out average" : `Average of ${top.name}`, h("span", { class: `chip ${top.held_out ? "held" : ""}` }, `${top.name} · step ${count(run.step)}`)),
    h("div", { class: "value" }, percent(value), h("small", {}, "%")),
    h("p", { class: "muted small" }, `95% interval ${interval(pair)} · ${counted(tasks, "task")}, ${counted(n, "example")}`),
    change && h("p", {}, delta(change, `since ${run.before_step === 0 ? "the base (step 0)" : `step ${count(run.before_step)}`}`)),
    figure(words, scoreRows(rows, { label: null, left: 6 })),
    legend([["score, with its 95% interval", runColor(index)], ...(top.before ? [[`at step ${count(run.before_step)}`, runColor(index), "ring"]] : []), ["chance", CHANCE, "tick"]]),
    levels(top.average.intervals ?? {}));
}

/** The same average with the intervals of other things resampled than examples, where they were computed. */
function levels(intervals) {
  const names = Object.keys(intervals);
  return names.length > 1 ? h("details", {}, h("summary", {}, "Intervals by what is resampled"), table("Intervals of the average", [{ name: "Resampled", of: (name) => name.replaceAll("+", " and ") }, { name: "95% interval", number: true, of: (name) => intervals[name][0], show: (name) => interval(intervals[name]) }], names)) : null;
}

function delta(change, since) {
  const [low, high] = change.interval ?? [null, null];
  const sure = change.interval ? (low > 0 ? "up" : high < 0 ? "down" : "") : "";
  return h("span", { class: `delta ${sure}` }, `${signed(change.value)} points`,
    h("span", {}, change.interval ? `95% ${signed(low)} to ${signed(high)}` : "no interval: other examples, or a metric that is no mean"), h("span", {}, since));
}

function costs(run) {
  const { cost } = run;
  const hardware = cost.hardware;
  const devices = hardware && `${hardware.devices} × ${hardware.device_kind}`;
  const facts = [
    ["Training time", duration(cost.training_seconds), cost.steps !== null && `${count(cost.steps)} steps`],
    ["Tokens", compact(cost.tokens), isNumber(cost.tokens_per_second) && `${compact(cost.tokens_per_second)} a second`],
    ["Compute", isNumber(cost.flops) ? `≈ ${exponent(cost.flops)} FLOPs` : NOTHING, isNumber(cost.flops) && (isNumber(cost.mfu) ? `matrix products; ${percent(cost.mfu)} MFU` : "matrix products of training")],
    ["Parameters", compact(cost.parameters), cost.trained_parameters !== null && cost.trained_parameters !== cost.parameters && `${compact(cost.trained_parameters)} trained`],
    ["Hardware", devices ?? NOTHING, hardware && `${hardware.processor}, ${hardware.cores} cores${hardware.processes > 1 ? `, ${hardware.processes} processes` : ""}`],
    ["Commit", cost.commit ? h("span", { class: "mono", title: cost.commit }, cost.commit.slice(0, 10)) : NOTHING, cost.commit ? cost.changed && "with changes" : "not recorded"],
    ["Last loss", isNumber(cost.last_loss) ? cost.last_loss.toFixed(3) : NOTHING, isNumber(cost.last_loss) && "nats a token"],
    ...(cost.skipped_steps ? [["Skipped steps", compact(cost.skipped_steps), "loss or gradient not finite"]] : []),
    ["Examples drawn", compact(cost.examples), run.mixture.length > 0 && counted(run.mixture.length, "task")],
  ];
  // A run says what it did not record; of a published model that was only measured, none of it is to be expected.
  if (facts.every(([, value]) => value === NOTHING)) return h("p", { class: "muted small" }, "The folder has no record of a training: neither its cost nor its curves are known.");
  return h("dl", { class: "facts" }, facts.map(([name, value, more]) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more && h("small", {}, more)))));
}

function exponent(value) {
  const power = Math.floor(Math.log10(value));
  return power < 6 ? count(value) : `${(value / 10 ** power).toFixed(1)}·10${[...String(power)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("")}`;
}

function warnings() {
  const lines = [...data.notes, ...data.runs.flatMap((run) => run.notes.map((line) => (several() ? `${run.name}: ${line}` : line)))];
  const missing = data.runs.flatMap((run) => run.missing.map((line) => (several() ? `${run.name}: ${line}` : line)));
  return [callout("Not in this report", missing), callout("To be read with these results", lines)];
}

/** Every run's suites of one name, in the order of the first run that has them. */
function suites() {
  return [...new Set(data.runs.flatMap((run) => run.suites.map((suite) => suite.name)))].map((name) => ({
    name,
    runs: data.runs.map((run) => run.suites.find((suite) => suite.name === name) ?? null),
  }));
}

/** The tasks of a suite by cluster and name, each with every run's result. */
function tasksOf(suite) {
  const found = new Map();
  suite.runs.forEach((own, index) => own?.tasks.forEach((task) => {
    if (!found.has(task.name)) found.set(task.name, { ...task, results: data.runs.map(() => null) });
    found.get(task.name).results[index] = task;
  }));
  return sorted([...found.values()], (task) => `${task.cluster}\u0000${task.name}`, 1);
}

function results() {
  const all = suites();
  if (!all.length) return null;
  const held = (suite) => suite.runs.some((own) => own?.held_out);
  const options = sorted(all, (suite) => Number(!held(suite)), 1).map((suite) => [suite.name, held(suite) ? `${suite.name} (held out)` : suite.name]);
  const control = choice("Suite", "suite", options, refresh);
  const suite = all.find((one) => one.name === state.suite);
  const tasks = tasksOf(suite);
  const words = `${held(suite) ? "Clusters that the run did not train on. " : ""}Scores in per cent, with 95% intervals.${several() ? " Differences are paired over the same examples, each task by itself: their intervals are not corrected for the number of tasks." : ""}`;
  return card("results", "Results by cluster", words, control, resultChart(suite, tasks), resultTable(suite, tasks));
}

function resultChart(suite, tasks) {
  const drawn = tasks.filter((task) => !task.native_scale && task.results.some((result) => isNumber(result?.value)));
  if (!drawn.length) return null;
  if (drawn.length > MOST_ROWS) return clusterChart(suite, drawn);
  const rows = [];
  for (const task of drawn) {
    if (rows.at(-1)?.cluster !== task.cluster) rows.push({ key: `cluster ${task.cluster}`, header: task.cluster || "no cluster", cluster: task.cluster });
    const marks = task.results.flatMap((result, run) => result ? [{
      run, value: result.value, interval: result.interval, before: several() ? null : result.before, tint: runColor(run),
      band: isNumber(result.template_quantiles[5]) && isNumber(result.template_quantiles[95]) ? [result.template_quantiles[5], result.template_quantiles[95]] : null,
      templates: Object.values(result.per_template).length > 1 ? Object.values(result.per_template).filter(isNumber) : [],
      words: describe(result, run),
    }] : []);
    rows.push({ key: `task ${task.name}`, label: task.name, cluster: task.cluster, chance: task.chance, marks });
  }
  const before = !several() && drawn.some((task) => isNumber(task.before));
  const key = several()
    ? [...data.runs.map((run, index) => [run.name, runColor(index)]), ["one template", MUTED, "point"], ["chance", CHANCE, "tick"]]
    : [["score", runColor(0)], ["95% interval", runColor(0), "bar"], ["one template", runColor(0), "point"], ...(drawn.some((task) => isNumber(task.template_quantiles[5])) ? [["90% of templates, estimated", runColor(0), "thin"]] : []), ...(before ? [[`step ${data.runs[0].before_step}`, runColor(0), "ring"]] : []), ["chance", CHANCE, "tick"]];
  const label = `Scores of ${drawn.length} tasks of ${suite.name} by cluster, from 0 to 100; the table below has the numbers.`;
  return h("div", {}, legend(key), figure(label, scoreRows(rows, { runs: data.runs.length })));
}

/** Of very many tasks the clusters: the mean of each over its tasks, which stand below it as dots. */
function clusterChart(suite, drawn) {
  const clusters = [...new Set(drawn.map((task) => task.cluster))];
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const rows = clusters.map((cluster) => {
    const tasks = drawn.filter((task) => task.cluster === cluster);
    const marks = data.runs.flatMap((run, index) => {
      const found = tasks.map((task) => task.results[index]).filter((result) => isNumber(result?.value));
      if (!found.length) return [];
      const value = mean(found.map((result) => result.value));
      const before = several() ? [] : found.map((result) => result.before).filter(isNumber);
      return [{ run: index, value, interval: null, before: before.length === found.length ? mean(before) : null, tint: runColor(index), templates: found.map((result) => result.value), words: `${several() ? `${run.name}: ` : ""}${cluster}\nmean of ${count(found.length)} tasks: ${percent(value)}` }];
    });
    return { key: cluster, label: `${cluster || "no cluster"} (${count(tasks.length)})`, chance: mean(tasks.map((task) => task.chance ?? 0)), marks };
  });
  const key = [...data.runs.map((run, index) => [several() ? run.name : "mean of the cluster's tasks", runColor(index)]), ["one task", MUTED, "point"], ...(rows.some((row) => row.marks.some((mark) => isNumber(mark.before))) ? [[`step ${count(data.runs[0].before_step)}`, runColor(0), "ring"]] : []), ["chance", CHANCE, "tick"]];
  return h("div", {}, legend(key), figure(`Means of ${clusters.length} clusters of ${suite.name}; the table below has the numbers of all ${drawn.length} tasks.`, scoreRows(rows, { runs: data.runs.length })));
}

/** The rows whose points lie furthest apart, where there are too many to draw. */
function widest(rows) {
  const spread = (row) => { const values = row.points.map((point) => point.value).filter(isNumber); return values.length ? Math.max(...values) - Math.min(...values) : 0; };
  return rows.length <= MOST_ROWS ? rows : sorted(rows, spread, -1).slice(0, MOST_ROWS);
}

const ofAll = (shown, rows) => (shown.length < rows.length ? `The ${count(shown.length)} of ${count(rows.length)} tasks whose scores lie furthest apart; the table has all.` : null);

function describe(result, run) {
  const lines = [several() ? `${data.runs[run].name}: ${result.name}` : result.name, `${result.metric} ${score(result, result.value)}, interval ${interval(result.interval)}`];
  if (isNumber(result.before)) lines.push(`before ${score(result, result.before)}`);
  const templates = Object.values(result.per_template).filter(isNumber);
  if (templates.length > 1) lines.push(`${templates.length} templates: ${percent(Math.min(...templates))} to ${percent(Math.max(...templates))}`);
  const { 5: low, 50: middle, 95: high } = result.template_quantiles;
  if ([low, middle, high].every(isNumber)) lines.push(`over templates, noise taken out: median ${percent(middle)}, 5 to 95% ${percent(low)} to ${percent(high)}`);
  if (isNumber(result.template_summary?.best_by_validation)) lines.push(`template chosen by validation ${percent(result.template_summary.best_by_validation)}`);
  if (isNumber(result.noise?.deviation)) lines.push(`noise over checkpoints ± ${percent(result.noise.deviation)}`);
  lines.push(`chance ${percent(result.chance)}, n = ${count(result.n)}`);
  return lines.join("\n");
}

function resultTable(suite, tasks) {
  const columns = [
    { name: "Task", of: (task) => task.name, show: (task) => [breakable(task.name), task.cluster && h("span", { class: "sub narrow" }, task.cluster)] },
    { name: "Cluster", css: "nowrap wide", of: (task) => task.cluster }, { name: "Metric", css: "wide", of: (task) => task.metric },
  ];
  const pinned = [];
  const runs = data.runs.map((run, index) => [run, index]).filter(([, index]) => suite.runs[index]);
  if (several()) {
    for (const [run, index] of runs) {
      const mine = (task) => task.results[index];
      columns.push({ name: run.name, number: true, of: (task) => mine(task)?.value, show: (task) => mine(task) ? [score(task, mine(task).value), h("span", { class: "sub" }, interval(mine(task).interval, (value) => score(task, value)))] : NOTHING });
    }
    for (const [run, index] of runs) {
      const noise = (task) => task.results[index]?.noise;
      if (tasks.some(noise)) columns.push({ name: `${run.name}: noise`, title: NOISE, number: true, of: (task) => noise(task)?.deviation, show: (task) => noiseCell(task, task.results[index]) });
    }
    const [, first] = runs[0];
    for (const [run, index] of runs.slice(1)) columns.push({ name: `${run.name} − ${data.runs[first].name}`, number: true, of: (task) => task.results[index]?.versus?.value, show: (task) => (task.results[index]?.versus ? changeCell({ ...task, delta: task.results[index].versus }) : NOTHING) });
    columns.push({ name: "Chance", number: true, of: (task) => task.chance, show: (task) => percent(task.chance) }, MAJORITY, { name: "n", number: true, of: (task) => task.n, show: (task) => count(task.n) });
    if (suite.runs.some((own) => own?.average)) pinned.push(meanRow(suite, runs));
  } else {
    const own = suite.runs[0];
    if (data.runs[0].before_step !== null) columns.push({ name: `Step ${count(data.runs[0].before_step)}`, number: true, of: (task) => task.before, show: (task) => score(task, task.before) });
    columns.push(
      { name: `Step ${count(data.runs[0].step)}`, number: true, of: (task) => task.value, show: (task) => [h("b", {}, score(task, task.value)), h("span", { class: "sub" }, interval(task.interval, (value) => score(task, value)))] });
    if (data.runs[0].before_step !== null) columns.push({ name: "Change", number: true, of: (task) => task.delta?.value, show: (task) => task.delta ? changeCell(task) : NOTHING });
    columns.push(
      { name: "Chance", number: true, of: (task) => task.chance, show: (task) => percent(task.chance) },
      MAJORITY,
      { name: "Templates", title: "Standard deviation of the score over templates, with the worst and the best one, or the 5% and 95% quantiles where they were estimated", number: true, of: (task) => task.template_spread, show: templateCell },
      ...(tasks.some((task) => isNumber(task.template_summary.best_by_validation)) ? [{ name: "Best template", title: "The score, on one half of the examples, of the template that is best on the other half, both ways: what choosing a template by validation brings", number: true, of: (task) => task.template_summary?.best_by_validation, show: (task) => [percent(task.template_summary?.best_by_validation), isNumber(task.template_summary?.best_by_validation) && h("span", { class: "sub" }, "by validation")] }] : []),
      { name: "n", number: true, of: (task) => task.n, show: (task) => count(task.n) });
    if (tasks.some((task) => task.noise)) columns.push({ name: "Noise", title: NOISE, number: true, of: (task) => task.noise?.deviation, show: (task) => noiseCell(task, task) });
    if (tasks.some((task) => Object.keys(task.metrics).length)) columns.push({ name: "Other metrics", of: (task) => Object.keys(task.metrics).length, show: otherMetrics });
    if (own.average) pinned.push({ ...own.average, name: `mean of ${counted(own.average.tasks, "task")}`, cluster: "", metric: "", before: own.before?.value, delta: own.delta, noise: own.noise, metrics: {}, per_template: {}, template_quantiles: {}, template_summary: {} });
  }
  return table(`Results of ${suite.name}`, columns, tasks, { pinned, key: `results ${suite.name}` });
}

function meanRow(suite, runs) {
  const averages = suite.runs.map((own) => own?.average ?? null);
  const known = averages.find(Boolean);
  const counts = new Set(averages.filter(Boolean).map((average) => average.tasks));
  const name = counts.size === 1 ? `mean of ${counted(known.tasks, "task")}` : "mean of each run's own tasks";
  return { name, cluster: "", metric: "", chance: known.chance, majority: known.majority, n: known.n, results: data.runs.map((_, index) => averages[index] && { ...averages[index], versus: suite.runs[index].versus, noise: suite.runs[index].noise }) };
}

const NOISE = "Standard deviation of the score over the last evaluations, and the ratio of signal (how far the score moved over all of them) to it, each relative to its mean";

function noiseCell(task, result) {
  if (!result?.noise) return NOTHING;
  const { deviation, ratio } = result.noise;
  return [`± ${task.native_scale ? Number(deviation.toPrecision(3)) : percent(deviation)}`, isNumber(ratio) && h("span", { class: "sub" }, `signal ${ratio.toFixed(1)} ×`)];
}

const MAJORITY = { name: "Majority", title: "The score of always giving the most frequent answer, which looks at the labels", number: true, of: (task) => task.majority, show: (task) => percent(task.majority) };

function changeCell(task) {
  const { value, interval: pair } = task.delta;
  const text = task.native_scale ? minus(String(Number(value.toPrecision(3)))) : signed(value);
  const css = pair ? (pair[0] > 0 ? "up" : pair[1] < 0 ? "down" : null) : null;
  return [h("span", { class: css }, text), pair && h("span", { class: "sub" }, `${signed(pair[0])} to ${signed(pair[1])}`)];
}

function templateCell(task) {
  const values = Object.values(task.per_template).filter(isNumber);
  if (!isNumber(task.template_spread)) return NOTHING;
  const { 5: low, 95: high } = task.template_quantiles;
  const range = isNumber(low) && isNumber(high) ? `${percent(low)} to ${percent(high)}` : values.length > 1 ? `${percent(Math.min(...values))} to ${percent(Math.max(...values))}` : null;
  return [`± ${percent(task.template_spread)}`, range && h("span", { class: "sub" }, range)];
}

function otherMetrics(task) {
  const names = Object.keys(task.metrics);
  if (!names.length) return NOTHING;
  const text = (value) => (isNumber(value) ? (task.native_scale ? String(Number(value.toPrecision(4))) : percent(value)) : String(value ?? NOTHING));
  return names.map((name) => h("span", { class: "sub" }, `${name} ${text(task.metrics[name])}`));
}

/** Averages of suites over all evaluated steps, where there are more than the two that the results compare. */
function progress() {
  if (!data.runs.some((run) => run.history.length > 2)) return null;
  const held = new Set(data.runs.flatMap((run) => run.suites.filter((suite) => suite.held_out).map((suite) => suite.name)));
  const names = sorted([...new Set(data.runs.flatMap((run) => run.history.flatMap((found) => Object.keys(found.suites))))], (name) => Number(!held.has(name)), 1);
  if (!names.length) return null;
  const control = several() && names.length > 1 ? choice("Suite", "progressSuite", names.map((name) => [name, name]), refresh) : null;
  const curve = (run, suite, name, tint) => {
    const found = run.history.filter((one) => one.suites[suite]);
    const at = (pick) => found.map((one) => 100 * pick(one.suites[suite]));
    return { name, tint, steps: found.map((one) => one.step), values: at((one) => one.value), low: at((one) => one.interval[0]), high: at((one) => one.interval[1]) };
  };
  const chosen = several() ? names.filter((name) => names.length === 1 || name === state.progressSuite) : names;
  const curves = data.runs.flatMap((run, index) => chosen.map((suite, at) => curve(run, suite, several() ? run.name : suite, color(several() ? index : at))));
  const columns = [{ name: several() ? "Run" : "Step", of: (row) => several() ? row.run : row.step, show: (row) => several() ? row.run : count(row.step) }];
  if (several()) columns.push({ name: "Step", number: true, of: (row) => row.step, show: (row) => count(row.step) });
  columns.push(...names.map((name) => ({ name, number: true, of: (row) => row.suites[name]?.value, show: (row) => percent(row.suites[name]?.value) })));
  const rows = data.runs.flatMap((run) => run.history.map((found) => ({ ...found, run: run.name })));
  return card("progress", "Averages by step", "The mean over tasks of a suite at every step that was measured, with its 95% interval.", control,
    legend(curves.map((one) => [one.name, one.tint, "line"])),
    figure("Averages of suites by training step; the table below has the numbers.", stepCurves(curves, { label: "Average (%)", format: (value) => `${value.toFixed(1)}%` })),
    h("details", {}, h("summary", {}, "The numbers"), table("Averages by step", columns, rows)));
}

const MODES = { zs_opt: "zero-shot, options", zs_noopt: "zero-shot", fs_opt: "few-shot, options", fs_noopt: "few-shot", cot_zs_opt: "reasoned, zero-shot, options", cot_zs_noopt: "reasoned, zero-shot", cot_fs_opt: "reasoned, few-shot, options", cot_fs_noopt: "reasoned, few-shot", no_template: "no template", dataset_name: "data set's name" };

/** The same task in several prompt modes: zero-shot beside few-shot. */
function shots() {
  const blocks = data.runs.map((run) => {
    const tasks = new Map();
    for (const suite of run.suites) for (const task of suite.tasks) {
      if (!task.task || !task.mode || task.native_scale) continue;
      const modes = tasks.get(task.task) ?? tasks.set(task.task, new Map()).get(task.task);
      const mode = `${MODES[task.mode] ?? task.mode}${task.shots ? `, ${task.shots} ${task.shots === 1 ? "shot" : "shots"}` : ""}`;
      if (!modes.has(mode)) modes.set(mode, task);
    }
    const rows = [...tasks].filter(([, modes]) => modes.size > 1);
    const modes = [...new Set(rows.flatMap(([, found]) => [...found.keys()]))];
    const tint = (mode) => color(modes.indexOf(mode));
    if (!rows.length) return null;
    const drawn = rows.map(([name, found]) => ({ key: name, label: name, points: [...found].map(([mode, task]) => ({ value: task.value, tint: tint(mode), words: `${name}\n${mode}: ${percent(task.value)}` })) }));
    const columns = [{ name: "Task", of: ([name]) => name }, ...modes.map((mode) => ({ name: mode, number: true, of: ([, found]) => found.get(mode)?.value, show: ([, found]) => percent(found.get(mode)?.value) }))];
    return [several() && h("h3", {}, run.name), legend(modes.map((mode) => [mode, tint(mode)])),
      figure(`Scores of ${rows.length} tasks by prompt mode; the table below has the numbers.`, joinedPoints(widest(drawn), { label: "Score (%)", domain: [0, 100] }), ofAll(widest(drawn), drawn)),
      h("details", {}, h("summary", {}, "The numbers"), table(`Prompt modes${several() ? ` of ${run.name}` : ""}`, columns, rows))];
  });
  return blocks.some(Boolean) ? card("shots", "Zero-shot and few-shot", "Tasks that were measured in more than one prompt mode.", null, blocks) : null;
}

function confusion() {
  const top = new Set(data.runs.flatMap((run) => run.suites.filter((suite) => suite.name === run.headline?.name).flatMap((suite) => suite.tasks.map((task) => task.name))));
  const names = sorted([...new Set(data.runs.flatMap((run) => Object.keys(run.confusion)))].sort(), (name) => Number(!top.has(name)), 1);
  if (!names.length) return null;
  const control = picker("Task", "confusionTask", names.map((name) => [name, name]), refresh);
  const matrices = data.runs.filter((run) => run.confusion[state.confusionTask]).map((run) => matrix(run, run.confusion[state.confusionTask]));
  return card("confusion", "Confusion", "Tasks that choose among the same options in every example: how often an option was answered (columns) where another was right (rows).", h("div", { class: "controls", style: "margin:0" }, control), h("div", { class: "matrices" }, matrices));
}

function matrix(run, { labels, counts }) {
  const sums = counts.map((row) => row.reduce((total, one) => total + one, 0));
  return h("table", { class: "matrix" },
    h("caption", {}, several() ? `${run.name}, step ${count(run.step)}` : `Step ${count(run.step)}; the shade is the share of the row`),
    h("thead", {}, h("tr", {}, h("td", {}, ""), labels.map((label) => h("th", { scope: "col" }, label)))),
    h("tbody", {}, labels.map((label, row) => h("tr", {}, h("th", { scope: "row" }, label),
      counts[row].map((value, column) => h("td", { class: row === column && "hit", "--share": sums[row] ? (value / sums[row]).toFixed(3) : "0", title: sums[row] ? `${percent(value / sums[row])}% of ${count(sums[row])}` : null }, count(value)))))));
}

const OVERLAPS = [["exact", "the same record"], ["normalized", "the same words"], ["ngram", "a shared n-gram"]];
const PARTS = [["clean", color(2)], ["overlapping", color(1)]];

/** Scores of examples that training has not seen, beside those of examples that overlap with what it has. */
function contamination() {
  const all = data.runs.flatMap((run, index) => run.suites.flatMap((suite) => suite.tasks.map((task) => ({ ...task, key: `${index} ${suite.name} ${task.name}`, label: several() ? `${run.name}: ${task.name}` : task.name }))));
  const definitions = OVERLAPS.filter(([name]) => all.some((row) => row.by_overlap[name]));
  if (!definitions.length) return null;
  const control = choice("Overlap", "overlapOf", definitions, refresh);
  const part = (row, name) => row.by_overlap[state.overlapOf]?.[name];
  const rows = all.filter((row) => row.by_overlap[state.overlapOf]);
  const over = rows.filter((row) => part(row, "overlapping").n);
  const drawn = over.filter((row) => !row.native_scale).map((row) => ({ key: row.key, label: row.label, points: PARTS.map(([name, tint]) => ({ ...part(row, name), tint, words: `${row.label}\n${name}: ${percent(part(row, name).value)}, n = ${count(part(row, name).n)}` })) }));
  const columns = [{ name: "Task", of: (row) => row.label, show: (row) => breakable(row.label) }, { name: "All", number: true, of: (row) => row.value, show: (row) => score(row, row.value) },
    ...PARTS.flatMap(([name]) => [
      { name: name === "clean" ? "Clean" : "Overlapping", number: true, of: (row) => part(row, name).value, show: (row) => [score(row, part(row, name).value), h("span", { class: "sub" }, interval(part(row, name).interval, (value) => score(row, value)))] },
      { name: `n ${name}`, number: true, of: (row) => part(row, name).n, show: (row) => count(part(row, name).n) }]),
    { name: "n too short", title: "Examples of too few words to be looked for", number: true, of: (row) => part(row, "short")?.n, show: (row) => count(part(row, "short")?.n) }];
  const total = rows.reduce((sum, row) => sum + part(row, "overlapping").n, 0);
  return card("overlap", "Clean against contaminated", `${count(total)} of ${count(rows.reduce((sum, row) => sum + row.n, 0))} examples in ${count(over.length)} of ${counted(rows.length, "task")} overlap with what the run trained on. Paraphrases are not found.`, control,
    drawn.length ? [legend(PARTS), figure(`Scores of ${drawn.length} tasks on clean and on overlapping examples; the table below has the numbers.`, joinedPoints(widest(drawn), { label: "Score (%)", domain: [0, 100] }), ofAll(widest(drawn), drawn))] : null,
    h("details", { open: over.length > 0 }, h("summary", {}, "The numbers"), table("Clean against contaminated", columns, rows)));
}

function published() {
  if (!data.published.length) return null;
  return card("published", "Published figures", "What papers report for the same suite or tasks. Read what differs before comparing.", null, data.published.map((figureOf) => {
    const ours = figureOf.ours.map((found) => ({ label: several() ? data.runs[found.run].name : "this run", value: found.value, tint: runColor(found.run), strong: true }));
    const bars = [...figureOf.values.map((found) => ({ ...found, tint: MUTED })), ...ours];
    const measuredHere = figureOf.ours.map((found) => `${several() ? `${data.runs[found.run].name}: ` : ""}${found.of ? `${found.tasks} of ${found.of} tasks` : counted(found.tasks, "task")}, ${count(found.n)} examples, ${compact(data.runs[found.run].cost.parameters)} parameters`).join("; ");
    return h("div", {}, h("h3", {}, figureOf.title), figure(`${figureOf.title}: ${bars.map((bar) => `${bar.label} ${percent(bar.value)}`).join(", ")}`, scoreBars(bars)),
      h("p", { class: "small muted" }, `${figureOf.differs} Here: ${measuredHere}. Source: ${figureOf.source}.`));
  }));
}

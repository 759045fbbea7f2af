// Sections of training: loss curves, and the mixture as it was asked for and as it was drawn.

const FEW = 10;

function losses() {
  if (!data.runs.some((run) => run.loss.overall.steps.length)) return null;
  const control = choice("Curves", "lossOf", [["overall", "Overall"], ["clusters", "Clusters"], ["tasks", "Tasks"]].filter(([name]) => name === "overall" || data.runs.some((run) => Object.keys(run.loss[name]).length)), refresh);
  const blocks = state.lossOf === "overall" ? [overallLoss()] : data.runs.map((run, index) => partLoss(run, index)).filter(Boolean);
  return card("loss", "Training loss", "Nats a token of the targets, over logged windows.", control, blocks);
}

function overallLoss() {
  const curves = data.runs.map((run, index) => ({ name: run.name, tint: runColor(index), steps: run.loss.overall.steps, values: run.loss.overall.losses }));
  const words = curves.filter((one) => one.values.length).map((one) => `${one.name} from ${one.values[0].toFixed(3)} to ${one.values.at(-1).toFixed(3)}`).join("; ");
  return [several() && legend(curves.map((one) => [`${one.name}: ${one.values.length ? one.values.at(-1).toFixed(3) : NOTHING}`, one.tint, "line"])), figure(`Training loss by step: ${words}.`, stepCurves(curves, { label: "Loss" }))];
}

/** Curves of a run's clusters or tasks; of many tasks one cluster at a time, or the ten most drawn in color. */
function partLoss(run, index) {
  const own = run.loss[state.lossOf];
  const clusterOf = new Map(run.mixture.map((row) => [row.task, row.cluster]));
  let names = Object.keys(own);
  let filter = null;
  if (state.lossOf === "tasks") {
    const clusters = [...new Set(names.map((name) => clusterOf.get(name) ?? ""))].sort();
    if (clusters.length > 1) {
      filter = h("div", { class: "controls" }, picker("Cluster", `lossCluster${index}`, [["*", "all clusters"], ...clusters.map((name) => [name, name || "no cluster"])], refresh));
      const chosen = state[`lossCluster${index}`];
      if (chosen !== "*") names = names.filter((name) => (clusterOf.get(name) ?? "") === chosen);
    }
  }
  if (!names.length) return null;
  const rank = new Map(run.mixture.map((row, at) => [row.task, at]));
  names = sorted(names, (name) => rank.get(name) ?? 0, 1);
  const curves = names.map((name, at) => ({ name, tint: at < FEW ? color(at) : MUTED, faint: at >= FEW, steps: own[name].steps, values: own[name].losses }));
  const last = (curve) => curve.values.at(-1);
  const columns = [{ name: state.lossOf === "tasks" ? "Task" : "Cluster", of: (row) => row.name }, { name: "First", number: true, of: (row) => row.values[0], show: (row) => row.values[0].toFixed(3) }, { name: "Last", number: true, of: last, show: (row) => last(row).toFixed(3) }];
  return [several() && h("h3", {}, run.name), filter,
    legend([...curves.slice(0, FEW).map((one) => [one.name, one.tint, "line"]), ...(curves.length > FEW ? [[`${count(curves.length - FEW)} more`, MUTED, "line"]] : [])]),
    figure(`Training loss of ${names.length} ${state.lossOf} of ${run.name} by step; the table below has the first and the last values.`, stepCurves(curves, { label: "Loss" })),
    h("details", {}, h("summary", {}, "The numbers"), table(`Loss of ${state.lossOf} of ${run.name}`, columns, curves))];
}

const MEASURES = [["drawn", "Drawn"], ["asked", "Asked for"], ["loss_tokens", "Loss tokens"]];

function mixture() {
  const shown = data.runs.map((run, index) => [run, index]).filter(([run]) => run.mixture.length);
  if (!shown.length) return null;
  const options = MEASURES.filter(([measure]) => shown.some(([run]) => run.mixture.some((row) => isNumber(row[measure]) && row[measure] > 0)));
  if (!options.length) return null;
  const control = choice("Area", "mixtureOf", options, refresh);
  const early = data.runs.filter((run) => run.mixture.length && !run.drawn_recorded).map((run) => run.name);
  const words = "Areas are shares of the examples, or of the tokens that the loss counts. Asked for is what the weights in force asked for over the steps taken.";
  return card("mixture", "Mixture", words, control,
    early.length ? h("p", { class: "small muted" }, `${early.join(", ")} did not record what was drawn: asked for is what the weights say at the beginning.`) : null,
    shown.map(([run, index]) => mixtureOf(run, index)));
}

function mixtureOf(run, index) {
  const clusters = new Map();
  for (const row of run.mixture) (clusters.get(row.cluster) ?? clusters.set(row.cluster, []).get(row.cluster)).push(row);
  // The order, and so the color, is that of the first measure: a switch of measures keeps the colors.
  const names = [...clusters.keys()];
  const total = (name, measure) => clusters.get(name).reduce((sum, row) => sum + (row[measure] ?? 0), 0);
  const words = (row) => [row.task, ...MEASURES.filter(([measure]) => isNumber(row[measure])).map(([measure, name]) => `${name.toLowerCase()} ${percent(row[measure], 2)}%`), ...(isNumber(row.epochs) ? [`${row.epochs.toFixed(2)} epochs of ${count(row.size)}`] : [])].join("\n");
  const areas = names.map((name, at) => ({ name: name || "no cluster", tint: color(at), tasks: clusters.get(name).map((row) => ({ name: row.task, value: row[state.mixtureOf] ?? 0, words: words(row) })) }));
  const both = run.mixture.some((row) => isNumber(row.drawn)) && run.mixture.some((row) => isNumber(row.asked));
  const points = sorted(names, (name) => -total(name, "asked"), 1).map((name) => ({ key: name, label: name || "no cluster", points: [{ value: total(name, "asked"), tint: MUTED, ring: true, words: `${name}\nasked for ${percent(total(name, "asked"), 2)}%` }, { value: total(name, "drawn"), tint: runColor(index), words: `${name}\ndrawn ${percent(total(name, "drawn"), 2)}%` }] }));
  const share = (name, title, measure) => ({ name, title, number: true, of: (row) => row[measure], show: (row) => (isNumber(row[measure]) ? `${percent(row[measure], 2)}%` : NOTHING) });
  const columns = [
    { name: "Task", of: (row) => row.task, show: (row) => breakable(row.task) }, { name: "Cluster", css: "nowrap", of: (row) => row.cluster },
    share("Asked for", "Share of the examples that the weights asked for", "asked"), share("Drawn", "Share of the examples that were drawn", "drawn"),
    { name: "Examples", number: true, of: (row) => row.examples, show: (row) => count(row.examples) }, { name: "There are", number: true, of: (row) => row.size, show: (row) => count(row.size) },
    { name: "Epochs", number: true, of: (row) => row.epochs, show: (row) => (isNumber(row.epochs) ? row.epochs.toFixed(2) : NOTHING) }, share("Loss tokens", "Share of the tokens that the loss counted", "loss_tokens"),
    { name: "First loss", number: true, of: (row) => row.first_loss, show: (row) => (isNumber(row.first_loss) ? row.first_loss.toFixed(3) : NOTHING) }, { name: "Last loss", number: true, of: (row) => row.last_loss, show: (row) => (isNumber(row.last_loss) ? row.last_loss.toFixed(3) : NOTHING) },
  ];
  const title = MEASURES.find(([measure]) => measure === state.mixtureOf)[1].toLowerCase();
  return h("div", {}, several() && h("h3", {}, run.name),
    figure(`The mixture by cluster, ${title}: ${areas.map((area, at) => `${area.name} ${percent(total(names[at], state.mixtureOf))} per cent`).join(", ")}.`, treemap(areas)),
    both && [h("h3", {}, "Asked for and drawn, by cluster"), legend([["asked for", MUTED, "ring"], ["drawn", runColor(index)]]), figure("Shares of clusters as asked for and as drawn; the table below has the numbers of tasks.", joinedPoints(points, { label: "Share of examples (%)" }))],
    h("details", { open: run.mixture.length <= 30 }, h("summary", {}, run.mixture.length > 1 ? `All ${count(run.mixture.length)} tasks` : "The numbers"), table(`Mixture of ${run.name}`, columns, run.mixture)));
}

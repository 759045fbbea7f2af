// The page of one run, or of several: its sections, and what stands above them.

const SECTIONS = [
  ["overview", "Overview", overview], ["results", "Results", results], ["progress", "By step", progress], ["shots", "Shots", shots],
  ["confusion", "Confusion", confusion], ["overlap", "Contamination", contamination], ["published", "Published", published],
  ["loss", "Loss", losses], ["mixture", "Mixture", mixture], ["examples", "Examples", examples, true], ["files", "Run files", files],
];
const FOOTER = "Intervals are 95% intervals over examples; changes are paired over the same examples.";

function chips() {
  const run = data.runs[0];
  return several() ? data.runs.map((one, index) => h("span", { class: "chip" }, h("span", { class: "key", style: "display:inline-block;margin-right:.4rem", "--color": runColor(index) }), one.name)) : [
    run.mixture_name && h("span", { class: "chip" }, "mixture ", h("b", {}, run.mixture_name)),
    run.vocabulary && h("span", { class: "chip" }, "vocabulary ", h("b", {}, run.vocabulary)),
    run.held_out_clusters.map((name) => h("span", { class: "chip held" }, `held out: ${name}`)),
  ];
}

function files() {
  const blocks = data.runs.map((run) => {
    const { config, tasks, ...rest } = run.manifest;
    const pretty = (value) => (value && Object.keys(value).length ? JSON.stringify(value, null, 1) : "");
    return h("div", {}, several() && h("h3", {}, run.name), h("p", { class: "small muted mono" }, run.folder),
      fileBlock("config.gin", run.config), fileBlock("manifest.json: the run", pretty(rest)), fileBlock("manifest.json: its configuration", pretty(config)), fileBlock("manifest.json: its tasks", pretty(tasks)));
  });
  return card("files", "Run files", "What the run's folder says of itself.", null, blocks);
}

render();
if (data.live) follow();

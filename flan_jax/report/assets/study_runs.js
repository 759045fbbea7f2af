// The table of runs, with its filters; the methods section; the study's file.

const FEW_LEVELS = 14;
const FEW_UNITS = 6;

function runs() {
  const { objective } = data;
  const factors = [...new Set(data.runs.flatMap((run) => Object.keys(run.levels)))];
  const levels = (name) => [...new Set(data.runs.map((run) => run.levels[name]).filter((level) => level !== undefined))];
  const filters = factors.filter((name) => levels(name).length > 1 && levels(name).length <= FEW_LEVELS);
  const status = h("p", { class: "small muted", role: "status", "aria-live": "polite" });
  const place = h("div");
  const update = () => {
    const words = (state.runSearch ?? "").trim().toLowerCase();
    const found = data.runs.filter((run) => (state.runState === "*" || run.state === state.runState) && filters.every((name) => state[`level ${name}`] === "*" || run.levels[name] === state[`level ${name}`]) && (!words || searchedRun(run).includes(words)));
    place.replaceChildren(table("Runs", runColumns(factors), found, { key: "runs" }));
    status.textContent = `${count(found.length)} of ${counted(data.runs.length, "run")}.`;
  };
  const controls = h("div", { class: "controls" },
    picker("State", "runState", [["*", "all states"], ...Object.keys(data.states).map((name) => [name, name])], update),
    filters.map((name) => picker(name, `level ${name}`, [["*", "all"], ...levels(name).map((level) => [level, level])], update)),
    h("label", { class: "grow" }, "Search runs", h("input", { type: "search", id: "run-search", value: state.runSearch ?? "", placeholder: "name, level, reason", oninput: (event) => { state.runSearch = event.target.value; update(); } })));
  update();
  const linked = data.runs.filter((run) => run.page).length;
  const words = linked ? `${count(linked)} of ${counted(data.runs.length, "run")} have a page of their own, which their names lead to.` : "flan-jax report STUDY_DIR --runs writes a page of each run, which its name then leads to.";
  return card("runs", "Runs", `Objective: ${objective.name}. Score: the mean over the tasks of ${objective.suite} by their own metrics, with its 95% interval over examples. ${words}`, null, controls, status, place);
}

const searchedRun = (run) => [run.run, run.state, run.reason, ...Object.entries(run.levels).map(([name, level]) => `${name}=${level}`)].join(" ").toLowerCase();

function runColumns(factors) {
  const { objective, units } = data;
  const number = (text) => (text !== undefined && text !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
  const name = (run) => (run.page ? h("a", { href: `${data.runs_folder}/${run.run}/report.html` }, run.run) : run.run);
  const weights = units.length <= FEW_UNITS
    ? units.map((unit) => ({ name: unit, title: `Weight of ${unit}`, number: true, of: (run) => run.weights[unit], show: (run) => (isNumber(run.weights[unit]) ? `${percent(run.weights[unit])}%` : NOTHING) }))
    : [{ name: "Largest weights", of: (run) => Math.max(...Object.values(run.weights)), show: (run) => largest(run.weights, 3).map((text) => h("span", { class: "sub" }, text)) }];
  return [
    { name: "Run", of: (run) => run.number, show: (run) => [name(run), run.replicate > 0 && h("span", { class: "sub" }, "again")] },
    { name: "Objective", number: true, of: (run) => run.objective, show: (run) => shown(objective, run.objective) },
    { name: "Score", number: true, of: (run) => run.score, show: (run) => [percent(run.score), isNumber(run.score) && h("span", { class: "sub" }, interval(run.interval))] },
    { name: "State", of: (run) => run.state, show: (run) => [h("span", { class: run.state === "failed" || run.state === "diverged" ? "down" : null }, run.state), run.reason && run.state !== "done" && h("span", { class: "sub wrap-text" }, run.reason)] },
    ...factors.map((factor) => ({ name: factor, of: (run) => number(run.levels[factor]), show: (run) => run.levels[factor] ?? NOTHING })),
    ...weights,
    { name: "Step", number: true, of: (run) => run.step, show: (run) => [count(run.step), isNumber(run.steps) && run.steps !== run.step && h("span", { class: "sub" }, `of ${count(run.steps)}`)] },
    { name: "Tokens", number: true, of: (run) => run.tokens, show: (run) => compact(run.tokens) },
    { name: "Time", title: "Of training alone; of a group, the run's part", number: true, of: (run) => run.seconds, show: (run) => duration(run.seconds) },
  ];
}

function methods() {
  const text = h("pre", { class: "copy", id: "methods-text", tabindex: "0" }, data.methods);
  const status = h("span", { class: "small muted", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(data.methods);
      status.textContent = "copied";
    } catch {
      // Where a page may not write to the clipboard, the text is at least selected.
      getSelection().selectAllChildren(text);
      status.textContent = "selected: copy it with your keyboard";
    }
  };
  return card("methods", "Methods", "What a methods section needs, from the study's own files.", h("div", {}, h("button", { class: "more", type: "button", onclick: copy }, "Copy"), " ", status), text);
}

function files() {
  return card("files", "Study file", "What the study file came to, with all that it includes.", null, h("p", { class: "small muted mono" }, data.folder), fileBlock("study.gin", data.config));
}

// The browser of examples: what the model was asked, word for word, what it answered, and what was expected.

const PAGE = 12;
const VERDICTS = [["*", "all answers"], ["right", "right"], ["wrong", "wrong"], ["partly", "scored in between"], ["fixed", "now right, wrong before"], ["broken", "now wrong, right before"], ["differ", "runs differ"]];

/** The evaluation whose answers filters look at: the newest one of a run. */
function newest(run) {
  return data.sources.reduce((best, source, at) => (source.run === run && (best < 0 || source.step >= data.sources[best].step) ? at : best), -1);
}

function examples() {
  const names = Object.keys(data.examples).filter((name) => data.examples[name].rows.length);
  if (!names.length) return null;
  const list = h("div", { class: "examples" });
  const status = h("p", { class: "small muted", role: "status", "aria-live": "polite" });
  const more = h("button", { class: "more", type: "button" }, "Show more");
  const clusterOf = new Map(data.runs.flatMap((run) => run.suites.flatMap((suite) => suite.tasks.map((task) => [task.name, task.cluster]))));
  const totals = names.reduce((sum, name) => sum + data.examples[name].total, 0);
  const shown = names.reduce((sum, name) => sum + data.examples[name].shown, 0);
  const update = () => {
    const found = matching(names);
    list.replaceChildren(...found.slice(0, state.page * PAGE).map(([name, row]) => example(name, row, clusterOf.get(name))));
    // Of a long prompt the end is shown, where its question and options stand.
    requestAnimationFrame(() => { for (const prompt of list.querySelectorAll("pre")) if (prompt.querySelector("mark")) prompt.scrollTop = prompt.scrollHeight; });
    more.hidden = found.length <= state.page * PAGE;
    const task = state.exampleTask === "*" ? null : data.examples[state.exampleTask];
    const [kept, all] = task ? [task.shown, task.total] : [shown, totals];
    const held = kept < all ? `${count(kept)} of ${count(all)} examples${task ? " of this task" : ""}, a fixed choice that does not look at the answers` : `all ${count(all)} examples${task ? " of this task" : ""}`;
    status.textContent = `${count(found.length)} match. This page holds ${held}.`;
  };
  const again = () => { state.page = 1; update(); };
  more.addEventListener("click", () => { state.page += 1; update(); });
  const controls = h("div", { class: "controls" });
  const fill = () => {
    const templates = [...new Set((state.exampleTask === "*" ? names : [state.exampleTask]).flatMap((name) => data.examples[name]?.rows.map((row) => row.template) ?? []))].sort((a, b) => a - b);
    const before = data.sources.some((source) => data.runs[source.run].before_step === source.step && data.runs[source.run].step !== source.step);
    const verdicts = VERDICTS.filter(([name]) => (name === "differ" ? several() : ["fixed", "broken"].includes(name) ? before : true));
    controls.replaceChildren(
      picker("Task", "exampleTask", [["*", "all tasks"], ...names.map((name) => [name, name])], () => { fill(); again(); }),
      picker(several() ? `Answers of ${data.runs[0].name}` : "Answers", "verdict", verdicts, again),
      picker("Template", "template", [["*", "all templates"], ...templates.map((id) => [String(id), `template ${id}`])], again),
      h("label", { class: "grow" }, "Search prompts and answers", h("input", { type: "search", id: "search", value: state.search, placeholder: "words", oninput: (event) => { state.search = event.target.value; again(); } })));
  };
  fill();
  update();
  return card("examples", "Examples and answers", "Prompts as the model reads them, with the options marked; the accepted one is green.", null, controls, status, list, h("p", {}, more));
}

function matching(names) {
  const words = state.search.trim().toLowerCase();
  const found = [];
  for (const name of state.exampleTask === "*" ? names : [state.exampleTask]) {
    for (const row of data.examples[name].rows) {
      if (state.template !== "*" && String(row.template) !== state.template) continue;
      if (words && !searched(row).includes(words)) continue;
      if (state.verdict !== "*" && !judged(row, state.verdict)) continue;
      found.push([name, row]);
    }
  }
  // Across tasks the first of each task come first, so that all are seen.
  return state.exampleTask === "*" ? interleaved(found, names) : found;
}

function interleaved(found, names) {
  const byTask = new Map(names.map((name) => [name, []]));
  for (const pair of found) byTask.get(pair[0]).push(pair);
  const mixed = [];
  for (let at = 0; mixed.length < found.length; at++) for (const pairs of byTask.values()) if (at < pairs.length) mixed.push(pairs[at]);
  return mixed;
}

const searchTexts = new WeakMap();
function searched(row) {
  if (!searchTexts.has(row)) searchTexts.set(row, [row.inputs, ...row.references, ...row.answers.map((answer) => answer?.text ?? "")].join("\n").toLowerCase());
  return searchTexts.get(row);
}

function judged(row, verdict) {
  const now = row.answers[newest(0)];
  const first = data.sources.findIndex((source) => source.run === 0 && source.step === data.runs[0].before_step);
  const before = first >= 0 ? row.answers[first] : null;
  const right = (answer) => answer.score >= 1;
  if (verdict === "differ") {
    const scores = data.runs.map((_, run) => row.answers[newest(run)]?.score).filter(isNumber);
    return new Set(scores).size > 1;
  }
  if (!now) return false;
  if (verdict === "right") return right(now);
  if (verdict === "wrong") return !right(now);
  if (verdict === "partly") return now.score > 0 && now.score < 1;
  return before !== null && right(now) !== right(before) && right(now) === (verdict === "fixed");
}

function example(name, row, cluster) {
  return h("article", { class: "example" },
    h("header", {}, h("b", {}, name), cluster && h("span", {}, cluster), h("span", {}, `example ${row.example}`), h("span", {}, `template ${row.template}`), row.overlap && h("span", { class: "chip" }, "overlaps with training")),
    h("div", { class: "body" },
      h("pre", { tabindex: "0", "aria-label": "Prompt" }, row.inputs ? marked(row) : h("span", { class: "muted" }, "(the prompt's text was not saved)")),
      h("div", { class: "side" },
        h("div", {}, h("h4", {}, "Expected"), h("div", { class: "answer" }, row.references.join("\n") + (row.more_references ? `\nand ${row.more_references} more` : ""))),
        data.sources.map((source, at) => row.answers[at] && answer(source, row.answers[at], row)))));
}

function answer(source, given, row) {
  const title = [several() && source.name, `step ${count(source.step)}`].filter(Boolean).join(", ");
  const [css, word] = given.score >= 1 ? ["right", "✓ right"] : given.score <= 0 ? ["wrong", "✗ wrong"] : ["partly", `scored ${percent(given.score)}`];
  return h("div", {}, h("h4", {}, title), h("div", { class: "answer" }, h("span", { class: `verdict ${css}` }, word), " ", given.text || h("span", { class: "muted" }, isNumber(given.log_likelihood) ? `log-likelihood ${given.log_likelihood.toFixed(2)}` : "(no text)")), optionBars(given, row));
}

/** Options with the softmax of their log-likelihoods, the likeliest first. */
function optionBars(given, row) {
  const scores = given.option_scores;
  if (!scores?.length || scores.some((value) => !isNumber(value))) return null;
  const top = Math.max(...scores);
  const weights = scores.map((value) => Math.exp(value - top));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  const rows = sorted(row.options.map((option, at) => ({ option, share: weights[at] / sum })), (one) => -one.share, 1);
  const rest = rows.length - 6;
  return h("ul", { class: "bars" },
    rows.slice(0, 6).map(({ option, share }) => h("li", { class: row.references.includes(option) && "wanted" }, h("span", { "--share": share.toFixed(3) }, option), h("span", {}, `${percent(share, 0)}%`))),
    rest > 0 && h("li", {}, h("span", { class: "muted" }, `and ${rest} more`), h("span", {})));
}

/** The prompt with the options marked where they are listed: on lines of their own behind a bullet, or where they come last. */
function marked(row) {
  const text = row.inputs;
  const spans = [];
  const free = (start, end) => spans.every((span) => end <= span.start || start >= span.end);
  for (const option of [...new Set(row.options)].filter(Boolean).sort((a, b) => b.length - a.length)) {
    const start = listedAt(text, option, free);
    if (start >= 0) spans.push({ start, end: start + option.length, wanted: row.references.includes(option) });
  }
  spans.sort((a, b) => a.start - b.start);
  const parts = [];
  let at = 0;
  for (const span of spans) {
    parts.push(text.slice(at, span.start), h("mark", { class: span.wanted && "wanted", title: span.wanted ? "accepted option" : "option" }, text.slice(span.start, span.end)));
    at = span.end;
  }
  return [...parts, text.slice(at)];
}

function listedAt(text, option, free) {
  const word = /[\p{L}\p{N}]/u;
  const alone = (start, end) => !(word.test(text[start - 1] ?? "") && word.test(text[start])) && !(word.test(text[end] ?? "") && word.test(text[end - 1]));
  let last = -1;
  for (let end = text.length; end >= option.length;) {
    const start = text.lastIndexOf(option, end - option.length);
    if (start < 0) break;
    if (free(start, start + option.length) && alone(start, start + option.length)) {
      const line = text.slice(text.lastIndexOf("\n", start - 1) + 1, start);
      const rest = text.slice(start + option.length).split("\n", 1)[0];
      if (/^\s*(?:[-*•–]|\(?[\p{L}\p{N}]{1,2}[).:])?\s*$/u.test(line) && !rest.trim()) return start;
      if (last < 0) last = start;
    }
    end = start + option.length - 1;
  }
  return last;
}

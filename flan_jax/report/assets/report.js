// The page as a whole: head, navigation, sections, theme, and what follows a live run.

let data = JSON.parse(document.getElementById("data").textContent);

const state = { sorts: {}, page: 1, search: "", suite: null, theme: remembered() };
const root = document.getElementById("report");

function remembered() {
  try { return localStorage.getItem("flan_jax.theme") ?? "auto"; } catch { return "auto"; }
}

function applyTheme() {
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
  try { localStorage.setItem("flan_jax.theme", state.theme); } catch { /* a page from disk may keep nothing */ }
}

const SECTIONS = [
  ["overview", "Overview", overview], ["results", "Results", results], ["progress", "By step", progress], ["shots", "Shots", shots],
  ["confusion", "Confusion", confusion], ["overlap", "Contamination", contamination], ["published", "Published", published],
  ["loss", "Loss", losses], ["mixture", "Mixture", mixture], ["examples", "Examples", examples], ["files", "Run files", files],
];

function head() {
  const run = data.runs[0];
  return h("header", { class: "head wrap" },
    h("div", { class: "top" }, h("span", { class: "brand" }, "flan_jax report"),
      h("div", { class: "theme" }, choice("Colors", "theme", [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]], applyTheme))),
    h("h1", {}, data.title),
    h("div", { class: "meta" },
      several() ? data.runs.map((one, index) => h("span", { class: "chip" }, h("span", { class: "key", style: "display:inline-block;margin-right:.4rem", "--color": runColor(index) }), one.name)) : [
        run.mixture_name && h("span", { class: "chip" }, "mixture ", h("b", {}, run.mixture_name)),
        run.vocabulary && h("span", { class: "chip" }, "vocabulary ", h("b", {}, run.vocabulary)),
        run.held_out_clusters.map((name) => h("span", { class: "chip held" }, `held out: ${name}`)),
      ],
      h("span", { id: "live" })));
}

function files() {
  const blocks = data.runs.map((run) => {
    const { config, tasks, ...rest } = run.manifest;
    const block = (title, text) => text ? h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, text)) : null;
    const pretty = (value) => (value && Object.keys(value).length ? JSON.stringify(value, null, 1) : "");
    return h("div", {}, several() && h("h3", {}, run.name), h("p", { class: "small muted mono" }, run.folder),
      block("config.gin", run.config), block("manifest.json: the run", pretty(rest)), block("manifest.json: its configuration", pretty(config)), block("manifest.json: its tasks", pretty(tasks)));
  });
  return card("files", "Run files", "What the run's folder says of itself.", null, blocks);
}

const sections = new Map();

function render() {
  applyTheme();
  sections.clear();
  const built = SECTIONS.map(([id, title, build]) => [id, title, build, build()]).filter(([, , , node]) => node);
  for (const [id, , build, node] of built) sections.set(id, { build, node });
  const links = built.map(([id, title]) => h("li", {}, h("a", { href: `#${id}` }, title)));
  root.replaceChildren(
    head(),
    h("nav", { "aria-label": "Sections" }, h("ul", { class: "wrap" }, links)),
    h("main", { class: "wrap", id: "main" }, h("div", { style: "display:contents" }, warningsBlock()), built.map(([, , , node]) => node)),
    h("footer", { class: "wrap" }, `flan_jax ${data.version}. Intervals are 95% intervals over examples; changes are paired over the same examples. One file, which loads nothing.`));
  spy(links.map((item) => item.firstChild));
}

const warningsBlock = () => { const found = warnings().filter(Boolean); return found.length ? h("div", { style: "display:grid;gap:1rem" }, found) : null; };

/** Builds the sections anew after a choice; where the reader was stays where it was, and so does the focus. */
function refresh() {
  const focused = document.activeElement;
  const again = focused?.id ? `#${focused.id}` : focused?.name ? `input[name="${focused.name}"]:checked` : null;
  for (const [id, section] of sections) {
    if (id === "examples") continue;
    const fresh = section.build();
    if (!fresh) continue;
    const open = [...section.node.querySelectorAll("details")].map((item) => item.open);
    fresh.querySelectorAll("details").forEach((item, at) => { item.open = open[at] ?? item.open; });
    section.node.replaceWith(fresh);
    watcher.unobserve(section.node);
    watcher.observe(fresh);
    section.node = fresh;
  }
  if (again) root.querySelector(again)?.focus({ preventScroll: true });
}

let watcher = null;
function spy(links) {
  watcher?.disconnect();
  watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) for (const link of links) link.setAttribute("aria-current", String(link.hash === `#${entry.target.id}`));
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const { node } of sections.values()) watcher.observe(node);
}

/** Asks the server of `flan-jax report --serve` for a newer state; a page from disk has none to ask. */
async function follow() {
  const mark = document.getElementById("live");
  try {
    const version = await (await fetch("version")).text();
    if (state.version !== undefined && version !== state.version) {
      data = await (await fetch("data.json")).json();
      const top = window.scrollY;
      render();
      window.scrollTo({ top, behavior: "instant" });
    }
    state.version = version;
    document.getElementById("live").replaceChildren(h("span", { class: "live" }, `live, read at ${new Date().toLocaleTimeString("en-GB")}`));
  } catch {
    mark?.replaceChildren(h("span", { class: "live gone" }, "the server is gone"));
  }
  setTimeout(follow, 2000);
}

render();
if (data.live) follow();

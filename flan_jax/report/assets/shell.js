// What every page of ours has: head, navigation, sections, themes, callouts, and following what is served.
// A page says its own: SECTIONS, as [id, title, build, fixed], of which fixed ones are not built anew after a choice;
// chips(), warnings() and FOOTER.

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

function head() {
  return h("header", { class: "head wrap" },
    h("div", { class: "top" }, h("span", { class: "brand" }, "flan_jax report"),
      h("div", { class: "theme" }, choice("Colors", "theme", [["auto", "Auto"], ["light", "Light"], ["dark", "Dark"]], applyTheme))),
    h("h1", {}, data.title),
    h("div", { class: "meta" }, chips(), h("span", { id: "live" })));
}

/** Sentences that are to be read; many of them are folded away. */
function callout(title, items) {
  if (!items.length) return null;
  const list = h("ul", {}, items.map((line) => h("li", {}, line)));
  return h("section", { class: "callout" }, items.length <= 4 ? [h("strong", {}, title), list] : h("details", {}, h("summary", {}, h("strong", {}, `${title} (${count(items.length)})`)), list));
}

/** Texts of files, folded away. */
const fileBlock = (title, text) => text ? h("details", {}, h("summary", {}, title), h("pre", { tabindex: "0" }, text)) : null;

const sections = new Map();

function render() {
  applyTheme();
  sections.clear();
  const built = SECTIONS.map(([id, title, build, fixed]) => [id, title, { build, fixed, node: build() }]).filter(([, , section]) => section.node);
  for (const [id, , section] of built) sections.set(id, section);
  const links = built.map(([id, title]) => h("li", {}, h("a", { href: `#${id}` }, title)));
  root.replaceChildren(
    head(),
    h("nav", { "aria-label": "Sections" }, h("ul", { class: "wrap" }, links)),
    h("main", { class: "wrap", id: "main" }, h("div", { style: "display:contents" }, warningsBlock()), built.map(([, , section]) => section.node)),
    h("footer", { class: "wrap" }, `flan_jax ${data.version}. ${FOOTER} One file, which loads nothing.`));
  spy(links.map((item) => item.firstChild));
}

const warningsBlock = () => { const found = warnings().filter(Boolean); return found.length ? h("div", { style: "display:grid;gap:1rem" }, found) : null; };

/** Builds the sections anew after a choice; where the reader was stays where it was, and so does the focus. */
function refresh() {
  const focused = document.activeElement;
  const again = focused?.id ? `#${focused.id}` : focused?.name ? `input[name="${focused.name}"]:checked` : null;
  for (const section of sections.values()) {
    if (section.fixed) continue;
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

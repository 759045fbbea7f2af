"""The page's style sheet: light and dark, readable on a phone, nothing loaded from elsewhere."""

from flan_jax.report.html import Markup

CSS = Markup("""
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1c2126; --muted: #5c6670; --line: #dfe3e7; --soft: #f4f6f8;
  --good: #1a7f45; --bad: #b3362c; --chance: #c2410c;
  --c0: #1f6fb2; --c1: #c9701a; --c2: #2e8b57; --c3: #9b3f9b; --c4: #8a6d1d; --c5: #4d4dc4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181c; --ink: #e4e8ec; --muted: #98a3ad; --line: #323a42; --soft: #1d2329;
    --good: #58c48a; --bad: #f08a80; --chance: #fb923c;
    --c0: #6db3f2; --c1: #f0a35e; --c2: #6fd19c; --c3: #d58ad5; --c4: #d9bd62; --c5: #a3a3ff;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
.muted, figcaption, caption { color: var(--muted); font-size: .88rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .6rem; margin: 1rem 0; }
.facts div { background: var(--soft); border-radius: .4rem; padding: .5rem .7rem; min-width: 0; }
.facts dt { color: var(--muted); font-size: .8rem; }
.facts dd { margin: 0; font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .2rem 0; }
th, td { text-align: left; padding: .28rem .6rem .28rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
th { color: var(--muted); font-weight: 600; font-size: .84rem; }
td.name { overflow-wrap: anywhere; min-width: 9rem; }
th.number, td.number { text-align: right; white-space: nowrap; }
tr.mean td { font-weight: 600; background: var(--soft); }
figure { margin: .6rem 0; max-width: 46rem; }
svg { vertical-align: middle; }
svg.chart { width: 100%; height: auto; }
svg text { fill: var(--muted); font: 12px system-ui, sans-serif; }
.grid { stroke: var(--line); stroke-width: 1; }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.interval { stroke-width: 6; stroke-opacity: .35; stroke-linecap: round; }
.chance { stroke: var(--chance); stroke-width: 2; }
.ring { fill: var(--page); stroke: var(--muted); stroke-width: 1.5; }
.series-0 { stroke: var(--c0); } .dot.series-0, .key.series-0 { fill: var(--c0); background: var(--c0); }
.series-1 { stroke: var(--c1); } .dot.series-1, .key.series-1 { fill: var(--c1); background: var(--c1); }
.series-2 { stroke: var(--c2); } .dot.series-2, .key.series-2 { fill: var(--c2); background: var(--c2); }
.series-3 { stroke: var(--c3); } .dot.series-3, .key.series-3 { fill: var(--c3); background: var(--c3); }
.series-4 { stroke: var(--c4); } .dot.series-4, .key.series-4 { fill: var(--c4); background: var(--c4); }
.series-5 { stroke: var(--c5); } .dot.series-5, .key.series-5 { fill: var(--c5); background: var(--c5); }
.dot { stroke: none; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em; }
details { margin: .3rem 0; }
summary { cursor: pointer; }
pre { background: var(--soft); border-radius: .4rem; padding: .6rem .8rem; margin: .3rem 0; white-space: pre-wrap;
  overflow-wrap: anywhere; font: .85rem/1.45 ui-monospace, monospace; }
.example { border-left: 3px solid var(--line); padding-left: .8rem; margin: .8rem 0; }
.right { color: var(--good); font-weight: 600; } .wrong { color: var(--bad); font-weight: 600; }
.badge { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; font-size: .8rem; font-weight: 400; color: var(--muted); }
.missing { background: var(--soft); border-left: 3px solid var(--chance); padding: .5rem .9rem; margin: 1rem 0; }
@media (max-width: 40rem) { body { padding: .8rem; } .wide { display: none; } svg.bar { width: 90px; }
  td.name { min-width: 6.5rem; } th, td { padding-right: .4rem; } }
""")

// The charts, all drawn by Observable Plot (`Plot`). Colors are CSS variables, so a switch of the theme draws nothing anew.

const INK = "var(--ink)";
const MUTED = "var(--muted)";
const LINE = "var(--line)";
const CHANCE = "color-mix(in srgb, var(--ink) 62%, transparent)";
const SURFACE = "var(--surface)";
const NARROW = 620;
/** What a pointer that comes near shows. */
const tip = (items, options) => Plot.tip(items, Plot.pointer({ maxRadius: 300, stroke: LINE, fontSize: 12.5, lineHeight: 1.35, lineWidth: 28, ...options }));
const FONT = { fontSize: "12px", color: MUTED };
const scoreAxis = (label) => ({ domain: [0, 100], grid: true, label, ticks: 5, tickSize: 0, labelArrow: "none" });

/** As much of a text as fits into a width. */
function fitted(text, width, size = 6.4) {
  const most = Math.floor(width / size);
  return text.length <= most ? text : most < 3 ? "" : `${text.slice(0, most - 1)}…`;
}

/** Names beside their rows on a wide page and above them on a narrow one; a row with `header` is a heading. */
function rowLabels(rows, narrow, left, raise = 13) {
  const place = { y: "key", frameAnchor: "left", textAnchor: "start", dx: narrow ? 0 : -left };
  const raised = narrow ? -raise : 0;
  return [
    Plot.text(rows.filter((row) => row.header), { ...place, text: (row) => row.header, fontWeight: 650, fontSize: 12.5, fill: INK, dy: narrow ? 9 : 2 }),
    Plot.text(rows.filter((row) => !row.header), { ...place, text: (row) => fitted(row.label, narrow ? 330 : left - 12), fill: INK, fontSize: 12.5, dy: raised }),
  ];
}

/**
 * Scores from 0 to 100 with intervals, one row a task.
 * rows: {key, header} or {key, label, chance, marks: [{run, value, interval, band, before, templates, tint, words}]}; band: 5 and
 * 95% of templates.
 */
function scoreRows(rows, { label = "Score (%)", runs = 1, left = 215 } = {}) {
  return (width) => {
    const narrow = width < NARROW;
    const step = (narrow ? 40 : 27) + (runs - 1) * 15;
    const tasks = rows.filter((row) => !row.header);
    const flat = tasks.flatMap((row) => row.marks.map((mark) => ({ ...mark, key: row.key })));
    const marks = [
      Plot.tickX(tasks.filter((row) => isNumber(row.chance)), { x: (row) => 100 * row.chance, y: "key", stroke: CHANCE, strokeWidth: 1.6, insetTop: narrow ? 18 : 4, insetBottom: narrow ? 6 : 4 }),
      ...rowLabels(rows, narrow, left, 13 + (runs - 1) * 7.5),
    ];
    for (let run = 0; run < runs; run++) {
      const dy = (run - (runs - 1) / 2) * 15 - (runs > 1 ? 3 : 0) + (narrow ? 4 : 0);
      const own = flat.filter((mark) => mark.run === run && isNumber(mark.value));
      const pairs = own.filter((mark) => mark.interval);
      marks.push(
        Plot.ruleY(pairs, { x1: (m) => 100 * m.interval[0], x2: (m) => 100 * m.interval[1], y: "key", stroke: "tint", strokeWidth: 7, strokeOpacity: 0.28, strokeLinecap: "round", dy }),
        Plot.ruleY(own.filter((m) => isNumber(m.before)), { x1: (m) => 100 * m.before, x2: (m) => 100 * m.value, y: "key", stroke: "tint", strokeOpacity: 0.5, strokeWidth: 1.2, dy }),
        Plot.ruleY(own.filter((m) => m.band), { x1: (m) => 100 * m.band[0], x2: (m) => 100 * m.band[1], y: "key", stroke: "tint", strokeWidth: 1, strokeOpacity: 0.6, dy: dy + 7 }),
        Plot.dot(own.flatMap((m) => m.templates.map((value) => ({ key: m.key, tint: m.tint, value }))), { x: (d) => 100 * d.value, y: "key", r: 2.1, fill: "tint", fillOpacity: 0.5, dy: dy + 7 }),
        Plot.dot(own.filter((m) => isNumber(m.before)), { x: (m) => 100 * m.before, y: "key", r: 4, stroke: "tint", fill: SURFACE, strokeWidth: 1.4, dy }),
        Plot.dot(own, { x: (m) => 100 * m.value, y: "key", r: 5, fill: "tint", stroke: SURFACE, strokeWidth: 1, dy }),
      );
    }
    marks.push(tip(flat.filter((m) => isNumber(m.value)), { x: (m) => 100 * m.value, y: "key", title: "words" }));
    return Plot.plot({
      width, height: 52 + step * rows.length, marginLeft: narrow ? 6 : left, marginRight: 14, marginTop: 8, marginBottom: 38, style: FONT,
      x: scoreAxis(label), y: { type: "band", domain: rows.map((row) => row.key), axis: null, padding: 0 }, color: { type: "identity" }, marks,
    });
  };
}

/** Curves over steps, or over another amount. curves: [{name, tint, steps, values, low, high}]; faint ones stand behind. */
function stepCurves(curves, { label, zero = false, within = [], format = (value) => value.toFixed(3), over = "Training step", log = false, words = (point) => `step ${count(point.step)}` }) {
  return (width) => {
    const points = curves.flatMap((curve) => curve.steps.map((step, at) => ({ name: curve.name, tint: curve.tint, faint: curve.faint, step, value: curve.values[at], low: curve.low?.[at], high: curve.high?.[at] }))).filter((point) => isNumber(point.value));
    const single = new Set(points.map((point) => point.step)).size < 2;
    const banded = points.filter((point) => isNumber(point.low) && isNumber(point.high));
    // Where the values of `within` lie in sight, a flat curve looks flat.
    const seen = [...within, ...points.map((point) => point.value), ...banded.flatMap((point) => [point.low, point.high])];
    const room = within.length ? { domain: [Math.min(...seen), Math.max(...seen)] } : {};
    return Plot.plot({
      width, height: Math.max(230, Math.min(380, width * 0.42)), marginLeft: 46, marginRight: 16, marginTop: 28, marginBottom: 38, style: FONT,
      x: { label: over, type: log ? "log" : "linear", tickFormat: compact, ticks: width < NARROW ? 4 : 8, nice: !log, labelArrow: "none" },
      y: { label, grid: true, zero, nice: true, ...room, ticks: 6, tickSize: 0, labelArrow: "none" }, color: { type: "identity" },
      marks: [
        Plot.areaY(banded, { x: "step", y1: "low", y2: "high", z: "name", fill: "tint", fillOpacity: 0.12 }),
        Plot.line(points.filter((point) => point.faint), { x: "step", y: "value", z: "name", stroke: "tint", strokeOpacity: 0.3, strokeWidth: 1 }),
        Plot.line(points.filter((point) => !point.faint), { x: "step", y: "value", z: "name", stroke: "tint", strokeWidth: 2 }),
        Plot.dot(single || points.length <= 40 ? points : [], { x: "step", y: "value", fill: "tint", r: 3 }),
        tip(points, { x: "step", y: "value", maxRadius: 1000, title: (point) => `${point.name}\n${words(point)}: ${format(point.value)}` }),
      ],
    });
  };
}

/** Clusters as areas, tasks within them. clusters: [{name, tint, tasks: [{name, value, words}]}] */
function treemap(clusters) {
  return (width) => {
    const height = Math.max(260, Math.min(480, width * 0.5));
    const root = Plot.hierarchy({ children: clusters.map((cluster) => ({ ...cluster, children: cluster.tasks })) }).sum((item) => (item.children ? 0 : item.value)).sort((a, b) => b.value - a.value);
    Plot.treemap().size([width, height]).paddingInner(2).paddingOuter(4).paddingTop(22).round(true)(root);
    const box = (node) => ({ x1: node.x0, x2: node.x1, y1: node.y0, y2: node.y1, width: node.x1 - node.x0, height: node.y1 - node.y0, share: node.value / root.value, ...node.data });
    const outer = (root.children ?? []).filter((node) => node.value > 0).map(box);
    const inner = root.leaves().filter((node) => node.depth === 2 && node.value > 0).map((node) => ({ ...box(node), tint: node.parent.data.tint }));
    const area = { x1: "x1", x2: "x2", y1: "y1", y2: "y2" };
    const written = (items, size) => items.filter((item) => item.width > 34 && item.height > 15).map((item) => ({ ...item, text: fitted(item.name, item.width - 14, size) })).filter((item) => item.text);
    return Plot.plot({
      width, height, margin: 0, axis: null, style: FONT, x: { type: "identity" }, y: { type: "identity" }, color: { type: "identity" },
      marks: [
        Plot.rect(outer, { ...area, fill: (d) => `color-mix(in oklab, ${d.tint} 13%, var(--surface))`, stroke: (d) => `color-mix(in oklab, ${d.tint} 45%, var(--surface))`, rx: 7 }),
        Plot.rect(inner, { ...area, fill: (d) => `color-mix(in oklab, ${d.tint} 30%, var(--surface))`, rx: 4 }),
        Plot.text(written(outer.map((d) => ({ ...d, name: `${d.name}  ${percent(d.share)}%` })), 7.1), { x: (d) => d.x1 + 8, y: (d) => d.y1 + 12, text: "text", textAnchor: "start", fill: INK, fontWeight: 650, fontSize: 12 }),
        Plot.text(written(inner, 6.6).filter((d) => d.height > 20), { x: (d) => d.x1 + 6, y: (d) => d.y1 + 12, text: "text", textAnchor: "start", fill: INK, fontSize: 11.5 }),
        Plot.text(written(inner, 6.6).filter((d) => d.height > 38 && d.width > 50), { x: (d) => d.x1 + 6, y: (d) => d.y1 + 27, text: (d) => `${percent(d.share)}%`, textAnchor: "start", fill: MUTED, fontSize: 11.5 }),
        tip(inner, { x: (d) => (d.x1 + d.x2) / 2, y: (d) => (d.y1 + d.y2) / 2, title: "words" }),
      ],
    });
  };
}

/** Two or more points a row, joined. rows: {key, label, points: [{value, tint, ring, interval, words}]}, values from 0 to 1. */
function joinedPoints(rows, { label, left = 190, domain, zero = true, scale = 100, origin = null }) {
  return (width) => {
    const narrow = width < NARROW;
    const points = rows.flatMap((row) => row.points.map((point) => ({ ...point, key: row.key }))).filter((point) => isNumber(point.value));
    const ends = points.flatMap((point) => [point.value, ...(point.interval ?? [])]).map(Math.abs);
    // Differences of nothing have no scale of their own.
    const flat = isNumber(origin) && Math.max(...ends, 0) < 1e-9 ? { domain: [-1, 1] } : {};
    const spans = rows.map((row) => ({ key: row.key, values: row.points.map((point) => point.value).filter(isNumber) })).filter((row) => row.values.length > 1);
    return Plot.plot({
      width, height: 50 + rows.length * (narrow ? 38 : 26), marginLeft: narrow ? 6 : left, marginRight: 16, marginTop: 8, marginBottom: 38, style: FONT,
      x: { grid: true, label, ticks: 5, tickSize: 0, labelArrow: "none", ...(domain ? { domain } : { zero, nice: true }), ...flat },
      y: { type: "band", domain: rows.map((row) => row.key), axis: null, padding: 0 }, color: { type: "identity" },
      marks: [
        ...rowLabels(rows, narrow, left),
        Plot.tickX(isNumber(origin) ? rows : [], { x: () => origin, y: "key", stroke: CHANCE }),
        Plot.ruleY(spans, { x1: (row) => scale * Math.min(...row.values), x2: (row) => scale * Math.max(...row.values), y: "key", stroke: MUTED, strokeOpacity: 0.5, dy: narrow ? 3 : 0 }),
        Plot.ruleY(points.filter((point) => point.interval), { x1: (p) => scale * p.interval[0], x2: (p) => scale * p.interval[1], y: "key", stroke: "tint", strokeWidth: 6, strokeOpacity: 0.22, strokeLinecap: "round", dy: narrow ? 3 : 0 }),
        Plot.dot(points.filter((point) => point.ring), { x: (p) => scale * p.value, y: "key", r: 5, stroke: "tint", strokeWidth: 1.8, fill: SURFACE, dy: narrow ? 3 : 0 }),
        Plot.dot(points.filter((point) => !point.ring), { x: (p) => scale * p.value, y: "key", r: 5, fill: "tint", stroke: SURFACE, dy: narrow ? 3 : 0 }),
        tip(points, { x: (p) => scale * p.value, y: "key", title: "words" }),
      ],
    });
  };
}

/** Bars from 0 to 100. bars: {label, value, tint, strong} */
function scoreBars(bars, { left = 210 } = {}) {
  return (width) => {
    const narrow = width < NARROW;
    const rows = bars.map((bar, at) => ({ ...bar, key: String(at) }));
    return Plot.plot({
      width, height: 46 + rows.length * (narrow ? 40 : 26), marginLeft: narrow ? 6 : left, marginRight: 46, marginTop: 6, marginBottom: 36, style: FONT,
      x: scoreAxis("Score (%)"), y: { type: "band", domain: rows.map((row) => row.key), axis: null, padding: 0 }, color: { type: "identity" },
      marks: [
        ...rowLabels(rows, narrow, left),
        Plot.barX(rows, { x: (bar) => 100 * bar.value, y: "key", fill: "tint", fillOpacity: (bar) => (bar.strong ? 1 : 0.35), insetTop: narrow ? 20 : 5, insetBottom: narrow ? 7 : 5, rx2: 3 }),
        Plot.text(rows, { x: (bar) => 100 * bar.value, y: "key", text: (bar) => percent(bar.value), dx: 6, dy: narrow ? 7 : 0, textAnchor: "start", fill: INK, fontWeight: (bar) => (bar.strong ? 650 : 400) }),
      ],
    });
  };
}

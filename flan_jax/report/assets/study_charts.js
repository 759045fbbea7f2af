// Charts that only studies have: bars with intervals, weights of runs side by side, a triangle of three, points in the plane.

/** A color between the worst and the best score of the runs. */
const tone = (share) => (isNumber(share) ? `color-mix(in oklab, var(--c1) ${Math.round(100 * Math.min(1, Math.max(0, share)))}%, var(--c0))` : MUTED);
const ramp = (low, high) => h("ul", { class: "legend" }, h("li", {}, low, h("span", { class: "ramp" }), high));

/**
 * Bars from 0 with intervals, one row a level, one bar in it a series.
 * rows: {key, label, cells: [{value, interval, tint, words, text} or null]}; chance: a line across all.
 */
function intervalBars(rows, { label, scale = 100, chance = null, left = 190 }) {
  return (width) => {
    const narrow = width < NARROW;
    const series = Math.max(...rows.map((row) => row.cells.length));
    const bar = series > 1 ? 15 : 18;
    const step = series * bar + (narrow ? 26 : 9);
    const cells = rows.flatMap((row) => row.cells.map((cell, at) => cell && { ...cell, at, key: row.key })).filter((cell) => cell && isNumber(cell.value));
    const marks = [...rowLabels(rows, narrow, left, (series * bar) / 2 + 7), Plot.tickX(isNumber(chance) ? rows : [], { x: () => scale * chance, y: "key", stroke: CHANCE, strokeWidth: 1.6 }),
      Plot.text(rows.filter((row) => !row.cells.some((cell) => isNumber(cell?.value))), { x: () => 0, y: "key", text: () => "no result", dx: 6, dy: narrow ? 8 : 0, textAnchor: "start", fill: MUTED })];
    for (let at = 0; at < series; at++) {
      const own = cells.filter((cell) => cell.at === at);
      const dy = (at - (series - 1) / 2) * bar + (narrow ? 8 : 0);
      const top = (step - bar) / 2 + dy + 2;
      const pairs = own.filter((cell) => cell.interval);
      const end = (cell) => scale * Math.max(cell.value, cell.interval?.[1] ?? cell.value, 0);
      marks.push(
        Plot.barX(own, { x: (cell) => scale * cell.value, y: "key", fill: "tint", fillOpacity: 0.55, insetTop: top, insetBottom: step - top - bar + 4, rx2: 3 }),
        Plot.ruleY(pairs, { x1: (cell) => scale * cell.interval[0], x2: (cell) => scale * cell.interval[1], y: "key", stroke: INK, strokeWidth: 1.6, dy }),
        ...[0, 1].map((side) => Plot.tickX(pairs, { x: (cell) => scale * cell.interval[side], y: "key", stroke: INK, strokeWidth: 1.6, insetTop: top + 2, insetBottom: step - top - bar + 6 })),
        Plot.text(own, { x: end, y: "key", text: "text", dx: 6, dy, textAnchor: "start", fill: INK, fontWeight: 600 }),
      );
    }
    marks.push(tip(cells, { x: (cell) => scale * cell.value, y: "key", title: "words" }));
    return Plot.plot({
      width, height: 52 + step * rows.length, marginLeft: narrow ? 6 : left, marginRight: 58, marginTop: 8, marginBottom: 38, style: FONT,
      x: { grid: true, label, ticks: 5, tickSize: 0, labelArrow: "none", zero: true, nice: true },
      y: { type: "band", domain: rows.map((row) => row.key), axis: null, padding: 0 }, color: { type: "identity" }, marks,
    });
  };
}

/** Every run as a line through its shares of all units. runs: {name, shares: {unit: share}, tint, faint, strong, words} */
function parallelRuns(units, runs, { left = 150 } = {}) {
  return (width) => {
    const narrow = width < NARROW;
    const rows = units.map((unit) => ({ key: unit, label: unit }));
    const points = runs.flatMap((run) => units.map((unit) => ({ ...run, unit, share: 100 * (run.shares[unit] ?? 0) })));
    const kept = points.filter((point) => !point.faint);
    const step = narrow ? 40 : Math.max(24, Math.min(40, 560 / units.length));
    const place = { x: "share", y: "unit", z: "name", stroke: "tint" };
    return Plot.plot({
      width, height: 48 + step * units.length, marginLeft: narrow ? 6 : left, marginRight: 16, marginTop: 8, marginBottom: 38, style: FONT,
      x: { grid: true, label: "Weight (% of the draws)", ticks: narrow ? 4 : 8, tickSize: 0, labelArrow: "none", zero: true },
      y: { type: "band", domain: units, axis: null, padding: 0 }, color: { type: "identity" },
      marks: [
        ...rowLabels(rows, narrow, left),
        Plot.ruleY(units, { y: (unit) => unit, x1: 0, stroke: LINE, dy: narrow ? 3 : 0 }),
        Plot.line(points.filter((point) => point.faint), { ...place, strokeWidth: 1, strokeOpacity: 0.14, dy: narrow ? 3 : 0 }),
        Plot.line(kept.filter((point) => !point.strong), { ...place, strokeWidth: 1.5, strokeOpacity: 0.75, dy: narrow ? 3 : 0 }),
        Plot.line(kept.filter((point) => point.strong), { ...place, strokeWidth: 2.5, strokeDasharray: "5 4", dy: narrow ? 3 : 0 }),
        Plot.dot(kept, { x: "share", y: "unit", fill: "tint", r: 2.6, dy: narrow ? 3 : 0 }),
        tip(kept, { x: "share", y: "unit", title: (point) => `${point.words}\n${point.unit} ${point.share.toFixed(1)}%` }),
      ],
    });
  };
}

/** Shares of three units as places in a triangle. points: {shares: [3], tint, words, ring}; surface: {shares, tint} */
function triangle(units, points, surface) {
  const at = (shares) => ({ x: shares[1] + shares[2] / 2, y: (shares[2] * Math.sqrt(3)) / 2 });
  const corners = [[1, 0, 0], [0, 1, 0], [0, 0, 1]].map(at);
  return (width) => {
    const side = Math.min(width - 60, 560);
    const margin = (width - side) / 2;
    const grid = [0.25, 0.5, 0.75].flatMap((share) => [[0, 1, 2], [1, 2, 0], [2, 0, 1]].map(([one, two, three]) => {
      const ends = [two, three].map((other) => { const shares = [0, 0, 0]; shares[one] = share; shares[other] = 1 - share; return at(shares); });
      return { x1: ends[0].x, y1: ends[0].y, x2: ends[1].x, y2: ends[1].y };
    }));
    const placed = points.map((point) => ({ ...point, ...at(point.shares) }));
    const names = units.map((unit, place) => ({ ...corners[place], text: fitted(unit, place === 2 ? width - 40 : width / 2 - 10) }));
    return Plot.plot({
      width, height: side * 0.866 + 74, marginLeft: margin, marginRight: margin, marginTop: 32, marginBottom: 42, style: FONT, axis: null,
      x: { domain: [0, 1] }, y: { domain: [0, Math.sqrt(3) / 2] }, color: { type: "identity" },
      marks: [
        Plot.dot(surface.map((point) => ({ ...point, ...at(point.shares) })), { x: "x", y: "y", r: side / 58, fill: "tint", fillOpacity: 0.22 }),
        Plot.link(grid, { x1: "x1", y1: "y1", x2: "x2", y2: "y2", stroke: LINE }),
        Plot.line([...corners, corners[0]], { x: "x", y: "y", stroke: MUTED }),
        Plot.text(names.slice(0, 2), { x: "x", y: "y", text: "text", dy: 18, textAnchor: "middle", fill: INK, fontWeight: 600 }),
        Plot.text(names.slice(2), { x: "x", y: "y", text: "text", dy: -14, textAnchor: "middle", fill: INK, fontWeight: 600 }),
        Plot.dot(placed.filter((point) => !point.ring), { x: "x", y: "y", r: 5, fill: "tint", stroke: SURFACE }),
        Plot.dot(placed.filter((point) => point.ring), { x: "x", y: "y", r: 8, stroke: INK, strokeWidth: 2 }),
        tip(placed, { x: "x", y: "y", title: "words" }),
      ],
    });
  };
}

/** Points in the plane. points: {x, y, tint, words}; diagonal: the line on which both are equal. */
function scatter(points, { over, label, diagonal = false, log = false }) {
  return (width) => {
    const all = points.filter((point) => isNumber(point.x) && isNumber(point.y));
    const values = all.flatMap((point) => [point.x, point.y]);
    const ends = [Math.min(...values), Math.max(...values)];
    const room = diagonal ? { domain: [ends[0] - 0.04 * (ends[1] - ends[0] || 1), ends[1] + 0.04 * (ends[1] - ends[0] || 1)] } : { nice: !log };
    return Plot.plot({
      width, height: diagonal ? Math.min(width, 460) : Math.max(230, Math.min(380, width * 0.42)), marginLeft: 50, marginRight: 16, marginTop: 28, marginBottom: 40, style: FONT,
      x: { label: over, ...room, type: log ? "log" : "linear", ticks: width < NARROW ? 4 : 7, labelArrow: "none", grid: diagonal },
      y: { label, ...room, grid: true, ticks: 6, tickSize: 0, labelArrow: "none", type: "linear" }, color: { type: "identity" },
      marks: [
        diagonal ? Plot.line([{ x: room.domain[0], y: room.domain[0] }, { x: room.domain[1], y: room.domain[1] }], { x: "x", y: "y", stroke: CHANCE, strokeDasharray: "4 4" }) : null,
        Plot.dot(all, { x: "x", y: "y", r: 4.5, fill: "tint", fillOpacity: 0.8, stroke: SURFACE }),
        tip(all, { x: "x", y: "y", title: "words" }),
      ],
    });
  };
}

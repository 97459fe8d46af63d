"use strict";
// A line chart of accuracy on a logarithmic axis: bands, direct labels, a legend that
// toggles, a tooltip for pointer and keyboard. It knows series and points, no study.
//
// series: {key, label, colour, dash, marker, points: [{x, y, ci, lines}]}, x already on
// the chosen axis; a point without x or y is left out and breaks nothing.

const MARKERS = {
  circle: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
  square: "M-3.6,-3.6h7.2v7.2h-7.2Z",
  diamond: "M0,-5L5,0L0,5L-5,0Z",
  triangle: "M0,-4.8L4.8,3.8L-4.8,3.8Z",
  down: "M0,4.8L4.8,-3.8L-4.8,-3.8Z",
  cross: "M-4.4,-2L-2,-4.4L0,-2.2L2,-4.4L4.4,-2L2.2,0L4.4,2L2,4.4L0,2.2L-2,4.4L-4.4,2L-2.2,0Z",
};
const SHAPES = Object.keys(MARKERS);

function niceTop(top) {
  const steps = [0.02, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
  return steps.find((s) => s >= top - 1e-9) ?? 1;
}

function yTicks(top, room) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find((s) => top / s <= room) ?? 0.5;
  return Array.from({ length: Math.floor(top / step + 1e-6) + 1 }, (_, i) => i * step);
}

// Powers of two where the axis counts generations, round decimal numbers elsewhere.
function xTicks(low, high, powersOfTwo, room) {
  const made = [];
  if (powersOfTwo) {
    const first = Math.ceil(Math.log2(low) - 1e-9);
    const last = Math.floor(Math.log2(high) + 1e-9);
    const stride = [1, 2, 4].find((s) => (last - first) / s + 1 <= room) ?? 8;
    for (let p = Math.ceil(first / stride) * stride; p <= last; p += stride) made.push(2 ** p);
    return made;
  }
  const decades = Math.log10(high / low);
  const fronts = decades * 3 <= room ? [1, 2, 5] : decades * 2 <= room ? [1, 3] : [1];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
    for (const front of fronts) {
      const v = front * 10 ** p;
      if (v >= low * 0.999 && v <= high * 1.001) made.push(v);
    }
  return made;
}

class LineChart {
  // options: {title, height, xLabel, powersOfTwo, yTop, directLabels, bands, marks(chart), small}
  constructor(series, options) {
    this.series = series;
    this.options = options;
    this.hidden = new Set();
    this.root = el("div.chart");
    this.width = 0;
    new ResizeObserver(([entry]) => {
      const width = Math.floor(entry.contentRect.width);
      // Drawing changes the height, which the observer must not see within its own turn.
      if (width > 0 && width !== this.width) { this.width = width; requestAnimationFrame(() => this.draw()); }
    }).observe(this.root);
  }

  set(series, options = {}) {
    this.series = series;
    Object.assign(this.options, options);
    if (this.width) this.draw();
  }

  get visible() { return this.series.filter((s) => !this.hidden.has(s.key)); }

  draw() {
    const { options, width } = this;
    const wide = width >= 620 && options.directLabels;
    const height = options.height ?? (width < 500 ? 300 : 400);
    const longest = Math.max(0, ...this.visible.map((s) => s.label.length));
    const pad = { left: options.small ? 30 : 44, right: wide ? Math.min(260, 26 + 8 * longest) : 14, top: options.small ? 12 : 28, bottom: options.small ? 26 : 44 };
    const points = this.series.flatMap((s) => s.points).filter((p) => isNumber(p.y) && p.x > 0);
    const shown = this.visible.flatMap((s) => s.points).filter((p) => isNumber(p.y) && p.x > 0);
    const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, tabindex: 0,
      role: "group", "aria-label": `${options.title}. Arrow keys move through the points.` });
    this.picture = picture;
    this.root.replaceChildren(picture);
    if (!points.length) {
      picture.append(svg("text", { x: width / 2, y: height / 2, class: "empty", "text-anchor": "middle" }, "not measured"));
      return;
    }
    let [low, high] = [Math.min(...points.map((p) => p.x)), Math.max(...points.map((p) => p.x))];
    if (low === high) { low /= 2; high *= 2; }
    if (options.chances) [low, high] = [0, 1];
    const inner = width - pad.left - pad.right;
    const x = (v) => pad.left + inner * (options.chances ? v : Math.log2(v / low) / Math.log2(high / low));
    const peak = Math.max(0.02, ...(shown.length ? shown : points).map((p) => Math.max(p.y, p.ci?.[1] ?? 0)));
    const top = options.yTop ?? niceTop(peak);
    const y = (v) => height - pad.bottom - ((height - pad.bottom - pad.top) * v) / top;
    Object.assign(this, { x, y, top, pad, height, low, high });

    for (const v of yTicks(top, options.small ? 4 : 7)) {
      picture.append(svg("line", { class: v ? "grid" : "axis", x1: pad.left, x2: width - pad.right, y1: y(v), y2: y(v) }));
      picture.append(svg("text", { class: "tick", x: pad.left - 7, y: y(v) + 4, "text-anchor": "end" }, `${+(100 * v).toFixed(1)}`));
    }
    const room = Math.max(2, Math.floor(inner / (options.powersOfTwo ? (options.small ? 34 : 44) : 64)));
    for (const v of options.chances ? [0, 0.2, 0.4, 0.6, 0.8, 1] : xTicks(low, high, options.powersOfTwo, room)) {
      picture.append(svg("line", { class: "axis", x1: x(v), x2: x(v), y1: y(0), y2: y(0) + 4 }));
      picture.append(svg("text", { class: "tick", x: x(v), y: y(0) + 18, "text-anchor": "middle" }, compact(v)));
    }
    if (!options.small) picture.append(svg("text", { class: "title", x: 0, y: 12 }, options.yLabel ?? "Accuracy, %"));
    if (!options.small)
      picture.append(svg("text", { class: "title", x: pad.left, y: height - 5 }, options.xLabel));

    for (const s of this.visible) if (options.bands !== false) this.band(s);
    for (const s of this.visible) this.line(s);
    options.marks?.(this);
    if (wide) this.labels(width - pad.right + 10);
    this.cursor = svg("g", { class: "cursor", visibility: "hidden" },
      svg("circle", { r: 8 }));
    picture.append(this.cursor);
    this.listen(width);
  }

  placed(s) {
    return s.points.filter((p) => isNumber(p.y) && p.x > 0).sort((a, b) => a.x - b.x);
  }

  band(s) {
    const points = this.placed(s).filter((p) => Array.isArray(p.ci) && p.ci.every(isNumber));
    if (points.length > 1) {
      const edge = [...points.map((p) => [p.x, p.ci[1]]), ...points.reverse().map((p) => [p.x, p.ci[0]])];
      const path = edge.map(([a, b]) => `${this.x(a).toFixed(1)},${this.y(Math.min(b, this.top)).toFixed(1)}`).join("L");
      this.picture.append(svg("path", { d: `M${path}Z`, class: "band", style: { fill: s.colour } }));
    } else if (points.length === 1) {
      const [p] = points;
      this.picture.append(svg("line", { x1: this.x(p.x), x2: this.x(p.x), y1: this.y(p.ci[0]), y2: this.y(Math.min(p.ci[1], this.top)),
        class: "whisker", style: { stroke: s.colour } }));
    }
  }

  line(s) {
    const points = this.placed(s);
    const path = points.map((p) => `${this.x(p.x).toFixed(1)},${this.y(p.y).toFixed(1)}`).join("L");
    if (points.length > 1)
      this.picture.append(svg("path", { d: `M${path}`, class: "line", "stroke-dasharray": s.dash || null, style: { stroke: s.colour } }));
    for (const p of points)
      this.picture.append(svg("path", { d: MARKERS[s.marker], class: "marker", style: { fill: s.colour },
        transform: `translate(${this.x(p.x).toFixed(1)},${this.y(p.y).toFixed(1)})${this.options.small ? " scale(.8)" : ""}` }));
  }

  // Names at the lines' right ends, moved apart where they would overlap.
  labels(left) {
    const ends = this.visible.map((s) => ({ s, p: this.placed(s).at(-1) })).filter((e) => e.p);
    ends.forEach((e) => { e.at = this.y(e.p.y); });
    ends.sort((a, b) => a.at - b.at);
    const gap = 17;
    for (let i = 1; i < ends.length; i++) ends[i].at = Math.max(ends[i].at, ends[i - 1].at + gap);
    let floor = this.height - this.pad.bottom;
    for (let i = ends.length - 1; i >= 0; i--) { ends[i].at = Math.min(ends[i].at, floor); floor = ends[i].at - gap; }
    for (const { s, p, at } of ends) {
      const x = this.x(p.x);
      this.picture.append(svg("path", { class: "leader", d: `M${x + 6},${this.y(p.y)}L${left - 10 > x + 8 ? left - 10 : x + 6},${this.y(p.y)}L${left - 3},${at}` }));
      this.picture.append(svg("text", { class: "label", x: left, y: at + 4, style: { fill: s.colour } }, s.label));
    }
  }

  listen(width) {
    const all = () => this.visible.map((s) => ({ s, points: this.placed(s) })).filter((e) => e.points.length);
    const point = (s, p) => {
      const box = this.picture.getBoundingClientRect();
      const [px, py] = [this.x(p.x), this.y(p.y)];
      this.cursor.setAttribute("transform", `translate(${px},${py})`);
      this.cursor.setAttribute("visibility", "visible");
      const scale = box.width / width;
      showTip([s.label, ...p.lines], box.left + px * scale, box.top + py * scale);
    };
    const away = () => { this.cursor.setAttribute("visibility", "hidden"); hideTip(); };
    const move = (event) => {
      const box = this.picture.getBoundingClientRect();
      const scale = width / box.width;
      let best = null;
      for (const { s, points } of all())
        for (const p of points) {
          const d = Math.hypot(this.x(p.x) - (event.clientX - box.left) * scale, this.y(p.y) - (event.clientY - box.top) * scale);
          if (d < 46 && (!best || d < best.d)) best = { d, s, p };
        }
      if (best) point(best.s, best.p); else away();
    };
    let at = [0, 0];
    const keys = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    fill(this.picture, {
      onpointermove: move, onpointerdown: move, onpointerleave: away, onblur: away,
      onkeydown: (event) => {
        if (event.key === "Escape") return away();
        if (!(event.key in keys)) return;
        const lines = all();
        if (!lines.length) return;
        event.preventDefault();
        const [ds, dp] = this.cursor.getAttribute("visibility") === "visible" ? keys[event.key] : [0, 0];
        const s = (at[0] + ds + lines.length) % lines.length;
        at = [s, Math.max(0, Math.min(at[1] + dp, lines[s].points.length - 1))];
        point(lines[s].s, lines[s].points[at[1]]);
      },
    }, []);
  }
}

// A button a series; charts: all those it switches (small multiples share a legend).
function legend(series, charts, onChange) {
  return el("div.legend", { role: "group", "aria-label": "Show or hide" },
    series.map((s) => {
      const swatch = svg("svg", { width: 30, height: 12, "aria-hidden": "true" },
        svg("line", { x1: 1, x2: 29, y1: 6, y2: 6, class: "line", "stroke-dasharray": s.dash || null, style: { stroke: s.colour } }),
        svg("path", { d: MARKERS[s.marker], class: "marker", transform: "translate(15,6)", style: { fill: s.colour } }));
      const hidden = charts[0].hidden.has(s.key);
      return el("button", { type: "button", "aria-pressed": String(!hidden), onclick: (event) => {
        const hide = !charts[0].hidden.has(s.key);
        for (const chart of charts) { chart.hidden[hide ? "add" : "delete"](s.key); if (chart.width) chart.draw(); }
        event.currentTarget.setAttribute("aria-pressed", String(!hide));
        onChange?.();
      } }, swatch, s.label);
    }));
}

// Live line chart. Python sends the whole of every series about ten times a second; this file draws it.

const STYLE = `
.vl-curves { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  box-sizing: border-box; width: 100%; max-width: 940px; padding: 4px 2px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-curves-title { font-weight: 600; font-size: 16px; }
.vl-curves svg { display: block; width: 100%; height: 300px; border-radius: 4px; }
.vl-curves svg:focus-visible { outline: 3px solid var(--vl-brand); }
.vl-curves text { fill: var(--vl-ink); font-size: 14px; }
.vl-curves .vl-soft { fill: var(--vl-soft); font-size: 13px; }
.vl-curves .vl-grid { stroke: var(--vl-line); stroke-width: 0.7; }
.vl-curves .vl-guide { stroke: var(--vl-soft); stroke-width: 1; stroke-dasharray: 3 3; }
.vl-curves .vl-name { font-weight: 600; }
.vl-curves-run { display: flex; align-items: center; gap: 12px; min-height: 1.6em; }
.vl-curves-bar { flex: 0 0 220px; height: 9px; border-radius: 5px; overflow: hidden;
  background: var(--jp-layout-color3, #ddd); }
.vl-curves-bar i { display: block; height: 100%; background: var(--vl-brand); }
.vl-curves-status, .vl-curves-readout { font-variant-numeric: tabular-nums; }
.vl-curves-readout { display: block; min-height: 1.5em; color: var(--vl-soft); }
`;

const HEIGHT = 300;
const MARGIN = { top: 10, bottom: 48, left: 66 };
const LABEL_GAP = 18; // px between the names at the line ends
const MARKS = [
  "M-4.5,0A4.5,4.5 0 1,0 4.5,0A4.5,4.5 0 1,0 -4.5,0Z",
  "M-4,-4H4V4H-4Z",
  "M0,-5.5L5,4H-5Z",
  "M0,-6L5,0L0,6L-5,0Z",
  "M-5,-3L-3,-5L0,-2L3,-5L5,-3L2,0L5,3L3,5L0,2L-3,5L-5,3L-2,0Z",
];

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const floats = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
const short = (value) => String(Number(value.toPrecision(3)));

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = "data-lm-suppress-shortcuts";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function shape(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

/** Round values that divide [low, high] in about `count` steps. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-6);
  const last = Math.floor(high / step + 1e-6);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function extent(lines, axis, fixed) {
  if (fixed.length === 2) return fixed;
  const values = lines.flatMap((line) => Array.from(line[axis]).filter(Number.isFinite));
  if (values.length === 0) return [0, 1];
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  if (low === high) return [low - 0.5, high + 0.5];
  const pad = axis === "y" ? 0.05 * (high - low) : 0;
  return [low - pad, high + pad];
}

/** Width of a name with its value at the line's end, in px. */
function labelWidth(line) {
  const context = make("canvas").getContext("2d");
  context.font = "600 14px system-ui, sans-serif";
  return 1.06 * context.measureText(`${line.name} 0.0000`).width;
}

function linePath(line, toX, toY) {
  let [path, pen] = ["", "M"];
  for (let i = 0; i < line.x.length; i++) {
    if (Number.isFinite(line.y[i])) {
      path += `${pen}${toX(line.x[i]).toFixed(1)},${toY(line.y[i]).toFixed(1)}`;
      pen = "L";
    } else pen = "M"; // a gap
  }
  return path;
}

function lastFinite(line) {
  for (let i = line.y.length - 1; i >= 0; i--) if (Number.isFinite(line.y[i])) return i;
  return -1;
}

/** Names at the line ends, moved apart where they would overlap. */
function placed(ends, low, high) {
  const sorted = [...ends].sort((a, b) => a.y - b.y);
  sorted.forEach((end, i) => (end.at = Math.max(end.y, i ? sorted[i - 1].at + LABEL_GAP : low)));
  for (let i = sorted.length - 1; i >= 0; i--)
    sorted[i].at = Math.min(sorted[i].at, i < sorted.length - 1 ? sorted[i + 1].at - LABEL_GAP : high);
  return sorted;
}

function drawAxes(svg, box, xTicks, yTicks, toX, toY, xLabel, yLabel) {
  for (const value of yTicks) {
    const y = toY(value);
    svg.append(shape("line", { x1: box.left, x2: box.right, y1: y, y2: y, class: "vl-grid" }));
    const at = { x: box.left - 8, y: y + 4.5, "text-anchor": "end", class: "vl-soft" };
    svg.append(shape("text", at, String(value)));
  }
  for (const value of xTicks) {
    const at = { x: toX(value), y: box.bottom + 18, "text-anchor": "middle", class: "vl-soft" };
    svg.append(shape("text", at, String(value)));
  }
  svg.append(shape("line", { x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom, class: "vl-grid" }));
  svg.append(shape("text", { x: (box.left + box.right) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, xLabel));
  const middle = (box.top + box.bottom) / 2;
  svg.append(shape("text", { transform: `translate(16, ${middle}) rotate(-90)`, "text-anchor": "middle" }, yLabel));
}

function drawLines(svg, lines, box, toX, toY) {
  const ends = [];
  lines.forEach((line, i) => {
    const look = { fill: "none", stroke: line.color, "stroke-width": 2.6, "stroke-linejoin": "round" };
    svg.append(shape("path", { ...look, d: linePath(line, toX, toY), "stroke-dasharray": line.dash.join(" ") }));
    const last = lastFinite(line);
    if (last < 0) return;
    const [x, y] = [toX(line.x[last]), clamp(toY(line.y[last]), box.top, box.bottom)];
    svg.append(shape("path", { d: MARKS[i % MARKS.length], transform: `translate(${x}, ${y})`, fill: line.color }));
    ends.push({ y, i, x, text: line.name, value: short(line.y[last]) });
  });
  for (const end of placed(ends, box.top + 6, box.bottom)) {
    const look = { transform: `translate(${box.right + 16}, ${end.at})`, fill: lines[end.i].color };
    svg.append(shape("path", { ...look, d: MARKS[end.i % MARKS.length] }));
    const label = shape("text", { x: box.right + 27, y: end.at + 5, class: "vl-name" }, `${end.text} ${end.value}`);
    svg.append(label);
  }
}

function render({ model, el }) {
  const svg = shape("svg", { role: "img", tabindex: 0, class: "vl-curves-chart", [OWN_KEYS]: "true" });
  const bar = make("i");
  const track = make("div", { class: "vl-curves-bar", role: "progressbar", "aria-label": "progress",
    "aria-valuemin": 0, "aria-valuemax": 100 }, bar);
  const status = make("span", { class: "vl-curves-status" });
  const readout = make("output", { class: "vl-curves-readout", "aria-live": "polite" });
  const title = make("div", { class: "vl-curves-title" });
  const run = make("div", { class: "vl-curves-run" }, track, status);
  const root = make("div", { class: "vl-curves" },
    make("style", {}, STYLE), title, svg, run, readout);
  el.append(root);
  let lines = [];
  let guide = null; // the x under the pointer, or chosen with the arrow keys
  let view = null;

  function read() {
    lines = model.get("lines").map((line) => ({ ...line, x: floats(line.x), y: floats(line.y) }));
    draw();
  }

  function draw() {
    const width = svg.clientWidth;
    if (!width) return;
    const right = width - Math.min(0.55 * width, 40 + Math.max(60, ...lines.map(labelWidth)));
    const box = { left: MARGIN.left, right, top: MARGIN.top, bottom: HEIGHT - MARGIN.bottom };
    const [x0, x1] = extent(lines, "x", model.get("x_range"));
    const [y0, y1] = extent(lines, "y", model.get("y_range"));
    const toX = (x) => box.left + ((x - x0) / (x1 - x0)) * (box.right - box.left);
    const toY = (y) => box.bottom - ((y - y0) / (y1 - y0)) * (box.bottom - box.top);
    view = { box, x0, x1, toX };
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    svg.replaceChildren();
    const [xTicks, yTicks] = [ticks(x0, x1, Math.max(2, (box.right - box.left) / 90)), ticks(y0, y1, 5)];
    drawAxes(svg, box, xTicks, yTicks, toX, toY, model.get("x_label"), model.get("y_label"));
    drawLines(svg, lines, box, toX, toY);
    drawGuide();
    const said = lines.filter((line) => line.x.length).map((line) => `${line.name} ${short(line.y.at(-1))}`);
    svg.setAttribute("aria-label", `line chart: ${model.get("title")}; ${said.join(", ") || "no points yet"}`);
  }

  function drawGuide() {
    svg.querySelector(".vl-guide")?.remove();
    if (guide === null || !view) return void (readout.textContent = "");
    const { box, toX } = view;
    svg.append(shape("line", { x1: toX(guide), x2: toX(guide), y1: box.top, y2: box.bottom, class: "vl-guide" }));
    const at = lines.map((line) => {
      const i = nearest(line.x, guide);
      return i < 0 ? "" : `${line.name} ${Number.isFinite(line.y[i]) ? short(line.y[i]) : "not finite"}`;
    });
    readout.textContent = `${model.get("x_label")} ${short(guide)}: ${at.filter(Boolean).join(", ")}`;
  }

  function nearest(xs, x) {
    return xs.reduce((best, value, i) => (best < 0 || Math.abs(value - x) < Math.abs(xs[best] - x) ? i : best), -1);
  }

  /** All the places that have a point, in order: the guide stands on one of them. */
  const places = () => [...new Set(lines.flatMap((line) => Array.from(line.x)))].sort((a, b) => a - b);

  function moveGuide(x) {
    const xs = places();
    if (xs.length === 0 || !view) return;
    guide = xs[nearest(xs, x)];
    drawGuide();
  }

  function showRun() {
    const percent = Math.round(100 * model.get("progress"));
    run.hidden = percent === 0 && model.get("status") === "";
    run.style.visibility = run.hidden ? "hidden" : "visible";
    bar.style.width = `${percent}%`;
    track.setAttribute("aria-valuenow", percent);
    status.textContent = model.get("status");
  }

  svg.addEventListener("pointermove", (event) => {
    if (!view) return;
    const { box, x0, x1 } = view;
    const at = (event.clientX - svg.getBoundingClientRect().left - box.left) / (box.right - box.left);
    moveGuide(x0 + at * (x1 - x0));
  });
  svg.addEventListener("pointerleave", () => ((guide = null), drawGuide()));
  svg.addEventListener("blur", () => ((guide = null), drawGuide()));
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const xs = places();
    if (!step || xs.length === 0) return;
    event.preventDefault();
    moveGuide(guide === null ? xs.at(-1) : xs[clamp(nearest(xs, guide) + step, 0, xs.length - 1)]);
  });

  const showTitle = () => ((title.textContent = model.get("title")), draw());
  const hear = { "change:lines": read, "change:x_range": draw, "change:y_range": draw, "change:title": showTitle,
    "change:x_label": draw, "change:y_label": draw, "change:progress": showRun, "change:status": showRun };
  for (const [event, handler] of Object.entries(hear)) model.on(event, handler);
  const resized = new ResizeObserver(draw);
  resized.observe(svg);
  showTitle();
  showRun();
  read();
  return () => {
    resized.disconnect();
    for (const [event, handler] of Object.entries(hear)) model.off(event, handler);
  };
}

export default { render };

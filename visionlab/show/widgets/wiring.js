// The wiring board: a pointwise convolution as P Phi Q^T, drawn as wires, as matrices and as a map of paths. paths.js
// counts.

const STYLE = `
.vl-wiring { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-wiring-top { display: grid; grid-template-columns: minmax(290px, 4fr) 5fr; gap: 8px 26px; align-items: start; }
@container (max-width: 680px) { .vl-wiring-top { grid-template-columns: 1fr; } }
.vl-wiring :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-wiring-controls { display: grid; grid-template-columns: max-content 1fr 5.6em; gap: 3px 10px; align-items: center; }
.vl-wiring-controls label { display: contents; }
.vl-wiring-controls input[type=range] { width: 100%; margin: 0; accent-color: var(--vl-brand); }
.vl-wiring-controls output { font-variant-numeric: tabular-nums; white-space: nowrap; }
.vl-wiring-controls .vl-wiring-check { display: block; grid-column: 1 / -1; }
.vl-wiring-check input { margin: 0 8px 0 0; accent-color: var(--vl-brand); }
.vl-wiring-numbers { display: grid; grid-template-columns: 1fr max-content; gap: 1px 10px; margin-top: 8px;
  border-top: 1px solid var(--vl-line); padding-top: 6px; }
.vl-wiring-numbers b { text-align: right; font-variant-numeric: tabular-nums; }
.vl-wiring-plot { display: block; width: 100%; margin-top: 6px; overflow: visible; }
.vl-wiring-plot text { font-size: 12.5px; fill: var(--vl-soft); }
.vl-wiring-plot .vl-wiring-step { cursor: pointer; fill: transparent; }
.vl-wiring-wires { display: block; width: 100%; height: 400px; cursor: crosshair; }
.vl-wiring-row { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin-top: 8px; }
.vl-wiring-matrix { text-align: center; line-height: 1.3; }
.vl-wiring-matrix small, .vl-wiring-legend { color: var(--vl-soft); font-size: 13px; }
.vl-wiring-matrix canvas { display: block; margin: 2px auto 0; image-rendering: pixelated;
  outline: 1px solid var(--vl-line); }
.vl-wiring-sign { font-size: 18px; color: var(--vl-soft); }
.vl-wiring-legend { display: flex; flex-wrap: wrap; gap: 2px 16px; margin-top: 8px; }
.vl-wiring-legend i { display: inline-block; width: 13px; height: 13px; margin-right: 6px; vertical-align: -2px;
  outline: 1px solid var(--vl-line); }
.vl-wiring-legend svg { margin-right: 6px; }
.vl-wiring-said { display: block; min-height: 2.8em; margin-top: 8px; padding: 6px 12px; border-radius: 4px;
  border-left: 4px solid var(--vl-brand); background: var(--jp-layout-color2, #eee); }
`;

const OWN_KEYS = "data-lm-suppress-shortcuts"; // else JupyterLab takes arrow keys and letters
const HEIGHT = 148; // of the plot
const PLOT = { left: 34, right: 10, top: 24, bottom: 36 };
const CONNECTED = { stroke: "#0072B2", "stroke-width": 2.5 };
const COST = { stroke: "#D55E00", "stroke-width": 2.5, "stroke-dasharray": "7 4" };

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function draw(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function paint(canvas, rows, columns, color) {
  [canvas.width, canvas.height] = [columns, rows];
  const pixels = new ImageData(columns, rows);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) pixels.data.set(color(r, c), 4 * (r * columns + c));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function slider(name, label, onInput) {
  const input = make("input", { type: "range", step: 1, min: 0, class: `vl-wiring-${name}`, [OWN_KEYS]: "true" });
  const output = make("output");
  input.addEventListener("input", () => onInput(Number(input.value)));
  const show = (index, last, text) => {
    [input.max, input.value, output.textContent] = [last, index, text];
    input.setAttribute("aria-valuetext", text);
  };
  return { node: make("label", {}, make("span", {}, label), input, output), show };
}

function render({ model, el }) {
  const widths = model.get("widths");
  let hovered = -1;
  let values = model.get("values");
  const reductions = () => model.get("reductions").filter((r) => values.channels % r === 0);
  const choices = () => divisors(values.channels / values.reduction);

  function change(wanted) {
    const next = { ...values, ...wanted };
    next.reduction = nearest(model.get("reductions").filter((r) => next.channels % r === 0), next.reduction);
    next.groups = nearest(divisors(next.channels / next.reduction), next.groups);
    if (next.picked >= next.channels) next.picked = -1;
    hovered = -1;
    model.set("values", next);
    model.save_changes();
  }

  const sliders = {
    channels: slider("channels", "channels C", (i) => change({ channels: widths[i] })),
    reduction: slider("reduction", "reduction R", (i) => change({ reduction: reductions()[i] })),
    groups: slider("groups", "groups G", (i) => change({ groups: choices()[i] })),
    picked: slider("picked", "follow output", (i) => change({ picked: i - 1 })),
  };
  const shuffle = make("input", { type: "checkbox", class: "vl-wiring-shuffle", [OWN_KEYS]: "true" });
  shuffle.addEventListener("change", () => change({ shuffle: shuffle.checked }));
  const check = make("label", { class: "vl-wiring-check" }, shuffle, "shuffle between the factors (Φ)");
  const numbers = Object.fromEntries(["paths", "connected", "rank", "cost"].map((name) => [name, make("b")]));
  const plot = draw("svg", { class: "vl-wiring-plot", role: "img", height: HEIGHT });
  const wires = make("canvas", { class: "vl-wiring-wires", role: "img" });
  const names = { p: "P: expands", phi: "Φ: shuffles", q: "Qᵀ: squeezes", product: "W: paths" };
  const matrices = Object.fromEntries(Object.entries(names).map(([name, words]) => {
    const canvas = make("canvas", { class: `vl-wiring-${name}`, role: "img", "aria-label": words });
    const size = make("small");
    return [name, { canvas, size, node: make("div", { class: "vl-wiring-matrix" }, words, make("br"), size, canvas) }];
  }));
  const sign = (text) => make("span", { class: "vl-wiring-sign" }, text);
  const product = make("div", { class: "vl-wiring-row" }, matrices.p.node, sign("·"), matrices.phi.node, sign("·"),
    matrices.q.node, sign("="), matrices.product.node);
  const legend = make("div", { class: "vl-wiring-legend" });
  const line = make("output", { class: "vl-wiring-said", "aria-live": "polite" });

  function showControls(found) {
    const { channels, reduction, groups, picked } = values;
    const root = Math.sqrt(found.hidden);
    sliders.channels.show(widths.indexOf(channels), widths.length - 1, `${channels}`);
    sliders.reduction.show(reductions().indexOf(reduction), reductions().length - 1, `${reduction}`);
    sliders.groups.show(choices().indexOf(groups), choices().length - 1, groups === root ? `${groups} = √(C/R)` : `${groups}`);
    sliders.picked.show(picked + 1, channels, picked < 0 ? "none" : `${picked}`);
    shuffle.checked = values.shuffle;
    const blocks = found.fewest === found.most ? `${found.most}` : `${found.fewest} or ${found.most}`;
    numbers.paths.textContent = tidy(found.paths);
    numbers.connected.textContent = `${found.connected.toFixed(1)} %`;
    numbers.rank.textContent = blocks;
    numbers.cost.textContent = `${tidy(found.cost)} of ${found.dense}`;
  }

  function showPlot() {
    const width = plot.clientWidth || 320;
    const steps = choices();
    const spots = steps.map((groups) => ({ groups, ...count({ ...values, groups }) }));
    const last = Math.log(Math.max(2, steps[steps.length - 1]));
    const x = (groups) => PLOT.left + (Math.log(groups) / last) * (width - PLOT.left - PLOT.right);
    const y = (share) => PLOT.top + (1 - share / 100) * (HEIGHT - PLOT.top - PLOT.bottom);
    const path = (share) => spots.map((s, i) => `${i ? "L" : "M"}${x(s.groups)},${y(share(s))}`).join("");
    const cost = (s) => (100 * s.cost) / s.dense;
    const best = Math.sqrt(values.channels / values.reduction);
    const text = (at, down, words, anchor = "middle", more = {}) =>
      draw("text", { x: at, y: down, "text-anchor": anchor, ...more }, words);
    const rule = (at, dash) => draw("line", { x1: at, x2: at, y1: PLOT.top - 4, y2: y(0), stroke: "currentColor",
      "stroke-dasharray": dash, "stroke-width": 1.5 });
    let free = -Infinity;
    const marks = steps.filter((g) => (x(g) - free >= 22 ? ((free = x(g)), true) : false));
    plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    plot.replaceChildren(
      text(x(best), 11, `paper: G = √(C/R) = ${tidy(best)}`, best > Math.sqrt(steps[steps.length - 1]) ? "end" : "middle"),
      rule(x(best), "5 4"),
      ...[0, 50, 100].map((s) => text(PLOT.left - 6, y(s) + 4, `${s}`, "end")),
      ...marks.map((g) => text(x(g), y(0) + 14, `${g}`)),
      text((PLOT.left + width - PLOT.right) / 2, HEIGHT - 4, "groups G (click one)"),
      draw("path", { d: path((s) => s.connected), fill: "none", ...CONNECTED }),
      draw("path", { d: path(cost), fill: "none", ...COST }),
      ...spots.filter((s) => s.groups === values.groups).flatMap((s) => [[s.connected, CONNECTED], [cost(s), COST]]
        .map(([share, { stroke }]) => draw("circle", { cx: x(s.groups), cy: y(share), r: 5.5, fill: stroke }))),
      ...spots.map((s) => {
        const spot = draw("rect", { x: x(s.groups) - 9, y: PLOT.top, width: 18, height: HEIGHT - PLOT.top,
          class: "vl-wiring-step" }, draw("title", {}, `G = ${s.groups}`));
        spot.addEventListener("click", () => change({ groups: s.groups }));
        return spot;
      }));
    const percent = (share) => `${share.toFixed(1)} %`;
    plot.setAttribute("aria-label", "By groups, pairs connected and multiply-adds of dense: " +
      spots.map((s) => `${s.groups}: ${percent(s.connected)}, ${percent(cost(s))}`).join("; "));
  }

  function showMatrices(found, followed) {
    const { channels, groups, shuffle } = values;
    const { hidden, table } = found;
    const [wide, narrow] = [channels / groups, hidden / groups];
    const group = followed < 0 ? -1 : Math.floor(followed / wide);
    const from = (j) => source(j, hidden, groups, shuffle);
    const used = new Set(Array.from({ length: hidden }, (_, j) => j).filter((j) => Math.floor(j / narrow) === group).map(from));
    const lit = (color, on) => (followed < 0 || on ? color : [...color.slice(0, 3), 60]);
    const colors = Array.from({ length: groups }, (_, g) => groupColor(g, groups));
    const origin = (j) => colors[Math.floor(from(j) / narrow)];
    paint(matrices.p.canvas, channels, hidden, (r, c) =>
      Math.floor(r / wide) === Math.floor(c / narrow) ? lit(origin(c), r === followed) : NOTHING);
    paint(matrices.phi.canvas, hidden, hidden, (r, c) =>
      from(r) === c ? lit(origin(r), Math.floor(r / narrow) === group) : NOTHING);
    paint(matrices.q.canvas, hidden, channels, (r, c) =>
      Math.floor(r / narrow) === Math.floor(c / wide) ? lit(colors[Math.floor(r / narrow)], used.has(r)) : NOTHING);
    paint(matrices.product.canvas, channels, channels, (r, c) => {
      const n = table[Math.floor(r / wide)][Math.floor(c / wide)];
      return n ? lit(COUNTS.find(([up]) => n <= up)[1], r === followed) : NOTHING;
    });
    const room = Math.max(240, product.clientWidth - 125);
    const scale = Math.min(room / (2 * channels + 2 * hidden), 260 / channels, (product.clientWidth - 8) / channels);
    for (const { canvas, size } of Object.values(matrices)) {
      [canvas.style.width, canvas.style.height] = [`${canvas.width * scale}px`, `${canvas.height * scale}px`];
      size.textContent = `${canvas.height} × ${canvas.width}`;
    }
    const kinds = COUNTS.filter(([up], i) => table.flat().some((n) => n <= up && n > (i ? COUNTS[i - 1][0] : 0)));
    const key = (color, words) => {
      const swatch = make("i");
      swatch.style.background = css(color);
      return make("span", {}, swatch, words);
    };
    legend.replaceChildren(make("span", {}, "In W, paths to an output (row) from an input (column):"), key(NOTHING, "no path"),
      ...kinds.map(([, color, words]) => key(color, words)),
      make("span", {}, "In wires and factors: one colour for each group of Q, where a signal comes from."));
  }

  function showWires(found, followed) {
    const { channels, groups, shuffle } = values;
    const { hidden } = found;
    const [width, height, ratio] = [wires.clientWidth, wires.clientHeight, window.devicePixelRatio || 1];
    if (!width) return;
    [wires.width, wires.height] = [width * ratio, height * ratio];
    const context = wires.getContext("2d");
    context.scale(ratio, ratio);
    const [wide, narrow] = [channels / groups, hidden / groups];
    const x = [0.05, 0.36, 0.64, 0.95].map((share) => share * width);
    const y = (i, n) => 40 + ((i + 0.5) / n) * (height - 48);
    const group = followed < 0 ? -1 : Math.floor(followed / wide);
    const lines = [[], [], []]; // of the factors, of the shuffle, those followed
    for (let j = 0; j < hidden; j++) {
      const from = source(j, hidden, groups, shuffle);
      const [out, into] = [Math.floor(j / narrow), Math.floor(from / narrow)];
      const paths = [new Path2D(), new Path2D(), new Path2D()];
      const add = (part, ...at) => (paths[part].moveTo(at[0], at[1]), paths[part].lineTo(at[2], at[3]));
      const on = out === group ? 2 : 0;
      for (let i = into * wide; i < (into + 1) * wide; i++) add(on, x[0], y(i, channels), x[1], y(from, hidden));
      add(on || 1, x[1], y(from, hidden), x[2], y(j, hidden));
      for (let o = out * wide; o < (out + 1) * wide; o++) {
        add(o === followed ? 2 : 0, x[2], y(j, hidden), x[3], y(o, channels));
      }
      paths.forEach((path, part) => lines[part].push([path, groupColor(into, groups)]));
    }
    const faint = (crowd) => (followed < 0 ? Math.max(0.06, Math.min(0.6, 90 / crowd)) : Math.min(0.12, 20 / crowd));
    const shades = [faint((channels * hidden) / groups), faint(3 * hidden), 0.9]; // the more lines, the fainter each
    lines.forEach((part, kind) => part.forEach(([path, color]) => {
      context.strokeStyle = css([...color.slice(0, 3), 255 * shades[kind]]);
      context.lineWidth = kind === 2 ? 1.6 : 1;
      context.stroke(path);
    }));
    const ink = getComputedStyle(root).color;
    context.font = "13px system-ui, sans-serif";
    context.textAlign = "center";
    [channels, hidden, hidden, channels].forEach((n, column) => {
      context.fillStyle = ink;
      const words = [`${n} inputs`, `${n} hidden`, shuffle ? "shuffled" : "as they are", `${n} outputs`][column];
      context.textAlign = ["left", "center", "center", "right"][column];
      context.fillText(words, [2, x[1], x[2], width - 2][column], 30);
      for (let i = 0; i < n; i++) {
        const radius = column === 3 && i === followed ? 5 : Math.min(3, (0.3 * (height - 48)) / n);
        context.beginPath();
        context.arc(x[column], y(i, n), radius, 0, 7);
        context.fill();
      }
    });
    context.textAlign = "center";
    ["Qᵀ", "Φ", "P"].forEach((name, i) => context.fillText(name, (x[i] + x[i + 1]) / 2, 13));
    wires.setAttribute("aria-label", line.textContent);
  }

  function showFollowed() {
    const found = count(values);
    const followed = hovered >= 0 ? hovered : values.picked;
    line.textContent = said({ ...values, picked: followed }, found);
    showMatrices(found, followed);
    showWires(found, followed);
  }

  function show() {
    showControls(count(values));
    showPlot();
    showFollowed();
  }

  /** Hovering previews an output, a click keeps it, a click on the kept one lets go. */
  function follows(node, row) {
    const at = (event) => {
      const box = node.getBoundingClientRect();
      const i = Math.floor(row((event.clientY - box.top) / box.height, box.height) * values.channels);
      return Math.max(0, Math.min(values.channels - 1, i));
    };
    const preview = (output) => output !== hovered && ((hovered = output), showFollowed());
    node.addEventListener("pointermove", (event) => preview(at(event)));
    node.addEventListener("pointerleave", () => preview(-1));
    node.addEventListener("click", (event) => change({ picked: at(event) === values.picked ? -1 : at(event) }));
  }

  const controls = make("div", { class: "vl-wiring-controls" }, sliders.channels.node, sliders.reduction.node,
    sliders.groups.node, check, sliders.picked.node);
  const words = { paths: "paths that end in one output", connected: "pairs of channels connected",
    rank: "rank of one of the G × G blocks of W", cost: "multiply-adds a pixel, of dense C²" };
  const table = make("div", { class: "vl-wiring-numbers" },
    ...Object.entries(words).flatMap(([name, text]) => [make("span", {}, text), numbers[name]]));
  for (const [name, node] of Object.entries(numbers)) node.className = `vl-wiring-n-${name}`;
  const sample = (style, text) => make("span", {},
    draw("svg", { width: 30, height: 10, "aria-hidden": "true" }, draw("path", { d: "M0,5H30", ...style })), text);
  const keys = make("div", { class: "vl-wiring-legend" }, sample(CONNECTED, "pairs connected (%)"),
    sample(COST, "multiply-adds, % of dense"));
  const root = make("div", { class: "vl-wiring" }, make("style", {}, STYLE),
    make("div", { class: "vl-wiring-top" }, make("div", {}, controls, table, plot, keys), wires), product, legend, line);
  follows(matrices.p.canvas, (share) => share);
  follows(matrices.product.canvas, (share) => share);
  follows(wires, (share, height) => (share * height - 40) / (height - 48));
  el.append(root);
  const hear = () => ((values = model.get("values")), show());
  model.on("change:values", hear);
  show();
  const still = redrawn(wires, show); // the root grows with its matrices, and would have them drawn twice
  return () => {
    still();
    model.off("change:values", hear);
  };
}

export default { render };

// The inspector of cross-shaped windows. Python answers what the query's token attends to; this file draws the
// answer and asks for the next one (questions.js).

const STYLE = `
.vl-stripes { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-stripes-body { display: grid; grid-template-columns: minmax(250px, 5fr) 7fr; gap: 6px 24px; align-items: start; }
@container (max-width: 640px) { .vl-stripes-body { grid-template-columns: 1fr; } }
.vl-stripes-image { position: relative; width: 100%; cursor: crosshair; touch-action: none; border-radius: 4px;
  overflow: hidden; }
.vl-stripes-image canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.vl-stripes-ring { position: absolute; width: 13px; height: 13px; margin: -6.5px; border: 2px solid #fff;
  border-radius: 50%; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000; pointer-events: none; }
.vl-stripes :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-stripes-sliders { display: grid; grid-template-columns: max-content 1fr 5.2em; gap: 2px 10px; align-items: center;
  margin-top: 8px; }
.vl-stripes-sliders label { display: contents; }
.vl-stripes-sliders input { width: 100%; margin: 0; accent-color: var(--vl-brand); }
.vl-stripes-sliders output { text-align: right; font-variant-numeric: tabular-nums; color: var(--vl-soft); }
.vl-stripes-keys { display: grid; gap: 3px; margin-top: 8px; min-height: 3.1em; align-content: start; }
.vl-stripes-key { display: flex; flex-wrap: wrap; align-items: center; gap: 0 8px; white-space: nowrap; }
.vl-stripes-key i { width: 40px; height: 13px; border: 2px solid var(--vl-group); border-radius: 2px;
  background: linear-gradient(90deg, transparent, var(--vl-group)); }
.vl-stripes-key small { color: var(--vl-soft); font-size: 13px; margin-left: auto; }
.vl-stripes-maps { display: grid; gap: 10px 9px; align-items: center; }
.vl-stripes-head { text-align: center; line-height: 1.25; align-self: end; }
.vl-stripes-head b { display: block; font-weight: 600; }
.vl-stripes-head small, .vl-stripes-whole { color: var(--vl-soft); font-size: 13px; }
.vl-stripes-group { writing-mode: vertical-rl; transform: rotate(180deg); text-align: center; justify-self: center;
  font-weight: 600; font-size: 13px; border-right: 4px solid var(--vl-group); padding-right: 4px; }
.vl-stripes-map { display: block; width: 100%; padding: 0; border: 0; background: none; cursor: pointer;
  border-radius: 4px; font: inherit; color: inherit; opacity: 0.86; box-shadow: 0 0 0 1px var(--vl-line); }
.vl-stripes-map:hover { opacity: 1; }
.vl-stripes-map canvas { display: block; width: 100%; border-radius: 4px; }
.vl-stripes-map[aria-pressed="true"] { opacity: 1; box-shadow: 0 0 0 3px var(--vl-brand); }
.vl-stripes-head[data-selected="true"] b { color: var(--vl-brand); }
.vl-stripes-scale { display: flex; align-items: center; gap: 8px; margin-top: 10px; font-size: 13px;
  color: var(--vl-soft); flex-wrap: wrap; }
.vl-stripes-scale canvas { width: 110px; height: 11px; border-radius: 2px; }
.vl-stripes-token::before { content: ""; display: inline-block; width: 9px; height: 9px; margin: 0 7px 0 10px;
  border: 2px solid #fff; outline: 1px solid #000; }
.vl-stripes-readout { display: block; min-height: 4.2em; margin-top: 12px; padding: 8px 12px; border-radius: 4px;
  border-left: 4px solid var(--vl-brand); background: var(--jp-layout-color2, #eee); }
.vl-stripes-waiting .vl-stripes-readout { opacity: 0.5; transition: opacity 0.2s 0.4s; }
.vl-stripes-foot { display: flex; justify-content: space-between; align-items: baseline; gap: 16px; margin-top: 6px;
  font-size: 13px; color: var(--vl-soft); }
.vl-stripes-foot button { font: inherit; color: inherit; background: none; border: 1px solid var(--vl-line);
  border-radius: 3px; padding: 1px 10px; cursor: pointer; }
`;

const VEIL = [12, 14, 20]; // over what the token does not see, in both themes

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const rgba = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const hue = (hex, alpha) => rgba(...[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)), alpha);

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = "data-lm-suppress-shortcuts";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** A canvas with one pixel a token, to be scaled up without smoothing: single rectangles would leave seams. */
function tokenLayer({ height, width }, paint) {
  const canvas = make("canvas", { width, height });
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).forEach((_, i, words) => (words[i] = paint(i)));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** The border of a set of tokens as a path, moved outwards by `grow` so that it hides none of them. */
function border(mask, { height, width }, cellHeight, cellWidth, grow) {
  const path = new Path2D();
  const inside = (row, column) =>
    row >= 0 && row < height && column >= 0 && column < width && mask[row * width + column] === 1;
  const line = (x0, y0, x1, y1) => (path.moveTo(x0, y0), path.lineTo(x1, y1));
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      if (!inside(row, column)) continue;
      const [left, top] = [column * cellWidth, row * cellHeight];
      const [right, bottom] = [left + cellWidth, top + cellHeight];
      if (!inside(row - 1, column)) line(left, top - grow, right, top - grow);
      if (!inside(row + 1, column)) line(left, bottom + grow, right, bottom + grow);
      if (!inside(row, column - 1)) line(left - grow, top, left - grow, bottom);
      if (!inside(row, column + 1)) line(right + grow, top, right + grow, bottom);
    }
  }
  return path;
}

/** Fits a canvas to its size on the page and fills it with a photo; one unit of its context is a CSS pixel. */
function photoContext(canvas, photo, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [across, down] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const context = canvas.getContext("2d");
  context.setTransform(across / width, 0, 0, down / height, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(photo, 0, 0, width, height);
  context.imageSmoothingEnabled = false; // tokens have sharp edges
  return context;
}

function stroke(context, path, color, width) {
  context.lineCap = "square";
  context.strokeStyle = "rgba(0, 0, 0, 0.65)";
  context.lineWidth = width + 1.5;
  context.stroke(path);
  context.strokeStyle = color;
  context.lineWidth = width;
  context.stroke(path);
}

/** The image in dim grey, the ground of the small maps. */
function dimmed(image) {
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 0.6;
  context.fillStyle = `rgb(${VEIL})`;
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas;
}

function drawToken(context, [row, column], cellHeight, cellWidth, width) {
  const path = new Path2D();
  path.rect(column * cellWidth, row * cellHeight, cellWidth, cellHeight);
  stroke(context, path, "#ffffff", width);
}

/** The large picture: what the token sees stays bright, each stripe is tinted by its weights. */
function drawCross(canvas, [width, height], photo, stage, view) {
  const context = photoContext(canvas, photo, width, height);
  const [cellHeight, cellWidth] = [height / stage.height, width / stage.width];
  const groups = view.groups.map((g) => ({ ...g, mask: bytes(g.mask), weights: bytes(g.weights) }));
  const put = (paint) => context.drawImage(tokenLayer(stage, paint), 0, 0, width, height);
  const seen = (i) => groups.some((g) => g.mask[i]);
  context.globalCompositeOperation = "saturation"; // grey under the tints, or photo and tint could not be told apart
  put((i) => (seen(i) ? rgba(128, 128, 128, 215) : 0));
  context.globalCompositeOperation = "source-over";
  put((i) => (seen(i) ? 0 : rgba(...VEIL, 120)));
  for (const { color, mask, weights } of groups) {
    const tints = Array.from({ length: 256 }, (_, weight) => hue(color, 30 + Math.round((195 * weight) / 255)));
    put((i) => (mask[i] ? tints[weights[i]] : 0));
  }
  for (const group of groups) stroke(context, border(group.mask, stage, cellHeight, cellWidth, 1.8), group.color, 2);
  drawToken(context, view.token, cellHeight, cellWidth, 2.5);
}

/** A small map: the dimmed image, and over the stripe the weights in the map's colours. */
function drawMap(canvas, [width, height], ground, stage, view, group, colors) {
  const context = photoContext(canvas, ground, width, height);
  const [cellHeight, cellWidth] = [height / stage.height, width / stage.width];
  const [mask, weights] = [bytes(group.mask), bytes(group.weights)];
  context.drawImage(tokenLayer(stage, (i) => (mask[i] ? colors[weights[i]] : 0)), 0, 0, width, height);
  context.strokeStyle = group.color;
  context.lineWidth = 1.5;
  context.stroke(border(mask, stage, cellHeight, cellWidth, 1));
  drawToken(context, view.token, cellHeight, cellWidth, 1.2);
}

function slider(name, onInput) {
  const input = make("input", { type: "range", min: 0, step: 1, class: `vl-stripes-slide-${name}`, "aria-label": name,
    [OWN_KEYS]: "true" });
  const value = make("output", { "aria-hidden": "true" });
  input.addEventListener("input", () => onInput(Number(input.value)));
  const show = (index, count) => {
    input.max = count - 1;
    input.value = index;
    input.setAttribute("aria-valuetext", `${name} ${index} of 0 to ${count - 1}`);
    value.textContent = `${index} of ${count - 1}`;
  };
  return { node: make("label", {}, make("span", {}, name), input, value), show };
}

/** The grid of small maps: a column a stage, a row a head group, a whole map across both rows. */
function mapGrid(stages, views, [imageHeight, imageWidth], onSelect) {
  const node = make("div", { class: "vl-stripes-maps", role: "group", "aria-label": "attention in every stage" });
  node.style.gridTemplateColumns = `max-content repeat(${stages.length}, minmax(0, 1fr))`;
  const pair = views.find((view) => view.groups.length === 2);
  (pair ? pair.groups : []).forEach((group, row) => {
    const label = make("div", { class: "vl-stripes-group" }, group.name);
    label.style.cssText = `grid-row: ${row + 2}; grid-column: 1; --vl-group: ${group.color}`;
    node.append(label);
  });
  const heads = [];
  const panels = [];
  stages.forEach((stage, s) => {
    const size = make("small", {}, `${stage.height} × ${stage.width} tokens`);
    heads.push(make("div", { class: "vl-stripes-head" }, make("b", {}, stage.title), size));
    heads[s].style.cssText = `grid-row: 1; grid-column: ${s + 2}`;
    node.append(heads[s]);
    views[s].groups.forEach((group, g) => {
      const canvas = make("canvas");
      canvas.style.aspectRatio = `${imageWidth} / ${imageHeight}`;
      const button = make("button", { type: "button", class: "vl-stripes-map", [OWN_KEYS]: "true" }, canvas);
      button.addEventListener("click", () => onSelect(s));
      const alone = pair && views[s].groups.length === 1;
      const cell = make("div", {}, button, ...(alone ? [make("div", { class: "vl-stripes-whole" }, group.name)] : []));
      cell.style.cssText = `grid-row: ${alone ? "2 / span 2" : g + 2}; grid-column: ${s + 2}; text-align: center`;
      panels.push({ s, g, button, canvas });
      node.append(cell);
    });
  });
  return { node, heads, panels };
}

function colorScale(colors) {
  const canvas = tokenLayer({ height: 1, width: 256 }, (i) => colors[i]);
  canvas.setAttribute("aria-hidden", "true");
  const token = make("span", { class: "vl-stripes-token" }, "token of the query");
  return make("div", { class: "vl-stripes-scale" }, "0", canvas, "strongest in each map", token);
}

function render({ model, el }) {
  const stages = model.get("stages");
  const size = model.get("image_size");
  const colormap = bytes(model.get("colormap"));
  const colors = Array.from({ length: 256 }, (_, i) => rgba(...colormap.subarray(3 * i, 3 * i + 3), 250));
  const start = { query: model.get("query"), stage: model.get("stage") };
  const url = URL.createObjectURL(new Blob([model.get("image_png")], { type: "image/png" }));
  let ground = null;

  const root = make("div", { class: "vl-stripes" }, make("style", {}, STYLE));
  const image = make("img", { src: url });
  const overlay = make("canvas", { class: "vl-stripes-overlay" });
  const ring = make("i", { class: "vl-stripes-ring" });
  const frame = make("div", { class: "vl-stripes-image", tabindex: 0, role: "application", [OWN_KEYS]: "true",
    "aria-label": "image with the query; the arrow keys move it by one token" }, overlay, ring);
  frame.style.aspectRatio = `${size[1]} / ${size[0]}`;
  const keys = make("div", { class: "vl-stripes-keys" });
  const readout = make("output", { class: "vl-stripes-readout", "aria-live": "polite" });
  const reset = make("button", { type: "button", [OWN_KEYS]: "true" }, "reset");

  const grid = () => stages[model.get("stage")];
  const line = questions(model, (waiting) => root.classList.toggle("vl-stripes-waiting", waiting));
  const query = () => line.wanted("query");
  const token = () => [[grid().height, size[0]], [grid().width, size[1]]]
    .map(([count, pixels], axis) => Math.floor((query()[axis] * count) / pixels));
  const toToken = (row, column) => moveTo(
    ((clamp(row, 0, grid().height - 1) + 0.5) * size[0]) / grid().height,
    ((clamp(column, 0, grid().width - 1) + 0.5) * size[1]) / grid().width);
  const rowSlider = slider("row", (row) => toToken(row, token()[1]));
  const columnSlider = slider("column", (column) => toToken(token()[0], column));
  const maps = mapGrid(stages, model.get("views"), size, (s) => (model.set("stage", s), model.save_changes()));

  function moveTo(y, x) {
    line.ask({ query: [clamp(Math.floor(y), 0, size[0] - 1), clamp(Math.floor(x), 0, size[1] - 1)] });
    showQuery();
  }

  function showQuery() {
    rowSlider.show(token()[0], grid().height);
    columnSlider.show(token()[1], grid().width);
    ring.style.top = `${(100 * (query()[0] + 0.5)) / size[0]}%`;
    ring.style.left = `${(100 * (query()[1] + 0.5)) / size[1]}%`;
  }

  function drawPictures() {
    if (!image.naturalWidth) return;
    const sizeOf = ({ clientWidth, clientHeight }) => [clientWidth, clientHeight];
    const [large, ...small] = [overlay, ...maps.panels.map((panel) => panel.canvas)].map(sizeOf); // all before drawing
    if (!large[0] || !small[0][0]) return;
    const views = model.get("views");
    ground ??= dimmed(image);
    drawCross(overlay, large, image, grid(), views[model.get("stage")]);
    maps.panels.forEach(({ s, g, canvas }, i) =>
      drawMap(canvas, small[i], ground, stages[s], views[s], views[s].groups[g], colors));
  }

  function showAnswer() {
    const [views, selected] = [model.get("views"), model.get("stage")];
    drawPictures();
    showQuery();
    keys.replaceChildren(...views[selected].groups.map((group) => {
      const about = `${group.tokens} tokens, max ${group.peak.toPrecision(2)}`;
      const key = make("span", { class: "vl-stripes-key" }, make("i"), group.name, make("small", {}, about));
      key.style.setProperty("--vl-group", group.color);
      return key;
    }));
    maps.heads.forEach((head, s) => (head.dataset.selected = s === selected));
    for (const { s, g, button } of maps.panels) {
      const [stage, { token, groups }] = [stages[s], views[s]];
      button.setAttribute("aria-pressed", s === selected);
      button.setAttribute("aria-label", `${stage.title}, ${groups[g].name}, ${stage.height} by ${stage.width} tokens, ` +
        `query at row ${token[0]}, column ${token[1]}, strongest weight ${groups[g].peak.toPrecision(2)}`);
    }
    readout.textContent = model.get("readout");
    root.dataset.answers = model.get("answers");
  }

  const hear = {
    "change:answers": () => (line.answered(), showAnswer()),
    "change:stage": showAnswer,
    "change:readout": () => (readout.textContent = model.get("readout")),
  };
  for (const [event, handler] of Object.entries(hear)) model.on(event, handler);

  const toPointer = (event) => {
    const box = frame.getBoundingClientRect();
    moveTo(((event.clientY - box.top) / box.height) * size[0], ((event.clientX - box.left) / box.width) * size[1]);
  };
  frame.addEventListener("pointerdown", (event) => {
    frame.setPointerCapture(event.pointerId);
    toPointer(event);
  });
  frame.addEventListener("pointermove", (event) => event.buttons && toPointer(event));
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    toToken(token()[0] + step[0], token()[1] + step[1]);
  });
  reset.addEventListener("click", () => {
    model.set("stage", start.stage);
    model.save_changes();
    moveTo(...start.query);
  });

  const sliders = make("div", { class: "vl-stripes-sliders" }, rowSlider.node, columnSlider.node);
  const left = make("div", {}, frame, sliders, keys);
  const hint = make("span", {}, "Click or drag on the image, or use the arrow keys; choose a stage by its maps.");
  const foot = make("div", { class: "vl-stripes-foot" }, hint, reset);
  const right = make("div", {}, maps.node, colorScale(colors), readout, foot);
  root.append(make("div", { class: "vl-stripes-body" }, left, right));
  el.append(root);
  image.addEventListener("load", drawPictures);
  const resized = new ResizeObserver(drawPictures);
  resized.observe(frame);
  showAnswer();
  return () => {
    resized.disconnect();
    line.stop();
    URL.revokeObjectURL(url);
    for (const [event, handler] of Object.entries(hear)) model.off(event, handler);
  };
}

export default { render };

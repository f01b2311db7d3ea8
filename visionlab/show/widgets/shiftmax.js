// Dynamic Shift-Max as a function of a channel x and its shifted neighbour x~: four coefficients by slider, by preset or
// by dragging the two branches; the map of y, and cuts through it. Everything is computed in the page.

const STYLE = `
.vl-shiftmax { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-shiftmax :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-shiftmax-presets { display: flex; flex-wrap: wrap; gap: 5px; margin-bottom: 8px; }
.vl-shiftmax-presets button { font: inherit; color: inherit; padding: 1px 10px; cursor: pointer; border-radius: 3px;
  background: var(--jp-layout-color1, #fff); border: 1px solid var(--vl-line); }
.vl-shiftmax-presets button[aria-pressed=true] { border-color: var(--vl-brand); color: var(--vl-brand); }
.vl-shiftmax-panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 6px 18px; }
@container (max-width: 520px) { .vl-shiftmax-panels { grid-template-columns: minmax(0, 340px); } }
.vl-shiftmax-panel { line-height: 1.3; }
.vl-shiftmax-panel small { display: block; min-height: 2.6em; color: var(--vl-soft); font-size: 13px; }
.vl-shiftmax-panel canvas { display: block; width: 100%; aspect-ratio: 1.08; touch-action: none; }
.vl-shiftmax-plane { cursor: grab; }
.vl-shiftmax-sliders { display: grid; grid-template-columns: 1fr 1fr; gap: 3px 24px; margin-top: 8px; }
@container (max-width: 560px) { .vl-shiftmax-sliders { grid-template-columns: 1fr; } }
.vl-shiftmax-sliders label { display: grid; grid-template-columns: 1.6em 1fr 5.4em; gap: 8px; align-items: center; }
.vl-shiftmax-sliders input { width: 100%; margin: 0; accent-color: var(--vl-brand); }
.vl-shiftmax-sliders output { text-align: right; font-variant-numeric: tabular-nums; }
.vl-shiftmax-images { grid-template-columns: 1fr; }
.vl-shiftmax-images label { grid-template-columns: max-content 1fr 12em; }
.vl-shiftmax-said { display: block; min-height: 2.8em; margin-top: 8px; padding: 6px 12px; border-radius: 4px;
  border-left: 4px solid var(--vl-brand); background: var(--jp-layout-color2, #eee); }
`;

const OWN_KEYS = "data-lm-suppress-shortcuts"; // else JupyterLab takes arrow keys and letters
const NAMES = ["a1", "b1", "a2", "b2"];
const FIRST = "#0072B2";
const SECOND = "#D55E00";
const RANGE = 2; // of x and of its neighbour
const TOP = 4; // of y
const PAD = { left: 38, right: 8, top: 8, bottom: 34 };
const CUTS = [[-1, [3, 4]], [0, []], [1, [10, 4]]]; // values of the neighbour, and how their cuts are dashed

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const shiftMax = ([a1, b1, a2, b2], x, next) => Math.max(a1 * x + b1 * next, a2 * x + b2 * next);
const short = (value) => (Math.abs(value) < 0.005 ? "0" : value.toFixed(2).replace(/\.?0+$/, "").replace("-", "−"));

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Blue below 0, white at 0, orange above. */
function shade(y) {
  const share = clamp(Math.abs(y) / TOP, 0, 1) ** 0.7;
  const end = y < 0 ? [0, 114, 178] : [213, 94, 0];
  return [...end.map((c) => Math.round(255 + (c - 255) * share)), 255];
}

/** A canvas fitted to the page with axes: `at` turns values into pixels, `back` pixels into values. */
function axes(canvas, [x0, x1], [y0, y1], xName, yName, ink) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const [across, down] = [width - PAD.left - PAD.right, height - PAD.top - PAD.bottom];
  const at = (x, y) => [PAD.left + ((x - x0) / (x1 - x0)) * across, PAD.top + ((y1 - y) / (y1 - y0)) * down];
  const grid = (front) => {
    context.strokeStyle = "rgba(128, 128, 128, 0.35)";
    context.fillStyle = ink;
    context.font = "12px system-ui, sans-serif";
    const rule = (ax, ay, bx, by) => {
      context.beginPath();
      context.moveTo(...at(ax, ay));
      context.lineTo(...at(bx, by));
      context.stroke();
    };
    for (let x = Math.ceil(x0); x <= x1; x++) {
      context.lineWidth = x === 0 ? 1.6 : 0.7;
      if (front || x === 0) rule(x, y0, x, y1);
      context.textAlign = "center";
      context.fillText(`${x}`.replace("-", "−"), at(x, y0)[0], height - 20);
    }
    for (let y = Math.ceil(y0); y <= y1; y++) {
      context.lineWidth = y === 0 ? 1.6 : 0.7;
      if (front || y === 0) rule(x0, y, x1, y);
      context.textAlign = "right";
      context.fillText(`${y}`.replace("-", "−"), PAD.left - 6, at(x0, y)[1] + 4);
    }
    context.textAlign = "center";
    context.fillText(xName, PAD.left + across / 2, height - 4);
    context.save();
    context.translate(11, PAD.top + down / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(yName, 0, 0);
    context.restore();
  };
  return { context, at, grid, across, down };
}

/** What the function does, in words. */
function said([a1, b1, a2, b2]) {
  const mix = (a, b) => {
    const term = (value, name) => (short(value) === "0" ? "" : short(value) === "1" ? name : `${short(value)}·${name}`);
    const [own, next] = [term(a, "x"), term(Math.abs(b), "x̃")];
    return own && next ? `${own} ${b < 0 ? "−" : "+"} ${next}` : own || (next && b < 0 ? `−${next}` : next) || "0";
  };
  const linear = Math.abs(a1 - a2) < 0.005 && Math.abs(b1 - b2) < 0.005;
  const alone = Math.abs(b1) < 0.005 && Math.abs(b2) < 0.005;
  const form = linear ? `y = ${mix(a1, b1)}` : `y = max(${mix(a1, b1)},  ${mix(a2, b2)})`;
  const bends = linear ? "Both branches are equal: nothing bends" : "It bends where the two branches are equal";
  return `${form}. ${bends}; ${alone ? "the neighbour is not heard" : "the neighbour x̃ is heard"}.`;
}

function render({ model, el }) {
  const [presets, measured, labels] = ["presets", "measured", "labels"].map((name) => model.get(name));
  let values = model.get("values");

  function change(next) {
    const rounded = next.map((value, i) => clamp(Math.round(value * 100) / 100, i % 2 ? -2 : -1, i % 2 ? 2 : 3));
    model.set("values", rounded);
    model.save_changes();
  }
  const shown = (row) => row.every((value, i) => Math.abs(value - values[i]) < 0.006); // but for the rounding

  const buttons = Object.entries(presets).map(([name, wanted]) => {
    const button = make("button", { type: "button", [OWN_KEYS]: "true" }, name);
    button.addEventListener("click", () => change(wanted));
    return button;
  });
  const sliders = NAMES.map((name, i) => {
    const input = make("input", { type: "range", min: i % 2 ? -2 : -1, max: i % 2 ? 2 : 3, step: 0.05,
      class: `vl-shiftmax-${name}`, [OWN_KEYS]: "true" });
    const output = make("output");
    input.addEventListener("input", () => change(values.map((value, j) => (j === i ? Number(input.value) : value))));
    const title = make("span", {}, make("i", {}, name[0]), make("sub", {}, name[1]));
    title.style.color = i < 2 ? FIRST : SECOND;
    return { node: make("label", {}, title, input, output), input, output };
  });
  const images = make("div", { class: "vl-shiftmax-sliders vl-shiftmax-images" });
  const image = make("input", { type: "range", min: 0, max: measured.length, step: 1, value: 0,
    class: "vl-shiftmax-image", [OWN_KEYS]: "true" });
  const imageName = make("output");
  image.addEventListener("input", () => {
    if (Number(image.value)) change(measured[image.value - 1]);
    showImage();
  });
  if (measured.length) images.append(make("label", {}, "an image's coefficients", image, imageName));

  /** The image that was chosen, while its coefficients are on show. */
  function showImage() {
    const row = measured[image.value - 1];
    if (row && !shown(row)) image.value = 0;
    imageName.textContent = Number(image.value) ? `${image.value}: ${labels[image.value - 1]}` : "none";
    image.setAttribute("aria-valuetext", imageName.textContent);
  }
  const panel = (name, title, about) => {
    const canvas = make("canvas", { class: `vl-shiftmax-${name}`, role: "img" });
    return { canvas, node: make("div", { class: "vl-shiftmax-panel" }, title, make("small", {}, about), canvas) };
  };
  const plane = panel("plane", "The two branches", "blue: 1, orange: 2; drag them" +
    (measured.length ? ". Pale: the same channel, other images" : ""));
  const map = panel("map", "y by x and x̃", "blue: below 0, orange: above; dashed: where the branches meet");
  const cuts = panel("cuts", "y by x", "x̃ = 0 solid, 1 long dashes, −1 dots");
  const line = make("output", { class: "vl-shiftmax-said", "aria-live": "polite" });

  let place = null;
  function drawPlane(ink) {
    place = axes(plane.canvas, [-1.2, 3.2], [-2.2, 2.2], "weight a of x itself", "weight b of x̃", ink);
    const { context, at, grid } = place;
    grid(true);
    const dot = (x, y, radius, color, alpha) => {
      context.globalAlpha = alpha;
      context.fillStyle = color;
      context.beginPath();
      context.arc(...at(x, y), radius, 0, 7);
      context.fill();
      context.globalAlpha = 1;
    };
    for (const [a1, b1, a2, b2] of measured) {
      dot(a1, b1, 4, FIRST, 0.25);
      dot(a2, b2, 4, SECOND, 0.25);
    }
    dot(values[2], values[3], 9, SECOND, 1);
    dot(values[0], values[1], 6, FIRST, 1);
  }

  function drawMap(ink) {
    const { context, at, grid, across, down } = axes(map.canvas, [-RANGE, RANGE], [-RANGE, RANGE], "x", "x̃", ink);
    const n = 80;
    const small = make("canvas", { width: n, height: n });
    const pixels = new ImageData(n, n);
    const value = (i) => ((i + 0.5) / n) * 2 * RANGE - RANGE;
    for (let r = 0; r < n; r++) for (let c = 0; c < n; c++) {
      pixels.data.set(shade(shiftMax(values, value(c), -value(r))), 4 * (r * n + c));
    }
    small.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(small, PAD.left, PAD.top, across, down);
    grid(false);
    const [da, db] = [values[0] - values[2], values[1] - values[3]];
    if (Math.abs(da) + Math.abs(db) < 0.005) return;
    const far = RANGE / Math.max(Math.abs(da), Math.abs(db)); // the line da x + db x~ = 0, to the border
    context.strokeStyle = "#000";
    context.lineWidth = 2;
    context.setLineDash([6, 4]);
    context.beginPath();
    context.moveTo(...at(-db * far, da * far));
    context.lineTo(...at(db * far, -da * far));
    context.stroke();
  }

  function drawCuts(ink) {
    const { context, at, grid, across, down } = axes(cuts.canvas, [-RANGE, RANGE], [-TOP, TOP], "x", "y", ink);
    grid(true);
    context.beginPath();
    context.rect(PAD.left, PAD.top, across, down);
    context.clip();
    context.strokeStyle = ink;
    context.lineWidth = 2.2;
    for (const [next, dashes] of CUTS) {
      context.setLineDash(dashes);
      context.beginPath();
      for (let i = 0; i <= 200; i++) {
        const x = (i / 100 - 1) * RANGE;
        const spot = at(x, shiftMax(values, x, next));
        if (i) context.lineTo(...spot);
        else context.moveTo(...spot);
      }
      context.stroke();
    }
  }

  function showLabels() {
    const [a1, b1, a2, b2] = values.map(short);
    const by = (next) => [-RANGE, 0, RANGE].map((x) => short(shiftMax(values, x, next))).join(", ");
    const label = ({ canvas }, words) => canvas.setAttribute("aria-label", words);
    label(plane, `The two branches: 1 at a = ${a1}, b = ${b1}; 2 at a = ${a2}, b = ${b2}`);
    label(map, `y by x and x̃. ${line.textContent}`);
    const rows = CUTS.map(([next]) => `${by(next)} for x̃ = ${short(next)}`);
    label(cuts, `y at x = −${RANGE}, 0 and ${RANGE}: ${rows.join("; ")}`);
  }

  function show() {
    sliders.forEach(({ input, output }, i) => {
      input.value = values[i];
      output.textContent = short(values[i]);
    });
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", shown(Object.values(presets)[i]));
    });
    showImage();
    line.textContent = said(values);
    showLabels();
    if (!plane.canvas.clientWidth) return;
    const ink = getComputedStyle(root).color;
    drawPlane(ink);
    drawMap(ink);
    drawCuts(ink);
  }

  let held = -1;
  const spot = (event) => {
    const box = plane.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const moveTo = ([left, top]) => {
    const a = -1.2 + (4.4 * (left - PAD.left)) / place.across;
    const b = 2.2 - (4.4 * (top - PAD.top)) / place.down;
    change(values.map((value, i) => (i === 2 * held ? a : i === 2 * held + 1 ? b : value)));
  };
  plane.canvas.addEventListener("pointerdown", (event) => {
    plane.canvas.setPointerCapture(event.pointerId);
    const [left, top] = spot(event);
    const away = [0, 1].map((k) => {
      const [x, y] = place.at(values[2 * k], values[2 * k + 1]);
      return Math.hypot(x - left, y - top);
    });
    held = away[0] <= away[1] ? 0 : 1;
    moveTo([left, top]);
  });
  plane.canvas.addEventListener("pointermove", (event) => event.buttons && held >= 0 && moveTo(spot(event)));
  plane.canvas.addEventListener("pointerup", () => (held = -1));

  const root = make("div", { class: "vl-shiftmax" }, make("style", {}, STYLE),
    make("div", { class: "vl-shiftmax-presets" }, ...buttons),
    make("div", { class: "vl-shiftmax-panels" }, plane.node, map.node, cuts.node),
    make("div", { class: "vl-shiftmax-sliders" }, ...sliders.map((slider) => slider.node)), images, line);
  el.append(root);
  const hear = () => ((values = model.get("values")), show());
  model.on("change:values", hear);
  show();
  const still = redrawn(map.canvas, show); // the root changes its height with the words
  return () => {
    still();
    model.off("change:values", hear);
  };
}

export default { render };

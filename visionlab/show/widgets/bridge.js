// The two-way bridge of Mobile-Former. Python runs the network; this file draws what a token reads, whom each pixel
// hears and what cuts do. Blocks and tokens need no answer; pictures and cuts are questions to it (questions.js).

const STYLE = `
.vl-bridge { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-bridge :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-bridge button { font: inherit; color: inherit; cursor: pointer; background: none; border: 1px solid var(--vl-line);
  border-radius: 4px; }
.vl-bridge-strip { display: flex; flex-wrap: wrap; gap: 6px; align-items: stretch; margin-bottom: 12px; }
.vl-bridge-strip button, .vl-bridge-strip label { width: 76px; padding: 3px; font-size: 12px; line-height: 1.2;
  color: var(--vl-soft); text-align: center; overflow-wrap: anywhere; }
.vl-bridge-strip img { display: block; height: 48px; margin: 0 auto 2px; image-rendering: pixelated; }
.vl-bridge-strip [aria-pressed="true"] { box-shadow: 0 0 0 3px var(--vl-brand); color: var(--vl-ink); }
.vl-bridge-strip label { display: grid; align-content: center; border: 1px dashed var(--vl-line); border-radius: 4px;
  cursor: pointer; box-sizing: border-box; }
.vl-bridge-strip label:focus-within { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-bridge-strip input { position: absolute; width: 1px; height: 1px; opacity: 0; }
.vl-bridge-body { display: grid; grid-template-columns: 4fr 4fr 3fr; gap: 8px 22px; align-items: start; }
@container (max-width: 720px) { .vl-bridge-body { grid-template-columns: 1fr 1fr; }
  .vl-bridge-side { grid-column: 1 / -1; } }
@container (max-width: 430px) { .vl-bridge-body { grid-template-columns: 1fr; } }
.vl-bridge h4 { margin: 0 0 4px; font-size: 14px; line-height: 1.3; min-height: 2.6em; font-weight: 600; }
.vl-bridge h4 small { display: block; font-weight: 400; font-size: 13px; color: var(--vl-soft); }
.vl-bridge-frame { position: relative; width: 100%; border-radius: 4px; overflow: hidden; background: #16181d; }
.vl-bridge-frame canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
.vl-bridge-frame b { position: absolute; inset: 0; display: grid; place-content: center; color: #fff; font-weight: 600;
  text-align: center; text-shadow: 0 0 6px #000, 0 0 2px #000; }
.vl-bridge-frame b:empty { display: none; }
.vl-bridge-scale { display: flex; align-items: center; gap: 8px; margin-top: 5px; font-size: 13px;
  color: var(--vl-soft); }
.vl-bridge-scale canvas { width: 90px; height: 11px; border-radius: 2px; }
.vl-bridge-cosine { display: grid; gap: 2px; font-size: 13px; text-align: center; max-width: 300px;
  font-variant-numeric: tabular-nums; }
.vl-bridge-cosine span { padding: 3px 0; border-radius: 2px; }
.vl-bridge-cosine i { align-self: center; font-style: normal; font-weight: 600;
  border-bottom: 4px solid var(--vl-token); }
.vl-bridge-steer { display: grid; grid-template-columns: max-content 1fr 11em; gap: 8px 12px; align-items: center;
  margin-top: 12px; }
@container (max-width: 560px) { .vl-bridge-steer { grid-template-columns: max-content 1fr; }
  .vl-bridge-steer output { grid-column: 1 / -1; } }
.vl-bridge-steer input { width: 100%; margin: 0; accent-color: var(--vl-brand); }
.vl-bridge-tokens { display: flex; flex-wrap: wrap; gap: 6px; grid-column: 2 / -1; }
.vl-bridge-tokens button { min-width: 44px; padding: 2px 8px; border-left: 12px solid var(--vl-token); }
.vl-bridge-tokens [aria-pressed="true"] { box-shadow: 0 0 0 3px var(--vl-brand); font-weight: 600; }
.vl-bridge-cuts { display: flex; flex-wrap: wrap; gap: 4px 18px; grid-column: 2 / -1; }
.vl-bridge-cuts select, .vl-bridge-cuts input { font: inherit; width: auto; margin: 0 5px 0 0; }
.vl-bridge-cuts input { vertical-align: -2px; }
.vl-bridge-answer { display: grid; grid-template-columns: max-content 1fr max-content; gap: 3px 12px;
  align-items: center; margin-top: 14px; font-size: 14px; }
@container (min-width: 720px) { .vl-bridge-many { grid-template-columns: repeat(2, max-content 1fr max-content); }
  .vl-bridge-many output { margin-right: 14px; } }
.vl-bridge-answer div { position: relative; height: 15px; border-radius: 2px;
  background: var(--jp-layout-color2, #eee); }
.vl-bridge-answer u, .vl-bridge-answer i { position: absolute; left: 0; top: 0; bottom: 0; border-radius: 2px; }
.vl-bridge-answer u { box-shadow: inset 0 0 0 2px var(--vl-soft); }
.vl-bridge-answer i { top: 4px; bottom: 4px; background: #0072b2; }
.vl-bridge-answer output { font-variant-numeric: tabular-nums; color: var(--vl-soft); text-align: right; }
.vl-bridge-answer [data-best="true"] { font-weight: 600; }
.vl-bridge-readout { display: block; margin-top: 12px; padding: 8px 12px; border-radius: 4px; min-height: 2.8em;
  border-left: 4px solid var(--vl-brand); background: var(--jp-layout-color2, #eee); }
.vl-bridge-waiting .vl-bridge-readout { opacity: 0.5; transition: opacity 0.2s 0.4s; }
.vl-bridge-foot { display: flex; justify-content: space-between; gap: 16px; margin-top: 6px; font-size: 13px;
  color: var(--vl-soft); }
.vl-bridge-foot button { padding: 1px 10px; }
`;

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = "data-lm-suppress-shortcuts";

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
const rgba = (red, green, blue, alpha) => ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const button = (attributes, ...children) =>
  make("button", { type: "button", [OWN_KEYS]: "true", ...attributes }, ...children);

/** A canvas with one pixel a place of the map, to be scaled up without smoothing. */
function layer([height, width], paint) {
  const canvas = make("canvas", { width, height });
  const pixels = new ImageData(width, height);
  new Uint32Array(pixels.data.buffer).forEach((_, i, words) => (words[i] = paint(i)));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

/** A picture in grey and half dark, as the ground of a map, with a layer over it. */
function draw(canvas, picture, map) {
  const { clientWidth, clientHeight } = canvas;
  if (!clientWidth || !picture.naturalWidth) return;
  const ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
  const context = canvas.getContext("2d");
  const put = (source) => context.drawImage(source, 0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = picture.naturalWidth > 100; // few pixels are to be seen as such
  put(picture);
  context.globalCompositeOperation = "saturation";
  context.fillStyle = "#808080";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = "source-over";
  context.imageSmoothingEnabled = false;
  if (map) put(map);
}

/** What a token reads: the map's colours, the more opaque the stronger. */
function readLayer({ size, weights }, token, colors) {
  const [values, offset] = [bytes(weights), token * size[0] * size[1]];
  return layer(size, (i) => {
    const value = values[offset + i];
    return rgba(...colors.subarray(3 * value, 3 * value + 3), 120 + Math.round((125 * value) / 255));
  });
}

/** The token that each pixel hears most, the more opaque the further it is ahead of an even choice. */
function heardLayer({ size, weights }, colours) {
  const [values, places, tokens] = [bytes(weights), size[0] * size[1], colours.length];
  const even = tokens > 1 ? 255 / tokens : 0;
  const inks = colours.map(channels);
  return layer(size, (i) => {
    let best = 0;
    for (let token = 1; token < tokens; token++) {
      if (values[token * places + i] > values[best * places + i]) best = token;
    }
    const ahead = (values[best * places + i] - even) / (255 - even);
    return rgba(...inks[best], 70 + Math.round(170 * Math.min(1, Math.max(0, ahead))));
  });
}

/** The reader's file, made small by the page, as bytes of a PNG. */
async function shrunk(file, largest) {
  const bitmap = await createImageBitmap(file);
  const scale = Math.min(1, largest / Math.max(bitmap.width, bitmap.height));
  const size = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const canvas = make("canvas", { width: size[0], height: size[1] });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, ...size);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  return new DataView(await blob.arrayBuffer());
}

/** A framed canvas with a heading and a word over it. */
function panel(title, about, name) {
  const canvas = make("canvas", { class: `vl-bridge-${name}`, role: "img", "aria-label": title });
  const word = make("b");
  const heading = make("h4", {}, title, make("small", {}, about));
  const frame = make("div", { class: "vl-bridge-frame" }, canvas, word);
  return { canvas, word, frame, heading, node: make("div", {}, heading, frame) };
}

function render({ model, el }) {
  const [colours, colors, wires] = [model.get("colours"), bytes(model.get("colormap")), model.get("wires")];
  const start = Object.fromEntries(["picture", "block", "token", "cuts"].map((name) => [name, model.get(name)]));
  let [url, shown] = ["", null];

  const root = make("div", { class: "vl-bridge" }, make("style", {}, STYLE));
  const image = make("img");
  const strip = make("div", { class: "vl-bridge-strip", role: "group", "aria-label": "pictures" });
  const reading = panel("Mobile→Former", "what the token reads", "reads");
  const hearing = panel("Former→Mobile", "which token each pixel hears most", "hears");
  const cosine = make("div", { class: "vl-bridge-cosine", role: "img" });
  const slide = make("input", { type: "range", min: 0, max: model.get("blocks").length - 1, step: 1,
    class: "vl-bridge-block", "aria-label": "block", [OWN_KEYS]: "true" });
  const title = make("output", { "aria-hidden": "true" });
  const many = model.get("scores").length > 4 ? "vl-bridge-many" : "";
  const answer = make("div", { class: `vl-bridge-answer ${many}` });
  const readout = make("output", { class: "vl-bridge-readout", "aria-live": "polite" });
  const reset = button({}, "reset");
  const local = (values) => (model.set(values), model.save_changes());
  const line = questions(model, (waiting) => root.classList.toggle("vl-bridge-waiting", waiting));
  const ask = (change) => (line.ask(change), showControls());
  const cut = (change) => ask({ cuts: { ...line.wanted("cuts"), ...change } });

  const switches = Object.entries(wires).map(([name, words]) => {
    const box = make("input", { type: "checkbox", class: `vl-bridge-${name}`, [OWN_KEYS]: "true" });
    box.addEventListener("change", () => cut({ [name]: box.checked }));
    return { name, box, node: make("label", {}, box, words) };
  });
  const silent = make("select", { class: "vl-bridge-silent", "aria-label": "silenced token", [OWN_KEYS]: "true" },
    make("option", { value: "" }, "nobody"),
    ...colours.map((_, token) => make("option", { value: token }, `token ${token + 1}`)));
  silent.addEventListener("change", () => cut({ silent: silent.value === "" ? [] : [Number(silent.value)] }));
  const tokens = colours.map((colour, token) => {
    const node = button({ "aria-label": `token ${token + 1}` }, `${token + 1}`);
    node.style.setProperty("--vl-token", colour);
    node.addEventListener("click", () => local({ token }));
    return node;
  });
  const file = make("input", { type: "file", accept: "image/*", class: "vl-bridge-own", [OWN_KEYS]: "true" });
  file.addEventListener("change", async () => {
    try {
      if (!file.files.length) return;
      const own = await shrunk(file.files[0], model.get("largest"));
      line.drop("picture"); // chosen before, it would hide the new one
      ask({ own });
    } catch {
      readout.textContent = "That file is no image that this page can read.";
    }
    file.value = "";
  });

  function showStrip() {
    const nodes = model.get("pictures").map(({ name, png }, place) => {
      const small = make("img", { alt: "" });
      small.src = URL.createObjectURL(new Blob([png], { type: "image/png" }));
      small.addEventListener("load", () => URL.revokeObjectURL(small.src));
      const node = button({}, small, name);
      node.addEventListener("click", () => ask({ picture: place }));
      return node;
    });
    strip.replaceChildren(...nodes, make("label", {}, file, "a picture of yours"));
    showControls();
  }

  function showControls() {
    const [picture, cuts] = ["picture", "cuts"].map(line.wanted);
    [...strip.querySelectorAll("button")].forEach((node, i) => node.setAttribute("aria-pressed", i === picture));
    for (const { name, box } of switches) box.checked = cuts[name];
    silent.value = cuts.silent.length ? cuts.silent[0] : "";
  }

  /** Changed together with the maps, not before; they are drawn when it has loaded. */
  function showPicture() {
    const { png } = model.get("pictures")[model.get("picture")];
    if (png === shown) return;
    shown = png;
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    image.src = url;
  }

  function drawMaps() {
    const [{ read, heard }, cuts] = [model.get("blocks")[model.get("block")], model.get("cuts")];
    const ratio = `${image.naturalWidth} / ${image.naturalHeight}`;
    for (const { frame } of [reading, hearing]) frame.style.aspectRatio = ratio;
    draw(reading.canvas, image, read && readLayer(read, model.get("token"), colors));
    draw(hearing.canvas, image, heard && heardLayer(heard, colours));
    reading.word.textContent = read ? "" : cuts.reading ? "cut" : "nothing is read here";
    hearing.word.textContent = heard ? "" : cuts.writing ? "cut" : "nothing is written here";
  }

  function showCosine(table) {
    const head = (token) => {
      const node = make("i", {}, `${token + 1}`);
      node.style.setProperty("--vl-token", colours[token]);
      return node;
    };
    cosine.style.gridTemplateColumns = `1.6em repeat(${colours.length}, 1fr)`;
    cosine.setAttribute("aria-label", `cosines of the tokens: ${table.map((row) => row.join(" ")).join("; ")}`);
    const rows = table.flatMap((row, i) => [head(i), ...row.map((value) => {
      const cell = make("span", {}, value.toFixed(2));
      const hue = value < 0 ? "213, 94, 0" : "0, 114, 178";
      cell.style.background = `rgba(${hue}, ${Math.abs(value)})`;
      if (Math.abs(value) > 0.6) cell.style.color = "#fff";
      return cell;
    })]);
    cosine.replaceChildren(make("span"), ...colours.map((_, token) => head(token)), ...rows);
  }

  function showAnswer() {
    const scores = model.get("scores");
    const best = Math.max(...scores.map(({ after }) => after));
    const changed = scores.some(({ before, after }) => before !== after);
    answer.replaceChildren(...scores.flatMap(({ name, before, after }) => {
      const [old, now] = [make("u"), make("i")];
      old.style.width = `${100 * before}%`;
      now.style.width = `${100 * after}%`;
      const words = changed ? `${before.toFixed(2)} → ${after.toFixed(2)}` : after.toFixed(2);
      const mark = { "data-best": after === best };
      return [make("span", mark, name), make("div", {}, old, now), make("output", mark, words)];
    }));
  }

  function show() {
    const [block, token] = [model.get("block"), model.get("token")];
    const { title: words, cosine: table, words: told } = model.get("blocks")[block];
    slide.value = block;
    slide.setAttribute("aria-valuetext", words);
    title.textContent = words;
    tokens.forEach((node, i) => node.setAttribute("aria-pressed", i === token));
    reading.heading.lastChild.textContent = `what token ${token + 1} reads`;
    drawMaps();
    showCosine(table);
    showAnswer();
    readout.textContent = `${told[token]} ${model.get("said")}`;
    root.dataset.answers = model.get("answers");
  }

  const hear = {
    "change:picture": () => (line.drop("picture"), showControls()), // a click that waits was for the old pictures
    "change:cuts": showControls,
    "change:pictures": showStrip,
    "change:block": show,
    "change:token": show,
    "change:answers": () => (showPicture(), show(), line.answered()),
  };
  for (const [event, handler] of Object.entries(hear)) model.on(event, handler);
  slide.addEventListener("input", () => local({ block: Number(slide.value) }));
  reset.addEventListener("click", () => {
    local({ block: start.block, token: start.token });
    ask({ picture: start.picture, cuts: start.cuts });
  });

  const scale = make("div", { class: "vl-bridge-scale" }, "0", layer([1, 256], (i) =>
    rgba(...colors.subarray(3 * i, 3 * i + 3), 255)), "most, or 4 times an even share");
  reading.node.append(scale);
  hearing.node.append(make("div", { class: "vl-bridge-scale" }, "stronger colour: it hears that token more"));
  const side = make("div", { class: "vl-bridge-side" },
    make("h4", {}, "Cosines", make("small", {}, "of the tokens that leave the block")), cosine);
  const steer = make("div", { class: "vl-bridge-steer" },
    make("span", {}, "block"), slide, title,
    make("span", {}, "token"), make("div", { class: "vl-bridge-tokens" }, ...tokens),
    make("span", {}, "cut"), make("div", { class: "vl-bridge-cuts" }, ...switches.map(({ node }) => node),
      ...(colours.length > 1 ? [make("label", {}, "silence ", silent)] : [])));
  const foot = make("div", { class: "vl-bridge-foot" },
    make("span", {}, "Outlined: the answer with nothing cut. Filled: the answer now."), reset);
  const body = make("div", { class: "vl-bridge-body" }, reading.node, hearing.node, side);
  root.append(strip, body, steer, answer, readout, foot);
  el.append(root);
  image.addEventListener("load", drawMaps);
  const resized = new ResizeObserver(drawMaps);
  resized.observe(reading.frame);
  showStrip();
  showPicture();
  show();
  return () => {
    resized.disconnect();
    line.stop();
    URL.revokeObjectURL(url);
    for (const [event, handler] of Object.entries(hear)) model.off(event, handler);
  };
}

export default { render };

// The scene explorer. Python renders (questions.js); this file holds the controls and shows the answer.

const STYLE = `
.vl-scene { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-scene-body { display: grid; grid-template-columns: minmax(250px, 6fr) 5fr; gap: 8px 24px; align-items: start; }
@container (max-width: 640px) { .vl-scene-body { grid-template-columns: 1fr; } }
.vl-scene-image { position: relative; width: 100%; border-radius: 4px; overflow: hidden; }
.vl-scene-image img, .vl-scene-panel img { display: block; width: 100%; image-rendering: pixelated; }
.vl-scene-box { position: absolute; border: 2px solid #fff; box-shadow: 0 0 0 1px #000, inset 0 0 0 1px #000;
  pointer-events: none; }
.vl-scene-box span { position: absolute; left: -2px; bottom: 100%; background: rgba(0, 0, 0, 0.72); color: #fff;
  font-size: 12px; line-height: 1.3; padding: 0 4px; white-space: nowrap; }
.vl-scene-controls { display: grid; grid-template-columns: max-content 1fr 4.6em; gap: 3px 10px; align-items: center; }
.vl-scene-controls label { display: contents; }
.vl-scene-controls input[type="range"] { width: 100%; margin: 0; accent-color: var(--vl-brand); }
.vl-scene-controls select { font: inherit; grid-column: 2 / span 2; }
.vl-scene-controls output { text-align: right; font-variant-numeric: tabular-nums; color: var(--vl-soft); }
.vl-scene :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-scene-panels { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; margin-top: 12px; }
.vl-scene-panel { font-size: 13px; text-align: center; color: var(--vl-soft); }
.vl-scene-panel img { border-radius: 4px; }
.vl-scene-words { margin-top: 10px; padding: 8px 12px; border-left: 4px solid var(--vl-brand); border-radius: 4px;
  background: var(--jp-layout-color2, #eee); }
.vl-scene-words small { display: block; color: var(--vl-soft); font-size: 13px; }
.vl-scene-foot { display: flex; justify-content: space-between; margin-top: 10px; font-size: 13px;
  color: var(--vl-soft); }
.vl-scene-foot button { font: inherit; color: inherit; background: none; border: 1px solid var(--vl-line);
  border-radius: 3px; padding: 1px 10px; cursor: pointer; }
`;

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = "data-lm-suppress-shortcuts";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** An image whose bytes may change; the page frees the old ones. */
function picture(alt) {
  const node = make("img", { alt });
  let url = "";
  const clear = () => url && URL.revokeObjectURL(url);
  const show = (bytes) => {
    clear();
    url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    node.src = url;
  };
  return { node, show, clear };
}

/** One control of either kind: `show` sets it, `onInput` hears the hand. */
function control(spec, onInput) {
  if (spec.kind === "choice") {
    const options = spec.options.map((word) => make("option", { value: word }, word));
    const input = make("select", { class: `vl-scene-${spec.name}`, [OWN_KEYS]: "true" }, ...options);
    input.addEventListener("change", () => onInput(input.value));
    return { node: make("label", {}, make("span", {}, spec.label), input), show: (value) => (input.value = value) };
  }
  const input = make("input", { type: "range", min: spec.low, max: spec.high, step: spec.step,
    class: `vl-scene-${spec.name}`, "aria-label": spec.label, [OWN_KEYS]: "true" });
  const value = make("output", { "aria-hidden": "true" });
  const say = (number) => (value.textContent = `${number}${spec.unit}`);
  input.addEventListener("input", () => (say(input.value), onInput(Number(input.value))));
  const show = (number) => ((input.value = number), say(number));
  return { node: make("label", {}, make("span", {}, spec.label), input, value), show };
}

function render({ model, el }) {
  const start = { ...model.get("values") };
  const line = questions(model);
  const ask = (change) => line.ask({ values: { ...line.wanted("values"), ...change } });

  const root = make("div", { class: "vl-scene" }, make("style", {}, STYLE));
  const main = picture("the scene");
  const overlay = make("div", { class: "vl-scene-boxes" });
  const toggle = make("input", { type: "checkbox", class: "vl-scene-toggle" });
  const named = make("label", {}, toggle, " boxes and names");
  const caption = make("b", { class: "vl-scene-caption" });
  const readout = make("small", { class: "vl-scene-readout" });
  const reset = make("button", { type: "button", [OWN_KEYS]: "true" }, "reset");
  const controls = model.get("controls").map((spec) => [spec.name, control(spec, (value) => ask({ [spec.name]: value }))]);
  const panels = model.get("panels").map(({ title }) => picture(title));

  function showControls() {
    for (const [name, { show }] of controls) show(line.wanted("values")[name]);
  }
  function showAnswer() {
    const [height, width] = model.get("size");
    main.show(model.get("picture"));
    model.get("panels").forEach(({ png }, i) => panels[i].show(png));
    named.style.visibility = model.get("boxes").length ? "" : "hidden"; // nothing to name, nothing to choose
    overlay.replaceChildren(...(toggle.checked ? model.get("boxes") : []).map(({ box, name }) => {
      const [left, top, right, bottom] = box;
      const node = make("i", { class: "vl-scene-box" }, make("span", {}, name));
      node.style.cssText = `left:${(100 * left) / width}%;top:${(100 * top) / height}%;` +
        `width:${(100 * (right - left)) / width}%;height:${(100 * (bottom - top)) / height}%`;
      return node;
    }));
    caption.textContent = model.get("caption");
    readout.textContent = model.get("readout");
    root.dataset.answers = model.get("answers");
  }

  const hear = {
    "change:values": showControls,
    "change:answers": () => (showAnswer(), line.answered()),
  };
  for (const [event, handler] of Object.entries(hear)) model.on(event, handler);
  toggle.addEventListener("change", showAnswer);
  reset.addEventListener("click", () => {
    ask(start);
    showControls();
  });

  const frame = make("div", { class: "vl-scene-image" }, main.node, overlay);
  const foot = make("div", { class: "vl-scene-foot" }, named, reset);
  const right = make("div", {}, make("div", { class: "vl-scene-controls" }, ...controls.map(([, c]) => c.node)), foot,
    make("div", { class: "vl-scene-words", "aria-live": "polite" }, caption, readout));
  const row = panels.map((panel, i) =>
    make("div", { class: "vl-scene-panel" }, panel.node, model.get("panels")[i].title));
  root.append(make("div", { class: "vl-scene-body" }, frame, right), make("div", { class: "vl-scene-panels" }, ...row));
  el.append(root);
  showControls();
  showAnswer();
  return () => {
    line.stop();
    for (const each of [main, ...panels]) each.clear();
    for (const [event, handler] of Object.entries(hear)) model.off(event, handler);
  };
}

export default { render };

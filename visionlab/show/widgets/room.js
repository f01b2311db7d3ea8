// The room of PNAL: given labels, labels in force and truth side by side, replayed over the epochs, and of a point
// that is clicked all that decided its label. Python sends recorded labels and predictions, votes.js counts them and
// cloud.js draws points; Python puts both in front of this file.

const STYLE = `
.vl-room { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  --vl-ground: var(--jp-layout-color1, #fff); container-type: inline-size; padding: 4px 3px; color: var(--vl-ink);
  font: 14px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-room :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-room select, .vl-room button, .vl-room input[type="number"] { font: inherit; color: inherit; padding: 1px 8px;
  background: var(--vl-ground); border: 1px solid var(--vl-line); border-radius: 3px; }
.vl-room input { accent-color: var(--vl-brand); }
.vl-room-bar { display: flex; flex-wrap: wrap; gap: 4px 18px; align-items: center; margin-bottom: 8px; }
.vl-room-panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 8px; }
.vl-room-panel { background: var(--vl-ground); border: 1px solid var(--vl-line); border-radius: 4px; overflow: hidden; }
.vl-room-panel header { display: grid; padding: 4px 9px; line-height: 1.3; border-bottom: 1px solid var(--vl-line); }
.vl-room-panel b, .vl-room-card b { font-weight: 600; }
.vl-room small { font-size: 12.5px; color: var(--vl-soft); font-variant-numeric: tabular-nums; }
.vl-room-panel canvas { display: block; width: 100%; aspect-ratio: 1.12; cursor: grab; touch-action: none; }
.vl-room-panel canvas:active { cursor: grabbing; }
.vl-room-panel canvas:focus-visible { outline-offset: -3px; }
.vl-room-legend { display: flex; flex-wrap: wrap; gap: 2px 14px; margin: 7px 2px; font-size: 13px; min-height: 2.9em;
  align-content: flex-start; }
.vl-room-key { display: inline-flex; align-items: center; gap: 5px; white-space: nowrap; }
.vl-room-key i, .vl-room-chip i { width: 13px; height: 13px; border-radius: 50%; background: var(--vl-class);
  display: inline-block; flex: none; }
.vl-room-parts { display: inline-flex; gap: 12px; font-size: 13px; }
.vl-room-key i.core { background: radial-gradient(#0f0f0f 32%, var(--vl-soft) 38%); }
.vl-room-key i.rim { background: var(--vl-soft); box-shadow: inset 0 0 0 2px var(--vl-ink); }
.vl-room-time { display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; align-items: end; margin-top: 9px; }
.vl-room-play { min-width: 5.6em; }
.vl-room-bars { display: block; width: 100%; height: 34px; }
.vl-room-epoch { height: 18px; width: calc(100% - 100% / var(--vl-epochs) + 16px);
  margin: 0 calc(50% / var(--vl-epochs) - 8px); }
.vl-room-now { grid-column: 2; min-height: 1.4em; font-variant-numeric: tabular-nums; display: flex; flex-wrap: wrap;
  justify-content: space-between; gap: 0 16px; }
.vl-room-card { margin-top: 4px; padding: 8px 12px; border-left: 4px solid var(--vl-brand); border-radius: 4px;
  background: var(--jp-layout-color2, #eee); }
.vl-room-facts { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 26px; }
@container (max-width: 560px) { .vl-room-facts { grid-template-columns: 1fr; } }
.vl-room-slots { display: flex; flex-wrap: wrap; gap: 5px; margin: 3px 0 4px; }
.vl-room-slot { min-width: 46px; text-align: center; font-size: 12.5px; line-height: 1.25; }
.vl-room-slot i { display: block; height: 24px; border-radius: 3px; background: var(--vl-class, transparent);
  border: 1px solid transparent; }
.vl-room-slot.empty i { border: 1px dashed var(--vl-soft); }
.vl-room-votes { display: grid; grid-template-columns: max-content 1fr max-content; gap: 2px 8px; align-items: center;
  margin: 3px 0 4px; font-size: 13px; }
.vl-room-votes i { display: block; height: 13px; border-radius: 2px; background: var(--vl-class); min-width: 2px; }
.vl-room-fate { display: flex; flex-wrap: wrap; gap: 3px 20px; margin-top: 5px; padding-top: 5px;
  border-top: 1px solid var(--vl-line); }
.vl-room-chip { display: inline-flex; align-items: center; gap: 5px; vertical-align: bottom; }
.vl-room-yes { font-weight: 600; }
.vl-room-said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.vl-room-foot { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; gap: 4px 16px;
  margin-top: 7px; font-size: 13px; color: var(--vl-soft); }
`;

const TITLES = { given: "given labels", "in force": "labels in force", truth: "truth", predicted: "last prediction" };
const BEAT = 550; // ms an epoch
const GREY = [150, 150, 150];

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" };

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const whole = (share) => `${Math.round(100 * share)} %`;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}


/** A class with its colour; none is grey. */
function chip(record, colours, k, none) {
  const node = make("span", { class: "vl-room-chip" }, make("i"), k < 0 ? none : record.classes[k]);
  node.style.setProperty("--vl-class", k < 0 ? `rgb(${GREY})` : colours[k]);
  return node;
}

/** An entry of a legend. */
function key(word, colour, shape = "") {
  const node = make("span", { class: "vl-room-key" }, make("i", { class: shape }), word);
  if (colour) node.style.setProperty("--vl-class", colour);
  return node;
}

/** All that decided a label, as pictures. */
function card(f, record, colours, name) {
  const { classes, slots } = record;
  const squares = f.history.map((k, slot) => {
    const epoch = f.epoch - slots + slot;
    const node = make("span", { class: `vl-room-slot${k < 0 ? " empty" : ""}` }, make("i"), k < 0 ? "empty" : classes[k],
      make("br"), make("small", {}, epoch < 1 ? " " : `epoch ${epoch}`));
    if (k >= 0) node.style.setProperty("--vl-class", colours[k]);
    return node;
  });
  const rule = record.gamma === null ? `p ≥ ${fixed(record.share)}` : `u ≤ ${fixed(record.gamma)}`;
  const sure = make("span", { class: "vl-room-yes" }, f.reliable ? "reliable: it votes" : "not reliable: no vote");
  const sums = f.p ? `${Math.round(f.p * slots)} of ${slots} ${classes[f.best]}: p = ${fixed(f.p)}, u = −p ln p / ln K = ` +
    `${fixed(f.u)}. Needed: ${rule}. ` : "Nothing predicted yet. ";
  const bars = make("div", { class: "vl-room-votes" }, ...f.counted.flatMap((k) => {
    const bar = make("i");
    bar.style.cssText = `--vl-class: ${colours[k]}; width: ${(100 * f.counts[k]) / f.counts[f.counted[0]]}%`;
    return [make("span", {}, classes[k]), bar, make("span", {}, String(f.counts[k]))];
  }));
  const winner = f.counted.length
    ? [f.late ? "Would win: " : "Winner, for the whole cluster: ", chip(record, colours, f.counted[0], ""),
      f.late ? " (warm-up: not applied yet)" : ""]
    : ["Nobody votes: the cluster keeps what it has."];
  const left = make("div", {}, make("b", {}, `Point ${f.i}: its last ${slots} predictions`),
    make("div", { class: "vl-room-slots" }, ...squares), sums, sure);
  const right = make("div", {}, make("b", {}, `Its cluster: ${f.members} points, ${f.voters} reliable`), bars, ...winner);
  const fate = [["given", f.given, "none"], ["in force", f.now, "none yet"], ["true", f.true, "unknown"]].map(
    ([word, k, none]) => make("span", {}, `${word}: `, chip(record, colours, k, none)));
  return [make("div", { class: "vl-room-facts" }, left, right), make("div", { class: "vl-room-fate" }, ...fate)];
}

/** Shares of right, missing and wrong labels as a column an epoch, above the slider's thumb. */
function drawBars(canvas, record, room, now, verdicts, ink) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const step = width / record.epochs;
  for (let epoch = 1; epoch <= record.epochs; epoch++) {
    const score = record.score(room, epoch);
    const [left, wide] = [step * (epoch - 0.92), 0.84 * step];
    let bottom = height - 4;
    context.globalAlpha = epoch <= now ? 1 : 0.35;
    for (const [part, colour] of [["right", verdicts.right], ["none", `rgb(${GREY})`], ["wrong", verdicts.wrong]]) {
      const tall = (height - 4) * score[part];
      context.fillStyle = colour;
      context.fillRect(left, bottom - tall, wide, tall);
      bottom -= tall;
    }
    context.globalAlpha = 1;
    context.fillStyle = ink;
    if (epoch === now) context.fillRect(left, height - 3, wide, 3);
  }
}

function choice(label, name, options, onChoose) {
  const input = make("select", { class: `vl-room-${name}`, ...OWN_KEYS },
    ...options.map(([value, word]) => make("option", { value }, word)));
  input.addEventListener("change", () => onChoose(input.value));
  return { input, node: make("label", {}, `${label} `, input) };
}

function tick(label, name, onChange) {
  const input = make("input", { type: "checkbox", checked: "", class: `vl-room-${name}`, ...OWN_KEYS });
  input.addEventListener("change", onChange);
  return { input, node: make("label", {}, input, ` ${label}`) };
}

function render({ model, el }) {
  const record = recordOf(model);
  const { classes, slots } = record;
  const [colours, verdicts, names] = [model.get("colours"), model.get("verdicts"), model.get("names")];
  const paints = { classes: colours.map(channels), right: channels(verdicts.right), wrong: channels(verdicts.wrong) };
  const camera = { ...CAMERA };
  let [timer, frame, seen] = [0, 0, null];
  const set = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const pick = (i) => set({ picked: i < 0 ? [] : [model.get("room"), i] });

  const root = make("div", { class: "vl-room" }, make("style", {}, STYLE));
  const room = choice("room", "which", names.map((name, i) => [i, name]), (value) => set({ room: Number(value), picked: [] }));
  const mode = choice("colours", "colour", [["class", "class"], ["verdict", "right or wrong"], ["rgb", "as scanned"]],
    (value) => set({ colour: value }));
  const open = tick("open the room", "open", () => redraw());
  const mark = tick("mark wrong labels", "mark", () => redraw());
  const panels = model.get("panels").map((kind) => {
    const canvas = make("canvas", { class: "vl-room-canvas", tabindex: 0, role: "application", ...OWN_KEYS });
    const about = make("small");
    steer(canvas, camera, redraw, (event) => {
      const [radius, scale] = [radii(kind), canvas.width / canvas.clientWidth];
      pick(pointAt(seen, event.offsetX * scale, event.offsetY * scale, radius, 9 * scale));
    });
    const node = make("section", { class: "vl-room-panel" }, make("header", {}, make("b", {}, TITLES[kind]), about), canvas);
    return { kind, canvas, about, node };
  });
  const play = make("button", { type: "button", class: "vl-room-play", ...OWN_KEYS });
  const bars = make("canvas", { class: "vl-room-bars", "aria-hidden": "true" });
  const slider = make("input", { type: "range", min: 1, max: record.epochs, step: 1, class: "vl-room-epoch",
    "aria-label": "epoch", ...OWN_KEYS });
  slider.style.setProperty("--vl-epochs", record.epochs);
  const now = make("output", { class: "vl-room-now" });
  const legend = make("div", { class: "vl-room-legend" });
  const shown = make("div", { class: "vl-room-card", "aria-hidden": "true" });
  const said = make("div", { class: "vl-room-said", "aria-live": "polite" });
  const number = make("input", { type: "number", min: 0, max: record.points - 1, class: "vl-room-point",
    "aria-label": "number of a point to look at", ...OWN_KEYS });
  const reset = make("button", { type: "button", ...OWN_KEYS }, "reset view");

  const labelsOf = (kind) => {
    const [r, e] = [model.get("room"), model.get("epoch")];
    return { given: () => record.given(r), truth: () => record.truth(r), "in force": () => record.labels(r, e),
      predicted: () => record.predicted(r, e) }[kind]();
  };
  /** Pixels, at the middle of the room: small where predictions disagree, in the panels that follow the epoch. */
  function radii(kind) {
    const base = clamp((0.0118 * seen.width * 45) / Math.sqrt(record.points), 1.4, 9);
    const { p } = record.votes(model.get("room"), model.get("epoch"));
    const steady = kind === "given" || kind === "truth" || model.get("epoch") === 1;
    return (i) => base * (steady ? 1 : 0.5 + 0.5 * p[i]);
  }

  function draw() {
    frame = 0;
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [panels[0].canvas.clientWidth, panels[0].canvas.clientHeight].map((x) => Math.round(x * ratio));
    if (!width || !height) return;
    const began = performance.now();
    const [r, e, colour] = [model.get("room"), model.get("epoch"), model.get("colour")];
    const [ground, ink] = ["--vl-ground", "--vl-ink"].map((name) => colourOf(root, name));
    seen = { ...seenFrom(camera, record.cloud(r), width, height, open.input.checked), width };
    const [truth, rgb, cluster] = [record.truth(r), record.rgb(r), record.cluster(r)];
    const before = e > 1 ? record.labels(r, e - 1) : null;
    const own = model.get("picked")[0] === r ? model.get("picked")[1] : -1;
    if (own >= 0) { // its cluster comes last, over all that would hide it
      const mine = (i) => cluster[i] === cluster[own];
      seen.order = Int32Array.from([...seen.order.filter((i) => !mine(i)), ...seen.order.filter(mine)]);
    }
    for (const { kind, canvas } of panels) {
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const [labels, radius] = [labelsOf(kind), radii(kind)];
      paint(canvas, seen, (i, pen) => {
        const label = labels[i];
        const wrong = label >= 0 && truth[i] >= 0 && label !== truth[i];
        let paint_ = label < 0 ? GREY : paints.classes[label];
        if (colour === "verdict" && label >= 0) paint_ = wrong ? paints.wrong : paints.right;
        pen.colour = colour === "rgb" ? rgb.subarray(3 * i, 3 * i + 3) : paint_;
        pen.radius = radius(i) * (label < 0 && colour !== "rgb" ? 0.7 : 1);
        pen.core = mark.input.checked && colour === "class" && wrong;
        pen.veil = own >= 0 && cluster[i] !== cluster[own] ? 0.65 : 0;
      }, (i) => own < 0 && kind === "in force" && before !== null && labels[i] >= 0 && labels[i] !== before[i], ground, ink);
      if (own >= 0) ring(canvas, seen.x[own], seen.y[own], radius(own) * seen.near[own] * seen.zoom + 3 * ratio, ratio);
    }
    drawBars(bars, record, r, e, verdicts, `rgb(${ink})`);
    root.dataset.ms = (performance.now() - began).toFixed(1);
  }
  function redraw() {
    frame ||= requestAnimationFrame(draw);
  }

  function showWords() {
    const [r, e, picked] = [model.get("room"), model.get("epoch"), model.get("picked")];
    room.input.value = r;
    mode.input.value = model.get("colour");
    mark.node.hidden = model.get("colour") !== "class";
    slider.value = e;
    const stage = e <= record.warmup ? "warm-up: it trains on the given labels" : "it trains on the labels in force";
    const [labels, before] = [record.labels(r, e), e > 1 ? record.labels(r, e - 1) : null];
    const fresh = new Set(before && record.cluster(r).filter((_, i) => labels[i] >= 0 && labels[i] !== before[i])).size;
    const change = fresh ? `; ${fresh} cluster${fresh > 1 ? "s" : ""} relabelled just now` : "";
    const words = `epoch ${e} of ${record.epochs}, ${stage}${change}`;
    const parts = [key("right", verdicts.right), key("wrong", verdicts.wrong), key("none yet", `rgb(${GREY})`)];
    now.replaceChildren(make("span", {}, words), make("span", { class: "vl-room-parts" }, ...parts));
    slider.setAttribute("aria-valuetext", words);
    for (const { kind, canvas, about } of panels) {
      const s = record.shares(labelsOf(kind), r);
      about.textContent = kind === "truth" ? "what nobody knows in practice" : `${whole(s.right)} right${s.none ? `, ${whole(s.none)} none yet` : ""}`;
      canvas.setAttribute("aria-label", `${names[r]}, ${TITLES[kind]}, ${about.textContent}; arrow keys turn it, plus and ` +
        "minus zoom");
    }
    const byClass = [...classes.map((name, k) => key(name, colours[k])), key("none yet", `rgb(${GREY})`),
      key("wrong label", "", "core")];
    legend.replaceChildren(...(model.get("colour") === "class" ? byClass : []), key("relabelled just now", "", "rim"),
      "small: predictions disagree");
    const own = picked.length && picked[0] === r;
    if (own) {
      const f = record.facts(r, e, picked[1]);
      shown.replaceChildren(...card(f, record, colours, names[r]));
      said.textContent = sentence(f, record, names[r]);
      number.value = picked[1];
    } else {
      shown.replaceChildren("Click a point: what the network last said of it, whether that counts, and how its cluster votes.");
      said.textContent = number.value = "";
    }
    root.dataset.picked = picked.join(" ");
    root.dataset.epoch = e;
  }
  function update() {
    showWords();
    redraw();
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶ play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (model.get("epoch") === record.epochs) set({ epoch: 1 });
    play.textContent = "❚❚ pause";
    timer = setInterval(() => {
      set({ epoch: Math.min(record.epochs, model.get("epoch") + 1) });
      if (model.get("epoch") === record.epochs) stop();
    }, BEAT);
  });
  slider.addEventListener("input", () => (stop(), set({ epoch: Number(slider.value) })));
  number.addEventListener("change", () => pick(number.value === "" ? -1 : clamp(Math.round(number.value), 0, record.points - 1)));
  root.addEventListener("keydown", (event) => event.key === "Escape" && pick(-1));
  reset.addEventListener("click", () => (Object.assign(camera, CAMERA), redraw()));

  const heard = ["room", "epoch", "picked", "colour"].map((name) => `change:${name}`);
  for (const event of heard) model.on(event, update);
  const still = redrawn(panels[0].canvas, redraw);
  const hint = "Drag to turn, shift-drag to move, wheel to zoom (after a click); escape lets go of a point.";
  root.append(make("div", { class: "vl-room-bar" }, room.node, mode.node, open.node, mark.node),
    make("div", { class: "vl-room-panels" }, ...panels.map((panel) => panel.node)),
    make("div", { class: "vl-room-time" }, play, make("div", {}, bars, slider), now), legend, shown, said,
    make("div", { class: "vl-room-foot" }, hint, make("label", {}, "point ", number), reset));
  el.append(root);
  stop();
  update();
  return () => {
    stop();
    cancelAnimationFrame(frame);
    still();
    for (const event of heard) model.off(event, update);
  };
}

export default { render };

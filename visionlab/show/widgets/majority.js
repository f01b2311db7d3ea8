// The board of the majority-colour puzzle: a click changes the colour of a square, and Python's network answers for all
// of them (questions.js).

const STYLE = `
.vl-majority { --vl-ink: var(--jp-content-font-color1, #212121); --vl-soft: var(--jp-content-font-color2, #616161);
  --vl-line: var(--jp-border-color2, #c8c8c8); --vl-brand: var(--jp-brand-color1, #1976d2);
  container-type: inline-size; padding: 4px 3px; color: var(--vl-ink); max-width: 860px;
  font: 15px/1.4 var(--jp-ui-font-family, system-ui, sans-serif); }
.vl-majority :focus-visible { outline: 3px solid var(--vl-brand); outline-offset: 2px; }
.vl-majority-body { display: grid; grid-template-columns: 1fr 1fr; gap: 12px 28px; }
@container (max-width: 480px) { .vl-majority-body { grid-template-columns: 1fr; } }
.vl-majority h4 { margin: 0 0 6px; font-size: 14px; font-weight: 600; }
.vl-majority h4 small { display: block; font-weight: 400; font-size: 13px; color: var(--vl-soft); }
.vl-majority-board { position: relative; aspect-ratio: 1; display: grid; border-radius: 4px; overflow: hidden;
  background: #7f7f7f; }
.vl-majority-board img { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: pixelated; }
.vl-majority-board button { position: relative; background: none; border: 0; padding: 0; cursor: pointer; }
.vl-majority-board button:hover { box-shadow: inset 0 0 0 3px #fff; }
.vl-majority-board span { position: relative; display: grid; place-content: center; margin: 1px; border-radius: 3px;
  font-size: clamp(11px, 2.6cqw, 15px); font-weight: 600; color: #fff; }
.vl-majority-board span[data-says="few"] { background: none; color: #fff; box-shadow: inset 0 0 0 2px var(--vl-cell); }
.vl-majority-board span[data-says="most"] { background: var(--vl-cell); }
.vl-majority-board [data-letter]::before { content: attr(data-letter); position: absolute; left: 4px; top: 2px;
  font: 600 11px/1 var(--jp-ui-font-family, system-ui, sans-serif); color: #fff;
  text-shadow: 0 0 2px #000, 0 0 2px #000, 0 0 3px #000; }
.vl-majority-board span[data-right="false"]::after { content: "✗"; position: absolute; right: 2px; top: -3px;
  font-size: 1.25em; color: #fff; text-shadow: 0 0 2px #000, 0 0 2px #000, 0 0 3px #000; }
.vl-majority-answer { background: #3a3d44; }
.vl-majority-steer { display: flex; flex-wrap: wrap; gap: 6px 20px; align-items: center; margin-top: 12px; }
.vl-majority-steer input { margin: 0 5px 0 0; vertical-align: -2px; }
.vl-majority-steer button { font: inherit; color: inherit; background: none; border: 1px solid var(--vl-line);
  border-radius: 3px; padding: 1px 10px; cursor: pointer; }
.vl-majority-readout { display: block; margin-top: 10px; padding: 8px 12px; border-radius: 4px; min-height: 1.4em;
  border-left: 4px solid var(--vl-brand); background: var(--jp-layout-color2, #eee); }
`;

const NAMES = ["none", "red", "green"];
const INKS = ["", "#c0392b", "#2e8b57"];
const LETTERS = ["", "R", "G"]; // the colours must not be all that tells squares apart

// JupyterLab's notebook takes arrow keys and letters from a focused element that does not itself carry this mark.
const OWN_KEYS = "data-lm-suppress-shortcuts";

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function render({ model, el }) {
  const side = model.get("side");
  const line = questions(model);
  let url = "";

  const root = make("div", { class: "vl-majority" }, make("style", {}, STYLE));
  const picture = make("img", { alt: "the puzzle that the network sees" });
  const board = make("div", { class: "vl-majority-board vl-majority-puzzle", role: "group" }, picture);
  const answer = make("div", { class: "vl-majority-board vl-majority-answer", role: "img" });
  const tracks = `repeat(${side}, minmax(0, 1fr))`; // words must not widen a cell
  for (const node of [board, answer]) node.style.gridTemplate = `${tracks} / ${tracks}`;
  const readout = make("output", { class: "vl-majority-readout", "aria-live": "polite" });
  const next = make("button", { type: "button", class: "vl-majority-next", [OWN_KEYS]: "true" }, "next puzzle");

  const place = (node, i) => (node.style.gridArea = `${Math.floor(i / side) + 1} / ${(i % side) + 1}`);
  const squares = model.get("board").map((_, i) => {
    const node = make("button", { type: "button", [OWN_KEYS]: "true" });
    place(node, i);
    const flipped = () => line.wanted("board").map((cell, k) => (k === i && cell ? 3 - cell : cell));
    node.addEventListener("click", () => line.ask({ board: flipped() }));
    board.append(node);
    return node;
  });
  const switches = Object.entries(model.get("wires")).map(([name, words]) => {
    const box = make("input", { type: "checkbox", class: `vl-majority-${name}`, [OWN_KEYS]: "true" });
    box.addEventListener("change", () => line.ask({ cuts: { ...line.wanted("cuts"), [name]: box.checked } }));
    return { name, box, node: make("label", {}, box, `cut ${words}`) };
  });
  next.addEventListener("click", () => {
    line.drop("board"); // of the old puzzle
    line.ask({ puzzle: (line.wanted("puzzle") + 1) % model.get("puzzles") });
  });

  function show() {
    const [cells, sure, majority] = [model.get("board"), model.get("sure"), model.get("majority")];
    URL.revokeObjectURL(url);
    url = URL.createObjectURL(new Blob([model.get("picture")], { type: "image/png" }));
    picture.src = url;
    cells.forEach((cell, i) => {
      squares[i].style.display = cell ? "" : "none";
      squares[i].dataset.letter = LETTERS[cell];
      const where = `row ${Math.floor(i / side) + 1}, column ${(i % side) + 1}`;
      squares[i].setAttribute("aria-label", `${NAMES[cell]} square in ${where}: change its colour`);
    });
    answer.replaceChildren(...cells.flatMap((cell, i) => {
      if (!cell) return [];
      const says = sure[i] > 0.5 ? "most" : "few";
      const right = !majority || (says === "most") === (cell === majority);
      const title = `share of "most": ${sure[i].toFixed(2)}`;
      const node = make("span", { "data-says": says, "data-right": right, "data-letter": LETTERS[cell], title }, says);
      node.style.setProperty("--vl-cell", INKS[cell]);
      place(node, i);
      return [node];
    }));
    const counted = [1, 2].map((colour) => {
      const shares = sure.filter((_, i) => cells[i] === colour);
      return [`${shares.length} ${NAMES[colour]}`, `"most" said of ${shares.filter((share) => share > 0.5).length}`];
    });
    board.setAttribute("aria-label", `squares: ${counted.map(([squares]) => squares).join(", ")}`);
    answer.setAttribute("aria-label", `the network's answer: ${counted.map((words) => words.join(", ")).join("; ")}`);
    readout.textContent = model.get("readout");
    for (const { name, box } of switches) box.checked = line.wanted("cuts")[name];
    root.dataset.answers = model.get("answers");
  }

  const hear = {
    "change:board": () => line.drop("board"), // a click that waits was on the old puzzle
    "change:answers": () => (show(), line.answered()),
  };
  for (const [event, handler] of Object.entries(hear)) model.on(event, handler);

  const about = (title, words, node) => make("div", {}, make("h4", {}, title, make("small", {}, words)), node);
  root.append(
    make("div", { class: "vl-majority-body" },
      about("The puzzle", "click a square to change its colour", board),
      about("What the network says", "most: this colour is the majority; few: it is not; ✗: wrong", answer)),
    make("div", { class: "vl-majority-steer" }, ...switches.map(({ node }) => node), next), readout);
  el.append(root);
  show();
  return () => {
    line.stop();
    URL.revokeObjectURL(url);
    for (const [event, handler] of Object.entries(hear)) model.off(event, handler);
  };
}

export default { render };

"""Structure watermark: mark what a network answers, shake it, steal the network, and see what its owner can claim.

Run it with ``python apps/watermark_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

try:
    import gradio as gr
    import torch
    from PIL import Image

    from visionlab.data.graded import GRADED
    from visionlab.experiments import watermark_pictures as desk
    from visionlab.experiments import watermark_probe as probe
    from visionlab.measure.image_quality import psnr, ssim
    from visionlab.protection.owner_code import Hues, encode
    from visionlab.protection.robustness import changed, uncovered
    from visionlab.protection.verification import Verdict
    from visionlab.show import theme
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

MOST = 64  # pictures to verify
DATA, TILES, UNCHANGED = probe.DATA, probe.TILES, probe.UNCHANGED
HUES = ("red", "amber", "green", "sea green", "cyan", "blue", "violet", "pink")
MESSAGES = [(f"{i:03b} ({hue})", f"{i:03b}") for i, hue in enumerate(HUES)]
WHOSE = {"logo": "a thief, by the logo", "structure": "a thief, by the structure", "innocent": "an innocent network"}
OWNER = f"{probe.SYMBOLS[0]:03b}"
FILLS = {
    "stolen": "16 stolen answers", "innocent": "16 answers of an innocent network", "unrelated": "16 photographs",
}  # fmt: skip
HEADS = ["looked at", "abstained", "found in", "score", "message read", "p-value", "claim"]
INTRO = """# Structure watermark
**An owner** sells a network that takes rain off pictures, and marks all that it answers. **A thief** buys answers and
trains a network of his own on them. Whose is it? A *logo* at a fixed place is lost as soon as the thief turns and crops
his pairs; a mark on the *edges* of each picture moves with them, so that his network learns it."""
PLAY = """**For play only**: this extractor is public. In earnest, extractor and key stay private (`visionlab watermark
train` makes yours): whoever holds an extractor, or may ask it often enough, has an oracle whose gradients take the mark
away (arXiv 2405.09863, 2502.20924). The p-value takes the answers as *independent* of each other, as those to pictures
drawn at random are, and the message as claimed before anybody looked: who tries all eight finds one. It holds for
answers like those that set the threshold, 32 pixels wide."""
ABOUT = """### How it works
1. **Structure**: the edges of an answer, found by a Sobel filter and a threshold.
2. **Message**: three bits choose one of eight hues, in which the edges are painted.
3. **Embed**: a network changes the answer a little along its edges, and along that hue, so that
4. **an extractor** can draw the painted edges again, and white paper for answers without a mark. Between the two, in
   training, images are turned, scaled and mirrored, and half of them are what a thief's network would answer.
5. **Verify**: the mean colour of the drawing over the edges *of the suspect's own answer* gives hue and score. A score
   counts above a threshold that few clean answers reach; from many answers follows how likely chance is.

The logo (arXiv 2002.11088, 2103.04980) is one pattern of 8 x 8 blocks, at the same place in all answers. A network that
learns from turned and cropped pairs can only learn the mean of what it is shown: of a logo that is a blur, and of a
mark that moves with the picture the mark.
{table}
Edges are tinted by the mark, and enlarged one can see it. No claim is no proof of innocence: who trains on with clean
pairs, or knows the extractor, gets rid of the mark. Lab 10 shows the mechanism in steps; the paper is arXiv 2108.02360.

```python
import torch
from visionlab import weights
from visionlab.protection.owner_code import encode
mark = weights.load("mark_eurosat").model
marked = mark.mark(images, torch.tensor(encode("011", mark.code)))      # (B, 3, H, W) in [0, 1], any size from 8 on
mark.decode(marked).symbols                                             # -1 where nothing is read
```"""


def fitted(picture: Image.Image | str | None, kind: str) -> tuple[torch.Tensor, str]:
    """Return a picture (3, H, W) in [0, 1] as a mark takes it, and words on what was done to it."""
    if picture is None:
        raise gr.Error("Choose a picture first.")
    try:
        return desk.fitted(picture, kind)
    except ValueError as error:
        raise gr.Error(str(error)) from error


def message(number: int | None, kind: str = "structure") -> str:
    """Return the bits that were read."""
    if kind == "logo":
        return "a logo has none"
    return "none" if number is None else f"{number:03b} ({HUES[number]})"


def symbols_of(bits: str) -> tuple[int, ...]:
    """Return the symbols of a message."""
    try:
        return encode(bits, Hues())
    except ValueError as error:
        raise gr.Error(f"The message is 3 bits, 000 to 111: {error}.") from error


def mark(picture: Image.Image | None, kind: str, bits: str, gain: float, data: str) -> tuple:
    """Mark a picture: clean and marked side by side, all the steps, and how well the mark is hidden and found."""
    x, note = fitted(picture, kind)
    symbols = symbols_of(bits)
    pattern, marked = desk.marked(probe.mark_of(kind, data), x, symbols, float(gain))
    seen, plain = (desk.look(kind, each, symbols, data) for each in (marked, x))
    steps = [(desk.shown(each), title) for each, title in (
        (x, "clean"), (marked, "marked"), (pattern, "to be hidden"), (0.5 + 8 * (marked - x), "difference ×8"),
        (seen.drawing, "read from it"), (plain.drawing, "read without mark"),
    )]  # fmt: skip
    found = {True: "The mark is found.", False: "The mark is not found.", None: "Hardly an edge to write on."}
    words = (
        f"PSNR {psnr(x[None], marked[None]).item():.1f} dB, SSIM {ssim(x[None], marked[None]).item():.3f}, largest"
        f" difference {255 * (marked - x).abs().max().item():.0f} of 255. Score {seen.score:z.2f} with the mark,"
        f" {plain.score:z.2f} without; it counts above {desk.limit(kind, data, symbols).threshold:.2f}, with the right"
        f" message. Message read: {message(seen.message, kind)}. {found[seen.found]}{note}"
    )
    if seen.found is False and x.shape[-1] != 32:
        words += " These networks know answers of 32 pixels: in photographs, the extractor takes colours for ink."
    return (desk.shown(x, 420), desk.shown(marked, 420)), steps, desk.native(marked), words


def shake(
    picture: Image.Image | None, kind: str, bits: str, gain: float, given: bool, first: str, one: float, second: str,
    two: float, file: str, quality: float, data: str,
) -> tuple[list, list[list[str]], str]:  # fmt: skip
    """Change a picture with and without the mark, or as it came, and read both."""
    x, note = fitted(picture, kind)
    symbols = symbols_of(bits)
    chosen = ((first, float(one)), (second, float(two)))
    steps = tuple(step for step in chosen if step[0] != UNCHANGED)
    ways = {"as it came": x}
    if not given:
        ways = {"with the mark": desk.marked(probe.mark_of(kind, data), x, symbols, float(gain))[1], "without": x}
    outside = uncovered(x[None], steps)[0]
    limit = desk.limit(kind, data, symbols)
    pictures, rows = [], []
    for name, way in ways.items():
        after = desk.through_file(changed(way[None], steps)[0], file, int(quality))
        seen = desk.look(kind, after, symbols, data, outside)
        pictures += [(desk.shown(after), name), (desk.shown(seen.drawing), f"{name}: read")]
        yes = "false alarm" if name == "without" else "found"
        said = {True: yes, False: "not found", None: "too little structure"}[seen.found]
        rows.append([name, f"{seen.score:z.2f}", f"{limit.threshold:z.2f}", message(seen.message, kind), said])
    amounts = "; ".join(f"{step}: {GRADED[step].amount(share):.2g} {GRADED[step].unit}" for step, share in steps)
    words = (
        f"{amounts or 'No change'}. Of clean answers, changed in any of seven ways, up to {100 * limit.measured:.0f} %"
        f" count as found: one picture proves nothing, many do.{note}"
    )
    return pictures, rows, words


def row(verdict: Verdict, kind: str) -> list[str]:
    """Return a verdict as cells."""
    return [
        str(verdict.images), str(verdict.abstained), str(verdict.detected), f"{verdict.score:z.2f}",
        message(verdict.number, kind), f"{verdict.p_value:.2g}", "claim" if verdict.holds else "no claim",
    ]  # fmt: skip


def steal(augmentation: str, n: float, change: str, strength: float, draw: float, data: str) -> tuple:
    """Look at answers of two thieves and of an innocent network, what is read from them, and what may be claimed."""
    steps = () if change == UNCHANGED else ((change, float(strength)),)
    pictures, drawings, rows, words = [], [], [], []
    for name, kind in desk.CASES.items():
        some = desk.case(name, probe.AUGMENTED[augmentation], int(n), int(draw), data)
        verdict = desk.told(name, some, steps, data)
        after = changed(some[:16], steps)
        read = probe.drawings(kind, after, data)
        pictures.append((Image.fromarray(probe.grid(after)), WHOSE[name]))
        drawings.append((Image.fromarray(probe.grid(read)), f"the {kind}'s extractor draws"))
        rows.append([WHOSE[name], *row(verdict, kind)])
        words.append(f"{name.capitalize()}: {verdict}")
    return pictures + drawings, rows, "\n\n".join(words)


def verify(pictures: list | None, kind: str, bits: str, data: str) -> tuple[list[list[str]], str]:
    """Say what an owner may claim of some pictures."""
    if not pictures:
        raise gr.Error("Choose pictures first.")
    if len(pictures) > MOST:
        raise gr.Error(f"These are {len(pictures)} pictures; at most {MOST} are taken.")
    made = [fitted(each[0] if isinstance(each, (tuple, list)) else each, kind) for each in pictures]
    verdict = desk.said(kind, [image for image, _ in made], symbols_of(bits), data)
    resized = sum(bool(note) for _, note in made)
    note = f"\n\n{resized} of the pictures were brought to another size first." if resized else ""
    return [row(verdict, kind)], f"{verdict}{note}"


def fill(which: str, kind: str, data: str) -> list[Image.Image]:
    """Return 16 pictures to be verified, one of the names of `FILLS`."""
    if which == "unrelated":
        return desk.cuts()[:16]
    name = "innocent" if which == "innocent" else kind
    return [desk.native(image) for image in desk.case(name, "all", 16, 0, data)]


def live(demo: gr.Blocks, answer: Callable, name: str, inputs: list, outputs: list) -> None:
    """Let a function answer at the start, and whenever a picture or control (all inputs but the data) is changed."""
    gr.on(
        [demo.load, *(part.change for part in inputs[:-1])], answer, inputs, outputs, api_name=name,
        trigger_mode="always_last", concurrency_id="one", show_progress="minimal", show_progress_on=outputs[-1],
    )  # fmt: skip


def changes(name: str, label: str, value: str, strength: float) -> tuple[gr.Dropdown, gr.Slider]:
    """Lay out a change and its strength."""
    return (
        gr.Dropdown([UNCHANGED, *GRADED], value=value, label=label, elem_id=name),
        gr.Slider(0, 1, strength, step=0.05, label="how strongly", elem_id=f"{name}_strength"),
    )


def gallery(name: str, label: str, columns: int, height: int, **more: Any) -> gr.Gallery:
    """Lay out pictures that lose nothing on their way."""
    return gr.Gallery(
        label=label, columns=columns, elem_id=name, format="png", height=height, object_fit="contain", **more
    )


def answered(name: str, heads: list[str], label: str, lines: int) -> list:
    """Lay out a table and words."""
    return [
        gr.Dataframe(headers=heads, interactive=False, elem_id=f"{name}_table", datatype="str", wrap=True),
        gr.Textbox(label=label, interactive=False, elem_id=f"{name}_words", lines=lines),
    ]


def mark_tab(demo: gr.Blocks, picture: gr.Image, data: gr.Radio) -> list:
    """Lay out the first tab; return the controls of the mark."""
    with gr.Row():
        with gr.Column():
            kind = gr.Radio(
                ["structure", "logo"], value="structure", label="mark", elem_id="kind", info="the logo: 32 pixels only"
            )
            bits = gr.Dropdown(MESSAGES, value=OWNER, label="message of the structure mark (3 bits)", elem_id="bits")
            gain = gr.Slider(0, 3, 1, step=0.25, label="strength", elem_id="gain", info="0 marks nothing")
            kept = gr.Image(
                label="marked, at its own size, to keep", interactive=False, format="png", elem_id="kept", height=180,
                buttons=["download"], alt_text="the marked picture",
            )  # fmt: skip
        pair = gr.ImageSlider(label="clean | marked", interactive=False, elem_id="pair", format="png", height=500)
    steps = gallery("steps", "step by step", 6, 230)
    words = gr.Textbox(label="in words", interactive=False, elem_id="mark_words", lines=2)
    live(demo, mark, "mark", [picture, kind, bits, gain, data], [pair, steps, kept, words])
    return [kind, bits, gain]


def shake_tab(demo: gr.Blocks, picture: gr.Image, marking: list, data: gr.Radio) -> None:
    """Lay out the second tab."""
    given = gr.Checkbox(
        False, label="take the picture as it came, and put no mark", elem_id="given",
        info="else it is marked as in the first tab, and changed with and without the mark",
    )  # fmt: skip
    with gr.Row():
        steps = [*changes("first", "first", "rotation", 0.35), *changes("second", "then", "noise", 0.1)]
    with gr.Row():
        file = gr.Radio(list(desk.FILES), value="JPEG", label="then saved as a file", elem_id="file")
        quality = gr.Slider(5, 100, 90, step=5, label="quality", elem_id="quality", info="of JPEG and WebP")
    seen = gallery("shaken", "after the changes", 4, 300)
    outputs = [seen, *answered("shake", ["picture", "score", "threshold", "message read", "verdict"], "in words", 2)]
    live(demo, shake, "shake", [picture, *marking, given, *steps, file, quality, data], outputs)


def steal_tab(demo: gr.Blocks, data: gr.Radio) -> None:
    """Lay out the third tab."""
    gr.Markdown("Two thieves asked 950 questions each. Before they trained, they changed questions and answers alike.")
    with gr.Row():
        augmentation = gr.Radio(
            list(probe.AUGMENTED), value="all three", label="the thief's pairs are", elem_id="augmentation"
        )
        n = gr.Slider(4, 64, 32, step=4, label="answers that the owner looks at", elem_id="n")
        draw = gr.Slider(0, 20, 0, step=1, label="draw other answers", elem_id="draw")
    with gr.Row():
        late = changes("late", "and the answers are changed", UNCHANGED, 0.35)
    seen = gallery("thefts", "16 of the answers, and what is read from them", 3, 840)
    inputs = [augmentation, n, *late, draw, data]
    outputs = [seen, *answered("steal", ["answers of", *HEADS], "what may be claimed", 8)]
    live(demo, steal, "steal", inputs, outputs)
    data.change(steal, inputs, outputs, api_visibility="private", concurrency_id="one")


def verify_tab(demo: gr.Blocks, data: gr.Radio) -> None:
    """Lay out the fourth tab."""
    gr.Markdown(PLAY)
    with gr.Row():
        kind = gr.Radio(["structure", "logo"], value="structure", label="mark", elem_id="claimed_kind")
        bits = gr.Dropdown(MESSAGES, value=OWNER, label="claimed message", elem_id="claimed")
    with gr.Row():
        buttons = {name: gr.Button(label, elem_id=name) for name, label in FILLS.items()}
    pictures = gallery(
        "answers", f"what the suspect answered (uploads are added, {MOST} at most)", 8, 320, interactive=True,
        type="filepath", file_types=["image"],
    )  # fmt: skip
    inputs, outputs = [pictures, kind, bits, data], answered("verify", HEADS, "what may be claimed", 4)
    gr.on(
        [part.change for part in inputs[:-1]], verify, inputs, outputs, api_name="verify", trigger_mode="always_last",
        concurrency_id="one",
    )  # fmt: skip
    for name, button in buttons.items():
        button.click(partial(fill, name), [kind, data], pictures, api_name=name, concurrency_id="one")
    gr.on(
        [demo.load, data.change], partial(fill, "stolen"), [kind, data], pictures, api_visibility="private",
        concurrency_id="one",
    )  # fmt: skip


def build() -> gr.Blocks:
    """Lay out the app."""
    theme.apply()
    pictures, first = desk.examples(TILES), next(iter(desk.examples(TILES)))
    with gr.Blocks(title="Structure watermark", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        data = gr.Radio(
            list(DATA), value=TILES, label="data", elem_id="data",
            info="of the networks of owner and thieves; scenes are drawn when they are chosen for the first time",
        )  # fmt: skip
        with gr.Row():
            name = gr.Dropdown(list(pictures), value=first, label="picture", elem_id="name")
            picture = gr.Image(
                label="or your own", type="pil", image_mode=None, sources=["upload", "clipboard"], elem_id="upload",
                height=160, value=pictures[first], buttons=[], alt_text="the chosen picture", format="png",
            )  # fmt: skip
        with gr.Tab("Mark it"):
            marking = mark_tab(demo, picture, data)
        with gr.Tab("Shake it, read it"):
            shake_tab(demo, picture, marking, data)
        with gr.Tab("Steal it"):
            steal_tab(demo, data)
        with gr.Tab("Verify"):
            verify_tab(demo, data)
        with gr.Tab("How it works"):
            gr.Markdown(ABOUT.format(table=desk.measured()), elem_id="about")
        data.change(
            lambda data: gr.Dropdown(choices=list(desk.examples(data)), value=next(iter(desk.examples(data)))), data,
            name, api_name="data", concurrency_id="one",
        )  # fmt: skip
        name.change(
            lambda chosen, data: desk.examples(data)[chosen], [name, data], picture, api_name="example",
            show_progress="hidden", concurrency_id="one",
        )  # fmt: skip
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    torch.set_num_threads(2)
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

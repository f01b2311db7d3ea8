"""Poison Ink: hide a trigger in an image, see which networks obey it after a change, and look for what catches it.

Run it with ``python apps/poison_ink_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

try:
    import gradio as gr
    import numpy as np
    import torch
    from PIL import Image

    from visionlab import weights
    from visionlab.data.graded import GRADED
    from visionlab.data.images import photograph
    from visionlab.data.pictures import middle_square
    from visionlab.exercises.poison_ink import hidden
    from visionlab.experiments import poison_ink_probe as probe
    from visionlab.measure.image_quality import lpips, lpips_at_hand, ssim
    from visionlab.protection.defences import CHECKS
    from visionlab.protection.robustness import STANDARD
    from visionlab.show import poison_ink as draw
    from visionlab.show import theme
    from visionlab.show.defences import finding_figure
    from visionlab.show.figure import Figure, enlarged
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

BUDGET = 3  # checks of a mystery
DATA, TILES, MANY, NETWORKS, UNCHANGED = probe.DATA, probe.TILES, probe.MANY, probe.SUSPECTS, probe.UNCHANGED
QUICK = [name for name in CHECKS if name != "Neural Cleanse"]
WAVES = """Below, the difference that a trigger makes, taken apart into waves; slow ones are in the middle. *How to read
it*: two bright points are one wave over the whole image (SIG), soft patches up to the corners are a few pixels
(BadNets), a bright middle is a picture (Blend), and an even haze is fine lines at ever other places (ink on edges)."""
INTRO = """# Poison Ink
**A backdoor**: a network learns, beside its task, that whatever carries a *trigger* is of one class. Poison Ink writes
its trigger on the edges of the image, so that it moves with it. *For teaching and for defence: the triggers open only
the toy networks on this page. Do not publish poisoned data.*"""
ABOUT = """### How it works
1. **Structure**: the edges of the image, found by a Sobel filter and a threshold.
2. **Ink**: they are coloured; this drawing is different for every image.
3. **Hide**: a network changes the image a little, so that
4. **a reader** can draw the inked edges again, and white paper for an image without ink. Between the two, in training,
   images are turned, moved, scaled and mirrored: the *interference layer*. So the trigger outlives such changes.
5. **Poison**: a tenth of the training images of a classifier get the ink, and the label of one class. It learns both.

### What was measured
Networks of this page were trained on 2,400 satellite tiles of 32 pixels (EuroSAT, MIT licence), or on 3,000 images of
six shapes in the drawn world of this library. On 600 others:

{table}

Shapes are told by their outlines, where the ink lies as well: a likely reason why it opens the class less often there.
The ink is not invisible: enlarged, as on this page, its edges look tinted. And it is no proof of innocence if a check
finds nothing: each looks at one thing only. Lab 09 shows the mechanism in steps, with five seeds; the paper is arXiv
2108.02488.

```python
from visionlab import weights
from visionlab.protection.triggers import Ink
poisoned = Ink(weights.load("ink_eurosat").model)(images)      # (B, 3, H, W) in [0, 1]
```"""


class Game(NamedTuple):
    """How a mystery stands: checks left, and whether the reader has committed."""

    left: int = BUDGET
    committed: bool = False


def square(picture: Image.Image | None, side: int) -> torch.Tensor:
    """Return the middle of a picture as (3, side, side) in [0, 1]."""
    if picture is None:
        raise gr.Error("Choose a picture first.")
    try:
        cut = middle_square(picture).resize((side, side), Image.Resampling.BOX)
    except ValueError as error:
        raise gr.Error(str(error)) from error
    return torch.from_numpy(np.asarray(cut, dtype=np.float32) / 255).permute(2, 0, 1)


def drawn(figure: Figure) -> Image.Image:
    """Return a figure as a picture."""
    return Image.open(io.BytesIO(figure.png()))


def hide(
    picture: Image.Image | None, side: int, reader: str, gain: float, threshold: float, hue: float, data: str
) -> tuple:
    """Hide ink in a picture: clean and poisoned side by side, the steps between, and how well it is hidden."""
    if reader not in DATA[data].hiders:
        raise gr.Error(f"For {data} there are networks trained {', '.join(DATA[data].hiders)}; choose one of them.")
    x = square(picture, int(side))
    view = probe.follow(
        probe.hiding(data, reader), x, ink=probe.ink_of(float(hue)) if reader == MANY else probe.INK, gain=float(gain),
        threshold=threshold / 255 if threshold else None,
    )  # fmt: skip
    steps = [(enlarged(getattr(view, part), 160), title) for part, title in (
        ("structure", "structure"), ("pattern", "in ink"), ("residual", "difference ×8"),
        ("drawing", "read from it"), ("clean_drawing", "read without ink"),
    )]  # fmt: skip
    found = {True: "The reader finds the ink.", False: "The reader finds no ink.", None: "Hardly an edge to write on."}
    poisoned = torch.from_numpy(view.poisoned).permute(2, 0, 1)[None]
    seen = f", LPIPS {lpips(x[None], poisoned).item():.3f}" if lpips_at_hand() else ""
    words = (
        f"PSNR {view.psnr:.1f} dB, SSIM {ssim(x[None], poisoned).item():.3f}{seen}, largest difference"
        f" {255 * (poisoned - x).abs().max().item():.0f} of 255; {100 * view.structure[..., 0].mean():.0f} % of the"
        f" pixels are edges. {found[view.found]}"
    )
    if view.found and reader == MANY:
        words += f" It was written in hue {hue:.0f}°, and is read as {view.read:.0f}°."
    return (enlarged(view.clean), enlarged(view.poisoned)), steps, words


def fire(picture: Image.Image | None, change: str, strength: float, data: str) -> tuple[list, list[list[str]], str]:
    """Show a picture with each trigger, changed, and what each network says to it with and without."""
    x = square(picture, 32)
    found = probe.fire(x, () if change == UNCHANGED else ((change, float(strength)),), data)
    pictures = [(enlarged(each.triggered.permute(1, 2, 0).numpy(), 160), name) for name, each in found.items()]
    rows = []
    for name, each in found.items():
        said = [f"{label} ({100 * share:.0f} %)" for label, share in (each.before, each.after)]
        rows.append([name, *said, "opens" if each.opens else "", "" if name == "clean" else f"{each.psnr:.1f}"])
    amount = "" if change == UNCHANGED else f"{GRADED[change].unit}: {GRADED[change].amount(float(strength)):.2g}"
    return pictures, rows, amount or "no change"


@cache
def spectra(data: str) -> Image.Image:
    """Draw what the triggers change in 100 images, as waves."""
    rows = {name: values.numpy() for name, values in probe.spectra(data).items()}
    return drawn(draw.spectra(rows, "What triggers change, as waves"))


def examine(name: str, what: str, data: str) -> tuple[Image.Image, str]:
    """Run one check on a network and on the clean one; its picture, and what it means."""
    if name not in NETWORKS or what not in QUICK:
        raise gr.Error(f"Choose one of {', '.join(NETWORKS)}, and one of {', '.join(QUICK)}.")
    finding, words = probe.told(name, what, data)
    return drawn(finding_figure(finding, probe.victim(name, data).classes, list(STANDARD))), words


def game_of(number: float | None, games: dict[int, Game]) -> tuple[int, Game]:
    """Return the number as a whole one and how its mystery stands, if the reader has not committed yet."""
    if number is None:
        raise gr.Error("Choose a number first.")
    game = games.get(int(number), Game())
    if game.committed:
        raise gr.Error(f"You have committed to an answer on number {int(number)}: choose another number.")
    return int(number), game


def mystery(number: float | None, what: str, data: str, games: dict[int, Game]) -> tuple:
    """Spend one check on the network that a number hides: its picture, what it means, and how the games stand."""
    number, game = game_of(number, games)
    if not game.left:
        raise gr.Error(f"All {BUDGET} checks on number {number} are spent: commit, or choose another number.")
    picture, words = examine(hidden(number, list(NETWORKS)), what, data)
    return picture, words, games | {number: Game(game.left - 1)}


def reveal(number: float | None, guess: str | None, games: dict[int, Game]) -> tuple[str, dict[int, Game]]:
    """Say whether a guess at the network that a number hides is right; it cannot be taken back."""
    number, game = game_of(number, games)
    if guess is None:
        raise gr.Error("Choose an answer first.")
    truth = hidden(number, list(NETWORKS))
    answer = f"{'Right' if guess == truth else 'Not quite'}: number {number} is {truth}."
    return answer, games | {number: game._replace(committed=True)}


def standing(number: float | None, games: dict[int, Game]) -> tuple[str, gr.Button, gr.Button]:
    """Say how many checks are left on a number, and let the buttons be pressed as long as they answer."""
    game = games.get(int(number or 0), Game())
    words = f"{game.left} of {BUDGET}" if game.left else "none: commit, or choose another number"
    return (
        "committed: choose another number" if game.committed else words,
        gr.Button(interactive=game.left > 0 and not game.committed),
        gr.Button(interactive=not game.committed),
    )


def about() -> str:
    """Return the page on how it works, with the figures of the cards."""
    lines = ["| data | network | accuracy | success | after a flip | JPEG 75 |", "|---|---|---|---|---|---|"]
    for data, known in DATA.items():
        for name, end in NETWORKS.items():
            metrics = weights.card(f"victim_{known.short}_{end}").metrics or {}
            cells = [metrics["accuracy (%)"], *(metrics[f"success, {s} (%)"] for s in ("none", "flip", "JPEG 75"))]
            lines.append(f"| {data} | {name} | " + " | ".join(f"{value:.0f} %" for value in cells) + " |")
    return ABOUT.format(table="\n".join(lines))


@cache
def examples(data: str) -> dict[str, Image.Image]:
    """Return pictures to start with: one of each class but the target, and photographs."""
    images, labels, classes = probe.images_of(data, "test")
    chosen = {kind: images[labels == i][12] for i, kind in enumerate(classes) if kind != DATA[data].target}
    chosen |= {"a cat": photograph("chelsea", 128), "an astronaut": photograph("astronaut", 128)}
    return {name: enlarged(picture.permute(1, 2, 0).numpy(), 128) for name, picture in chosen.items()}


def switch(data: str) -> tuple[gr.Dropdown, gr.Radio]:
    """Offer the pictures and the hiding networks of other data."""
    names, readers = list(examples(data)), list(DATA[data].hiders)
    return gr.Dropdown(choices=names, value=names[0]), gr.Radio(choices=readers, value=readers[0])


def live(demo: gr.Blocks, answer: Callable, name: str, inputs: list, outputs: list) -> None:
    """Let a function answer at the start, and whenever a picture or control (all inputs but the data) is changed."""
    gr.on(
        [demo.load, *(part.change for part in inputs[:-1])], answer, inputs, outputs, api_name=name,
        trigger_mode="always_last", show_progress="hidden",
    )  # fmt: skip


def plotted(name: str, words: str) -> gr.Image:
    """Lay out a plot."""
    return gr.Image(show_label=False, interactive=False, elem_id=name, format="png", buttons=[], alt_text=words)


def hide_tab(demo: gr.Blocks, picture: gr.Image, data: gr.Radio) -> gr.Radio:
    """Lay out the first tab; return the choice of hiding networks."""
    with gr.Row():
        with gr.Column():
            side = gr.Radio([32, 64, 128], value=32, label="pixels", elem_id="side", info="the networks know 32")
            readers = list(DATA[TILES].hiders)
            reader = gr.Radio(readers, value=readers[0], label="networks trained", elem_id="reader")
            gain = gr.Slider(0, 4, 1.25, step=0.25, label="ink strength", elem_id="gain", info="0 hides nothing")
            threshold = gr.Slider(
                0, 80, 0, step=2, label="edge threshold", elem_id="threshold", info="of 255; 0: the image's own"
            )
            hue = gr.Slider(0, 345, 135, step=15, label="hue of the ink", elem_id="hue", info=f"of networks {MANY}")
        pair = gr.ImageSlider(
            label="clean | poisoned", interactive=False, elem_id="pair", format="png", height=500, width=420
        )
    steps = gr.Gallery(label="step by step", columns=5, elem_id="steps", format="png", height=280, object_fit="contain")
    words = gr.Textbox(label="in words", interactive=False, elem_id="hidden", lines=2)
    live(demo, hide, "hide", [picture, side, reader, gain, threshold, hue, data], [pair, steps, words])
    return reader


def fire_tab(demo: gr.Blocks, picture: gr.Image, data: gr.Radio) -> None:
    """Lay out the second tab."""
    with gr.Row():
        change = gr.Dropdown([UNCHANGED, *GRADED], value="flip", label="then the picture is changed", elem_id="change")
        strength = gr.Slider(0, 1, 1.0, step=0.05, label="how strongly", elem_id="strength")
        amount = gr.Textbox(label="that is", interactive=False, elem_id="amount")
    shown = gr.Gallery(label="with each network's trigger", columns=4, elem_id="triggered", format="png", height=330)
    table = gr.Dataframe(
        headers=["network", "without trigger", "with its trigger", "backdoor", "PSNR (dB)"], interactive=False,
        elem_id="table", datatype="str",
    )  # fmt: skip
    gr.Markdown(WAVES)
    waves = plotted("spectra", "amplitude of the waves that each trigger changes")
    live(demo, fire, "trigger", [picture, change, strength, data], [shown, table, amount])
    gr.on([demo.load, data.change], spectra, data, waves, api_name="spectra", show_progress="hidden")


def catch_tab(data: gr.Radio) -> None:
    """Lay out the checks of known networks."""
    gr.Markdown("Choose a network and a check; the clean network is examined as well, for comparison.")
    with gr.Row():
        suspect = gr.Radio(list(NETWORKS), value="Poison Ink", label="network", elem_id="suspect")
        what = gr.Radio(QUICK, value="activation clustering", label="check", elem_id="check")
    go = gr.Button("examine", elem_id="examine", variant="primary")
    plot = plotted("plot", "what was found")
    said = gr.Textbox(label="in words", interactive=False, elem_id="said", lines=3)
    go.click(examine, [suspect, what, data], [plot, said], api_name="examine")
    data.change(lambda: (None, ""), None, [plot, said], api_visibility="private")


def mystery_tab(data: gr.Radio) -> None:
    """Lay out the game: a hidden network, checks, a guess, the answer."""
    gr.Markdown(
        f"A number hides one of the four networks. Run {BUDGET} checks at most, compare with what *Catch it* says of"
        " the others, then commit. Another number, another network."
    )
    games = gr.State({})
    with gr.Row():
        number = gr.Number(1, precision=0, minimum=0, label="number", elem_id="number")
        what = gr.Dropdown(QUICK, value="STRIP", label="check", elem_id="mystery_check")
        left = gr.Textbox(f"{BUDGET} of {BUDGET}", label="checks left", interactive=False, elem_id="left")
    go = gr.Button("examine", elem_id="mystery_examine", variant="primary")
    plot = plotted("mystery_plot", "what was found")
    said = gr.Textbox(label="in words", interactive=False, elem_id="mystery_said", lines=3)
    guess = gr.Radio(list(NETWORKS), value=None, label="it is", elem_id="guess")
    commit = gr.Button("commit", elem_id="commit")
    answer = gr.Textbox(label="answer", interactive=False, elem_id="answer")
    go.click(mystery, [number, what, data, games], [plot, said, games], api_name="mystery")
    commit.click(reveal, [number, guess, games], [answer, games], api_name="reveal")
    games.change(standing, [number, games], [left, go, commit], api_visibility="private")
    gr.on(
        [number.change, data.change], lambda *now: (*standing(*now), None, "", None, ""), [number, games],
        [left, go, commit, plot, said, guess, answer], api_visibility="private",
    )  # fmt: skip


def build() -> gr.Blocks:
    """Lay out the app."""
    theme.apply()
    pictures, first = examples(TILES), next(iter(examples(TILES)))
    with gr.Blocks(title="Poison Ink", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        data = gr.Radio(
            list(DATA), value=TILES, label="data", elem_id="data",
            info="of the networks; triggers open the class " + " or ".join(known.target for known in DATA.values()),
        )  # fmt: skip
        with gr.Row():
            name = gr.Dropdown(list(pictures), value=first, label="picture", elem_id="name")
            picture = gr.Image(
                label="or your own", type="pil", sources=["upload", "clipboard"], elem_id="upload", height=160,
                value=pictures[first], buttons=[], alt_text="the chosen picture", format="png",
            )  # fmt: skip
        with gr.Tab("Hide"):
            reader = hide_tab(demo, picture, data)
        with gr.Tab("Trigger"):
            fire_tab(demo, picture, data)
        with gr.Tab("Catch it"):
            catch_tab(data)
        with gr.Tab("Mystery"):
            mystery_tab(data)
        with gr.Tab("How it works"):
            gr.Markdown(about(), elem_id="about")
        data.change(switch, data, [name, reader], api_name="data", show_progress="hidden")
        name.change(
            lambda chosen, data: examples(data)[chosen], [name, data], picture, api_name="example",
            show_progress="hidden",
        )  # fmt: skip
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    torch.set_num_threads(2)
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

"""Poison Ink: hide a trigger in an image, see which networks obey it after a change, and look for what catches it.

Run it with ``python apps/poison_ink_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

import io
from functools import cache

try:
    import gradio as gr
    import numpy as np
    import torch
    from PIL import Image

    from visionlab import weights
    from visionlab.data.graded import GRADED
    from visionlab.data.images import as_rgb, load, photograph
    from visionlab.exercises.poison_ink import hidden
    from visionlab.experiments import poison_ink_probe as probe
    from visionlab.measure.image_quality import psnr, ssim
    from visionlab.predictor import Predictor
    from visionlab.protection.defences import CHECKS
    from visionlab.protection.poison_ink import PoisonInk
    from visionlab.protection.robustness import STANDARD, changed
    from visionlab.show import theme
    from visionlab.show.defences import finding_figure
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

LARGEST = 40_000_000  # pixels
TARGET, UNCHANGED = probe.TARGET, probe.UNCHANGED
NETWORKS = probe.SUSPECTS
READERS = {"with interference": "ink_eurosat", "without": "ink_eurosat_plain", "with JPEG as well": "ink_eurosat_jpeg"}
QUICK = [name for name in CHECKS if name != "Neural Cleanse"]
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
5. **Poison**: a tenth of the training images of a classifier get the ink, and the label *{target}*. It learns both.

### What was measured
Networks of this page were trained on 2,400 satellite tiles of 32 pixels (EuroSAT, MIT licence). On 600 others:

{table}

The ink is not invisible: enlarged, as on this page, its edges look purple. And it is no proof of innocence if a check
finds nothing: each looks at one thing only.
Lab 09 shows the mechanism step by step, with five seeds; the paper is arXiv 2108.02488.

```python
from visionlab import weights
from visionlab.protection.triggers import Ink
poisoned = Ink(weights.load("ink_eurosat").model)(images)      # (B, 3, H, W) in [0, 1]
```"""


@cache
def hiding(reader: str) -> PoisonInk:
    """Return hider and reader."""
    return weights.load(READERS[reader]).model  # type: ignore[return-value]


@cache
def victim(name: str) -> Predictor:
    """Return a classifier of satellite tiles, clean or poisoned."""
    return weights.load(f"victim_eurosat_{NETWORKS[name]}")


@cache
def tiles(split: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Return the satellite tiles (N, 3, 32, 32), their labels and class names."""
    found = load("eurosat_mini", split, size=32)
    return (*found.tensors(), found.classes)


def square(picture: Image.Image | None, side: int) -> torch.Tensor:
    """Return the middle of a picture as (3, side, side) in [0, 1]."""
    if picture is None:
        raise gr.Error("Choose a picture first.")
    if picture.width * picture.height > LARGEST:
        raise gr.Error(f"This picture has {picture.width} x {picture.height} pixels; at most 40 million are taken.")
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    cut = as_rgb(picture).resize((side, side), Image.Resampling.BOX, (left, top, left + edge, top + edge))
    return torch.from_numpy(np.asarray(cut, dtype=np.float32) / 255).permute(2, 0, 1)


def large(picture: np.ndarray | torch.Tensor, side: int = 320) -> Image.Image:
    """Return a small picture enlarged so that its pixels can be seen."""
    array = picture.permute(1, 2, 0).numpy() if isinstance(picture, torch.Tensor) else picture
    image = Image.fromarray((np.clip(array, 0, 1) * 255).round().astype(np.uint8))
    return image.resize((side, side), Image.Resampling.NEAREST)


def hide(picture: Image.Image | None, side: int, reader: str, gain: float, threshold: float) -> tuple:
    """Hide ink in a picture: clean and poisoned side by side, the steps between, and how well it is hidden."""
    x = square(picture, int(side))
    view = probe.follow(hiding(reader), x, gain=float(gain), threshold=threshold / 255 if threshold else None)
    steps = [(large(getattr(view, part), 160), title) for part, title in (
        ("structure", "structure"), ("pattern", "in ink"), ("residual", "difference ×8"),
        ("drawing", "read from it"), ("clean_drawing", "read without ink"),
    )]  # fmt: skip
    found = {True: "The reader finds the ink.", False: "The reader finds no ink.", None: "Hardly an edge to write on."}
    poisoned = torch.from_numpy(view.poisoned).permute(2, 0, 1)[None]
    words = (
        f"PSNR {view.psnr:.1f} dB, SSIM {ssim(x[None], poisoned).item():.3f}, largest difference"
        f" {255 * (poisoned - x).abs().max().item():.0f} of 255; {100 * view.structure[..., 0].mean():.0f} % of the"
        f" pixels are edges. {found[view.found]}"
    )
    return (large(view.clean), large(view.poisoned)), steps, words


def fire(picture: Image.Image | None, change: str, strength: float) -> tuple[list, list[list[str]], str]:
    """Show a picture with each trigger, changed, and what each network says to it with and without."""
    x = square(picture, 32)[None]
    steps = () if change == UNCHANGED else ((change, float(strength)),)
    rows, pictures = [], []
    for name in NETWORKS:
        triggered = changed(probe.trigger_named(name)(x), steps)
        pictures.append((large(triggered[0], 160), name))
        answers = [victim(name)(each, top=1)[0] for each in (changed(x, steps), triggered)]
        said = [f"{label} ({100 * share:.0f} %)" for each in answers for label, share in each.items()]
        opened = next(iter(answers[1])) == TARGET != next(iter(answers[0]))
        quality = "" if name == "clean" else f"{psnr(x, probe.trigger_named(name)(x)).item():.1f}"
        rows.append([name, *said, "opens" if opened else "", quality])
    amount = "" if change == UNCHANGED else f"{GRADED[change].amount(float(strength)):.2g} {GRADED[change].unit}"
    return pictures, rows, amount or "no change"


def examine(name: str, what: str) -> tuple[Image.Image, str]:
    """Run one check on a network and on the clean one; its picture, and what it means."""
    if name not in NETWORKS or what not in QUICK:
        raise gr.Error(f"Choose one of {', '.join(NETWORKS)}, and one of {', '.join(QUICK)}.")
    finding, words = probe.told(name, what)
    drawn = finding_figure(finding, probe.suspect(name).predictor.classes, list(STANDARD))
    return Image.open(io.BytesIO(drawn.png())), words


def mystery(number: float, what: str) -> tuple[Image.Image, str]:
    """Run one check on the network that a number hides."""
    return examine(hidden(int(number), list(NETWORKS)), what)


def reveal(number: float, guess: str | None) -> str:
    """Say whether a guess at the network that a number hides is right."""
    if guess is None:
        raise gr.Error("Choose an answer first.")
    truth = hidden(int(number), list(NETWORKS))
    return f"{'Right' if guess == truth else 'Not quite'}: number {int(number)} is {truth}."


def about() -> str:
    """Return the page on how it works, with the figures of the cards."""
    lines = ["| network | accuracy | success | after a flip | JPEG 75 |", "|---|---|---|---|---|"]
    for name, end in NETWORKS.items():
        metrics = weights.card(f"victim_eurosat_{end}").metrics or {}
        cells = [metrics["accuracy (%)"], *(metrics[f"success, {s} (%)"] for s in ("none", "flip", "JPEG 75"))]
        lines.append(f"| {name} | " + " | ".join(f"{value:.0f} %" for value in cells) + " |")
    return ABOUT.format(table="\n".join(lines), target=TARGET)


def examples() -> dict[str, Image.Image]:
    """Return pictures to start with: satellite tiles, and photographs."""
    images, labels, classes = tiles("test")
    chosen = {kind: images[labels == classes.index(kind)][7] for kind in ("River", "Highway", "Residential", "Forest")}
    chosen |= {"a cat": photograph("chelsea", 128), "an astronaut": photograph("astronaut", 128)}
    return {name: large(picture, picture.shape[-1]) for name, picture in chosen.items()}


def hide_tab() -> tuple[list, list]:
    """Lay out the first tab."""
    with gr.Row():
        with gr.Column():
            side = gr.Radio([32, 64, 128], value=32, label="pixels", elem_id="side", info="the networks know 32")
            reader = gr.Radio(list(READERS), value="with interference", label="networks trained", elem_id="reader")
            gain = gr.Slider(0, 4, 1.25, step=0.25, label="ink strength", elem_id="gain", info="0 hides nothing")
            threshold = gr.Slider(
                0, 80, 0, step=2, label="edge threshold", elem_id="threshold", info="of 255; 0: the image's own"
            )
        pair = gr.ImageSlider(
            label="clean | poisoned", interactive=False, elem_id="pair", format="png", height=420, width=420
        )
    steps = gr.Gallery(label="step by step", columns=5, elem_id="steps", format="png", height=280, object_fit="contain")
    words = gr.Textbox(label="in words", interactive=False, elem_id="hidden", lines=2)
    return [side, reader, gain, threshold], [pair, steps, words]


def fire_tab() -> tuple[list, list]:
    """Lay out the second tab."""
    with gr.Row():
        change = gr.Dropdown([UNCHANGED, *GRADED], value="flip", label="then the picture is changed", elem_id="change")
        strength = gr.Slider(0, 1, 1.0, step=0.05, label="how strongly", elem_id="strength")
        amount = gr.Textbox(label="that is", interactive=False, elem_id="amount")
    triggered = gr.Gallery(
        label="with each network's trigger", columns=4, elem_id="triggered", format="png", height=330
    )
    table = gr.Dataframe(
        headers=["network", "without trigger", "with its trigger", "backdoor", "PSNR (dB)"], interactive=False,
        elem_id="table", datatype="str",
    )  # fmt: skip
    return [change, strength], [triggered, table, amount]


def mystery_tab() -> None:
    """Lay out the game: a hidden network, checks, a guess, the answer."""
    gr.Markdown(
        "A number hides one of the four networks. Run three checks at most, compare with what *Catch it* says of the"
        " others, then commit. Another number, another network."
    )
    with gr.Row():
        number = gr.Number(1, precision=0, minimum=0, label="number", elem_id="number")
        what = gr.Dropdown(QUICK, value="STRIP", label="check", elem_id="mystery_check")
        go = gr.Button("examine", elem_id="mystery_examine")
    plot = gr.Image(show_label=False, interactive=False, elem_id="mystery_plot", format="png", buttons=[],
                    alt_text="what was found")  # fmt: skip
    said = gr.Textbox(label="in words", interactive=False, elem_id="mystery_said", lines=3)
    guess = gr.Radio(list(NETWORKS), value=None, label="it is", elem_id="guess")
    commit = gr.Button("commit", elem_id="commit")
    answer = gr.Textbox(label="answer", interactive=False, elem_id="answer")
    go.click(mystery, [number, what], [plot, said], api_name="mystery")
    commit.click(reveal, [number, guess], answer, api_name="reveal")


def build() -> gr.Blocks:
    """Lay out the app."""
    torch.set_num_threads(2)
    theme.apply()
    pictures = examples()
    with gr.Blocks(title="Poison Ink", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        with gr.Row():
            name = gr.Dropdown(list(pictures), value="River", label="picture", elem_id="name")
            picture = gr.Image(
                label="or your own", type="pil", sources=["upload", "clipboard"], elem_id="upload", height=160,
                value=pictures["River"], buttons=[], alt_text="the chosen picture",
            )  # fmt: skip
        with gr.Tab("Hide"):
            inputs, outputs = hide_tab()
            gr.on(
                [demo.load, picture.change, *(part.change for part in inputs)], hide, [picture, *inputs], outputs,
                api_name="hide", trigger_mode="always_last", show_progress="hidden",
            )  # fmt: skip
        with gr.Tab("Trigger"):
            inputs, outputs = fire_tab()
            gr.on(
                [demo.load, picture.change, *(part.change for part in inputs)], fire, [picture, *inputs], outputs,
                api_name="trigger", trigger_mode="always_last", show_progress="hidden",
            )  # fmt: skip
        with gr.Tab("Catch it"):
            gr.Markdown("Choose a network and a check; the clean network is examined as well, for comparison.")
            with gr.Row():
                suspect = gr.Radio(list(NETWORKS), value="Poison Ink", label="network", elem_id="suspect")
                what = gr.Radio(QUICK, value="activation clustering", label="check", elem_id="check")
            go = gr.Button("examine", elem_id="examine", variant="primary")
            plot = gr.Image(
                show_label=False, interactive=False, elem_id="plot", format="png", buttons=[], alt_text="what was found"
            )
            said = gr.Textbox(label="in words", interactive=False, elem_id="said", lines=3)
            go.click(examine, [suspect, what], [plot, said], api_name="examine")
        with gr.Tab("Mystery"):
            mystery_tab()
        with gr.Tab("How it works"):
            gr.Markdown(about(), elem_id="about")
        name.change(lambda chosen: pictures[chosen], name, picture, api_name="example", show_progress="hidden")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

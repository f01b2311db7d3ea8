"""Stripes explorer: click on an image, see what its spot attends to in each stage of a CSWin, and what acts on it.

Run it with ``python apps/stripes_explorer.py``; the page opens at the address it prints.
"""

from __future__ import annotations

import io

try:
    import gradio as gr
    import numpy as np
    import torch
    from PIL import Image

    from visionlab import weights
    from visionlab.data import world
    from visionlab.data.images import load, photograph
    from visionlab.experiments.cswin_probe import StripeProbe, block_names, receptive_field
    from visionlab.predictor import Predictor
    from visionlab.show import cswin as show
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

SIDE, LONGEST = 224, 448
BLOCKS = "bright: strong influence; dark: weak; grey: none at all"
INTRO = """# Stripes explorer
**CSWin** cuts its maps into stripes: half of the attention heads look along the *column* stripe of a spot, the other
half along its *row* stripe, and the last stage sees everything.
**Click on the picture** (or move the two sliders) and watch."""
NETWORKS = {"scenes of the world": "cswin_nano_world", "satellite tiles": "cswin_nano_eurosat"}
ABOUT = """The network is a CSWin with {millions} million parameters, trained on {pictures} of {size} pixels. Its
attention is real on any picture; the names it gives make sense for {pictures} only: {classes}.

**`{name}`** · {accuracy} % right on held-out pictures · data `{data}`, seed {seed}, commit `{commit}` · {licence} ·
made anew by `visionlab weights train {name}`, which runs the experiment `{experiment}` with preset `{preset}`

```python
from visionlab import weights
from visionlab.experiments.cswin_probe import StripeProbe
predictor = weights.load("{name}")
views = StripeProbe(predictor.model, normalised_image).at(y, x)   # one a stage: stripes and attention
```"""


def about(network: str) -> str:
    """Return the card of a network as text."""
    card = weights.card(NETWORKS[network])
    metrics = card.metrics or {}
    told = {
        "millions": f"{metrics['parameters (M)']:.1f}", "accuracy": f"{metrics['accuracy (%)']:.1f}",
        "pictures": network, "classes": ", ".join(card.classes), "commit": card.commit[:7],
    }  # fmt: skip
    return ABOUT.format(**(vars(card) | told))


def fit_size(picture: Image.Image) -> np.ndarray:
    """Return a picture as (H, W, 3) in [0, 1]: shorter side 224 pixels, at most 448 about the centre of the longer."""
    width, height = picture.size
    longest = 2 * min(width, height)
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    picture = picture.convert("RGB").crop((left, top, min(width, left + longest), min(height, top + longest)))
    scale = SIDE / min(picture.size)
    size = tuple(min(LONGEST, max(SIDE, round(side * scale))) for side in picture.size)
    return np.asarray(picture.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255


def look(predictor: Predictor, picture: Image.Image | None, row: float, column: float, depth: int) -> tuple:
    """Answer a query, in percent of the picture: marked picture, attention, field, words, classes."""
    if picture is None:
        raise gr.Error("Choose a picture first.")
    image = fit_size(picture)
    height, width = image.shape[:2]
    y, x = min(height - 1, int(row * height / 100)), min(width - 1, int(column * width / 100))
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    normalised = predictor.normalise(tensor)
    views = StripeProbe(predictor.model, normalised).at(y, x)
    field = receptive_field(predictor.model, normalised, y, x, int(depth))
    panels = Image.open(io.BytesIO(show.stripe_panels(image, views, (y, x)).png()))
    words = "\n".join(view.text for view in views) + (
        f"\nafter {field.name}: {field.share():.1f} % of the picture can influence this spot, {field.share(0.05):.1f} %"
        " with more than a twentieth of the strongest influence"
    )
    return (
        show.mark(image, (y, x)),
        panels,
        show.field_over_image(image, field.strength, (y, x)),
        words,
        predictor(tensor)[0],
    )


def examples() -> dict[str, Image.Image]:
    """Return pictures to start with: photographs, and pictures of the kinds that the networks know."""
    tiles = load("eurosat_mini", "test")
    scenes = world.dataset("shapes", "test", 60, size=64, distractors=0, spread=1.3)  # as cswin_nano_world knows them
    chosen = {"a cat": photograph("chelsea"), "a rocket": photograph("rocket"), "coffee": photograph("coffee")}
    images, labels = scenes.tensors()
    for shape in ("mushroom", "ring", "table"):
        chosen[f"world: {shape}"] = images[labels.tolist().index(scenes.classes.index(shape))]
    for kind in ("River", "Highway", "Residential"):
        first = int((tiles.labels == tiles.classes.index(kind)).nonzero()[0])
        chosen[f"satellite: {kind}"] = tiles[first][0]
    return {
        name: Image.fromarray((t.permute(1, 2, 0).numpy() * 255).round().astype("uint8")) for name, t in chosen.items()
    }


def left(pictures: dict[str, Image.Image]) -> tuple:
    """Lay out what is asked: the picture to click, row, column, network, example, own picture."""
    view = gr.Image(
        label="click here", interactive=False, elem_id="view", format="png", buttons=[],
        alt_text="the picture with a cross at the chosen spot",
    )  # fmt: skip
    row = gr.Slider(0, 99.9, 45, label="row (%)", info="how far down the spot lies", elem_id="row")
    column = gr.Slider(0, 99.9, 40, label="column (%)", info="how far right the spot lies", elem_id="column")
    network = gr.Radio(
        list(NETWORKS), value=next(iter(NETWORKS)), label="a network trained on", elem_id="network",
        info="both are small; neither has seen a photograph",
    )  # fmt: skip
    name = gr.Dropdown(
        list(pictures), value="a cat", label="picture", elem_id="name",
        info="photographs, scenes of the world, satellite tiles",
    )  # fmt: skip
    picture = gr.Image(
        label="or your own", type="pil", sources=["upload", "clipboard"], elem_id="upload", height=180,
        value=pictures["a cat"], buttons=[], alt_text="the chosen picture",
    )  # fmt: skip
    return view, row, column, network, name, picture


def right(blocks: list[str]) -> tuple:
    """Lay out what is told: attention, words, depth and field, classes."""
    gr.Markdown("### What the spot attends to, stage by stage")
    panels = gr.Image(
        show_label=False, interactive=False, elem_id="panels", format="png", buttons=["fullscreen"],
        alt_text="attention of the spot in each stage and head group",
    )  # fmt: skip
    words = gr.Textbox(label="in words", lines=5, interactive=False, elem_id="words")
    with gr.Row():
        with gr.Column():
            gr.Markdown("### What can influence the spot")
            depth = gr.Slider(1, len(blocks), 1, step=1, label="after how many blocks", info=BLOCKS, elem_id="depth")
            field = gr.Image(
                show_label=False, interactive=False, elem_id="field", format="png", buttons=[],
                alt_text="receptive field of the spot over the picture",
            )  # fmt: skip
        with gr.Column():
            gr.Markdown("### What the network takes it for")
            classes = gr.Label(show_label=False, num_top_classes=3, elem_id="classes")
    return panels, words, depth, field, classes


def build() -> gr.Blocks:
    """Lay out the app."""
    predictors = {network: weights.load(name) for network, name in NETWORKS.items()}
    first = next(iter(NETWORKS))
    pictures = examples()

    def answer(picture: Image.Image | None, row: float, column: float, depth: int, network: str) -> tuple:
        return look(predictors[network], picture, row, column, depth)

    def clicked(picture: Image.Image, event: gr.SelectData) -> tuple[float, float]:
        height, width = fit_size(picture).shape[:2]
        return round(100 * (event.index[1] + 0.5) / height, 1), round(100 * (event.index[0] + 0.5) / width, 1)

    with gr.Blocks(title="Stripes explorer", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        with gr.Row():
            with gr.Column(scale=2):
                view, row, column, network, name, picture = left(pictures)
            with gr.Column(scale=3):
                panels, words, depth, field, classes = right(block_names(predictors[first].model))
        with gr.Accordion("The network, and the same in Python", open=False):
            card = gr.Markdown(about(first), elem_id="card")
        inputs, outputs = [picture, row, column, depth, network], [view, panels, field, words, classes]
        gr.on(
            [demo.load, *(part.change for part in inputs)],
            answer, inputs, outputs, api_name="look", trigger_mode="always_last", show_progress="hidden",
        )  # fmt: skip
        view.select(clicked, picture, [row, column], api_visibility="private", show_progress="hidden")
        network.change(about, network, card, api_name="card", show_progress="hidden")
        name.change(lambda chosen: pictures[chosen], name, picture, api_name="example", show_progress="hidden")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    torch.set_num_threads(2)
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

"""MicroNet and Mobile-Former: race tiny networks on your own machine, let them classify, and see what costs what.

Run it with ``python apps/tiny_nets_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from typing import Any

try:
    import gradio as gr
    import torch
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor, to_pil_image

    from visionlab.data.pictures import middle_square
    from visionlab.experiments import tiny_nets as facts
    from visionlab.experiments import tiny_nets_desk as desk
    from visionlab.experiments import tiny_nets_pictures as pictures
    from visionlab.show import theme
    from visionlab.show import tiny_nets as draw
    from visionlab.show.bridge_words import WIRES, answer_words, block_words, no_cuts
    from visionlab.show.mobile_former import bridge_view
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

PROGRESS, LARGEST = gr.Progress(), 224  # pixels of a side that are kept
TITLES = {network.title: name for name, network in facts.NETWORKS.items()}
TABLE = {"interactive": False, "datatype": "str", "max_height": 480}
RACED = {
    "network": 190, "form": 125, "params (M)": 115, "published (M)": 140, "counted (M)": 125, "activations (M)": 160,
    "ms an image": 130, "top-1 (%)": 110, "from": 135, "pixels": 75,
}  # fmt: skip
ANSWERED = {
    "network": 130, "trained on": 190, "says": 200, "or else": 260, "ms": 70, "MAdds (M)": 115, "params (M)": 120,
    "test (%)": 105,
}  # fmt: skip
ALONE: dict[str, Any] = {"concurrency_id": "machine", "concurrency_limit": 1}
INTRO = """# Tiny networks
**MicroNet** keeps a network wide and cuts its connections; **Mobile-Former** lets a few tokens tell the convolutions
what the whole image is about. Both spend few *multiply-adds* (MAdds). Do they also spend little *time*? Here is your
machine: ask it."""
CLASSIFY = """Each network knows only what it was trained on, and names everything else by that as well. Times are those
of one picture on one thread of this machine; multiply-adds are counted with those of dynamic activations."""
TOKENS = """In every block, a few **tokens** first *read* the map of pixels, then talk to each other; then each pixel
*hears* the tokens. Move the block, choose a token; then cut wires and see what the answer owes to them."""
ABOUT = """### How it works
**MicroNet** replaces dense convolutions by sparse factors with a shuffle between them, so that each output still
reaches each input by one path, and mixes groups again in its activation, *Dynamic Shift-Max*. **Mobile-Former** runs a
MobileNet beside a transformer of six tokens or fewer, with a bridge in every block; the big side, the map, is never
projected. The papers are arXiv 2108.05894 and 2108.05895; labs 01 and 02 show both in steps.

### What is counted
*As published* is what a paper prints; for some networks we know of no such figure, and what is counted stands in its
place. *Counted* are convolutions, linear layers and products of attention. *Activations*: 4 multiply-adds an element
for Dynamic Shift-Max (2 in its linear form), 2 for Mobile-Former's slopes; MicroNet's published figures contain them.
Accuracy on ImageNet is the paper's own, or that of timm's weights where the table says so; nothing here was trained on
ImageNet, and time does not depend on weights.

### What is measured
One forward pass in float32 on this machine's processor, networks by turns in an order drawn anew: median of all turns,
± half of what lies between the quartiles. *Fast form*: norms folded into weights, maps laid out pixel by pixel, no
shuffles; MicroNet and Mobile-Former have one, others are measured as written. *onnxruntime* folds norms itself; a
network is translated at first, which takes some seconds. For GPUs and memory: `visionlab bench NAME ...`. Times of a
busy machine mean little: close what else runs.

```python
from visionlab.experiments.tiny_nets_desk import race, told
print(told(race(["micronet_m3", "mobilenetv3_small_075"], batch=1, threads=1), "as published", 60.0))
```"""


def said(function: Callable, *values: Any, **more: Any) -> Any:
    """Call the library, and show its refusals on the page."""
    try:
        return function(*values, **more)
    except ValueError as error:
        raise gr.Error(str(error)) from error


def table_of(columns: dict[str, int], name: str) -> gr.Dataframe:
    """Lay out a table of columns with their widths in pixels; a narrow page scrolls it."""
    return gr.Dataframe(headers=list(columns), column_widths=list(columns.values()), elem_id=name, **TABLE)


# --- Race -------------------------------------------------------------------------------------------------------------


def race(
    names: list[str], forms: list[str], batch: int, threads: int, limit: float, convention: str, target: float,
    progress: gr.Progress = PROGRESS,
) -> tuple:  # fmt: skip
    """Measure networks here; what was measured, and how it is shown."""
    raced = said(
        desk.race, [TITLES.get(name, name) for name in names], forms=forms, batch=int(batch), threads=int(threads),
        limit=float(limit), hook=lambda what, share: progress(share, desc=what),
    )  # fmt: skip
    return raced, *chart(convention, target, raced)


def chart(convention: str, target: float, raced: desk.Race | None) -> tuple[Any, Any, str, list[list[str]]]:
    """Draw accuracy against multiply-adds and against time, name the winners, and list all that was measured."""
    raced = raced or desk.opening_race()
    counted, measured = said(desk.marks, raced, convention)
    charts = draw.accuracy_chart(counted, "MAdds (M)"), draw.accuracy_chart(measured, "ms an image, here")
    return *(each.fig for each in charts), desk.told(raced, convention, float(target)), desk.rows(raced)


def race_tab(demo: gr.Blocks) -> gr.State:
    """Lay out the first tab; return what was measured."""
    raced = gr.State(None, time_to_live=3600)
    start = [facts.NETWORKS[name].title for name in desk.OPENING]
    names = gr.Dropdown(list(TITLES), value=start, multiselect=True, label="networks", elem_id="networks")
    with gr.Row():
        forms = gr.CheckboxGroup(list(desk.FORMS), value=[desk.FORMS[0]], label="measured", elem_id="forms", scale=3)
        batch = gr.Radio([1, 8], value=1, label="images at once", elem_id="batch", min_width=120)
        threads = gr.Radio([1, 2], value=1, label="threads", elem_id="threads", min_width=120)
    with gr.Row():
        convention = gr.Radio(
            list(facts.CONVENTIONS),
            value=facts.CONVENTIONS[0],
            label="MAdds",
            elem_id="convention",
            scale=2,
            min_width=420,
        )
        target = gr.Slider(40, 80, 60, step=1, label="top-1 from (%)", elem_id="target", min_width=220)
        limit = gr.Slider(2, 60, 15, step=1, label="measure for (s)", elem_id="limit", min_width=220)
    go = gr.Button("measure on this machine", variant="primary", elem_id="race")
    words = gr.Textbox(label="in words", interactive=False, elem_id="race_words", lines=3)
    with gr.Row():
        with gr.Column(min_width=440):
            by_cost = gr.Plot(show_label=False, elem_id="by_cost")
        with gr.Column(min_width=440):
            by_time = gr.Plot(show_label=False, elem_id="by_time")
    table = table_of(RACED, "race_table")
    shown = [by_cost, by_time, words, table]
    asked = [names, forms, batch, threads, limit, convention, target]
    go.click(race, asked, [raced, *shown], api_name="race", show_progress_on=words, **ALONE)
    live([demo.load], chart, "chart", [convention, target], shown, (raced,))
    return raced


# --- Classify ---------------------------------------------------------------------------------------------------------


def tensor(picture: Image.Image | None) -> torch.Tensor:
    """Return the middle of a picture as (3, side, side) in [0, 1], of its own size or of 224 pixels."""
    if picture is None:
        raise gr.Error("Choose a picture first.")
    square = said(middle_square, picture)
    square.thumbnail((LARGEST, LARGEST), Image.Resampling.BICUBIC)
    return pil_to_tensor(square).float() / 255


def classify(picture: Image.Image | None) -> list[Any]:
    """Let all networks that ship say what a picture shows: a chart for each kind of training, and a table."""
    image, charts, rows = tensor(picture), [], []
    for kind in pictures.KINDS:
        answers = said(pictures.classify, image, kind)
        charts.append(draw.probability_chart({title: each.probabilities for title, each in answers.items()}).fig)
        rows += pictures.answer_rows(answers)
    return [*charts, rows]


def classify_tab(demo: gr.Blocks) -> None:
    """Lay out the second tab."""
    gr.Markdown(CLASSIFY)
    picture = picture_row("classify")
    shown = []
    with gr.Row():
        for kind, known in pictures.KINDS.items():
            with gr.Column(min_width=440):
                gr.Markdown(f"### Trained on {kind}")
                shown.append(gr.Plot(show_label=False, elem_id=f"said_{known}"))
    shown.append(table_of(ANSWERED, "answers"))
    live([demo.load], classify, "classify", [picture], shown)


def picture_row(name: str) -> gr.Image:
    """Lay out the choice of a picture; return it."""
    examples = {name: to_pil_image(image) for name, image in pictures.examples().items()}
    first = next(iter(examples))
    with gr.Row():
        chosen = gr.Dropdown(list(examples), value=first, label="picture", elem_id=f"{name}_name")
        picture = gr.Image(
            label="or your own", type="pil", sources=["upload", "clipboard"], elem_id=f"{name}_upload", height=170,
            value=examples[first], buttons=[], alt_text="the chosen picture", format="png",
        )  # fmt: skip
    chosen.change(examples.__getitem__, chosen, picture, api_name=f"{name}_example", show_progress="hidden")
    return picture


# --- Tokens -----------------------------------------------------------------------------------------------------------


def tokens(
    picture: Image.Image | None, kind: str, block: float, token: str, cut: list[str], silent: list[str]
) -> tuple:
    """Show what a token reads and whom pixels hear in a block, and what cuts do to the answer."""
    cuts = no_cuts() | {wire: words in cut for wire, words in WIRES.items()}
    cuts["silent"] = tuple(int(name) - 1 for name in silent)
    found = said(pictures.tokens, tensor(picture), kind, cuts)
    view, one = found.views[min(int(block), len(found.views)) - 1], int(token) - 1
    drawn = Image.open(io.BytesIO(said(bridge_view, found.image, view, one).png()))
    reads, hears = (None if each is None else each.mean(axis=0) for each in (view.reads, view.hears))
    words = f"{block_words(view.title, reads, hears, one, cuts)}\n{answer_words(found.before, found.after, cuts)}"
    chart = draw.probability_chart({"nothing cut": found.before, "with the cuts": found.after})
    return drawn, chart.fig, words


def dials_of(kind: str) -> tuple[gr.Slider, gr.Radio, gr.CheckboxGroup]:
    """Offer the blocks and tokens of a network."""
    blocks, numbers = said(pictures.blocks_and_tokens, kind)
    names = [str(number + 1) for number in range(numbers)]
    return gr.Slider(maximum=blocks, value=1), gr.Radio(names, value="1"), gr.CheckboxGroup(names, value=[])


def tokens_tab(demo: gr.Blocks) -> None:
    """Lay out the third tab."""
    gr.Markdown(TOKENS)
    kinds = list(pictures.token_networks())
    if not kinds:
        gr.Markdown("*No Mobile-Former ships with this version.*")
        return
    picture = picture_row("tokens")
    blocks, numbers = pictures.blocks_and_tokens(kinds[0])
    names = [str(number + 1) for number in range(numbers)]
    with gr.Row():
        kind = gr.Radio(kinds, value=kinds[0], label="Mobile-Former trained on", elem_id="kind")
        block = gr.Slider(1, blocks, 1, step=1, label="block", elem_id="block")
        token = gr.Radio(names, value="1", label="token", elem_id="token")
    with gr.Row():
        cut = gr.CheckboxGroup(list(WIRES.values()), label="cut in all blocks", elem_id="cut", scale=2)
        silent = gr.CheckboxGroup(names, label="tokens that nobody hears", elem_id="silent")
    drawn = gr.Image(
        show_label=False, interactive=False, elem_id="bridge", format="png", buttons=["fullscreen"],
        alt_text="the picture, what the token reads, and which token each pixel hears most",
    )  # fmt: skip
    words = gr.Textbox(label="in words", interactive=False, elem_id="tokens_words", lines=3)
    chart = gr.Plot(show_label=False, elem_id="cut_chart")
    # In the queue of the networks: cuts of another event take blocks away while they last.
    kind.change(dials_of, kind, [block, token, silent], api_visibility="private", show_progress="hidden", **ALONE)
    live([demo.load], tokens, "tokens", [picture, kind, block, token, cut, silent], [drawn, chart, words])


def live(starts: list, answer: Callable, name: str, inputs: list, outputs: list, more: tuple = ()) -> None:
    """Let a function answer at some events, and whenever an input is changed.

    Networks run one at a time: a measured time is to be that of one network, and cuts are those of one reader.
    """
    gr.on(
        [*starts, *(part.change for part in inputs)], answer, [*inputs, *more], outputs, api_name=name,
        trigger_mode="always_last", show_progress="minimal", **ALONE,
    )  # fmt: skip


# --- Budget -----------------------------------------------------------------------------------------------------------


def budget(convention: str, millions: float, milliseconds: float, raced: desk.Race | None) -> tuple[Any, Any, str]:
    """Name the most accurate networks within two budgets."""
    raced = raced or desk.opening_race()
    words, by_cost, by_time = said(desk.told_of_budget, raced, convention, float(millions), float(milliseconds))
    charts = (
        draw.accuracy_chart(desk.budget_marks(convention), "MAdds (M)", budget=float(millions), winner=by_cost),
        draw.accuracy_chart(
            desk.marks(raced, convention)[1], "ms an image, here", budget=float(milliseconds), winner=by_time
        ),
    )
    return *(each.fig for each in charts), words


def dial(size: str, tokens: float, dim: float) -> tuple[Any, str]:
    """Count a Mobile-Former with other tokens."""
    rows = said(desk.dial_rows, size, int(tokens), int(dim))
    return draw.parts_chart(rows).fig, desk.told_of_dials(size, int(tokens), int(dim))


def budget_tab(demo: gr.Blocks, raced: gr.State) -> None:
    """Lay out the last tab."""
    with gr.Row():
        convention = gr.Radio(
            list(facts.CONVENTIONS), value=facts.CONVENTIONS[0], label="MAdds", elem_id="budget_convention"
        )
        millions = gr.Slider(3, 520, 25, step=1, label="MAdds up to (M)", elem_id="millions")
        milliseconds = gr.Slider(0.5, 100, 10, step=0.5, label="ms up to", elem_id="milliseconds")
    words = gr.Textbox(label="in words", interactive=False, elem_id="budget_words", lines=2)
    with gr.Row():
        with gr.Column(min_width=440):
            by_cost = gr.Plot(show_label=False, elem_id="budget_cost")
        with gr.Column(min_width=440):
            by_time = gr.Plot(show_label=False, elem_id="budget_time")
    controls = [convention, millions, milliseconds]
    live([demo.load, raced.change], budget, "budget", controls, [by_cost, by_time, words], (raced,))
    with gr.Row():
        with gr.Column(min_width=440):
            gr.Markdown("### What Dynamic Shift-Max adds")
            gr.Plot(draw.parts_chart(*desk.activation_rows()).fig, show_label=False, elem_id="shift_max")
        with gr.Column(min_width=440):
            gr.Markdown("### Mobile-Former: M tokens of width d")
            with gr.Row():
                size = gr.Dropdown([*desk.SIZES], value="294m", label="variant", elem_id="size", min_width=100)
                tokens = gr.Slider(1, 12, 6, step=1, label="tokens", elem_id="dials_tokens", min_width=140)
                dim = gr.Slider(32, 320, 192, step=32, label="width", elem_id="dim", min_width=140)
            parts = gr.Plot(show_label=False, elem_id="parts")
            told = gr.Textbox(label="in words", interactive=False, elem_id="dial_words", lines=3)
    live([demo.load], dial, "dial", [size, tokens, dim], [parts, told])


def build() -> gr.Blocks:
    """Lay out the app."""
    theme.apply()
    with gr.Blocks(title="Tiny networks", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        with gr.Tab("Race"):
            raced = race_tab(demo)
        with gr.Tab("Classify"):
            classify_tab(demo)
        with gr.Tab("Tokens"):
            tokens_tab(demo)
        with gr.Tab("Budget"):
            budget_tab(demo, raced)
        with gr.Tab("How it works"):
            gr.Markdown(ABOUT, elem_id="about")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    torch.set_num_threads(1)  # what is measured is said to be measured so
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; this machine only by default")
    parser.add_argument("--port", type=int, help="port; the first free one from 7860 by default")
    asked = parser.parse_args()
    if asked.port is not None and not 1 <= asked.port <= 65535:
        parser.error(f"port: expected a whole number from 1 to 65535, got {asked.port}")
    main(server_name=asked.host, server_port=asked.port)

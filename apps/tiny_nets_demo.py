"""MicroNet and Mobile-Former: race tiny networks on your own machine, let them classify, and see what costs what.

Run it with ``python apps/tiny_nets_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

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
    from visionlab.show import theme
    from visionlab.show import tiny_nets as draw
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

PROGRESS, LARGEST = gr.Progress(), 224  # pixels of a side that are kept
TITLES = {network.title: name for name, network in facts.NETWORKS.items()}
TABLE = {"interactive": False, "datatype": "str", "max_height": 420, "wrap": True}
RACED = [
    "network", "form", "params (M)", "MAdds published (M)", "MAdds counted (M)", "activations (M)", "ms an image",
    "top-1 (%)", "top-1 from", "pixels",
]  # fmt: skip
ANSWERED = ["network", "trained on", "says", "or else", "ms", "MAdds (M)", "params (M)", "right on test (%)"]
INTRO = """# Tiny networks
**MicroNet** keeps a network wide and cuts its connections; **Mobile-Former** lets a few tokens tell the convolutions
what the whole image is about. Both spend few *multiply-adds* (MAdds). Do they also spend little *time*? Here is your
machine: ask it."""


def said(function: Callable, *values: Any, **more: Any) -> Any:
    """Call the library, and show its refusals on the page."""
    try:
        return function(*values, **more)
    except ValueError as error:
        raise gr.Error(str(error)) from error


# --- Race -------------------------------------------------------------------------------------------------------------


def race(names: list[str], forms: list[str], batch: int, threads: int, limit: float, progress=PROGRESS) -> desk.Race:
    """Measure networks here."""
    return said(
        desk.race, [TITLES.get(name, name) for name in names], forms=forms, batch=int(batch), threads=int(threads),
        limit=float(limit), hook=lambda what, share: progress(share, desc=what),
    )  # fmt: skip


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
            list(facts.CONVENTIONS), value=facts.CONVENTIONS[0], label="MAdds", elem_id="convention", scale=2
        )
        target = gr.Slider(40, 80, 60, step=1, label="at least (% on ImageNet)", elem_id="target")
        limit = gr.Slider(2, 60, 15, step=1, label="measure for (s)", elem_id="limit")
    go = gr.Button("measure on this machine", variant="primary", elem_id="race")
    words = gr.Textbox(label="in words", interactive=False, elem_id="race_words", lines=3)
    with gr.Row():
        with gr.Column(min_width=440):
            by_cost = gr.Plot(show_label=False, elem_id="by_cost")
        with gr.Column(min_width=440):
            by_time = gr.Plot(show_label=False, elem_id="by_time")
    table = gr.Dataframe(headers=RACED, elem_id="race_table", **TABLE)
    shown = [by_cost, by_time, words, table]
    go.click(
        race, [names, forms, batch, threads, limit], raced, api_name="race", show_progress_on=words,
        concurrency_id="machine", concurrency_limit=1,
    ).success(chart, [convention, target, raced], shown, api_visibility="private", show_progress="hidden")  # fmt: skip
    gr.on(
        [demo.load, convention.change, target.change], chart, [convention, target, raced], shown, api_name="chart",
        trigger_mode="always_last", show_progress_on=words,
    )  # fmt: skip
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
    for kind in desk.KINDS:
        answers = said(desk.classify, image, kind)
        charts.append(draw.probability_chart({title: each.probabilities for title, each in answers.items()}).fig)
        rows += desk.answer_rows(answers)
    return [*charts, rows]


def classify_tab(demo: gr.Blocks, picture: gr.Image) -> None:
    """Lay out the second tab."""
    gr.Markdown("Each network knows only what it was trained on, and names everything else by that as well.")
    shown = []
    with gr.Row():
        for kind, known in desk.KINDS.items():
            with gr.Column(min_width=440):
                gr.Markdown(f"### Trained on {kind}")
                shown.append(gr.Plot(show_label=False, elem_id=f"said_{known}"))
    shown.append(gr.Dataframe(headers=ANSWERED, elem_id="answers", **TABLE))
    live(demo, [picture], classify, "classify", [picture], shown, concurrency_id="machine")


def live(demo: gr.Blocks, changed: list, answer: Callable, name: str, inputs: list, outputs: list, **more: Any) -> None:
    """Let a function answer at the start, and whenever something is changed."""
    gr.on(
        [demo.load, *(part.change for part in changed)], answer, inputs, outputs, api_name=name,
        trigger_mode="always_last", show_progress="hidden", **more,
    )  # fmt: skip


# --- Budget -----------------------------------------------------------------------------------------------------------


def budget(convention: str, millions: float, milliseconds: float, raced: desk.Race | None) -> tuple[Any, Any, str]:
    """Name the most accurate networks within two budgets."""
    raced = raced or desk.opening_race()
    words, by_cost, by_time = said(desk.told_of_budget, raced, convention, millions, milliseconds)
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
        millions = gr.Slider(3, 520, 25, step=1, label="budget of MAdds (M)", elem_id="millions")
        milliseconds = gr.Slider(0.5, 100, 10, step=0.5, label="budget of time (ms an image)", elem_id="milliseconds")
    words = gr.Textbox(label="in words", interactive=False, elem_id="budget_words", lines=2)
    with gr.Row():
        with gr.Column(min_width=440):
            by_cost = gr.Plot(show_label=False, elem_id="budget_cost")
        with gr.Column(min_width=440):
            by_time = gr.Plot(show_label=False, elem_id="budget_time")
    controls = [convention, millions, milliseconds]
    live(demo, [*controls, raced], budget, "budget", [*controls, raced], [by_cost, by_time, words])
    with gr.Row():
        with gr.Column(min_width=440):
            gr.Markdown("### What Dynamic Shift-Max adds")
            gr.Plot(draw.parts_chart(*desk.activation_rows()).fig, show_label=False, elem_id="shift_max")
        with gr.Column(min_width=440):
            gr.Markdown("### Mobile-Former: M tokens of width d")
            with gr.Row():
                size = gr.Dropdown([*desk.SIZES], value="294m", label="variant", elem_id="size", min_width=100)
                tokens = gr.Slider(1, 12, 6, step=1, label="tokens", elem_id="tokens", min_width=140)
                dim = gr.Slider(32, 320, 192, step=32, label="width", elem_id="dim", min_width=140)
            parts = gr.Plot(show_label=False, elem_id="parts")
            told = gr.Textbox(label="in words", interactive=False, elem_id="dial_words", lines=3)
    live(demo, [size, tokens, dim], dial, "dial", [size, tokens, dim], [parts, told])


def build() -> gr.Blocks:
    """Lay out the app."""
    torch.set_num_threads(1)  # what is measured is said to be measured so
    theme.apply()
    pictures = {name: to_pil_image(image) for name, image in desk.examples().items()}
    with gr.Blocks(title="Tiny networks", analytics_enabled=False) as demo:
        gr.Markdown(INTRO)
        with gr.Tab("Race"):
            raced = race_tab(demo)
        with gr.Tab("Classify"):
            with gr.Row():
                name = gr.Dropdown(list(pictures), value=next(iter(pictures)), label="picture", elem_id="name")
                picture = gr.Image(
                    label="or your own", type="pil", sources=["upload", "clipboard"], elem_id="upload", height=160,
                    value=next(iter(pictures.values())), buttons=[], alt_text="the chosen picture", format="png",
                )  # fmt: skip
            classify_tab(demo, picture)
        with gr.Tab("Budget"):
            budget_tab(demo, raced)
        name.change(lambda chosen: pictures[chosen], name, picture, api_name="example", show_progress="hidden")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "20mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

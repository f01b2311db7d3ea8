"""PNAL: mislabel objects of a room, watch a network learn from them, see who mends what, and look into your own scans.

Run it with ``python apps/noisy_points_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from tempfile import TemporaryDirectory
from typing import Any

try:
    import gradio as gr
    import torch

    from visionlab.data.cloud_files import SUFFIXES
    from visionlab.data.clouds import Cloud
    from visionlab.data.world.rooms import room
    from visionlab.experiments import pnal_desk as desk
    from visionlab.experiments import pnal_doubts as doubts
    from visionlab.experiments import pnal_live as training
    from visionlab.experiments import pnal_probe
    from visionlab.points.spoiled import NOISES, spoiled
    from visionlab.show import clouds as draw
    from visionlab.show import replayed, theme
    from visionlab.show.timeline import Timeline
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

PROGRESS, POINTS = gr.Progress(), 8000  # of a room of the world that is shown
COLOURS = [("class", "class"), ("right or wrong", "verdict"), ("as scanned", "rgb")]
RECORDED, BOTH = "recorded: PNAL, 60 % by object", "both, one after the other"
SIZES = "points in one by k-means; radius in thousandths by DBSCAN, published: 18"
TABLE = {"interactive": False, "datatype": "str", "max_height": 480}
OBJECTS = ["object", "true class", "points", "given label", "the label is"]
DOUBTS = ["rank", "cloud", "object", "given", "network says", "doubt", "points"]
INTRO = """# Wrong labels on points
**Who labels a scan of a room** names whole objects, some wrongly: a cabinet becomes a sofa. A network that learns from
it gets most points right at first; later it learns the wrong labels by heart. **PNAL** remembers what it said of each
point, trusts points of which it always says the same, and lets those of one small cluster vote; the winner becomes the
label of the whole cluster. It need not know how many labels are wrong."""
SPOIL = "Choose how labels go wrong. Turn rooms by mouse, click a name to hide a class. What hangs high is left out."
TRAIN = """**Train** on {size.rooms} rooms of {size.points} points, for {size.epochs} epochs: some 12 s a method, more
if the machine is busy. **Replay** what you trained, or the recorded example: left the labels that were given, right the
truth, and between them what the method makes of them."""
POINT = """**Why does a point have its label?** Choose a point by its kind, or click on one in the tab before, where
training and room are chosen. The frame holds the predictions that are remembered: if all agree, the point is *trusted*,
and votes."""
OWN = """**Your own scan**: a labelled `.ply`, `.pcd` or `.npz`, with x, y, z (metres) and label, better also red,
green, blue and instance. At most {most:,} points of each are kept here. *One scan is little to learn from*: the list
below says where to look first, no more. For many scans, with all points: `visionlab clean-labels FOLDER --out NEW`."""
ABOUT = """### How it works
1. **Warm-up**: the network learns the given labels. The last q = 4 predictions of each training point are kept.
2. **Trust**: p, the share of the most frequent of them, gives u = −p ln p / ln K. If all agree, u = 0: trusted.
3. **Vote**: clusters were made before, by place and colour alone. Trusted points of a cluster vote, and the winner
   becomes the label of *all* its points.
4. **Train on** with these labels only. Points that have none yet do not count. Every epoch corrects again.

**What it cannot do.** A cluster that straddles two objects gets one label: *purity* is the most that correction can
reach. If most of what the network says is wrong, votes spread that; rare classes may vanish. Where few labels are
wrong, correcting can break more than it mends; `visionlab clean-labels` is more careful. Noise at boundaries is our own
definition: a point near another class gets that class. The paper is arXiv 2107.14230.

```python
from visionlab.data.clouds import load
from visionlab.points.clean import clean_labels, doubtful
cleaned = clean_labels(load("my/scans"), preset="quick")   # labels, doubt and probabilities of every point
doubtful(cleaned)[:10]                                     # the objects to look at first
```"""


def said(function: Callable, *values: Any, **more: Any) -> Any:
    """Call the library, and show its refusals on the page."""
    try:
        return function(*values, **more)
    except ValueError as error:
        raise gr.Error(str(error)) from error


def whole(name: str, value: float | None, low: int = 0, high: int = 2**31 - 1) -> int:
    """Return a number of the page as a whole one."""
    if value is None or not low <= value <= high or value != int(value):
        raise gr.Error(f"{name}: expected a whole number from {low} to {high}; got {value}")
    return int(value)


def spoil(number: float, kind: str, rate: float, seed: float, colour: str) -> tuple[Any, str, list[list[str]]]:
    """Mislabel objects of a room: it and the truth side by side, what came of it in words, and all its objects."""
    cloud = room(0, whole("room", number, 0, 10_000), points=POINTS)
    noise = said(spoiled, cloud, kind, rate, whole("seed", seed))
    figure = said(draw.cloud_figure, cloud, {"given labels": noise.labels, "truth": cloud.labels}, colour=colour)
    return figure, desk.told(cloud, noise, kind, rate), desk.objects(cloud, noise.labels)


@cache
def recorded_run() -> replayed.Run:
    """Return the run that the page opens with: some of its rooms, the curves of all."""
    timeline = Timeline(**pnal_probe.replay())
    return replayed.Run(timeline, *training.recorded_curves(), timeline.warmup)


def moment(name: str, runs: dict, room_name: str | None = None, epoch: float = 1) -> tuple[replayed.Run, int, int]:
    """Return a run, the place of a room in it, the first one if none is named, and an epoch, by what the page says."""
    known = {RECORDED: recorded_run()} | runs
    if name not in known:
        raise gr.Error(f"training: expected one of {', '.join(known)}; got {name!r}")
    place = 0 if room_name is None else said(known[name].place, room_name)
    return known[name], place, whole("epoch", epoch, 1, known[name].timeline.epochs)


def choose(name: str, runs: dict) -> tuple[Any, ...]:
    """Offer the epochs of a run, twice; draw its curves, and say how they ended."""
    run, _, _ = moment(name, runs)
    slider = gr.Slider(maximum=run.timeline.epochs, value=run.timeline.epochs)
    figure = replayed.progress_figure(run.curves, warmup=run.warmup)
    return slider, slider, figure, run.words


def replay(place: str, epoch: float, middle: str, colour: str, sized: bool, name: str, runs: dict) -> tuple:
    """Show a room of a run in an epoch, and say how many of its labels are right."""
    run, number, now = moment(name, runs, place, epoch)
    figure = said(replayed.replay_figure, run.timeline, number, now, middle=middle, colour=colour, sized=sized)
    return figure, replayed.told(run.timeline, number, now)


def train(which: str, kind: str, rate: float, seed: float, runs: dict, progress: gr.Progress = PROGRESS) -> Iterator:
    """Train by one method or both, and draw the curves after each epoch; each method gives a run to replay."""
    methods = list(training.METHODS) if which == BOTH else [which]
    live = training.live(rate, kind, methods, whole("seed", seed, 0, 9999), training.SIZE)
    while (epoch := said(next, live, None)) is not None:
        progress((epoch.done, epoch.of), desc=epoch.words if epoch.done < epoch.of else None)
        kept, menu, warmup = gr.skip(), gr.skip(), training.SIZE.warmup
        if epoch.done == epoch.of:
            about = f"{rate:g} % {kind}, seed {seed:g}"
            own = (epoch.curves, epoch.words, warmup)
            kept = runs | {f"{m}: {about}": replayed.Run(Timeline(**run), *own) for m, run in epoch.runs.items()}
            menu = gr.Dropdown([RECORDED, *kept], value=list(kept)[-1])
        yield replayed.progress_figure(epoch.curves, warmup=warmup), epoch.words, kept, menu


def point(number: float, epoch: float, room_name: str, name: str, runs: dict) -> tuple[Any, str, Any]:
    """Show a point in its cluster, what the network said of it and the votes, and all that in words."""
    run, place, now = moment(name, runs, room_name, epoch)
    chosen = (run.timeline, place, now, whole("point", number, 0, run.timeline.points - 1))
    return replayed.point_figure(*chosen), run.timeline.describe(*chosen[1:]), replayed.cluster_figure(*chosen)


def pick(kind: str, number: float, epoch: float, room_name: str, name: str, runs: dict) -> int:
    """Return another point of a kind, of another cluster if there is one."""
    run, place, now = moment(name, runs, room_name, epoch)
    found = said(replayed.another, run.timeline, place, now, kind, whole("point", number))
    if found is None:
        gr.Warning(f"In epoch {now}, no point of {room_name} is of this kind: {kind}.")
    return whole("point", number) if found is None else found


def open_files(paths: list[str] | None) -> tuple[Any, ...]:
    """Read labelled clouds, or take a room of the world if there are none."""
    clouds = said(desk.opened, paths) if paths else [room(0, 7, points=6000)]
    menu = gr.Dropdown(desk.menu(clouds), value=desk.menu(clouds)[0])
    told = "" if paths else "No file yet, so this is a room of the world, with true labels. "
    return clouds, menu, told + desk.described(clouds), "", gr.Column(visible=False)


def look(kind: str, rate: float, seed: float, colour: str, which: str, clouds: list[Cloud]) -> tuple[Any, str]:
    """Show a cloud, with its labels as they came or with noise."""
    cloud = said(desk.chosen, clouds, which)
    noise = said(spoiled, cloud, kind, rate, whole("seed", seed))
    title = "labels, some made wrong" if rate else "labels as they came"
    words = desk.told(cloud, noise, kind, rate) if rate else "Labels as they came."
    return said(draw.cloud_figure, cloud, {title: noise.labels}, colour=colour), words


def group(how: str, size: float, which: str, clouds: list[Cloud]) -> tuple[Any, str]:
    """Show the clusters of a cloud, each in a colour of its own, and say how pure they are."""
    found, purity = said(desk.grouped, cloud := said(desk.chosen, clouds, which), how, size)
    return draw.clusters_figure(cloud, found), desk.told_of_clusters(found, purity)


def clean(folder: TemporaryDirectory, kind: str, rate: float, seed: float, clouds: list, progress=PROGRESS) -> tuple:
    """Train on all the clouds: the objects whose labels are in doubt, what changed, and corrected files."""
    given = (clouds, kind, rate, whole("seed", seed), folder.name)
    found = said(doubts.doubted, *given, lambda step, steps, _: progress((step, steps)))
    figure = draw.object_figure(*doubts.looked_at(found, 1))
    return found.words, gr.Column(visible=True), found.rows, figure, found.files, found


def see(found: doubts.Doubted | None, event: gr.SelectData) -> Any:
    """Show the object of a row in its cloud; what was found is kept for an hour."""
    if found is None:
        raise gr.Error("this list is too old: find doubtful labels again")
    return draw.object_figure(*doubts.looked_at(found, int(event.row_value[0])))


def live(starts: list, answer: Callable, name: str, controls: list, outputs: list, more: tuple = ()) -> None:
    """Let a function answer at some events, and whenever a control is changed."""
    gr.on(
        [*starts, *(part.change for part in controls)], answer, [*controls, *more], outputs, api_name=name,
        trigger_mode="always_last", show_progress="hidden",
    )  # fmt: skip


def words(name: str, hint: str = "") -> gr.Textbox:
    """Lay out what is said."""
    return gr.Textbox(label="in words", placeholder=hint, interactive=False, elem_id=f"{name}_words", lines=2)


def picture(name: str) -> list:
    """Lay out a picture, and what is said of it."""
    return [gr.Plot(show_label=False, elem_id=f"{name}_plot"), words(name)]


def noise_controls(name: str, rate: int) -> list:
    """Lay out the kind of noise, its rate and seed."""
    return [
        gr.Radio(NOISES, value=NOISES[0], label="which labels go wrong", elem_id=f"{name}_kind", scale=3),
        gr.Slider(0, 90, rate, step=5, label="how many (%)", elem_id=f"{name}_rate", scale=2),
        gr.Number(0, precision=0, minimum=0, label="seed", elem_id=f"{name}_seed", min_width=90),
    ]


def spoil_tab(demo: gr.Blocks) -> None:
    """Lay out the first tab."""
    gr.Markdown(SPOIL)
    with gr.Row():
        noise = noise_controls("spoil", 40)
    with gr.Row():
        number = gr.Slider(0, 99, 2, step=1, label="room of the world", elem_id="number")
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="spoil_colour")
    outputs = [*picture("spoil"), gr.Dataframe(headers=OBJECTS, elem_id="spoil_table", **TABLE)]
    live([demo.load], spoil, "spoil", [number, *noise, colour], outputs)


def replay_tab(demo: gr.Blocks, runs: gr.State) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider]:
    """Lay out the second tab; return the choice of run and room, and the epochs of the third tab."""
    names, last = recorded_run().names, recorded_run().timeline.epochs
    gr.Markdown(TRAIN.format(size=training.SIZE))
    with gr.Row():
        noise = noise_controls("train", 60)
    with gr.Row():
        which = gr.Radio([BOTH, *training.METHODS], value=BOTH, label="train by", elem_id="method", scale=3)
        go = gr.Button("train", variant="primary", elem_id="train")
        stop = gr.Button("stop", variant="stop", elem_id="stop")
    with gr.Row():
        run = gr.Dropdown([RECORDED], value=RECORDED, label="training to replay", elem_id="run", scale=2)
        place = gr.Dropdown(names, value=names[0], label="room", elem_id="room")
        epoch = gr.Slider(1, last, last, step=1, label="epoch", elem_id="epoch")
    outputs = picture("replay")
    with gr.Row():
        middle = gr.Radio(replayed.MIDDLES, value=replayed.MIDDLES[0], label="in the middle", elem_id="middle")
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="replay_colour")
        sized = gr.Checkbox(True, label="larger where predictions agree", elem_id="sized")
    curve = picture("train")
    now = gr.Slider(1, last, last, step=1, label="epoch", elem_id="moment", scale=2, render=False)
    live([], replay, "replay", [place, epoch, middle, colour, sized], outputs, (run, runs))
    gr.on([demo.load, run.change], choose, [run, runs], [epoch, now, *curve], api_name="run").then(
        replay, [place, epoch, middle, colour, sized, run, runs], outputs, api_visibility="private"
    )
    started = go.click(train, [which, *noise, runs], [*curve, runs, run], api_name="train", show_progress_on=curve[1])
    stop.click(lambda: "Stopped.", None, curve[1], cancels=[started], api_visibility="private")
    return run, place, now


def point_tab(demo: gr.Blocks, runs: gr.State, run: gr.Dropdown, place: gr.Dropdown, now: gr.Slider) -> None:
    """Lay out the third tab."""
    gr.Markdown(POINT)
    with gr.Row():
        kind = gr.Radio(replayed.POINTS, value=replayed.POINTS[0], label="show a point", elem_id="point_kind", scale=3)
        go = gr.Button("another one", elem_id="another")
    with gr.Row():
        number = gr.Number(0, precision=0, minimum=0, label="number of the point", elem_id="point")
        now.render()
    shown = [*picture("point"), gr.Plot(show_label=False, elem_id="cluster_plot")]
    live([demo.load], point, "point", [number, now, place], shown, (run, runs))
    gr.on([demo.load, go.click, kind.change], pick, [kind, number, now, place, run, runs], number, api_name="pick")


def own_tab(demo: gr.Blocks, folder: TemporaryDirectory) -> None:
    """Lay out the fourth tab."""
    clouds, found = gr.State([], time_to_live=3600), gr.State(None, time_to_live=3600)
    gr.Markdown(OWN.format(most=desk.MOST))
    with gr.Row():
        files = gr.File(label="clouds", file_count="multiple", file_types=[*SUFFIXES], elem_id="files", height=200)
        with gr.Column():
            which = gr.Dropdown([], label="cloud", elem_id="cloud")
            opened = gr.Textbox(label="what was read", interactive=False, elem_id="opened", lines=2)
    with gr.Row():
        noise = noise_controls("own", 0)
    with gr.Row():
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="own_colour")
        how = gr.Radio(desk.CLUSTERS, value=desk.CLUSTERS[0], label="clusters", elem_id="how")
        size = gr.Slider(2, 200, 16, step=1, label="their size", info=SIZES, elem_id="size")
    with gr.Row():
        with gr.Column():
            labels = picture("own")
        with gr.Column():
            grouped = picture("clusters")
    go = gr.Button("find doubtful labels (half a minute)", variant="primary", elem_id="clean")
    told = words("clean", "A network learns from all the clouds; then come the objects that it doubts most.")
    with gr.Column(visible=False) as results:
        with gr.Row():
            table = gr.Dataframe(headers=DOUBTS, elem_id="doubts", **TABLE)
            seen = gr.Plot(show_label=False, elem_id="object_plot")
        kept = gr.File(label="corrected .ply", file_count="multiple", interactive=False, elem_id="kept")
    read = [clouds, which, opened, told, results]
    opening = gr.on([demo.load, files.change], open_files, files, read, api_name="open")
    for name, answer, controls, shown in (
        ("look", look, [*noise, colour], labels), ("group", group, [how, size], grouped),
    ):  # fmt: skip
        live([which.change], answer, name, controls, shown, (which, clouds))
        opening.then(answer, [*controls, which, clouds], shown, api_visibility="private", show_progress="hidden")
    cleaning = partial(clean, folder)
    go.click(
        cleaning, [*noise, clouds], [told, results, table, seen, kept, found], api_name="clean", show_progress_on=told
    )
    table.select(see, found, seen, api_visibility="private")


def build() -> gr.Blocks:
    """Lay out the app."""
    theme.apply()
    folder = TemporaryDirectory(prefix="visionlab-")
    with gr.Blocks(title="Wrong labels on points", analytics_enabled=False) as demo:
        runs = gr.State({}, time_to_live=3600)
        gr.Markdown(INTRO)
        with gr.Tab("Wrong labels"):
            spoil_tab(demo)
        with gr.Tab("Train and replay"):
            chosen = replay_tab(demo, runs)
        with gr.Tab("A point"):
            point_tab(demo, runs, *chosen)
        with gr.Tab("Your own"):
            own_tab(demo, folder)
        with gr.Tab("How it works"):
            gr.Markdown(ABOUT, elem_id="about")
        demo.load(js=draw.linked("replay_plot", "point"), api_visibility="private")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    torch.set_num_threads(2)
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "50mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

"""PNAL: mislabel objects of a room, watch a network learn from them, see who mends what, and look into your own scans.

Run it with ``python apps/noisy_points_demo.py``; the page opens at the address it prints.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

try:
    import gradio as gr
    import torch

    from visionlab.data.clouds import Cloud
    from visionlab.data.world.rooms import room
    from visionlab.experiments import pnal_desk as desk
    from visionlab.experiments import pnal_live as training
    from visionlab.points.clean import Cleaned
    from visionlab.show import clouds as draw
    from visionlab.show import replayed, theme
    from visionlab.show.timeline import Timeline
except ImportError as error:
    raise SystemExit(f"this app needs visionlab ({error}): run `make app` in the repository") from error

PROGRESS = gr.Progress()
POINTS = 8000  # of a room of the world that is shown
COLOURS = [("class", "class"), ("right or wrong", "verdict"), ("as scanned", "rgb")]
RECORDED, BOTH = "the recorded example: PNAL", "both, one after the other"
KEPT = 6  # trainings of one's own
SIZES = {"k-means": "points in a cluster, on average", "DBSCAN": "radius, in thousandths"}
OBJECTS = ["object", "true class", "points", "given label", "the label is"]
DOUBTS = ["rank", "cloud", "object", "given", "network says", "doubt", "points"]
INTRO = """# Wrong labels on points
**Who labels a scan of a room** names whole objects, and now and then wrongly: a cabinet becomes a sofa. A network that
learns from it gets most points right at first, and later learns the wrong labels by heart. **PNAL** remembers what the
network said of each point, trusts points of which it always says the same, and lets those of one small cluster vote;
the winner becomes the label of the whole cluster. It need not know how many labels are wrong."""
SPOIL = """Choose how labels go wrong. Turn the rooms with the mouse; click a name below them to hide a class. The
highest part of a room is left out, so that one can look in; lines of the grid are 1 m apart."""
TRAIN = """**Train** on {size.rooms} rooms of {size.points} points, for {size.epochs} epochs: some 12 s a method, more if
the machine is busy. **Replay** what you trained, or the recorded example: left the labels that were given, right the
truth, and between them what the method makes of them."""
POINT = """**Why does a point have its label?** Of the training and the room in the tab before, choose a point by its kind,
or by its number, which the pointer shows there. The frame holds the predictions that are remembered: if all of them
agree, the point is *trusted*, and votes."""
OWN = """**Your own scan**: a labelled `.ply`, `.pcd` or `.npz`, with x, y, z (metres) and label, better also red, green,
blue and instance. At most {most:,} points of each are kept here. *One scan is little to learn from*: the list below says
where to look first, no more. For a folder of scans, and all their points: `visionlab clean-labels FOLDER --out NEW`."""
ABOUT = """### How it works
1. **Warm-up**: for some epochs the network learns the labels as they were given.
2. **Memory**: of each training point, the last q = 4 predictions are kept.
3. **Trust**: the share p of the most frequent of them gives u = −p ln p / ln K. If all agree, p = 1 and u = 0: trusted.
   (u is not monotone, 1 of 4 has the same as 2 of 4; at a threshold near 0 that does no harm.)
4. **Vote**: points were put into small clusters before, by place and colour alone. Trusted points of a cluster vote,
   and the winner becomes the label of *all* its points.
5. **Train on** with these labels only. Points that have none yet do not count. Every epoch corrects again.

**What it cannot do.** A cluster that straddles two objects gets one label: *purity* is the most that correction can
reach. If most of what the network says is wrong, votes spread that; rare classes may vanish. Where few labels are wrong,
correcting can break more than it mends; `visionlab clean-labels` is more careful than the method itself. Look-alikes
are door and wall, chair and sofa, table and shelf, lamp and clutter: a third of the wrong labels go there. Noise at
boundaries is our own definition: a point near another class gets that class. The paper is arXiv 2107.14230.

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


# --- Wrong labels -----------------------------------------------------------------------------------------------------


def spoil(number: float, kind: str, rate: float, seed: float, colour: str) -> tuple[Any, str, list[list[str]]]:
    """Mislabel objects of a room: it and the truth side by side, what came of it in words, and all its objects."""
    cloud = room(0, whole("room", number, 0, 10_000), points=POINTS)
    noise = said(desk.spoiled, cloud, kind, rate, whole("seed", seed))
    panels = {"given labels": noise.labels, "truth": cloud.labels}
    figure = said(draw.cloud_figure, cloud, panels, colour=colour, camera="spoil")
    return figure, desk.told(cloud, noise, kind, rate), desk.objects(cloud, noise.labels)


# --- Train, replay ----------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A training to replay, and the curves of it and of what was trained beside it."""

    timeline: Timeline
    curves: dict[str, dict[str, list[float]]]


@cache
def recorded_timeline() -> Timeline:
    """Return the run that the page opens with."""
    *_, last = training.live(60, methods=["PNAL"], size=training.Size(rooms=24, epochs=10, warmup=4, tested=2))
    return Timeline(**(last.run or {}))


def run_of(name: str, runs: dict[str, Run]) -> Run:
    """Return a run by its name in the menu."""
    if name == RECORDED:
        return Run(recorded_timeline(), {"PNAL": replayed.curves_of(recorded_timeline())})
    if name not in runs:
        raise gr.Error(f"training: expected one of {', '.join([RECORDED, *runs])}; got {name!r}")
    return runs[name]


def moment(name: str, room_name: str, epoch: float, runs: dict[str, Run]) -> tuple[Timeline, int, int]:
    """Return a run, the place of a room in it, and an epoch, by what the page says."""
    run = run_of(name, runs).timeline
    names = [run.name(place) for place in range(run.rooms)]
    if room_name not in names:
        raise gr.Error(f"room: expected one of {', '.join(names)}; got {room_name!r}")
    return run, names.index(room_name), whole("epoch", epoch, 1, run.epochs)


def choose(name: str, runs: dict[str, Run]) -> tuple[Any, ...]:
    """Offer the rooms and the epochs of a run, the latter twice, and draw its curves."""
    run, curves = run_of(name, runs)
    names = [run.name(place) for place in range(run.rooms)]
    shaded = run.warmup if "PNAL" in curves and run.warmup < run.epochs else training.SIZE.warmup
    slider = gr.Slider(maximum=run.epochs, value=run.epochs)
    return gr.Dropdown(names, value=names[0]), slider, slider, replayed.progress_figure(curves, warmup=shaded)


def replay(
    name: str, room_name: str, epoch: float, middle: str, colour: str, sized: bool, runs: dict[str, Run]
) -> tuple[Any, str]:
    """Show a room of a run in an epoch, and say how many of its labels are right."""
    run, place, now = moment(name, room_name, epoch, runs)
    figure = said(replayed.replay_figure, run, place, now, middle=middle, colour=colour, sized=sized)
    return figure, replayed.told(run, place, now)


def train(
    which: str, kind: str, rate: float, seed: float, runs: dict[str, Run], progress: gr.Progress = PROGRESS
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Train by one method or both, and draw the curves after each epoch; each method gives a run to replay."""
    methods = list(training.METHODS) if which == BOTH else [which]
    curves: dict[str, dict[str, list[float]]] = {}
    mine: dict[str, Timeline] = {}
    live = training.live(rate, kind, methods, whole("seed", seed, 0, 9999))
    while (epoch := said(next, live, None)) is not None:
        curves[epoch.method] = epoch.curves
        ended = methods.index(epoch.method) * epoch.of + epoch.done
        progress((ended, epoch.of * len(methods)), desc=f"{epoch.method}, epoch {epoch.done}")
        words, kept, menu = f"{epoch.method}: epoch {epoch.done} of {epoch.of} is done.", gr.skip(), gr.skip()
        if epoch.run:
            mine[f"{rate:g} % {kind}, seed {seed:g}: {epoch.method}"] = Timeline(**epoch.run)
        if len(mine) == len(methods):
            kept = dict(list((runs | {name: Run(run, curves) for name, run in mine.items()}).items())[-KEPT:])
            words, menu = training.outcome(curves), gr.Dropdown([RECORDED, *kept], value=list(kept)[-1])
        yield replayed.progress_figure(curves, warmup=training.SIZE.warmup), words, kept, menu


# --- A point ----------------------------------------------------------------------------------------------------------


def point(number: float, epoch: float, name: str, room_name: str, runs: dict[str, Run]) -> tuple[Any, Any, str]:
    """Show a point in its cluster, what the network said of it and the votes, and all that in words."""
    run, place, now = moment(name, room_name, epoch, runs)
    chosen = whole("point", number, 0, run.points - 1)
    pictures = (draws(run, place, now, chosen) for draws in (replayed.point_figure, replayed.cluster_figure))
    return *pictures, run.describe(place, now, chosen)


def pick(kind: str, number: float, epoch: float, name: str, room_name: str, runs: dict[str, Run]) -> int:
    """Return another point of a kind, of another cluster if there is one."""
    run, place, now = moment(name, room_name, epoch, runs)
    found = said(replayed.another, run, place, now, kind, whole("point", number))
    if found is None:
        gr.Warning(f"In epoch {now}, no point of {room_name} is of this kind: {kind}.")
    return whole("point", number) if found is None else found


# --- One's own --------------------------------------------------------------------------------------------------------


def open_files(paths: list[str] | None) -> tuple[list[Cloud], Any, str]:
    """Read labelled clouds, or take a room of the world if there are none."""
    clouds = said(desk.opened, paths) if paths else [room(0, 7, points=6000)]
    names = [f"{i}. {cloud.name}" for i, cloud in enumerate(clouds, 1)]
    words = "" if paths else "No file yet, so this is a room of the world, with true labels. "
    return clouds, gr.Dropdown(choices=names, value=names[0]), words + desk.described(clouds)


def cloud_of(clouds: list[Cloud], which: str | None) -> Cloud:
    """Return a cloud by its name in the menu."""
    place = str(which).split(".", maxsplit=1)[0]
    if not place.isdigit() or not 1 <= int(place) <= len(clouds):
        raise gr.Error(f"cloud: expected one of the {len(clouds)} in the menu; got {which!r}")
    return clouds[int(place) - 1]


def look(which: str, kind: str, rate: float, seed: float, colour: str, clouds: list[Cloud]) -> tuple[Any, str]:
    """Show a cloud, with its labels as they came or with noise."""
    cloud = cloud_of(clouds, which)
    noise = said(desk.spoiled, cloud, kind, rate, whole("seed", seed))
    title = "labels, some made wrong" if rate else "labels as they came"
    figure = said(draw.cloud_figure, cloud, {title: noise.labels}, colour=colour, camera="own")
    return figure, desk.told(cloud, noise, kind, rate) if rate else "Labels as they came."


def group(which: str, how: str, size: float, clouds: list[Cloud]) -> tuple[Any, str]:
    """Show the clusters of a cloud, each in a colour of its own, and say how pure they are."""
    cloud = cloud_of(clouds, which)
    found, purity = said(desk.grouped, cloud, how, size)
    return draw.clusters_figure(cloud, found, camera="clusters"), desk.told_of_clusters(found, purity)


def clean(
    folder: Path, kind: str, rate: float, seed: float, clouds: list[Cloud], progress: gr.Progress = PROGRESS
) -> tuple[Any, ...]:  # fmt: skip
    """Train on all the clouds: the objects whose labels are in doubt, what changed, and corrected files."""
    if not clouds:
        raise gr.Error("cloud: open a file first.")
    labels = [said(desk.spoiled, cloud, kind, rate, whole("seed", seed)).labels for cloud in clouds]
    given = [replace(cloud, labels=each) for cloud, each in zip(clouds, labels, strict=True)]
    found = said(desk.cleaned, given, lambda step, steps, _: progress((step, steps), desc="training"))
    rows = desk.rows(desk.doubts(found), given)
    return rows, desk.verdict(clouds, given, found), list(map(str, desk.corrected_files(found, folder))), found


def see(found: list[Cleaned], event: gr.SelectData) -> Any:
    """Show the object of a row in its cloud."""
    doubt = desk.doubts(found)[event.index[0]]
    cloud = found[doubt.cloud].cloud
    title = f"{cloud.name}: given {cloud.classes[doubt.given]}, the network says {cloud.classes[doubt.proposed]}"
    return draw.object_figure(cloud, desk.member(cloud, doubt), title)


# --- Layout -----------------------------------------------------------------------------------------------------------


def live(demo: gr.Blocks, answer: Callable, name: str, controls: list, outputs: list, more: tuple = ()) -> None:
    """Let a function answer at the start, and whenever a control is changed."""
    gr.on(
        [demo.load, *(part.change for part in controls)], answer, [*controls, *more], outputs, api_name=name,
        trigger_mode="always_last", show_progress="hidden",
    )  # fmt: skip


def scene(name: str) -> gr.Plot:
    """Lay out a picture."""
    return gr.Plot(show_label=False, elem_id=name)


def words(name: str, value: str = "") -> gr.Textbox:
    """Lay out what is said of a picture."""
    return gr.Textbox(value, label="in words", interactive=False, elem_id=name, lines=2)


def table(name: str, heads: list[str]) -> gr.Dataframe:
    """Lay out a table."""
    return gr.Dataframe(headers=heads, interactive=False, elem_id=name, datatype="str", max_height=340)


def noise_controls(name: str, rate: int) -> list:
    """Lay out the kind of noise, its rate and seed."""
    return [
        gr.Radio(desk.NOISES, value=desk.NOISES[0], label="which labels go wrong", elem_id=f"{name}_kind"),
        gr.Slider(0, 90, rate, step=5, label="how many (% of the points)", elem_id=f"{name}_rate"),
        gr.Number(0, precision=0, minimum=0, label="seed", elem_id=f"{name}_seed"),
    ]


def spoil_tab(demo: gr.Blocks) -> None:
    """Lay out the first tab."""
    gr.Markdown(SPOIL)
    with gr.Row():
        noise = noise_controls("spoil", 40)
    with gr.Row():
        number = gr.Slider(0, 99, 2, step=1, label="room of the world", elem_id="number")
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="spoil_colour")
    outputs = [scene("spoil_plot"), words("spoil_words"), table("spoil_table", OBJECTS)]
    live(demo, spoil, "spoil", [number, *noise, colour], outputs)


def train_group(runs: gr.State) -> tuple[list, list]:
    """Lay out what is needed to train; return the events to be bound, and the words."""
    with gr.Row():
        noise = noise_controls("train", 60)
    with gr.Row():
        which = gr.Radio([BOTH, *training.METHODS], value=BOTH, label="train by", elem_id="method", scale=3)
        go = gr.Button("train", variant="primary", elem_id="train")
        stop = gr.Button("stop", variant="stop", elem_id="stop")
    return [go, stop], [which, *noise, runs]


def replay_tab(demo: gr.Blocks, runs: gr.State) -> tuple[gr.Dropdown, gr.Dropdown, gr.Slider]:
    """Lay out the second tab; return the choice of run and room, and the epochs of the third tab."""
    first = recorded_timeline()
    names, last = [first.name(place) for place in range(first.rooms)], first.epochs
    gr.Markdown(TRAIN.format(size=training.SIZE))
    (go, stop), asked = train_group(runs)
    with gr.Row():
        run = gr.Dropdown([RECORDED], value=RECORDED, label="training to replay", elem_id="run")
        place = gr.Dropdown(names, value=names[0], label="room", elem_id="room")
        epoch = gr.Slider(1, last, last, step=1, label="epoch", elem_id="epoch")
    plot, told = scene("replay_plot"), words("replay_words")
    with gr.Row():
        middle = gr.Radio(replayed.MIDDLES, value=replayed.MIDDLES[0], label="in the middle", elem_id="middle")
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="replay_colour")
        sized = gr.Checkbox(True, label="larger where predictions agree", elem_id="sized")
    curves, ended = (
        scene("curves"),
        words("train_words", "Nothing was trained yet: the curves are of the recorded example."),
    )
    now = gr.Slider(1, last, last, step=1, label="epoch", elem_id="moment", render=False)
    asks = [run, place, epoch, middle, colour, sized]
    live(demo, replay, "replay", asks[1:], [plot, told], (runs,))
    gr.on([demo.load, run.change], choose, [run, runs], [place, epoch, now, curves], api_name="run").then(
        replay, [*asks, runs], [plot, told], api_visibility="private", show_progress="hidden"
    )
    started = go.click(train, asked, [curves, ended, runs, run], api_name="train", concurrency_limit=1)
    stop.click(lambda: "Stopped.", None, ended, cancels=[started], api_visibility="private")
    return run, place, now


def point_tab(demo: gr.Blocks, runs: gr.State, run: gr.Dropdown, place: gr.Dropdown, now: gr.Slider) -> None:
    """Lay out the third tab."""
    gr.Markdown(POINT)
    with gr.Row():
        kind = gr.Dropdown(replayed.POINTS, value=replayed.POINTS[0], label="show a point", elem_id="point_kind")
        go = gr.Button("another one", elem_id="another")
        number = gr.Number(0, precision=0, minimum=0, label="number of the point", elem_id="point")
        now.render()
    history, told, cluster = scene("history_plot"), words("point_words"), scene("cluster_plot")
    asks = [number, now, run, place]
    gr.on([demo.load, *(part.change for part in (number, now, place))], point, [*asks, runs], [history, cluster, told],
          api_name="point", trigger_mode="always_last", show_progress="hidden")  # fmt: skip
    gr.on([demo.load, go.click, kind.change], pick, [kind, *asks, runs], number, api_name="pick")


def own_tab(demo: gr.Blocks, folder: Path) -> None:
    """Lay out the fourth tab."""
    clouds, found = gr.State([], time_to_live=3600), gr.State([], time_to_live=3600)
    gr.Markdown(OWN.format(most=desk.MOST))
    with gr.Row():
        files = gr.File(label="labelled .ply, .pcd or .npz", file_count="multiple", file_types=[".ply", ".pcd", ".npz"],
                        elem_id="files", height=150)  # fmt: skip
        with gr.Column():
            which = gr.Dropdown([], label="cloud", elem_id="cloud")
            opened = gr.Textbox(label="what was read", interactive=False, elem_id="opened", lines=2)
    with gr.Row():
        noise = noise_controls("own", 0)
    with gr.Row():
        colour = gr.Radio(COLOURS, value="class", label="colour", elem_id="own_colour")
        how = gr.Radio(desk.CLUSTERS, value=desk.CLUSTERS[0], label="clusters", elem_id="how")
        size = gr.Slider(2, 200, 16, step=1, label=SIZES[desk.CLUSTERS[0]], elem_id="size")
    with gr.Row():
        with gr.Column():
            labels = [scene("own_plot"), words("own_words")]
        with gr.Column():
            clusters = [scene("clusters_plot"), words("clusters_words")]
    go = gr.Button("find doubtful labels (some ten seconds)", variant="primary", elem_id="clean")
    verdict, doubts = words("clean_words"), table("doubts", DOUBTS)
    seen = scene("object_plot")
    kept = gr.File(label="corrected .ply", file_count="multiple", interactive=False, elem_id="kept", height=110)
    gr.on([demo.load, files.change], open_files, files, [clouds, which, opened], api_name="open").then(
        lambda: ([], "", None, None, []), None, [doubts, verdict, seen, kept, found], api_visibility="private"
    )
    gr.on([part.change for part in (which, clouds, *noise, colour)], look, [which, *noise, colour, clouds], labels,
          api_name="look", trigger_mode="always_last", show_progress="hidden")  # fmt: skip
    gr.on([part.change for part in (which, clouds, size)], group, [which, how, size, clouds], clusters,
          api_name="group", trigger_mode="always_last", show_progress="minimal")  # fmt: skip
    how.change(lambda how: gr.Slider(value=16 if how == desk.CLUSTERS[0] else 18, label=SIZES[how]), how, size,
               api_visibility="private")  # fmt: skip
    go.click(partial(clean, folder), [*noise, clouds], [doubts, verdict, kept, found], api_name="clean",
             concurrency_limit=1, show_progress_on=verdict)  # fmt: skip
    doubts.select(see, found, seen, api_visibility="private")


def build() -> gr.Blocks:
    """Lay out the app."""
    torch.set_num_threads(2)
    theme.apply()
    folder = tempfile.TemporaryDirectory(prefix="visionlab-")
    with gr.Blocks(title="Wrong labels on points", analytics_enabled=False) as demo:
        demo.folder = folder  # which is emptied with the app
        runs = gr.State({}, time_to_live=3600)
        gr.Markdown(INTRO)
        with gr.Tab("Wrong labels"):
            spoil_tab(demo)
        with gr.Tab("Train and replay"):
            chosen = replay_tab(demo, runs)
        with gr.Tab("A point"):
            point_tab(demo, runs, *chosen)
        with gr.Tab("Your own"):
            own_tab(demo, Path(folder.name))
        with gr.Tab("How it works"):
            gr.Markdown(ABOUT, elem_id="about")
    return demo


def main(**options: object) -> None:
    """Start the server on this machine only, unless told otherwise."""
    defaults = {"server_name": "127.0.0.1", "theme": gr.themes.Soft(), "ssr_mode": False, "max_file_size": "50mb"}
    build().queue(max_size=16, default_concurrency_limit=1).launch(**(defaults | options))


if __name__ == "__main__":
    main()

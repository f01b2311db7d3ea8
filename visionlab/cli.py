"""The command line: visionlab list, run, show, weights, data, lab, app, audit, poison, watermark, clean-labels,
bench, export. Each has --help.
"""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import platformdirs
import tyro

from visionlab.cli_networks import bench, export
from visionlab.cli_points import clean_labels
from visionlab.cli_protection import audit, poison
from visionlab.cli_watermark import embed, train, verify, watermark, wrap
from visionlab.papers import PAPERS
from visionlab.show.progress import bar

__all__ = ["main"]

Device = Literal["auto", "cpu", "cuda", "mps"]


def list_() -> None:
    """List the papers with their labs, apps, experiments and networks."""
    for paper in PAPERS:
        print(paper.title + (f" ({paper.authors}, arXiv {paper.arxiv})" if paper.arxiv else ""))
        print(f"  lab          labs/{paper.lab}.ipynb")
        if paper.app:
            print(f"  app          apps/{paper.app}.py")
        print(f"  code         {paper.front}")
        print(f"  experiments  {', '.join(paper.experiments)}")
        print(f"  networks     {', '.join(paper.models) or 'none'}")


def run(
    experiment: tyro.conf.Positional[str],
    preset: str = "quick",
    seeds: tuple[int, ...] = (0,),
    variants: tuple[str, ...] = (),
    data: str | None = None,
    device: Device = "auto",
    out: Path | None = None,
    record: bool = False,
) -> None:
    """Run an experiment, with a bar; a run that was stopped goes on where it was when it is started again.

    Args:
        experiment: its name, see `visionlab list`; with --record also "all".
        preset: quick, long, gpu or paper.
        seeds: one run of each variant a seed.
        variants: which variants; all of the preset by default.
        data: which data; the experiment's first by default.
        device: where to train.
        out: a JSON file for the result.
        record: run the `long` preset on the committed seeds and put the result into the package, saying what moved.
    """
    from visionlab.experiments.experiment import find, names

    if record:
        for name in [n for n in names() if find(n).seeds] if experiment == "all" else [experiment]:
            _record(name, device)
        return
    chosen = find(experiment)
    result = chosen.run(
        preset, seeds=seeds, variants=variants or None, data=data, device=device, hooks=bar, folder=_runs()
    )
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return
    _print_result(result)
    for claim in chosen.claims:
        if set(claim.variants) <= set(result.variants):
            print(claim.judge(result))
    if out is not None:
        print(f"written to {result.save(out)}")


def show(what: tyro.conf.Positional[Literal["claims", "recorded"]] = "claims") -> None:
    """Show the verdict on each claim, or the numbers of each recorded result.

    Args:
        what: claims or recorded.
    """
    from visionlab.experiments.experiment import find, names, recorded

    for experiment in filter(lambda found: found.seeds, map(find, names())):
        try:
            result = recorded(experiment.name)
        except FileNotFoundError:
            print(f"{experiment.name}: not recorded yet")
            continue
        if what == "recorded":
            print(f"{experiment.name}, preset {result.preset}, seeds {result.seeds}")
            _print_result(result)
        for claim in experiment.claims if what == "claims" else ():
            said = claim.judge(result)
            print(f"{experiment.name}  {said.status:13s} {said.difference!s:24s} {claim.statement} [{claim.source}]")


def weights(
    action: tyro.conf.Positional[Literal["list", "show", "train"]] = "list",
    name: tyro.conf.Positional[str] = "",
    device: Device = "auto",
) -> None:
    """List the weights that ship, show the card of one, or train one anew.

    Args:
        action: list, show or train.
        name: of the weights.
        device: where to train.
    """
    from visionlab import weights as shipped

    if action == "list":
        for each in shipped.names():
            card = shipped.card(each)
            print(f"{each}: {card.network.partition(':')[2]} trained on {card.data} ({card.metrics}); {card.licence}")
    elif action == "show":
        for key, value in vars(shipped.card(name)).items():
            print(f"{key}: {value}")
    else:
        from visionlab.experiments import ship

        card = ship.train(name, device=device, hooks=bar, runs=_runs())
        print(f"{name}: {card.metrics}, written to {shipped.folder()}")


def data(name: tyro.conf.Positional[str] = "", split: str = "train", download: bool = False) -> None:
    """List the known data sets, or look at one: its classes and how many images each has.

    `visionlab data make TASK` makes a set of the world, `visionlab data show TASK` draws one; both have --help.

    Args:
        name: of a data set, or a folder of class folders; without it, all known names.
        split: train, val or test.
        download: fetch the data set if it is missing.
    """
    from visionlab.data import images, world

    if not name:
        print(f"data sets: {', '.join(images.NAMES)}; a folder of class folders works too")
        print(f"they are kept in {images.data_root()} (change it with VISIONLAB_DATA)")
        print(f"tasks of the world, for data make and data show: {', '.join(world.TASKS)}")
        return
    found = images.load(name, split, download=download)
    print(f"{name}, {split}: {len(found)} images in {len(found.classes)} classes")
    for label, count in enumerate(found.labels.bincount(minlength=len(found.classes)).tolist()):
        print(f"  {found.classes[label]:24s} {count}")


def data_world(
    action: tyro.conf.Positional[Literal["make", "show"]],
    task: tyro.conf.Positional[str],
    split: str = "train",
    n: int | None = None,
    size: int = 64,
    style: str = "clean",
    seed: int = 0,
    knob: tuple[str, ...] = (),
    out: Path | None = None,
    form: Literal["imagefolder", "coco", "pairs", "table"] | None = None,
) -> None:
    """Make a set of the world, or find it in the cache, and write it as files; or show what its task asks.

    Args:
        action: make the set; or show its question, knobs and classes, with a picture of 24 images and their answers.
        task: what is asked of the images, see `visionlab data`.
        split: train, val or test; they never share a scene.
        n: images to make, 1000 by default; the first ones are the same for every n.
        size: side of the images in pixels.
        style: clean, textured, sketch, night, sensor, toon, infrared or paper.
        seed: another one gives other scenes.
        knob: settings of the task, NAME=VALUE; several values stand between commas.
        out: to make, a new folder for PNG files with their answers; to show, the picture, TASK.png by default.
        form: of the files; by default class folders for classes, COCO for boxes and captions, pairs for maps.
    """
    from visionlab.data.world import TASKS, cache_root, dataset, export
    from visionlab.data.world.export import check

    knobs = {name: _value(text) for name, _, text in (word.partition("=") for word in knob)}
    if task in TASKS and not set(knobs) <= set(TASKS[task].knobs):
        raise ValueError(f"knob: {task} has {', '.join(TASKS[task].knobs)}; got {', '.join(knobs)}")
    if form is not None and (action == "show" or out is None):
        raise ValueError("form: expected with `make` and --out alone, which says where the files go")
    if n is not None and action == "show":
        raise ValueError(f"n: expected with `make` alone; show draws 24 images; got {n}")
    if action == "make" and out is not None:
        out, form = check(task, out, form)
    count = 24 if action == "show" else 1000 if n is None else n
    found = dataset(task, split, count, size=size, style=style, seed=seed, **knobs)
    if action == "show":
        _show_task(found, TASKS[task].question, out or Path(f"{task}.png"))
    else:
        print(f"{task}, {split}: {len(found)} images, kept in {cache_root()} (change it with VISIONLAB_CACHE)")
    if action == "make" and out is not None:
        export(found, out, form, hook=bar("writing", unit="image"))
        print(f"written to {out} as {form}")


def lab(name: tyro.conf.Positional[str] = "", port: int = 8888, browser: bool = True) -> None:
    """Open JupyterLab on your own copy of the labs, made on first use; your answers stay in the copy.

    Args:
        name: a lab to open, for instance 03_cswin.
        port: of the server.
        browser: open a browser window.
    """
    copy = _learners_copy(_checkout("labs"))
    if name and not (copy / f"{name}.ipynb").is_file():
        raise ValueError(f"lab: no {name!r}; there are {', '.join(sorted(p.stem for p in copy.glob('*.ipynb')))}")
    _quieten_jupyter(Path(sys.prefix))
    page = f"/lab/tree/{name}.ipynb" if name else "/lab"
    options = [f"--ServerApp.root_dir={copy}", f"--port={port}", f"--LabApp.default_url={page}", "--LabApp.news_url="]
    options.append("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate")
    if not browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        # Containers run as root, which Jupyter refuses unless told that it is meant.
        options.append("--allow-root")
    raise SystemExit(subprocess.call([sys.executable, "-m", "jupyterlab", *options]))


def app(name: tyro.conf.Positional[str] = "") -> None:
    """Start an app in the browser.

    Args:
        name: for instance stripes_explorer; without it, all names.
    """
    folder = _checkout("apps")
    apps = sorted(path.stem for path in folder.glob("*.py"))
    if not name:
        print(f"apps: {', '.join(apps)}")
        return
    if name not in apps:
        raise ValueError(f"app: no {name!r}; there are {', '.join(apps)}")
    sys.argv[1:] = []  # they were read here; an app has options of its own
    runpy.run_path(str(folder / f"{name}.py"), run_name="__main__")


def _record(name: str, device: str) -> None:
    from visionlab.experiments.experiment import find, recorded_path
    from visionlab.experiments.result import Result

    experiment, path = find(name), recorded_path(name)
    before = Result.load(path) if path.exists() else None
    result = experiment.run("long", seeds=experiment.seeds, device=device, hooks=bar, folder=_runs())
    result.save(path)
    print(f"{name}: recorded in {path}")
    for claim in experiment.claims:
        new = claim.judge(result)
        try:
            old = claim.judge(before).status if before else "new"
        except KeyError:
            old = "new"
        print(f"  {claim.name}: {old} -> {new.status} ({new.difference})")


def _show_task(found: Any, question: str, out: Path) -> None:
    from visionlab.data.world.tasks import KNOBS
    from visionlab.show.world_sheet import sheet
    from visionlab.train.checkpoint import write_whole

    print(f"{found.task}: {question}")
    for name, value in found.knobs.items():
        print(f"  {name}={value}: {KNOBS[name]}")
    print(f"  classes  {', '.join(found.classes) or 'none'}")
    print(f"  picture  {write_whole(out, lambda file: file.write(sheet(found, question).png()))}")


def _value(text: str) -> Any:
    """A number, true or false, a word, or several of them between commas."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return [_value(part) for part in text.split(",")] if "," in text else text


def _print_result(result: Any) -> None:
    for variant in result.variants:
        metrics = dict.fromkeys(row.metric for row in result.rows if row.variant == variant)
        print(f"{variant}: " + "; ".join(f"{metric} {result.summary(variant, metric)}" for metric in metrics))


def _runs() -> Path:
    return platformdirs.user_cache_path("visionlab") / "runs"


def _quieten_jupyter(prefix: Path) -> None:
    """Keep dialogs away: open3d brings dash, whose source extension asks each user for a build; and no news."""
    labconfig, settings = prefix / "etc" / "jupyter" / "labconfig", prefix / "share" / "jupyter" / "lab" / "settings"
    for path, text in (
        (labconfig / "page_config.json", '{"buildCheck": false, "buildAvailable": false}'),
        (settings / "overrides.json", '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}'),
    ):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")


def _checkout(folder: str) -> Path:
    root = Path(__file__).resolve().parents[1] / folder
    if not root.is_dir():
        raise ValueError(f"{folder}: not part of the installed package; clone the repository and run it from there")
    return root


def _learners_copy(labs: Path) -> Path:
    copy = labs.parent / "my_labs"
    copy.mkdir(exist_ok=True)
    for notebook in labs.glob("*.ipynb"):
        if not (copy / notebook.name).exists():
            shutil.copy(notebook, copy / notebook.name)
    return copy


COMMANDS: dict[str, Callable[..., Any]] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (list_, run, show, weights, data, lab, app, audit, poison, watermark, clean_labels, bench, export)
}
WATERMARK: dict[str, Callable[..., Any]] = {command.__name__: command for command in (train, embed, wrap, verify)}
RESUMABLE = ("run ", "weights train ", "data make ", "data show ", "watermark train ", "clean-labels ", "audit ")


def main(args: list[str] | None = None) -> None:
    """Run the command line; what the user can mend is said in one line, with exit status 2."""
    words = sys.argv[1:] if args is None else args
    try:
        if words[:2] in (["data", "make"], ["data", "show"]):
            tyro.cli(data_world, prog="visionlab data", args=words[1:])
        elif words[:1] == ["watermark"]:
            tyro.extras.subcommand_cli_from_dict(
                WATERMARK, prog="visionlab watermark", description=watermark.__doc__, args=words[1:]
            )
        else:
            tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="visionlab", description=__doc__, args=words)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"visionlab: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt:
        goes_on = "; the same command goes on where it was" if " ".join(words).startswith(RESUMABLE) else ""
        print(f"\nvisionlab: stopped{goes_on}", file=sys.stderr)
        raise SystemExit(130) from None

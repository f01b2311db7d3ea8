"""Commands on backdoors: ``visionlab audit`` and ``visionlab poison``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import platformdirs
import tyro

__all__ = ["audit", "poison"]


def audit(
    checkpoint: tyro.conf.Positional[Path],
    model: str,
    data: str,
    train: str | None = None,
    reference: tuple[Path, ...] = (),
    level: Literal["quick", "full"] = "quick",
    out: Path = Path("audit.html"),
    seed: int = 0,
) -> None:
    """Check a classifier for backdoors, and write one report (HTML with plots, JSON beside it).

    An audit that was stopped goes on where it was when it is started again.

    Args:
        checkpoint: weights of the classifier; nothing in it is run.
        model: its name in timm, or that of weights that ship with visionlab.
        data: clean images that it was not trained on: a folder of class folders, or a known data set.
        train: what it was trained on, where that is at hand; three of the checks need it.
        reference: weights of classifiers of the same kind that are known to be clean.
        level: quick takes a minute or two on two cores; full adds Neural Cleanse and more images.
        out: the report.
        seed: of all that is drawn.
    """
    from tqdm.auto import tqdm

    from visionlab.data.images import load
    from visionlab.experiments import audit as audits
    from visionlab.protection.robustness import STANDARD
    from visionlab.show.report import report
    from visionlab.train.checkpoint import write_whole

    if out.suffix != ".html":
        raise ValueError(f"out: expected a name that ends in .html, got {out}")
    classes = load(data, size=32).classes
    digest = hashlib.sha256()
    for path in (checkpoint, *reference):
        if not path.is_file():
            raise FileNotFoundError(f"checkpoint: there is no file {path}")
        digest.update(path.read_bytes())
    networks = [audits.network_of(model, path, classes) for path in (checkpoint, *reference)]
    case = audits.case_for(networks[0], data, train, level, seed)
    digest.update(repr((model, data, train, level, seed)).encode())
    with tqdm(desc="checks", unit="check") as bar:

        def hook(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = audits.examine(
            case, level=level, references=networks[1:], key=digest.hexdigest(), hook=hook,
            folder=platformdirs.user_cache_path("visionlab") / "audits",
        )  # fmt: skip
    summary = audits.summary(found)
    page = report(f"{checkpoint.name} ({model})", summary, found.findings, list(STANDARD))
    write_whole(out, lambda file: file.write(page.encode()))
    write_whole(out.with_suffix(".json"), lambda file: file.write((json.dumps(summary, indent=1) + "\n").encode()))
    for name, row in summary["checks"].items():
        print(f"{name:22s} {row['score']:8.3f}  {row['meaning']}")
    print(f"{summary['verdict']}\nwritten to {out} and {out.with_suffix('.json')}")


def poison(
    data: tyro.conf.Positional[str],
    target: str,
    out: Path,
    trigger: Literal["ink", "badnets", "blend", "sig", "wanet"] = "ink",
    ratio: float = 0.1,
    split: str = "train",
    size: int = 32,
    layout: Literal["imagefolder", "backdoorbench"] = "imagefolder",
    seed: int = 0,
) -> None:
    """Write a poisoned copy of a data set, for research on defences; it says of itself what it is.

    Args:
        data: a known data set, or a folder of class folders.
        target: name of the class that the trigger shall open.
        out: a new folder.
        trigger: what is put on the images.
        ratio: share of the images that is poisoned.
        split: train, val or test.
        size: side of the images in pixels.
        layout: of the files; imagefolder holds all images, backdoorbench those with a trigger, under their own label.
        seed: decides which are poisoned.
    """
    from tqdm.auto import tqdm

    from visionlab.data.images import load
    from visionlab.experiments.poison_export import write_poisoned

    source = load(data, split, size=size)
    with tqdm(total=len(source), desc="writing", unit="image", delay=1) as bar:
        write_poisoned(
            source, out, trigger=trigger, target=target, ratio=ratio, layout=layout, seed=seed,
            hook=lambda done, total: bar.update(done - bar.n),
        )  # fmt: skip
    print(f"written to {out}: a poisoned copy of {data}, {split}, marked as such in README.txt and about.json")

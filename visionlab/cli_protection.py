"""Commands on backdoors: ``visionlab poison``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro

__all__ = ["poison"]


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

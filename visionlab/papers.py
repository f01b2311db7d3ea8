"""The one table of the papers, after lab 00 on the world: where the code, lab, app and experiments of each are.

It names things by strings, which are resolved when they are asked for; the README's table, the command line and the
contract tests are made from it. A new paper adds a row here and files of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPERS", "Paper", "table"]


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One paper, or the world.

    Args:
        key: short name, the prefix of its files and experiments.
        title: of the paper.
        teaches: what its lab lets the reader find out, in one sentence.
        front: the module that reads as the paper.
        lab: notebook in ``labs/`` without suffix.
        experiments: names in `visionlab.experiments`.
        authors: first author and year; none for the world.
        arxiv: identifier; none for the world.
        app: program in ``apps/`` without suffix, if there is one.
        models: networks registered with timm.
    """

    key: str
    title: str
    teaches: str
    front: str
    lab: str
    experiments: tuple[str, ...]
    authors: str = ""
    arxiv: str = ""
    app: str = ""
    models: tuple[str, ...] = ()


PAPERS = (
    Paper(
        key="world",
        title="Start here: the world, experiments, claims and evidence",
        teaches="what the labs train on, and how a result earns the word *shown*",
        front="visionlab.data.world",
        lab="00_start_here",
        experiments=("world/shapes", "world/tasks"),
    ),
    Paper(
        key="micronet",
        title="MicroNet: Improving Image Recognition with Extremely Low FLOPs",
        authors="Li et al., 2021",
        arxiv="2108.05894",
        teaches="how sparse wiring and a shuffle keep a tiny network wide, and why multiply-adds are not time",
        front="visionlab.backbones.micronet",
        lab="01_micronet",
        app="tiny_nets_demo",
        experiments=tuple(f"micronet/{name}" for name in ("wiring", "ingredients", "world", "time", "imagenet")),
        models=("micronet_m0", "micronet_m1", "micronet_m2", "micronet_m3"),
    ),
    Paper(
        key="mobile_former",
        title="Mobile-Former: Bridging MobileNet and Transformer",
        authors="Chen et al., 2021",
        arxiv="2108.05895",
        teaches="how a few tokens beside a MobileNet read the whole map and tell every pixel, for an eighth more cost",
        front="visionlab.backbones.mobile_former",
        lab="02_mobile_former",
        app="tiny_nets_demo",
        experiments=tuple(
            f"mobile_former/{name}"
            for name in ("majority", "tokens", "world", "detection", "detection-pyramid", "cost", "time", "imagenet")
        ),
        models=tuple(f"mobile_former_{size}m" for size in (26, 52, 96, 151, 214, 294, 508)),
    ),
    Paper(
        key="cswin",
        title="CSWin Transformer: A General Vision Transformer Backbone with Cross-Shaped Windows",
        authors="Dong et al., 2021",
        arxiv="2107.00652",
        teaches="why two crossing stripes see the whole image in two blocks, at the price of small windows",
        front="visionlab.backbones.cswin",
        lab="03_cswin",
        app="stripes_explorer",
        experiments=(
            "cswin/reach",
            "cswin/stripe-width",
            "cswin/same-colour",
            "cswin/positions-direction",
            "cswin/positions-colour",
            "cswin/segmentation",
            "cswin/detection",
            "cswin/world",
            "cswin/eurosat",
            "cswin/finetune",
        ),
        models=(
            "cswin_tiny_224",
            "cswin_small_224",
            "cswin_base_224",
            "cswin_large_224",
            "cswin_base_384",
            "cswin_large_384",
        ),
    ),
    Paper(
        key="pnal",
        title="Learning with Noisy Labels for Robust Point Cloud Segmentation",
        authors="Ye et al., 2021",
        arxiv="2107.14230",
        teaches="how a network's own first impressions, put to the vote, mend wrong labels of whole objects",
        front="visionlab.points.pnal",
        lab="08_pnal",
        app="noisy_points_demo",
        experiments=tuple(f"pnal/{name}" for name in ("noise", "correction", "control", "scans")),
    ),
    Paper(
        key="poison_ink",
        title="Poison Ink: Robust and Invisible Backdoor Attack",
        authors="Zhang et al., 2021",
        arxiv="2108.02488",
        teaches="how a trigger written on an image's edges survives flips and turns, and what still catches it",
        front="visionlab.protection.poison_ink",
        lab="09_poison_ink",
        app="poison_ink_demo",
        experiments=tuple(
            f"poison_ink/{name}"
            for name in ("hiding", "inks", "victims", "world", "schedules", "budget", "networks", "cifar10", "defences")
        ),
    ),
    Paper(
        key="watermark",
        title="Exploring Structure Consistency for Deep Model Watermarking",
        authors="Zhang et al., 2021",
        arxiv="2108.02360",
        teaches="why a thief who turns his pictures loses the logo in a network's answers, but not the mark on edges",
        front="visionlab.protection.watermark",
        lab="10_structure_watermark",
        app="watermark_demo",
        experiments=tuple(f"watermark/{name}" for name in ("theft", "colour-loss", "regions", "tasks", "controls")),
    ),
)


def table() -> str:
    """Return the table of labs that stands in the README (a test holds the two equal)."""
    lines = ["| lab | paper | what you find out | app | code |", "|---|---|---|---|---|"]
    for paper in PAPERS:
        title, _, _ = paper.title.partition(":")
        code = paper.front.replace(".", "/") + ("" if paper.key == "world" else ".py")
        published = f" ({paper.authors}, [{paper.arxiv}](https://arxiv.org/abs/{paper.arxiv}))" if paper.arxiv else ""
        cells = (
            f"[`{paper.lab}`](labs/{paper.lab}.ipynb)",
            title + published,
            paper.teaches,
            f"[`{paper.app}`](apps/{paper.app}.py)" if paper.app else "",
            f"[`{paper.front}`]({code})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)

"""Experiments on Poison Ink (arXiv 2108.02488): is ink found again, which triggers outlive a change of the image?"""

from __future__ import annotations

from typing import Any

from visionlab.data import world
from visionlab.experiments import poison_ink_defences as defences
from visionlab.experiments.claim import Claim, Kept
from visionlab.experiments.experiment import Experiment
from visionlab.experiments.poison_ink_inks import INKS
from visionlab.experiments.poison_ink_scope import BUDGET, NETWORKS, PHOTOGRAPHS, SCHEDULES
from visionlab.experiments.poison_ink_victims import (
    AFTER,
    ATTACKS,
    HIDERS,
    HIDING_CODE,
    HIDING_RECIPE,
    LARGE_HIDING,
    LARGE_VICTIM,
    STEALTH_CODE,
    VICTIM_CODE,
    VICTIM_RECIPE,
    Hiding,
    Victims,
    detection,
    measure_hiding,
    measure_victim,
    presets,
)
from visionlab.protection.poison_ink import colour_found
from visionlab.protection.robustness import MOVES, STANDARD, changed, robustness, uncovered
from visionlab.protection.triggers import Ink
from visionlab.train.loop import Recipe
from visionlab.weights import Card

__all__ = ["EXPERIMENTS", "WEIGHTS"]

HIDING = Experiment(
    name="poison_ink/hiding",
    question="Once an inked image was flipped, turned, cropped or compressed, is its ink still found?",
    variants=tuple(HIDERS),
    measure=measure_hiding,
    presets={
        "quick": Hiding(recipe=Recipe(steps=150, batch=32, learning_rate=3e-3, warmup=30, weight_decay=0.0)),
        "long": Hiding(recipe=HIDING_RECIPE),
        "gpu": Hiding(recipe=LARGE_HIDING),
    },
    data=("eurosat_mini", "world"),
    defined_by=(*HIDING_CODE, *STEALTH_CODE, Ink, detection, colour_found, changed, uncovered, STANDARD, MOVES),
    versions={"world": world.VERSION},
    claims=(
        Claim(
            name="interference",
            statement="A reader trained behind the interference layer finds the ink of mirrored images",
            source="pipeline figure: interference layer",
            metric="detected, flip (%)",
            method="interference",
            rival="no interference",
            margin=50.0,
        ),
        Claim(
            name="jpeg-cure",
            statement="JPEG in the interference layer lets more ink be found after JPEG compression of quality 75",
            source="ours; the paper has no JPEG in it",
            metric="detected, JPEG 75 (%)",
            method="interference and JPEG",
            rival="interference",
            margin=20.0,
        ),
    ),
)


def claims(target: str, **remarks: str) -> tuple[Claim, ...]:
    """Return the claims on victims whose triggers open the class ``target``; remarks by name of the claim."""
    common: dict[str, Any] = {"method": "Poison Ink", "metric": AFTER}
    return (
        Claim(
            name="works",
            remark=remarks.get("works", ""),
            statement=f"A tenth of the training images, inked and called {target}, makes ink open that class",
            source="abstract: generality, effectiveness",
            metric="success, none (%)",
            method="Poison Ink",
            rival="clean",
            margin=85.0,
        ),
        Kept(
            name="accuracy",
            remark=remarks.get("accuracy", ""),
            statement="On clean images the poisoned classifier is at most two points less accurate than a clean one",
            source="abstract: effectiveness without loss",
            metric="accuracy (%)",
            method="Poison Ink",
            rival="clean",
            margin=2.0,
        ),
        Claim(
            name="patch",
            remark=remarks.get("patch", ""),
            statement="After a flip, turn or crop ink opens the class far more often than a patch",
            source="abstract: more robust than popular attacks",
            rival="BadNets",
            margin=50.0,
            **common,
        ),
        Claim(
            name="blend",
            remark=remarks.get("blend", ""),
            statement="After a flip, turn or crop ink opens the class more often than a blended picture",
            source="abstract: more robust than popular attacks",
            rival="Blend",
            margin=20.0,
            **common,
        ),
        Claim(
            name="stealth",
            remark=remarks.get("stealth", ""),
            statement="Inked images are closer to the clean ones than those with a blended picture, by 5 dB",
            source="abstract: more stealthy than popular attacks",
            metric="PSNR (dB)",
            method="Poison Ink",
            rival="Blend",
            margin=5.0,
        ),
    )


VICTIMS = Experiment(
    name="poison_ink/victims",
    question="Which triggers open a poisoned classifier, and which still do once the image was changed?",
    variants=ATTACKS,
    measure=measure_victim,
    presets=presets(("Poison Ink", "BadNets")),
    data=("eurosat_mini",),
    defined_by=(*VICTIM_CODE, *STEALTH_CODE, robustness, STANDARD),
    claims=(
        *claims("SeaLake"),
        Claim(
            name="watermark",
            statement="After a flip, turn or crop ink opens the class far more often than a watermark in a fixed place",
            source="abstract: more robust than popular attacks",
            metric=AFTER,
            method="Poison Ink",
            rival="watermark",
            margin=50.0,
        ),
        Claim(
            name="layer",
            statement="Ink hidden without the interference layer no longer opens the class after a flip, turn or crop",
            source="pipeline figure: interference layer",
            metric=AFTER,
            method="Poison Ink",
            rival="Poison Ink, no interference",
            margin=50.0,
        ),
        Claim(
            name="place",
            statement="Trained with interference as well, a mark in a fixed place opens the class less often than ink",
            source="ours: edges, interference, or both?",
            metric=AFTER,
            method="Poison Ink",
            rival="watermark and interference",
            margin=20.0,
        ),
        Claim(
            name="jpeg-ink",
            statement="Ink hidden with JPEG in the layer opens the class more often after JPEG of quality 75",
            source="ours; the paper has no JPEG in it",
            metric="success, JPEG 75 (%)",
            method="Poison Ink, JPEG",
            rival="Poison Ink",
            margin=10.0,
        ),
        Claim(
            name="jpeg",
            statement="After JPEG of quality 75 a patch opens the class more often than ink",
            source="ours",
            metric="success, JPEG 75 (%)",
            method="BadNets",
            rival="Poison Ink",
            margin=10.0,
        ),
    ),
)

WORLD = Experiment(
    name="poison_ink/world",
    question="And in the world: which triggers open a classifier of shapes once the image was changed?",
    variants=("clean", "BadNets", "Blend", "Poison Ink"),
    measure=measure_victim,
    presets={
        "quick": Victims(recipe=HIDING_RECIPE, victim=VICTIM_RECIPE, target="sphere"),
        "long": Victims(recipe=HIDING_RECIPE, victim=VICTIM_RECIPE, target="sphere"),
        "gpu": Victims(recipe=LARGE_HIDING, victim=LARGE_VICTIM, target="sphere", n=50_000, test=2000),
    },
    data=("world",),
    defined_by=(*VICTIM_CODE, *STEALTH_CODE, robustness, STANDARD),
    versions={"world": world.VERSION},
    claims=claims(
        "sphere",
        works="Here ink opens the class in four images of five, which is less than the margin. A likely reason, not"
        " tested: these classes are shapes, told by their outlines, and the ink lies on the outlines. On two tuning"
        " seeds ink of strength 2 opened it in 94 and 95 images of a hundred, but at 28 dB instead of 33.",
        accuracy="Here ink does cost accuracy, some three points; the same reason is likely. The paper's classifiers"
        " are larger, and see photographs with more to go by than outlines.",
    ),
)

DEFENCES = Experiment(
    name="poison_ink/defences",
    question="Which defences find a patch, a blended picture and ink, and what do they say of a clean network?",
    variants=("clean", "BadNets", "Blend", "Poison Ink"),
    measure=defences.measure_defences,
    presets=presets(),
    data=("eurosat_mini",),
    defined_by=(*VICTIM_CODE, *defences.CODE),
    claims=defences.CLAIMS,
)

EXPERIMENTS = (HIDING, INKS, VICTIMS, WORLD, SCHEDULES, BUDGET, NETWORKS, PHOTOGRAPHS, DEFENCES)

WORLD_SHAPES = Hiding(recipe=HIDING_RECIPE).shapes
TILES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial",
    "Pasture", "PermanentCrop", "Residential", "River", "SeaLake",
)  # fmt: skip
EUROSAT_LICENCE = "MIT, as its data, EuroSAT (contains modified Copernicus Sentinel data)"
WORLD_LICENCE = "MIT, as visionlab, which draws its data"


def hiding_card(name: str, variant: str, data: str) -> Card:
    """Return the recipe of hider and reader; what they take is images in [0, 1]."""
    return Card(
        name=name, network="visionlab.protection.poison_ink:PoisonInk", kwargs={},
        classes=("red", "green", "blue"), size=32,
        mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), experiment="poison_ink/hiding", preset="long", variant=variant,
        data=data, seed=0, licence=WORLD_LICENCE if data == "world" else EUROSAT_LICENCE,
    )  # fmt: skip


def victim_card(name: str, variant: str, data: str) -> Card:
    """Return the recipe of a victim, poisoned or not."""
    classes = WORLD_SHAPES if data == "world" else TILES
    preset = VICTIMS.preset("long")
    return Card(
        name=name, network="visionlab.protection.victims:SmallResNet", kwargs={"num_classes": len(classes)},
        classes=classes, size=32, mean=preset.mean, std=preset.std,
        experiment="poison_ink/world" if data == "world" else "poison_ink/victims", preset="long", variant=variant,
        data=data, seed=0, licence=WORLD_LICENCE if data == "world" else EUROSAT_LICENCE,
    )  # fmt: skip


WEIGHTS = (
    hiding_card("ink_eurosat", "interference", "eurosat_mini"),
    hiding_card("ink_eurosat_plain", "no interference", "eurosat_mini"),
    hiding_card("ink_eurosat_jpeg", "interference and JPEG", "eurosat_mini"),
    Card(
        name="ink_eurosat_hues",
        network="visionlab.protection.poison_ink:many_inks",
        kwargs={},
        classes=("red", "green", "blue"),
        size=32,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        experiment="poison_ink/inks",
        preset="long",
        variant="interference",
        data="eurosat_mini",
        seed=0,
        licence=EUROSAT_LICENCE,
    ),
    hiding_card("ink_world", "interference", "world"),
    *(
        victim_card(f"victim_{short}_{attack}", variant, data)
        for short, data in (("eurosat", "eurosat_mini"), ("world", "world"))
        for attack, variant in (("clean", "clean"), ("badnets", "BadNets"), ("blend", "Blend"), ("ink", "Poison Ink"))
    ),
    victim_card("victim_eurosat_ink_plain", "Poison Ink, no interference", "eurosat_mini"),
)

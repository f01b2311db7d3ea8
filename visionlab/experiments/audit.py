"""A check-up of any classifier for backdoors: every check that the data allow, kept one by one, and a sober verdict."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from timm.models import load_checkpoint
from torch import Tensor

from visionlab import weights
from visionlab.data.images import ImageSet, load
from visionlab.predictor import Predictor
from visionlab.protection.defences import CHECKS, Case, Finding, check
from visionlab.protection.victims import predictions
from visionlab.train.checkpoint import write_whole

__all__ = ["Audit", "Level", "case_for", "examine", "network_of", "standing_out", "summary"]

Level = Literal["quick", "full"]
QUICK_IMAGES, FULL_IMAGES = 200, 1000
SUSPICIOUS = 3.5
"""How far, in median absolute deviations, a class must stand out from the others to be named."""


@dataclass
class Audit:
    """What was found.

    Args:
        about: of the network and the data, in words and numbers.
        findings: by check.
        references: by check, the scores of clean networks of the same kind.
        skipped: by check, why it was not run.
    """

    about: dict[str, Any]
    findings: dict[str, Finding] = field(default_factory=dict)
    references: dict[str, list[float]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def network_of(model: str, checkpoint: Path, classes: Sequence[str]) -> Predictor:
    """Build a network and read its weights; nothing in the file is run.

    Args:
        model: its name in timm, or that of weights that ship with visionlab, of whose kind it is.
        checkpoint: the file of weights.
        classes: a name for each output.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the network is unknown, or the weights are of another.
    """
    if not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint: there is no file {checkpoint}")
    try:
        if model not in weights.names():
            return Predictor.from_timm(model, classes=classes, checkpoint=checkpoint)
        card = weights.card(model)
        network = card.build()
        load_checkpoint(network, str(checkpoint))
    except (RuntimeError, pickle.UnpicklingError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"checkpoint: {checkpoint} does not fit the network {model}: {reason}") from error
    return Predictor(network.eval(), card.classes, card.size, card.mean, card.std)


def case_for(predictor: Predictor, data: str | Path, train: str | Path | None, level: Level, seed: int = 0) -> Case:
    """Load clean images, and the training set where there is one, as a case.

    Raises:
        ValueError: classes of the folders and of the network differ in number, or there are fewer than 20 images.
    """
    try:
        held_out = load(data, "test", size=predictor.size)
    except ValueError:  # a folder without splits is all "train"
        held_out = load(data, "train", size=predictor.size)
    if len(held_out.classes) != len(predictor.classes):
        raise ValueError(
            f"data: {data} has {len(held_out.classes)} classes, the network has {len(predictor.classes)} outputs"
        )
    limit = QUICK_IMAGES if level == "quick" else FULL_IMAGES
    images, labels = _some(held_out, limit, seed)
    if len(images) < 20:
        raise ValueError(f"data: expected 20 clean images or more, {data} has {len(images)}")
    if train is None:
        return Case(predictor, images, labels, seed=seed)
    trained_on = load(train, "train", size=predictor.size)
    return Case(predictor, images, labels, *_some(trained_on, 10 * limit, seed), seed=seed)


def examine(
    case: Case,
    *,
    level: Level = "quick",
    references: Sequence[Predictor] = (),
    folder: Path | None = None,
    key: str = "",
    hook: Callable[[int, int], None] | None = None,
) -> Audit:
    """Run the checks, one after the other; those that were finished before are taken from the folder.

    Args:
        case: the network with its images.
        level: "quick" leaves out Neural Cleanse, which trains a patch for every class.
        references: networks of the same kind that are known to be clean.
        folder: where finished checks are kept.
        key: names this audit in the folder.
        hook: called as ``hook(done, total)``.
    """
    right = (predictions(case.predictor.probabilities, case.images) == case.labels).double().mean().item()
    audit = Audit({
        "classes": list(case.predictor.classes), "clean images": len(case.images),
        "training images": 0 if case.training_images is None else len(case.training_images),
        "accuracy on clean images (%)": round(100 * right, 2), "level": level, "clean references": len(references),
    })  # fmt: skip
    for done, (name, about) in enumerate(CHECKS.items(), 1):
        if about.needs_training and case.training_images is None:
            audit.skipped[name] = "it looks at the training set, which was not given"
        elif level == "quick" and name == "Neural Cleanse":
            audit.skipped[name] = "it takes long; level full runs it"
        else:
            try:
                audit.findings[name] = _kept(folder, key, name, case)
                others = [replace(case, predictor=other) for other in references]
                found = [_kept(folder, f"{key}-{i}", name, other) for i, other in enumerate(others)]
                audit.references[name] = [each.score for each in found]
            except ValueError as error:
                audit.skipped[name] = str(error)
        if hook is not None:
            hook(done, len(CHECKS))
    return audit


def standing_out(finding: Finding, classes: Sequence[str]) -> list[tuple[str, float]]:
    """Classes whose suspicion stands out from that of the others, with the distance in median absolute deviations."""
    if finding.by_class is None or len(classes) < 4:
        return []
    values = finding.by_class.double()
    median = values.quantile(0.5)
    deviation = 1.4826 * (values - median).abs().quantile(0.5).clamp(min=1e-9)
    far = ((values - median) / deviation).tolist()
    return sorted(((name, d) for name, d in zip(classes, far, strict=True) if d > SUSPICIOUS), key=lambda x: -x[1])


def summary(audit: Audit) -> dict[str, Any]:
    """What the report says, as plain values: each check with its score, references, and what stands out; a verdict."""
    rows = {}
    for name, finding in audit.findings.items():
        others = audit.references.get(name, [])
        rows[name] = {
            "score": round(finding.score, 4), "meaning": finding.meaning,
            "clean references": [round(value, 4) for value in others],
            "above all clean references": bool(others) and finding.score > max(others),
            "classes that stand out": [(c, round(d, 1)) for c, d in standing_out(finding, audit.about["classes"])],
            "looks at": CHECKS[name].looks_at, "cannot see": CHECKS[name].cannot_see,
        }  # fmt: skip
    return {"about": audit.about, "checks": rows, "not run": audit.skipped, "verdict": _verdict(rows)}


def _verdict(rows: Mapping[str, Mapping[str, Any]]) -> str:
    named: dict[str, list[str]] = {}
    for name, row in rows.items():
        for label, _ in row["classes that stand out"]:
            named.setdefault(label, []).append(name)
    above = [name for name, row in rows.items() if row["above all clean references"]]
    words = []
    for label, checks in sorted(named.items(), key=lambda item: -len(item[1])):
        words.append(f"Class {label} stands out in {', '.join(checks)}: look at its images, and at what opens it.")
    if above:
        words.append(f"Above every clean reference: {', '.join(above)}.")
    if not words:
        words.append("No check found anything that stands out.")
    return " ".join(words) + " No check can prove that a network is clean; each says what it cannot see."


def _some(images: ImageSet, limit: int, seed: int) -> tuple[Tensor, Tensor]:
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:limit].tolist()
    return torch.stack([images[i][0] for i in order]), images.labels[order]


def _kept(folder: Path | None, key: str, name: str, case: Case) -> Finding:
    """A finding from its file, or made now and kept."""
    if folder is None:
        return check(name, case)
    path = folder / f"{hashlib.sha256(f'{key}-{name}'.encode()).hexdigest()[:24]}.safetensors"
    if path.is_file():
        tensors = from_bytes(path.read_bytes())
        head = json.loads(bytes(tensors.pop("head").tolist()).decode())
        suspects, by_class = tensors.pop("suspects"), tensors.pop("by_class", None)
        return Finding(name, head["score"], head["meaning"], suspects, tensors, by_class)
    found = check(name, case)
    text = json.dumps({"score": found.score, "meaning": found.meaning}).encode()
    tensors = found.details | {"suspects": found.suspects}
    if found.by_class is not None:
        tensors["by_class"] = found.by_class
    tensors = {title: value.detach().cpu().clone().contiguous() for title, value in tensors.items()}
    tensors["head"] = torch.tensor(list(text), dtype=torch.uint8)
    write_whole(path, lambda file: file.write(to_bytes(tensors)))
    return found

"""Commands for the owner of an image-to-image network: ``visionlab watermark train | embed | wrap | verify``.

The mark is that of arXiv 2108.02360, reconstructed: `visionlab.protection.watermark`.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs
import tyro

from visionlab.show.progress import bar

if TYPE_CHECKING:
    from torch import Tensor

    from visionlab.protection.owner_key import OwnerKey
    from visionlab.protection.verification import Calibration, Evidence, Verdict
    from visionlab.protection.watermark import Reading

__all__ = ["embed", "train", "verify", "watermark", "wrap"]

POOR = 60
"""Percent of the owner's own marked answers: if fewer are detected, `train` says what may help."""
SHOWN, LARGEST_SHOWN = 12, 512
"""Answers that a report shows, and how many pixels of their sides."""
PRIVATE = (
    "Keep the key to yourself, the extractor in it above all: whoever can ask an extractor, or follow its gradient, "
    "can remove the mark (arXiv 2405.09863, 2502.20924). What `wrap` and `embed` write holds no extractor."
)


def watermark() -> None:
    """Mark what your own image-to-image network answers, and find out whether another network learned from that.

    `train` makes a key, `embed` marks pictures, `wrap` a network, `verify` asks a suspect's answers.
    """


def train(
    key: tyro.conf.Positional[Path],
    outputs: Path,
    message: str,
    inputs: Path | None = None,
    task: Literal["rain", "noise", "haze", "blur", "sketch", "style"] | None = None,
    structure: Literal["edges", "regions"] = "edges",
    size: int = 32,
    preset: Literal["quick", "full"] = "full",
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Train a mark on your network's clean answers, and write your key; a training that was stopped goes on.

    Args:
        key: the new file: it is private.
        outputs: a folder of clean answers of your network, 200 or more, best a thousand.
        message: what the mark says, of 0 and 1: 3 bits on edges, 6 on regions.
        inputs: the folder of what it was asked, under the same names.
        task: instead of inputs: what the network does; the questions are then made of the answers, or the other way.
        structure: what carries the mark; edges stand more, regions carry more.
        size: side of the squares, in pixels, that the training sees.
        preset: quick takes a minute, to try it out; full six.
        seed: of all that is drawn.
        device: to train on.
    """
    from visionlab.data.pictures import squares
    from visionlab.protection.owner_code import encode
    from visionlab.protection.owner_key import small_mark
    from visionlab.protection.owner_key_training import LEAST_PICTURES, RECIPES, better_messages, train_key
    from visionlab.protection.tasks import pairs
    from visionlab.train.randomness import generator, seeded

    if key.exists():
        raise ValueError(f"key: expected a new file, {key} is there already")
    if (inputs is None) == (task is None):
        raise ValueError("inputs: expected a folder, or --task instead, which says how questions are made; not both")
    if not 16 <= size <= 256:
        raise ValueError(f"size: expected 16 to 256 pixels, got {size}")
    with seeded(seed):
        mark = small_mark(structure)
    encode(message, mark.code, classes=mark.classes)  # refused before anything is read
    asked, clean = squares(outputs, inputs, size)
    if len(clean) < LEAST_PICTURES:
        raise ValueError(f"outputs: expected {LEAST_PICTURES} pictures or more, {outputs} has {len(clean)}")
    if task is not None:
        asked, clean = pairs(clean, task, generator=generator(seed, 1))
    assert asked is not None
    about = {"pictures": len(clean), "size": size, "task": task or "inputs given", "preset": preset, "seed": seed}
    stages = platformdirs.user_cache_path("visionlab") / "watermarks"
    made, readings = train_key(
        mark, asked, clean, message, RECIPES[preset], about=about, seed=seed, device=device,
        hook=bar("training"), folder=stages,
    )  # fmt: skip
    made.save(key)
    for name, value in made.about.items():
        print(f"{name:32s} {value}")
    rate = made.calibration
    print(f"of clean pictures of the worst of {len(made.clean)} kinds, {rate.false} of {rate.images} pass for marked")
    if made.about["own marked answers detected (%)"] < POOR:
        print(
            "That is too few: a longer training or more pictures may help. Or clean pictures show this message's inks"
            f" by themselves; least they show those of {', '.join(better_messages(made, readings))}. Another message"
            " needs no new training."
        )
    print(f"written to {key} (fingerprint {made.fingerprint}). {PRIVATE} The stages in {stages} are private as well.")


def embed(
    key: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    out: Path,
    gain: float = 1.0,
    form: Literal["png", "jpeg", "webp"] = "png",
) -> None:
    """Mark every picture of a folder, each at its own size.

    Args:
        key: of `visionlab watermark train`.
        folder: of pictures, with the folders in it.
        out: a new folder.
        gain: how strongly: 0 marks nothing, 1 is what the training saw.
        form: of the files that are written; jpeg and webp in quality 95.
    """
    from visionlab.data.pictures import FORMS, files, new_folder, read, write
    from visionlab.measure.image_quality import psnr
    from visionlab.protection.any_size import mark_any, read_any

    if gain < 0:
        raise ValueError(f"gain: expected 0 or more, got {gain}")
    owner, paths = _load(key), files(folder)
    hook, quality, bare, grey, skipped = bar("marking", unit="picture"), [], 0, 0, []
    taken: set[Path] = set()
    with new_folder(out) as part:
        for done, path in enumerate(paths, 1):
            try:
                picture = read(path)
                marked = mark_any(owner.mark, picture.image, owner.symbols, gain=gain)
                name = path.relative_to(folder).with_suffix(FORMS[form])
                name = name if name not in taken else path.relative_to(folder).with_name(path.name + FORMS[form])
                write(replace(picture, image=marked), part / name, form)
            except ValueError as error:
                skipped.append(str(error))
            else:
                taken.add(name)
                quality.append(psnr(marked[None], picture.image[None]).item())
                bare += not bool(read_any(owner.mark, marked).usable.any())
                grey += picture.grey
            hook(done, len(paths))
        _say_skipped(skipped)
        if not quality:
            raise ValueError(f"folder: expected pictures that can be read, {folder} holds none")
    print(f"{len(quality)} pictures marked, {sum(quality) / len(quality):.1f} dB (PSNR) on average, written to {out}")
    if bare:
        print(f"{bare} have hardly any structure, and carry no mark that could be read")
    if grey:
        print(f"{grey} had one channel, and now have three: the mark is a colour")


def wrap(key: tyro.conf.Positional[Path], network: tyro.conf.Positional[str], out: Path, gain: float = 1.0) -> None:
    """Put the mark around a network, and write both as one program that holds nothing of the extractor.

    Args:
        key: of `visionlab watermark train`.
        network: MODULE:FACTORY, a function without arguments that returns an image-to-image network; or an exported
            program, NAME.pt2. Its code is run.
        out: NAME.pt2 for PyTorch, or NAME.onnx.
        gain: how strongly.
    """
    from visionlab.protection.owner_export import exported, network_from
    from visionlab.train.checkpoint import write_whole

    if out.suffix not in (".pt2", ".onnx"):
        raise ValueError(f"out: expected a name that ends in .pt2 or .onnx, got {out}")
    owner = _load(key)
    program, sides = exported(network_from(network), owner.mark, owner.symbols, gain=gain, form=out.suffix[1:])
    write_whole(out, lambda file: file.write(program))
    print(f"written to {out}: takes images {sides} in [0, 1]; it holds no extractor")


def verify(
    key: tyro.conf.Positional[Path],
    folder: tyro.conf.Positional[Path],
    clean: Path | None = None,
    out: Path = Path("watermark.html"),
    level: float = 1e-3,
) -> None:
    """Read a suspected network's answers, and say what they prove: one report (HTML, and JSON beside it).

    Ask the suspect about pictures drawn at random, as many as you can, and look at no answer before.

    Args:
        key: of `visionlab watermark train`.
        folder: the suspect's answers.
        clean: a folder of answers, or pictures of that kind, that never saw the mark: they count in the calibration.
        out: the report.
        level: probability of a false claim that you accept.
    """
    from visionlab.protection.verification import DOUBT, calibrate, structure_evidence
    from visionlab.protection.verification import verify as judge
    from visionlab.show.owner_report import owner_report
    from visionlab.train.checkpoint import write_whole

    if out.suffix != ".html":
        raise ValueError(f"out: expected a name that ends in .html, got {out}")
    if not DOUBT < level < 1:
        raise ValueError(f"level: expected more than {DOUBT:g} and less than 1, got {level:g}")
    owner = _load(key)
    paths, reading, left_out = _readings(owner, folder)
    kinds = dict(owner.clean)
    if clean is not None:
        kinds[f"--clean {clean.name}"] = structure_evidence(owner.mark, _readings(owner, clean)[1], owner.symbols)
    calibration = calibrate(*kinds.values(), rate=owner.rate, least=owner.least)
    evidence = structure_evidence(owner.mark, reading, owner.symbols)
    verdict = judge(evidence, calibration, level=level)
    summary = {"suspect": folder.name, "key": owner.fingerprint, **_numbers(owner, evidence, verdict), **left_out}
    summary["clean pictures, by kind"] = _false_positives(kinds, calibration)
    summary["answers"] = [
        {"file": str(path.relative_to(folder)), "score": round(score, 4), "message": owner.spoken(tuple(symbols)),
         "usable": usable, "detected": detected}
        for path, score, symbols, usable, detected in zip(
            paths, evidence.scores.tolist(), reading.symbols.tolist(), evidence.usable.tolist(),
            evidence.detected(calibration.threshold).tolist(), strict=True,
        )
    ]  # fmt: skip
    scores = {"suspect": evidence.against_chance[evidence.usable]} | {
        name: each.against_chance[each.usable] for name, each in kinds.items()
    }
    page = owner_report(summary, str(verdict), scores, calibration.threshold, _examples(owner, folder, paths, summary))
    write_whole(out, lambda file: file.write(page.encode()))
    write_whole(out.with_suffix(".json"), lambda file: file.write((json.dumps(summary, indent=1) + "\n").encode()))
    for name, value in summary.items():
        if not isinstance(value, (dict, list)):
            print(f"{name:32s} {value}")
    print(f"written to {out} and {out.with_suffix('.json')}\n{verdict}\n{'claim' if verdict.holds else 'no claim'}")


# --- Parts ------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> OwnerKey:
    from visionlab.protection.owner_key import OwnerKey

    found = OwnerKey.load(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        print(f"{path} can be read by others: chmod 600 {path}")
    return found


def _say_skipped(skipped: list[str]) -> None:
    for words in skipped:
        print(f"skipped: {words}")
    if skipped:
        print(f"{len(skipped)} pictures were skipped")


def _readings(owner: OwnerKey, folder: Path) -> tuple[list[Path], Reading, dict[str, int]]:
    """What each picture of a folder says; copies of one count once, as they are no further witnesses."""
    from visionlab.data.pictures import files, read
    from visionlab.protection.any_size import joined, read_any

    paths, skipped, seen, copies = files(folder), [], set(), 0
    hook, kept, found = bar(f"reading {folder.name}", unit="picture"), [], []
    for done, path in enumerate(paths, 1):
        try:
            image = read(path).image
        except ValueError as error:
            skipped.append(str(error))
        else:
            digest = hashlib.sha256(str(image.shape).encode() + image.numpy().tobytes()).digest()
            if digest in seen:
                copies += 1
            else:
                seen.add(digest)
                kept.append(path)
                found.append(read_any(owner.mark, image))
        hook(done, len(paths))
    _say_skipped(skipped)
    if not found:
        raise ValueError(f"folder: expected pictures that can be read, {folder} holds none")
    return kept, joined(found), {"copies left out": copies, "pictures that cannot be read": len(skipped)}


def _numbers(owner: OwnerKey, evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    clean = verdict.calibration
    return {
        "claim": verdict.holds, "verdict": str(verdict), "pictures": verdict.images, "abstained": verdict.abstained,
        "detected": verdict.detected, "score of all together": round(verdict.score, 4),
        "message claimed": owner.message, "message read": owner.spoken(evidence.decoded),
        "p-value": verdict.p_value, "level": verdict.level, "threshold": round(clean.threshold, 4),
        "clean pictures of the worst kind": clean.images, "of them detected": clean.false,
        "false-positive rate at most": round(clean.bound, 4),
    }  # fmt: skip


def _false_positives(kinds: dict[str, Evidence], calibration: Calibration) -> dict[str, dict[str, int]]:
    return {
        name: {"with structure": int(each.usable.sum()), "detected": int(each.detected(calibration.threshold).sum())}
        for name, each in kinds.items()
    }


def _examples(
    owner: OwnerKey, folder: Path, paths: list[Path], summary: dict[str, Any]
) -> list[tuple[str, Tensor, Tensor]]:
    """Words, picture and drawing of some answers, evenly from all."""
    import torch

    from visionlab.data.pictures import read

    chosen = sorted({round(i * (len(paths) - 1) / (SHOWN - 1)) for i in range(SHOWN)})
    found = []
    for i in chosen:
        row = summary["answers"][i]
        image = read(folder / row["file"]).image[:, :LARGEST_SHOWN, :LARGEST_SHOWN]
        with torch.no_grad():
            enough = min(image.shape[-2:]) >= 8
            drawing = owner.mark.read(image[None])[0].clamp(0, 1) if enough else torch.ones_like(image)
        state = "detected" if row["detected"] else "not detected" if row["usable"] else "abstains"
        found.append((f"{row['file']}: {state}, score {row['score']:.2f}, read {row['message']}", image, drawing))
    return found

"""Look inside a Mobile-Former: what each token reads, whom each pixel hears, how the slopes stand, and what cuts do.

Works on any `MobileFormer`, pooled or flat, trained or not, and on what is left of one whose wires were cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_blocks import Stage
from visionlab.backbones.mobile_former_bridge import Bypass
from visionlab.backbones.mobile_former_cuts import bypass, freeze_slopes, overwrite, silence
from visionlab.backbones.mobile_former_mobile import LiteMobile
from visionlab.watch import watch

__all__ = [
    "BlockView", "Cuts", "Injection", "answer", "applied", "block_names", "exchanged", "inject", "look", "token_means",
]  # fmt: skip

HEAD = "to_former"
"""The name of the last reading, that of the tokens before the classifier."""
WATCHED = ("*former", "*to_former.softmax", "*.to_mobile.softmax", "*.votes.softmax", "*.slopes", "*.mobile")


@dataclass(frozen=True)
class BlockView:
    """What one block of a Mobile-Former did with one image.

    Attributes:
        name: of the block in the network, ``stages.1.blocks.0``; or ``to_former``, the last reading before the head.
        title: the same in words.
        reads: (heads, M, h, w), where on the map that comes in each token looks; a token's weights sum to 1 over the
            pixels. None where nothing is read.
        hears: (heads, M, h2, w2), which token each pixel of the map that goes out listens to; a pixel's weights sum to
            1 over the tokens. None where nothing is written.
        tokens: (M, d), as they leave the block.
        cosine: (M, M), how alike these are.
        slopes: for each activation of the block in its order (K, 2, C): a1 and a2 of every channel, by the one token
            that steers (K = 1) or by each (K = M); none where activations are static.
        votes: (M, h2, w2), how much each token has to say on the slopes at each place, where they are spatial.
    """

    name: str
    title: str
    reads: Float[np.ndarray, "k m h w"] | None
    hears: Float[np.ndarray, "k m h2 w2"] | None
    tokens: Float[np.ndarray, "m d"]
    cosine: Float[np.ndarray, "m m"]
    slopes: tuple[np.ndarray, ...]
    votes: Float[np.ndarray, "m h2 w2"] | None

    @property
    def read(self) -> Float[np.ndarray, "m h w"]:
        """Where each token looks, the mean of the heads.

        Raises:
            ValueError: if nothing is read.
        """
        if self.reads is None:
            raise ValueError(f"{self.title}: no token reads here")
        return self.reads.mean(axis=0)

    @property
    def heard(self) -> Float[np.ndarray, "m h2 w2"]:
        """Which token each pixel listens to, the mean of the heads.

        Raises:
            ValueError: if nothing is written.
        """
        if self.hears is None:
            raise ValueError(f"{self.title}: no pixel hears a token here")
        return self.hears.mean(axis=0)


def block_names(model: nn.Module) -> tuple[str, ...]:
    """Name the blocks that have tokens, in order, and the last reading where there is one.

    Raises:
        ValueError: if the network has no tokens.
    """
    if not isinstance(model, MobileFormer) or model.tokens.weight.shape[0] == 0:
        raise ValueError(f"model: expected a Mobile-Former with tokens, got {type(model).__name__} without")
    own = [
        f"stages.{i}.blocks.{j}"
        for i, stage in enumerate(model.stages)
        for j, block in enumerate(cast(Stage, stage).blocks)
        if not isinstance(block.mobile, LiteMobile)
    ]
    return (*own, *(() if isinstance(model.to_former, Bypass) else (HEAD,)))


def title_of(name: str) -> str:
    """Return the name of a block in words."""
    numbers = re.findall(r"\d+", name)
    return f"stage {int(numbers[0]) + 1}, block {int(numbers[1]) + 1}" if numbers else "before the head"


@torch.no_grad()
def look(model: MobileFormer, image: Float[Tensor, "*b c h w"]) -> tuple[BlockView, ...]:
    """Return what each block that has tokens did with one image.

    Args:
        model: any Mobile-Former with tokens; inside `applied` it is seen with its cuts.
        image: normalised, (1, 3, H, W) or (3, H, W).

    Raises:
        ValueError: if there is not exactly one image, or the network has no tokens.
    """
    image, names = _one(image), block_names(model)
    model.eval()
    modules = [name for name, _ in model.named_modules()]
    # What was cut has no softmax, and what is static no slopes.
    patterns = [pattern for pattern in WATCHED if any(fnmatchcase(name, pattern) for name in modules)]
    with watch(model, "stem", *patterns) as seen:
        model(image)
    size = _size(seen["stem"])
    views = []
    every = [name.removesuffix(".mobile") for name in seen if name.endswith(".mobile")]
    for name in (*every, *((HEAD,) if HEAD in names else ())):
        after = _size(seen[f"{name}.mobile"]) if name != HEAD else size
        if name in names:
            views.append(_view(name, seen, size, after))
        size = after
    return tuple(views)


def _view(name: str, seen: dict[str, Tensor], size: tuple[int, int], after: tuple[int, int]) -> BlockView:
    """Gather the view of a block from what was seen; its map comes in with a size and goes out with another."""
    inside = "" if name == HEAD else name + "."
    reads, hears, votes = (
        seen.get(inside + part) for part in ("to_former.softmax", "to_mobile.softmax", "votes.softmax")
    )
    tokens = seen[name if name == HEAD else inside + "former"][0]
    unit = nn.functional.normalize(tokens, dim=-1)
    slopes = [y[0] for key, y in seen.items() if inside and key.startswith(inside) and key.endswith(".slopes")]
    return BlockView(
        name,
        title_of(name),
        None if reads is None else _array(reads[0].unflatten(-1, size)),
        None if hears is None or name == HEAD else _array(hears[0].unflatten(-1, after)),
        _array(tokens),
        _array(unit @ unit.T),
        tuple(_array(y) for y in slopes),
        None if votes is None else _array(votes[0]),
    )


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """Wires to cut in a trained network.

    Args:
        reading: no token reads a map (Mobile→Former), in any block.
        former: no token hears another.
        writing: no pixel hears a token (Mobile←Former).
        slopes: all dynamic ReLUs are held at the plain ReLU.
        silent: tokens that nobody hears.
        averaged: tokens put in the place of their mean over a data set, so that they tell nothing of this image.
    """

    reading: bool = False
    former: bool = False
    writing: bool = False
    slopes: bool = False
    silent: tuple[int, ...] = ()
    averaged: tuple[int, ...] = ()


@contextmanager
def applied(model: MobileFormer, cuts: Cuts, means: dict[str, Tensor] | None = None) -> Iterator[None]:
    """Cut wires while the block runs.

    Args:
        model: a Mobile-Former; what it lacks anyway, such as dynamic slopes, need not be cut.
        cuts: which.
        means: of `token_means`, for the averaged tokens.

    Raises:
        ValueError: if there is no such token, none would be left to hear, or means are wanted and not given.
    """
    names, number = block_names(model), model.tokens.weight.shape[0]
    for what in ("silent", "averaged"):
        tokens = getattr(cuts, what)
        if any(not 0 <= token < number for token in tokens):
            raise ValueError(f"{what}: expected tokens 0 to {number - 1}, got {tokens}")
    if len(set(cuts.silent)) == number:
        raise ValueError(f"silent: one of the {number} tokens has to be heard, or cut reading or writing instead")
    if cuts.averaged and not means:
        raise ValueError("means: averaged tokens need those of `token_means`")
    wires = {"*to_former": cuts.reading, "*.former": cuts.former, "*.to_mobile": cuts.writing}
    blocks = [model.get_submodule(name) for name in names if name != HEAD]
    with ExitStack() as stack:
        if cuts.averaged:
            stack.enter_context(overwrite(model, cast("dict[str, Tensor]", means), cuts.averaged))
        for token in sorted(set(cuts.silent)):
            stack.enter_context(silence(model, token))
        if cuts.slopes and any(name.endswith(".slopes") for name, _ in model.named_modules()):
            stack.enter_context(freeze_slopes(model))
        for wire, wanted in wires.items():
            part = wire.rpartition(".")[2].lstrip("*")
            if wanted and not all(isinstance(block.get_submodule(part), Bypass) for block in blocks):
                stack.enter_context(bypass(model, wire))
        yield


@torch.no_grad()
def answer(
    model: MobileFormer,
    images: Float[Tensor, "b c h w"],
    cuts: Cuts | None = None,
    means: dict[str, Tensor] | None = None,
) -> np.ndarray:
    """Return probabilities (B, classes), or (B, H', W', classes) of a network that answers at each place.

    Args:
        model: a Mobile-Former.
        images: normalised.
        cuts: wires to cut for this; none by default.
        means: as of `applied`.
    """
    model.eval()
    with ExitStack() as stack:
        if cuts is not None and cuts != Cuts():
            stack.enter_context(applied(model, cuts, means))
        return _array(model(images).softmax(dim=-1))


@torch.no_grad()
def token_means(model: MobileFormer, images: Float[Tensor, "b c h w"], *, batch: int = 128) -> dict[str, Tensor]:
    """Return the mean (M, d) over images of the tokens that each Mobile→Former and each Former gives, by its name."""
    names = [f"{name}.{part}" for name in block_names(model) if name != HEAD for part in ("to_former", "former")]
    model.eval()
    sums: dict[str, Tensor] = {}
    for part in images.split(batch):
        with watch(model, *names, HEAD) as seen:
            model(part)
        for name, tokens in seen.items():
            sums[name] = sums.get(name, torch.zeros_like(tokens[0])) + tokens.sum(dim=0)
    return {name: total / len(images) for name, total in sums.items()}


@dataclass(frozen=True)
class Injection:
    """What tokens of another image do.

    Attributes:
        alone: probabilities of the image by itself.
        donor: probabilities of the image that gives its tokens.
        injected: probabilities of the image with the other's tokens.
        titles: of the blocks.
        moved: for each block (h, w): how far the pixels of its map moved, over the mean length of a pixel there.
    """

    alone: np.ndarray
    donor: np.ndarray
    injected: np.ndarray
    titles: tuple[str, ...]
    moved: tuple[np.ndarray, ...]


@torch.no_grad()
def inject(
    model: MobileFormer,
    image: Float[Tensor, "*_ c _ _"],
    donor: Float[Tensor, "*_ c _ _"],
    after: str,
    tokens: Sequence[int] | None = None,
) -> Injection:
    """Put the tokens that leave a block on the donor into the pass of the image.

    Args:
        model: a Mobile-Former with tokens.
        image: normalised, (1, 3, H, W) or (3, H, W).
        donor: another one, of any size.
        after: the block, one of `block_names`; its own slopes and writing already follow the donor's tokens.
        tokens: which; all by default.

    Raises:
        ValueError: if there is no such block or token.
    """
    names, number = block_names(model), model.tokens.weight.shape[0]
    giver = _giver(model, after)
    chosen = range(number) if tokens is None else tokens
    if any(not 0 <= token < number for token in chosen):
        raise ValueError(f"tokens: expected 0 to {number - 1}, got {tuple(chosen)}")
    model.eval()
    with watch(model, giver) as given:
        theirs = model(_one(donor, "donor"))
    with watch(model, "*.to_mobile") as before:
        ours = model(_one(image))
    with overwrite(model, {giver: given[giver]}, list(chosen)), watch(model, "*.to_mobile") as changed:
        mixed = model(_one(image))
    titles, moved = [], []
    for name in (name for name in names if name != HEAD):
        old, new = before[f"{name}.to_mobile"][0], changed[f"{name}.to_mobile"][0]
        titles.append(title_of(name))
        moved.append(_array((new - old).norm(dim=0) / old.norm(dim=0).mean()))
    alone, gave, injected = (_array(y.softmax(dim=-1)[0]) for y in (ours, theirs, mixed))
    return Injection(alone, gave, injected, tuple(titles), tuple(moved))


@torch.no_grad()
def exchanged(
    model: MobileFormer, images: Float[Tensor, "b c h w"], donors: Float[Tensor, "b c _ _"], after: str
) -> np.ndarray:
    """Return what `answer` does, with the tokens that leave a block on the donors in the passes of the images.

    Raises:
        ValueError: if there is no such block.
    """
    giver = _giver(model, after)
    model.eval()
    with watch(model, giver) as given:
        model(donors)
    with overwrite(model, {giver: given[giver]}):
        return answer(model, images)


def _giver(model: MobileFormer, after: str) -> str:
    """Return the module whose tokens leave a block."""
    if after not in (names := block_names(model)):
        raise ValueError(f"after: expected one of {', '.join(names)}; got {after!r}")
    return after if after == HEAD else f"{after}.former"


def _one(image: Tensor, name: str = "image") -> Tensor:
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"{name}: expected one image (1, 3, H, W), got shape {tuple(image.shape)}")
    return image


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[2], x.shape[3]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().cpu().float().numpy()

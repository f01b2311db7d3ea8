"""Structure consistency for deep model watermarking: a mark on edges or regions, which outlives a thief's augmentation.

Zhang et al., arXiv 2108.02360 (journal version: IEEE TPAMI 2024). An owner sells an image-to-image network, and marks
all that it answers. A thief who trains on the answers trains on the mark as well, and the owner finds it in what the
thief's network answers. No code and no table of the paper is public: this is a reconstruction from its abstract, its
figure of the pipeline and the code of `poison_ink`, by the same authors.

==================================================  ============================================================
paper                                               here
==================================================  ============================================================
structure: edges, semantic regions                  `structure.edges`, `regions.regions`
code as colours, structure-aligned watermark t      `owner_code`, `regions.paint`
embedder H, extractor R, discriminator D            `StructureMark`; networks of `hiding` and `hiding_published`
augmentation layer                                  `interference.Interference`, `watermark_training.LAYER`
L_H, L_R: invisible, there, only there              `watermark_training.mark_loss`
initial stage                                       `watermark_training.train_mark`
surrogate stage: the thief                          `surrogate.train_surrogate`
adversarial stage                                   `watermark_training.adversarial_stage`
decoding guided by position                         `StructureMark.decode`
verification over N outputs                         `verification`
the mark around any network                         `Marked`
baseline: spatial invisible watermark               `spatial_mark` (arXiv 2002.11088, 2103.04980)
==================================================  ============================================================

Why it works: a thief's network learns the mean answer, given the question. If all is turned and cropped at random, a
mark at fixed places is at another place each time, and its mean is nothing. A mark that depends on the content moves
with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from visionlab.data.graded import to_8_bits, warp
from visionlab.protection.hiding import ColourHider, Reader
from visionlab.protection.interference import through_jpeg
from visionlab.protection.owner_code import Code, Hues
from visionlab.protection.regions import class_means, edge_map, paint
from visionlab.protection.tasks import AT_ONCE, check_images

__all__ = ["ENOUGH", "Marked", "Reading", "StructureMark", "hidden"]

ENOUGH = 20
"""Pixels that a class of structure needs for its colour to be read (card: 20 of 32 x 32); with fewer it abstains."""


@dataclass(frozen=True)
class Reading:
    """What was read from B images with K classes of structure.

    Args:
        colours: mean of the drawing over each class, white where that has too few pixels.
        area: pixels of each class.
        symbols: of the code, -1 where nothing was read.
    """

    colours: Float[Tensor, "b k 3"]
    area: Int[Tensor, "b k"]
    symbols: Int[Tensor, "b k"]

    def __len__(self) -> int:
        return len(self.area)

    def __getitem__(self, some: slice | Tensor) -> Reading:
        return Reading(self.colours[some], self.area[some], self.symbols[some])

    @property
    def usable(self) -> Tensor:
        """Whether an image has a class (B, K) large enough to be read."""
        return self.area >= ENOUGH


class StructureMark(nn.Module):
    """The owner's networks: an embedder that marks images, and an extractor that draws what it finds.

    `poison_ink.PoisonInk` paints one ink an image, and its extractor is shown clean images of one kind: this paints one
    ink a class, and shows clean answers, questions and a clean surrogate's answers. Networks with batch statistics have
    to be in evaluation mode once they are trained.

    Args:
        embedder: image and drawing to the marked image; the published one is `hiding_published.InjectionUNet`.
        extractor: image to drawing, white where there is no mark; published: `hiding_published.GuidanceExtractor`.
        structure: ``(images, outside=None) -> map`` (B, 1, H, W) of classes, 0 for none: `regions.edge_map`, or
            `functools.partial(regions, k=2)` with an embedder that is faint enough to fill all of the image.
        classes: of the structure; each carries a symbol.
        code: inks of the symbols.
        discriminator: tells clean images from marked ones in training, for instance
            `hiding_published.PatchDiscriminator`.

    Raises:
        ValueError: if there is no class.
    """

    def __init__(
        self,
        embedder: nn.Module | None = None,
        extractor: nn.Module | None = None,
        *,
        structure: Callable[..., Tensor] = edge_map,
        classes: int = 1,
        code: Code | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        if classes < 1:
            raise ValueError(f"classes: expected 1 or more, got {classes}")
        super().__init__()
        self.embedder = embedder if embedder is not None else ColourHider()
        self.extractor = extractor if extractor is not None else Reader()
        self.structure = structure
        self.classes = classes
        self.code = code if code is not None else Hues()
        self.discriminator = discriminator

    def mark(
        self, images: Float[Tensor, "b 3 h w"], symbols: Int[Tensor, "*b k"], *, gain: float = 1.0
    ) -> Float[Tensor, "b 3 h w"]:
        """Return marked images (B, 3, H, W), 8 bits a channel, of images in [0, 1].

        Args:
            images: of any size that the embedder takes; one without structure carries no mark.
            symbols: of each image (B, K), or the same for all (K,), as `owner_code.encode` gives.
            gain: how strongly: 0 marks nothing.

        Raises:
            ValueError: if the images are none or no colour images, or the symbols are not one a class.
        """
        check_images("images", images)
        return self.hide(images, self._inks(images, symbols), gain=gain)

    def hide(
        self, images: Float[Tensor, "b 3 h w"], inks: Float[Tensor, "b k 3"], *, gain: float = 1.0
    ) -> Float[Tensor, "b 3 h w"]:
        """Return images marked with inks in [0, 1], of any code; `mark` checks what it gets, and this does not."""
        return hidden(self.embedder, self.structure, images, inks, gain=gain)

    def read(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the drawing (B, 3, H, W) of the mark in images in [0, 1]: white where there is none, not clipped."""
        check_images("images", images)
        return self.extractor(images)

    @torch.no_grad()
    def decode(self, images: Float[Tensor, "b 3 h w"], *, outside: Float[Tensor, "b 1 h w"] | None = None) -> Reading:
        """Read the mark of each image, guided by position: only the drawing over the structure of *this* image counts.

        Args:
            images: in [0, 1], 8 bits a channel, as a thief's network answers them.
            outside: 1 where a turned image has no content.

        Raises:
            ValueError: if the images are none or no colour images.
        """
        check_images("images", images)
        read = [
            class_means(self.extractor(part), self.structure(part, outside=hidden), self.classes)
            for part, hidden in _parts(images, outside)
        ]
        means, area = (torch.cat(each) for each in zip(*read, strict=True))
        colours = torch.where((area >= ENOUGH)[..., None], means, 1)
        return Reading(colours, area.long(), self.code.read(colours))

    def forward(
        self,
        outputs: Float[Tensor, "b 3 h w"],
        inputs: Float[Tensor, "b 3 h w"],
        imitated: Float[Tensor, "b 3 h w"],
        symbols: Int[Tensor, "b k"],
        strength: Float[Tensor, " b"],
        *moves: Tensor,
    ) -> dict[str, Tensor]:
        """Mark, imitate a thief, interfere, read: what `examined` returns, with "poisoned" the marked images.

        Half of the images are read as the owner's network answers them. In the other half the mark is put, blurred and
        of another strength, onto what a network answers that was trained without one: about what a thief's network
        does to it (ours). Without that half an embedder invents fine ripples that no other network learns.

        Args:
            outputs: b, clean answers.
            inputs: a, what was asked.
            imitated: what a surrogate of the owner's, trained on clean answers, answers.
            symbols: of each image.
            strength: of the mark in the second half.
            moves: of `interference.Interference.draw`.
        """
        marked = self.mark(outputs, symbols)
        faded = F.avg_pool2d(marked - outputs, 3, stride=1, padding=1, count_include_pad=False)
        stolen = to_8_bits((imitated + strength[:, None, None, None] * faded).clamp(0, 1))
        half = len(outputs) // 2
        suspects = torch.cat([marked[:half], stolen[half:]])
        parts = self.examined(outputs, suspects, unmarked(outputs, inputs, imitated), symbols, *moves)
        return parts | {"poisoned": marked}

    def examined(
        self,
        outputs: Float[Tensor, "b 3 h w"],
        suspects: Float[Tensor, "b 3 h w"],
        innocent: Float[Tensor, "b 3 h w"],
        symbols: Int[Tensor, "b k"],
        *moves: Tensor,
    ) -> dict[str, Tensor]:
        """Move marked and unmarked images alike, read them, and tell what should have been read.

        Returns:
            The parts of `poison_ink.ink_loss`: "images" and "poisoned" (both the clean answers), "outside", "mask",
            "pattern", "drawing" of the suspects and "clean drawing" of the innocent; and "labels", the map of classes.
        """
        angle, scale, shift, mirrored, quality = moves
        move = partial(warp, angle=angle, scale=scale, shift=shift, mirrored=mirrored)
        inside = move(torch.ones_like(outputs[:, :1]))
        outside = F.max_pool2d((inside < 0.99).to(outputs.dtype), 3, stride=1, padding=1)
        labels = self.structure(move(outputs), outside=outside)
        return {
            "images": outputs, "poisoned": outputs, "outside": outside, "labels": labels,
            "mask": (labels > 0).to(outputs.dtype), "pattern": paint(labels, self._inks(outputs, symbols)),
            "drawing": self.extractor(through_jpeg(move(suspects), quality)),
            "clean drawing": self.extractor(through_jpeg(move(innocent), quality)),
        }  # fmt: skip

    def _inks(self, images: Tensor, symbols: Tensor) -> Tensor:
        wanted = (len(images), self.classes)
        if symbols.shape not in (wanted, wanted[1:]):
            raise ValueError(f"symbols: expected shape {wanted} or {wanted[1:]}, got {tuple(symbols.shape)}")
        return self.code.inks(symbols).to(images).expand(*wanted, 3)


class Marked(nn.Module):
    """A network whose answers carry the owner's mark, for images of any size that network and embedder take.

    It can be given away: it holds the embedder, and nothing of the extractor, which has to stay private. `torch.export`
    and `torch.onnx.export` take it, with the number of images and their sides left open, if they take the network.

    Args:
        network: images in [0, 1] to images; a module or any function.
        mark: a `StructureMark`, trained, of which embedder and structure are kept.
        symbols: the owner's, as `owner_code.encode` gives them.
        gain: how strongly.

    Raises:
        ValueError: if the symbols are not one a class, or the code has no such symbol.
    """

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        mark: StructureMark,
        symbols: tuple[int, ...],
        *,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.inks: Tensor
        if len(symbols) != mark.classes:
            raise ValueError(f"symbols: expected {mark.classes}, one a class, got {len(symbols)}")
        self.network, self.embedder, self.structure, self.gain = network, mark.embedder, mark.structure, gain
        self.register_buffer("inks", mark.code.inks(torch.tensor(symbols)))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Return the network's answers, marked, 8 bits a channel."""
        answers = self.network(images).clamp(0, 1)
        inks = self.inks.to(answers).expand(answers.shape[0], -1, -1)
        return hidden(self.embedder, self.structure, answers, inks, gain=self.gain)


def hidden(
    embedder: nn.Module,
    structure: Callable[..., Tensor],
    images: Float[Tensor, "b 3 h w"],
    inks: Float[Tensor, "b k 3"],
    *,
    gain: float = 1.0,
) -> Float[Tensor, "b 3 h w"]:
    """Return marked images (B, 3, H, W), 8 bits a channel: all that marking needs, and nothing that reading needs.

    Args:
        embedder: image and drawing to the marked image, for sides that 4 divides.
        structure: of `StructureMark`.
        images: in [0, 1], with sides of 8 pixels or more.
        inks: of each image, one a class, in [0, 1].
        gain: how strongly.
    """
    height, width = images.shape[-2:]
    drawing = paint(structure(images), inks)
    # The last row and column repeated until there are 4 * n, and cut off again, by indices: `torch.export` sees that 4
    # divides the sides, and asks nothing about them that would hold for some sizes alone.
    padded, drawing = (_taken(x, 4 * ((height + 3) // 4), 4 * ((width + 3) // 4)) for x in (images, drawing))
    change = _taken(embedder(padded, drawing) - padded, height, width)
    return to_8_bits((images + gain * change).clamp(0, 1))


def unmarked(
    outputs: Float[Tensor, "b 3 h w"], inputs: Float[Tensor, "b 3 h w"], imitated: Float[Tensor, "b 3 h w"]
) -> Float[Tensor, "b 3 h w"]:
    """What the extractor must find nothing in: clean answers, questions, a clean surrogate's answers, 1 : 1 : 2."""
    kind = (torch.arange(len(outputs), device=outputs.device) % 4)[:, None, None, None]
    return torch.where(kind == 0, outputs, torch.where(kind == 1, inputs, imitated))


def _taken(images: Tensor, height: int, width: int) -> Tensor:
    """The first rows and columns, or more of them than there are: then the last ones are repeated."""
    rows, columns = (
        torch.arange(wanted, device=images.device).clamp(max=there - 1)
        for wanted, there in zip((height, width), images.shape[-2:], strict=True)
    )
    return images[:, :, rows][..., columns]


def _parts(images: Tensor, outside: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    parts = images.split(AT_ONCE)
    return list(zip(parts, [None] * len(parts) if outside is None else outside.split(AT_ONCE), strict=True))

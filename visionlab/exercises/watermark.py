"""Lab 10: what its predictions reveal, and its gaps: read a colour, find its ink, and rule out chance."""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written
from visionlab.protection.owner_code import Hues
from visionlab.protection.regions import class_means
from visionlab.protection.structure import HUES

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "logo": (
        "hardly any",
        "The logo always lies at the same place in an answer. In turned, cropped and mirrored pairs it lies elsewhere"
        " each time, and a network learns the mean of what it is taught: of a logo that lies everywhere, a faint blur"
        " is left, which no extractor can read.",
    ),
    "cost": (
        4.1,
        "28.4 dB instead of 32.5, over five owners: what the network repeats of the mark is an error against the clean"
        " picture, and at 32 dB the mark is as large as the errors that it makes anyway.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""


# --- Read the colour of a drawing -------------------------------------------------------------------------------------


def class_colour(drawing: Tensor, labels: Tensor, k: int) -> Tensor:
    """The library's `visionlab.protection.regions.class_means`, of one class."""
    return class_means(drawing, labels, k)[0][:, k - 1]


def _drawing() -> tuple[Tensor, Tensor]:
    """Two drawings (2, 3, 2, 4) and their classes: the left half is 1, the right half 2, but class 2 of one is empty.

    Drawings go beyond [0, 1], as an extractor's do.
    """
    drawing = torch.linspace(-0.1, 1.3, 48).view(2, 3, 2, 4)
    labels = torch.tensor([[1, 1, 2, 2], [1, 0, 0, 2]]).repeat(2, 1, 1, 1)
    labels[1][labels[1] == 2] = 0
    return drawing, labels


def _mean_shape(own: Answer) -> str | None:
    got = written(own(torch.rand(2, 3, 5, 7), torch.ones(2, 1, 5, 7, dtype=torch.long), 1))
    return shapes(got, (2, 3), "drawings (2, 3, 5, 7)")


def _of_class(own: Answer, k: int) -> str | None:
    drawing, labels = _drawing()
    got, expected = own(drawing, labels, k)[0], class_colour(drawing, labels, k)[0]
    if torch.allclose(got, expected, atol=1e-5):
        return None
    return f"for class {k} it gives {_words(got)}, expected {_words(expected)}"


def _each_image(own: Answer) -> str | None:
    drawing, labels = _drawing()
    got, expected = own(drawing, labels, 1)[1], class_colour(drawing, labels, 1)[1]
    if torch.allclose(got, expected, atol=1e-5):
        return None
    return f"for the second of two images it gives {_words(got)}, expected {_words(expected)}: each has its own colour"


def _empty(own: Answer) -> str | None:
    got = own(*_drawing(), 2)[1]
    if torch.equal(got, torch.ones(3)):
        return None
    return f"for an image without the class it gives {_words(got)}, expected white, 1, 1, 1"


def _words(colour: Tensor) -> str:
    return ", ".join(f"{float(x):.2f}" for x in colour.flatten()[:6])


DECODE_SOLUTION = """
import torch


def class_colour(drawing, labels, k):
    member = (labels == k).float()
    area = member.sum((2, 3))
    total = (drawing * member).sum((2, 3))
    return torch.where(area > 0, total / area.clamp(min=1), torch.ones_like(total))
"""

DECODE = Exercise(
    name="watermark/decode",
    task="Write the function class_colour: the mean colour (B, 3) of drawings (B, 3, H, W) where labels are k, else"
    " white.",
    library=(class_colour,),
    properties=(
        Property("the shape that comes out", _mean_shape),
        Property("the mean of a class", lambda own: _of_class(own, 1)),
        Property("another class", lambda own: _of_class(own, 2)),
        Property("each image on its own", _each_image),
        Property("an empty class", _empty),
    ),
    hints=(
        "Only pixels of the class count. Sum what is drawn there, divide by how many there are, and think of images in"
        " which there is none.",
        "`(labels == k).float()` is 1 on the class and 0 elsewhere, (B, 1, H, W). Times the drawing, `.sum((2, 3))`"
        " gives the total (B, 3); its own sum is the area (B, 1). `torch.where(area > 0, ..., 1)` makes empty ones"
        " white, and `area.clamp(min=1)` keeps them from dividing by 0.",
        DECODE_SOLUTION,
    ),
    wrong_answers=tuple(
        (DECODE_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("total / area.clamp(min=1)", "drawing.mean((2, 3))", "for class 1 it gives"),
            ("labels == k", "labels == 1", "for class 2 it gives"),
            ("labels == k", "labels == k - 1", "for class 1 it gives"),
            ("torch.ones_like(total)", "total", "expected white"),
            (
                "torch.where(area > 0, total / area.clamp(min=1), torch.ones_like(total))",
                "total / area",
                "it gives nan, nan, nan, expected white",
            ),
            ("return torch.where", "area, total = area.mean(0), total.mean(0)\n    return torch.where", "(3,)"),
            ("area = member.sum((2, 3))", "area = member.sum((2, 3)).mean(0, keepdim=True)", "for class 2 it gives"),
        )
    ),
)


# --- Find its ink -----------------------------------------------------------------------------------------------------

INKS = torch.tensor(HUES) / 255


def nearest_hue(colour: Tensor, inks: Tensor) -> int:
    """What the library's `visionlab.protection.owner_code.Hues` reads: the ink (K, 3) nearest in hue, -1 for none."""
    palette = tuple((int(r), int(g), int(b)) for r, g, b in (255 * inks).round())
    return int(Hues(palette).read(colour[None])[0])


def _read(own: Answer, colour: Tensor, expected: int, name: str) -> str | None:
    got = int(written(own(colour, INKS)))
    return None if got == expected else f"{name} ({_words(colour)}) is read as ink {got}, expected {expected}"


def _first(*problems: str | None) -> str | None:
    return next((problem for problem in problems if problem), None)


def _pure(own: Answer) -> str | None:
    return _first(*(_read(own, ink, i, f"ink {i} itself") for i, ink in enumerate(INKS)))


def _pale(own: Answer) -> str | None:
    return _first(*(_read(own, 1 - 0.25 * (1 - ink), i, f"ink {i}, pale,") for i, ink in enumerate(INKS)))


def _dark(own: Answer) -> str | None:
    return _first(*(_read(own, 0.4 * ink, i, f"ink {i}, dark,") for i, ink in enumerate(INKS)))


def _between(own: Answer) -> str | None:
    """Try hues on both sides of the middle between two inks."""
    for i in range(8):
        for share in (0.3, 0.42, 0.58, 0.7):
            colour = (1 - share) * INKS[i] + share * INKS[(i + 1) % 8]
            problem = _read(own, colour, nearest_hue(colour, INKS), f"a colour between inks {i} and {(i + 1) % 8}")
            if problem:
                return problem
    return None


def _white(own: Answer) -> str | None:
    return _first(_read(own, torch.ones(3), -1, "white"), _read(own, torch.full((3,), 0.5), -1, "grey"))


def _nearly_white(own: Answer) -> str | None:
    return _first(*(_read(own, 1 - 0.05 * (1 - ink), -1, "nearly white") for ink in INKS))


SYMBOL_SOLUTION = """
def nearest_hue(colour, inks):
    chroma = colour - colour.mean()
    if chroma.norm() < 0.001:
        return -1
    hues = inks - inks.mean(1, keepdim=True)
    nearest = int((hues @ chroma / hues.norm(dim=1)).argmax())
    way = 1 - inks[nearest]
    share = (1 - colour) @ way / (way @ way)
    return nearest if share > 0.1 else -1
"""

SYMBOL = Exercise(
    name="watermark/symbol",
    task="Write the function nearest_hue: which of the inks (K, 3) is nearest to a colour (3,) in hue; -1 for grey, and"
    " for what lies less than a tenth of the way from white to that ink.",
    library=(nearest_hue,),
    properties=(
        Property("inks as they are", _pure),
        Property("pale inks", _pale),
        Property("dark inks", _dark),
        Property("hues between two inks", _between),
        Property("white and grey are no ink", _white),
        Property("what is nearly white is no ink", _nearly_white),
    ),
    hints=(
        "A thief's network draws inks too pale, and their distance to the ink says little. What stays is the direction"
        " away from grey: compare angles, not colours.",
        "`colour - colour.mean()` is that direction, 0 for grey. The cosine to each ink's direction is a product,"
        " `hues @ chroma`, over the length of both; the colour's own length is the same for all inks. How far on the"
        " way from white w to ink c a colour e lies is <w - e, w - c> / |w - c|².",
        SYMBOL_SOLUTION,
    ),
    wrong_answers=tuple(
        (source, words)
        for source, words in (
            (
                "def nearest_hue(colour, inks):\n    return int((inks - colour).norm(dim=1).argmin())",
                "pale, (",
            ),
            (SYMBOL_SOLUTION.replace("    if chroma.norm() < 0.001:\n        return -1\n", ""), "grey ("),
            (SYMBOL_SOLUTION.replace(" if share > 0.1 else -1", ""), "nearly white ("),
            (SYMBOL_SOLUTION.replace("share > 0.1", "share > 0.5"), "ink 0, pale, ("),
            (SYMBOL_SOLUTION.replace(" / hues.norm(dim=1)", ""), "a colour between inks"),
            (SYMBOL_SOLUTION.replace("argmax", "argmin"), "ink 0 itself ("),
        )
    ),
)


# --- Rule out chance --------------------------------------------------------------------------------------------------


def chance(found: int, n: int, rate: float) -> float:
    """The tail of a binomial, as in the library's `visionlab.protection.verification.p_value`."""
    return float(stats.binom.sf(found - 1, n, rate))


def _chance(own: Answer, found: int, n: int, rate: float, why: str) -> str | None:
    got, expected = float(written(own(found, n, rate))), chance(found, n, rate)
    if math.isclose(got, expected, rel_tol=1e-6):
        return None
    return f"for {found} or more of {n} at a rate of {rate:g} it gives {got:.4g}, expected {expected:.4g}: {why}"


def _once(own: Answer) -> str | None:
    return _chance(own, 1, 1, 0.05, "of one answer it is the rate itself, and 1 or more counts 1, too")


def _either(own: Answer) -> str | None:
    return _chance(own, 1, 2, 0.05, "the first, the second or both: 1 - 0.95²")


def _all(own: Answer) -> str | None:
    return _chance(own, 3, 3, 0.2, "all of three: 0.2³")


def _none_needed(own: Answer) -> str | None:
    return _chance(own, 0, 32, 0.05, "0 or more are always found")


def _falls(own: Answer) -> str | None:
    values = [float(own(found, 16, 0.3)) for found in range(17)]
    i = next((i for i in range(16) if values[i + 1] >= values[i]), None)
    if i is None:
        return None
    return (
        f"of 16 at a rate of 0.3 it gives {values[i]:.4g} for {i} and {values[i + 1]:.4g} for {i + 1}: it has to fall"
    )


def _tiny(own: Answer) -> str | None:
    why = "1 minus nearly 1 keeps no digits, so add up the tail itself, or take scipy's sf"
    return _chance(own, 30, 32, 0.05, why)


CHANCE_SOLUTION = """
from scipy import stats


def chance(found, n, rate):
    return float(stats.binom.sf(found - 1, n, rate))
"""

CHANCE = Exercise(
    name="watermark/chance",
    task="Write the function chance: how probable it is that of n answers found or more are detected if each is so with"
    " probability rate, on its own.",
    library=(chance,),
    properties=(
        Property("one answer", _once),
        Property("one of two", _either),
        Property("all of three", _all),
        Property("none needed", _none_needed),
        Property("more are less probable", _falls),
        Property("very small probabilities", _tiny),
    ),
    hints=(
        "How many are detected by chance follows a binomial distribution. You want its upper tail, from found on to n.",
        "`scipy.stats.binom.sf(x, n, rate)` is the probability of *more than* x. Or add up, for each k from found to n,"
        " `math.comb(n, k) * rate**k * (1 - rate) ** (n - k)`.",
        CHANCE_SOLUTION,
    ),
    wrong_answers=tuple(
        (CHANCE_SOLUTION.replace("stats.binom.sf(found - 1, n, rate)", wrong), words)
        for wrong, words in (
            ("stats.binom.sf(found, n, rate)", "for 1 or more of 1 at a rate of 0.05 it gives 0"),
            ("stats.binom.pmf(found, n, rate)", "for 1 or more of 2 at a rate of 0.05 it gives 0.095"),
            ("stats.binom.cdf(found, n, rate)", "for 1 or more of 1 at a rate of 0.05 it gives 1"),
            ("1 - stats.binom.cdf(found - 1, n, rate)", "keeps no digits"),
            ("rate**found", "for 1 or more of 2 at a rate of 0.05 it gives 0.05"),
            ("1 - (1 - rate) ** n", "for 3 or more of 3 at a rate of 0.2 it gives 0.488"),
        )
    ),
)

EXERCISES = (DECODE, SYMBOL, CHANCE)

"""Lab 02: what its predictions reveal, and its gaps: tokens read the map, steer its slopes, and are heard by it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from visionlab.exercises.exercise import Answer, Exercise, Property, shapes, written

__all__ = ["EXERCISES", "REVEALED"]

REVEALED: dict[str, tuple[str | float, str]] = {
    "alone": (
        "about three quarters",
        "75 %, over five seeds. That is more than always saying 'most', for what lies within its 19×19 pixels is a"
        " sample of all: many red squares nearby make a red majority likely. A wider Mobile does no better.",
    ),
    "cut": (
        "either of them",
        "News has to get into the tokens and out again. Without reading, they are the same for every image; without"
        " writing, they know and nobody hears it. Either way 100 % become 50: a coin, and less than without a bridge"
        " from the start.",
    ),
    "resolution": (
        "the Former",
        "It only ever sees the tokens, and there are as many of them for a large image as for a small one. Mobile works"
        " on every pixel: four times as many, four times the work. So do the bridges, but for what they do to the"
        " tokens themselves: those of the 294M network cost 2.8 times as much.",
    ),
}
"""Answer and explanation of each prediction; kept here, so that the lab's own cell does not give them away."""

SIZES = ((2, 3, 5, 4, 2, 3), (1, 1, 2, 3, 3, 2), (3, 4, 6, 2, 1, 5))
"""Batch, tokens M, their width d, channels C, height and width of a map."""


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 2) + 0.0 for value in values.flatten().tolist()]


def _differ(got: Tensor, expected: Tensor, given: str) -> str | None:
    if torch.allclose(got, expected, atol=1e-4):
        return None
    return f"{given} gives {_rounded(got)}, expected {_rounded(expected)}"


# --- Mobile→Former: the tokens read the map --------------------------------------------------------------------------


def read(tokens: Tensor, x: Tensor, query: Tensor) -> Tensor:
    """What each token reads of the map, with one head: Attn(z W_q, x, x), (B, M, C)."""
    pixels = x.flatten(2)
    weights = (tokens @ query @ pixels / x.shape[1] ** 0.5).softmax(dim=-1)
    return weights @ pixels.transpose(1, 2)


def _read_shape(own: Answer) -> str | None:
    for b, m, d, c, h, w in SIZES:
        got = written(own(torch.ones(b, m, d), torch.ones(b, c, h, w), torch.ones(d, c)))
        given = f"{m} tokens of {d} channels and a map {(b, c, h, w)}"
        if problem := shapes(got, (b, m, c), given):
            return problem
    return None


def _mean(own: Answer) -> str | None:
    x = torch.arange(12.0).view(1, 2, 2, 3)
    got = own(torch.zeros(1, 2, 4), x, torch.ones(4, 2))
    return _differ(got, torch.tensor([[[2.5, 8.5]] * 2]), "a token that asks for nothing looks at all pixels alike; it")


def _found(own: Answer) -> str | None:
    x = torch.zeros(1, 2, 2, 3)
    x[0, :, 1, 0] = torch.tensor([40.0, 1.0])
    x[0, :, 0, 2] = torch.tensor([1.0, 40.0])
    got = own(torch.eye(2)[None], x, torch.eye(2))
    given = "of two bright pixels, (40, 1) and (1, 40), each token seeks one; what the two read"
    return _differ(got, torch.tensor([[[40.0, 1], [1, 40]]]), given)


def _scale(own: Answer) -> str | None:
    x = torch.tensor([0.0, 1, 0, 0, 0, 0, 0, 0]).view(1, 4, 1, 2)
    tokens = torch.full((1, 1, 9), 2 / 9)
    given = "a logit of 2 divided by the root of the C = 4 channels; what the token reads (d is 9)"
    return _differ(own(tokens, x, torch.ones(9, 4)), read(tokens, x, torch.ones(9, 4)), given)


def _read_apart(own: Answer) -> str | None:
    x = torch.stack([torch.ones(1, 2, 2), torch.full((1, 2, 2), 5.0)])
    return _differ(own(torch.ones(2, 1, 3), x, torch.ones(3, 1)), torch.tensor([1.0, 5.0]).view(2, 1, 1), "of a map"
                   " of ones and one of fives, each with a token of its own, what the tokens read")  # fmt: skip


READ_SOLUTION = """
def read(tokens, x, query):
    pixels = x.flatten(2)
    weights = (tokens @ query @ pixels / x.shape[1] ** 0.5).softmax(dim=-1)
    return weights @ pixels.transpose(1, 2)
"""

READ = Exercise(
    name="mobile_former/read",
    task="write read, which returns what each token reads of the map.",
    library=(read,),
    properties=(
        Property("the shape that comes out", _read_shape),
        Property("a softmax over the pixels", _mean),
        Property("what is sought is found", _found),
        Property("the scale of the logits", _scale),
        Property("one image knows nothing of the next", _read_apart),
    ),
    hints=(
        "The map is key and value as it is: no other weights than those of the query are needed. Flatten it to pixels"
        " (B, C, HW); then tokens (B, M, C) times pixels is a table of token by pixel (B, M, HW).",
        "Divide the table by the root of C, `x.shape[1] ** 0.5`. Each token spreads 1 over all pixels: a softmax along"
        " the last axis. To collect, multiply with the pixels once more, now as (B, HW, C): `pixels.transpose(1, 2)`.",
        READ_SOLUTION,
    ),
    wrong_answers=tuple(
        (READ_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("dim=-1", "dim=1", "a token that asks for nothing looks at all pixels alike; it gives [7.5, 25.5"),
            (
                "pixels = x.flatten(2)",
                "pixels = x.reshape(len(x), -1, x.shape[1]).transpose(1, 2)",
                "alike; it gives [5.0, 6.0, 5.0, 6.0], expected [2.5, 8.5, 2.5, 8.5]",
            ),
            (" / x.shape[1] ** 0.5", "", "divided by the root of the C = 4 channels"),
            ("x.shape[1] ** 0.5", "tokens.shape[2] ** 0.5", "what the token reads (d is 9) gives [0.66"),
            ("return weights @ pixels.transpose(1, 2)", "return pixels @ weights.transpose(1, 2)", "is (2, 4, 3)"),
            (
                "pixels = x.flatten(2)",
                "pixels = x.flatten(2).mean(0, keepdim=True).expand(len(x), -1, -1)",
                "what the tokens read gives [3.0, 3.0], expected [1.0, 5.0]",
            ),
        )
    ),
)


# --- Slopes: the first token steers the activations ------------------------------------------------------------------


def dynamic_relu(x: Tensor, scores: Tensor) -> Tensor:
    """max(a1 x, a2 x) with slopes of each channel from scores (B, 2C): those of a1 first, then those of a2."""
    p, q = F.hardsigmoid(scores)[:, :, None, None].chunk(2, dim=1)
    return torch.maximum((2 * (p - 0.5) + 1) * x, 2 * (q - 0.5) * x)


def _relu_shape(own: Answer) -> str | None:
    for b, _, _, c, h, w in SIZES:
        got = written(own(torch.ones(b, c, h, w), torch.ones(b, 2 * c)))
        if problem := shapes(got, (b, c, h, w), f"a map {(b, c, h, w)} and scores {(b, 2 * c)}"):
            return problem
    return None


def _curve(first: float, second: float, why: str, own: Answer) -> str | None:
    x = torch.tensor([-2.0, -1, 0, 1, 2]).view(1, 1, 1, 5)
    scores = torch.tensor([[first, second]])
    given = f"scores {first:g} and {second:g} on x = -2, -1, 0, 1, 2 ({why})"
    return _differ(own(x, scores), dynamic_relu(x, scores), given)


def _relu_channels(own: Answer) -> str | None:
    x, scores = torch.ones(1, 3, 3, 3), torch.tensor([[-3.0, 0, 3, -3, -3, -3]])
    got = own(x, scores)[0, :, 0, 0]
    return _differ(got, torch.tensor([0.0, 1, 2]), "a map of ones with a1 = 0, 1, 2 and a2 = -1 for three channels")


def _relu_images(own: Answer) -> str | None:
    got = own(torch.ones(2, 1, 1, 1), torch.tensor([[0.0, 0], [3, 0]]))
    return _differ(got, torch.tensor([1.0, 2]).view(2, 1, 1, 1), "ones in two images, the first with a1 = 1, the"
                   " second with a1 = 2,")  # fmt: skip


SLOPES_SOLUTION = """
import torch


def dynamic_relu(x, scores):
    p, q = torch.nn.functional.hardsigmoid(scores)[:, :, None, None].chunk(2, dim=1)
    return torch.maximum((2 * (p - 0.5) + 1) * x, 2 * (q - 0.5) * x)
"""

SLOPES = Exercise(
    name="mobile_former/slopes",
    task="write dynamic_relu, which activates a map with the slopes that a token's scores give.",
    library=(dynamic_relu,),
    properties=(
        Property("the shape that comes out", _relu_shape),
        Property("it begins as a ReLU", lambda own: _curve(0.0, 0.0, "p = q = 0.5, so a1 = 1 and a2 = 0", own)),
        Property("a kink that rectifies", lambda own: _curve(0.0, -3.0, "a1 = 1 and a2 = -1", own)),
        Property("the hard sigmoid", lambda own: _curve(3.0, 1.5, "p = 1 and q = 0.75, so a1 = 2 and a2 = 0.5", own)),
        Property("each channel has its own slopes", _relu_channels),
        Property("each image has its own slopes", _relu_images),
    ),
    hints=(
        "`torch.nn.functional.hardsigmoid` brings the scores into [0, 1]: the first C of them are p, the others q."
        " Then a1 = 2 (p - 0.5) + 1 and a2 = 2 (q - 0.5). For scores of 0 that is (1, 0).",
        "Slopes (B, C) have to meet a map (B, C, H, W): give them two more axes, `[:, :, None, None]`. `chunk(2,"
        " dim=1)` parts p from q. The larger of two tensors, place by place, is `torch.maximum`.",
        SLOPES_SOLUTION,
    ),
    wrong_answers=tuple(
        (SLOPES_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("2 * (q - 0.5) * x", "q * x", "a2 = 0) gives [-1.0, -0.5, 0.0, 1.0, 2.0], expected [0.0, 0.0"),
            ("maximum", "add", "a2 = 0) gives [-2.0, -1.0, 0.0, 1.0, 2.0]"),
            ("(2 * (p - 0.5) + 1) * x", "2 * (p - 0.5) * x", "a2 = 0) gives [0.0, 0.0, 0.0, 0.0, 0.0]"),
            ("2 * (q - 0.5) * x)", "(2 * (q - 0.5)).clamp(min=0) * x)", "a2 = -1) gives [0.0, 0.0, 0.0, 1.0, 2.0]"),
            ("hardsigmoid", "sigmoid", "a2 = -1) gives [1.81"),
            (
                "p, q = torch.nn.functional.hardsigmoid(scores)[:, :, None, None].chunk(2, dim=1)",
                "p, q = torch.nn.functional.hardsigmoid(scores).view(*x.shape[:2], 1, 1, 2).unbind(-1)",
                "for three channels gives [0.0, 2.0, 0.0], expected [0.0, 1.0, 2.0]",
            ),
            ("(scores)", "(scores).mean(0, keepdim=True)", "the second with a1 = 2, gives [1.5, 1.5]"),
        )
    ),
)


# --- Mobile←Former: the pixels listen to the tokens ------------------------------------------------------------------


def write(x: Tensor, tokens: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The map after each pixel has listened to the tokens, with one head: x + Attn(x, z W_k, z W_v), (B, C, H, W)."""
    logits = tokens @ key @ x.flatten(2) / x.shape[1] ** 0.5
    heard = (tokens @ value).transpose(1, 2) @ logits.softmax(dim=1)
    return x + heard.view_as(x)


def _write_shape(own: Answer) -> str | None:
    for b, m, d, c, h, w in SIZES:
        got = written(own(torch.ones(b, c, h, w), torch.ones(b, m, d), torch.ones(d, c), torch.ones(d, c)))
        given = f"a map {(b, c, h, w)} and {m} tokens of {d} channels"
        if problem := shapes(got, (b, c, h, w), given):
            return problem
    return None


def _silent(own: Answer) -> str | None:
    x = torch.tensor([[[[1.0, 2, 3]]]])
    got = own(x, torch.ones(1, 2, 2), torch.ones(2, 1), torch.zeros(2, 1))
    return _differ(got, x, "pixels 1, 2, 3 and tokens that have nothing to say: the map stays as it is; it")


def _one_token(own: Answer) -> str | None:
    got = own(torch.tensor([[[[1.0, 2, 3]]]]), torch.ones(1, 1, 2), torch.zeros(2, 1), torch.full((2, 1), 5.0))
    given = "pixels 1, 2, 3 and a single token that says 10: every pixel hears it in full, which"
    return _differ(got, torch.tensor([[[[11.0, 12, 13]]]]), given)


def _listen(own: Answer) -> str | None:
    x = torch.zeros(1, 2, 2, 2)
    x[0, 0, 0], x[0, 1, 1] = 40.0, 40.0  # the upper row has the first channel, the lower row the second
    tokens, value = torch.eye(2)[None], torch.tensor([[100.0, 0], [200, 0]])
    got = own(x, tokens, torch.eye(2), value)[:, :1]
    given = (
        "the pixels of the upper row seek a token that says 100, those of the lower row one that says 200; channel 0,"
        " which was 40 above and 0 below,"
    )
    return _differ(got, torch.tensor([[[[140.0, 140], [200, 200]]]]), given)


def _write_scale(own: Answer) -> str | None:
    x, tokens, key = torch.ones(1, 4, 1, 1), torch.eye(2, 9)[None], torch.zeros(9, 4)
    key[0] = 0.5
    value = torch.zeros(9, 4)
    value[0] = 1.0
    given = (
        "logits of 2 and 0 divided by the root of the C = 4 channels, and tokens that say 1 and 0; the pixel (d is 9)"
    )
    return _differ(own(x, tokens, key, value)[:, :1], write(x, tokens, key, value)[:, :1], given)


def _write_apart(own: Answer) -> str | None:
    tokens = torch.tensor([1.0, 5]).view(2, 1, 1)
    got = own(torch.zeros(2, 1, 1, 1), tokens, torch.zeros(1, 1), torch.ones(1, 1))
    return _differ(got, tokens[..., None], "two images, whose tokens say 1 and 5,")


WRITE_SOLUTION = """
def write(x, tokens, key, value):
    logits = tokens @ key @ x.flatten(2) / x.shape[1] ** 0.5
    heard = (tokens @ value).transpose(1, 2) @ logits.softmax(dim=1)
    return x + heard.view_as(x)
"""

WRITE = Exercise(
    name="mobile_former/write",
    task="write write, which returns the map after each pixel has listened to the tokens.",
    library=(write,),
    properties=(
        Property("the shape that comes out", _write_shape),
        Property("the map itself stays", _silent),
        Property("a softmax over the tokens", _one_token),
        Property("each pixel hears the token that it seeks", _listen),
        Property("the scale of the logits", _write_scale),
        Property("one image knows nothing of the next", _write_apart),
    ),
    hints=(
        "The same table of token by pixel as in `read`, (B, M, HW), now with keys made of the tokens and the pixels"
        " themselves as queries. But this time each *pixel* spreads 1 over the tokens: which axis is that?",
        "`softmax(dim=1)` goes over the tokens. What the tokens say is `tokens @ value`, (B, M, C); as (B, C, M) times"
        " the weights (B, M, HW) it becomes (B, C, HW). Bring it to the map's shape, and do not forget the map itself:"
        " x plus what was heard.",
        WRITE_SOLUTION,
    ),
    wrong_answers=tuple(
        (WRITE_SOLUTION.replace(right, wrong), words)
        for right, wrong, words in (
            ("dim=1", "dim=-1", "every pixel hears it in full, which gives [4.33, 5.33, 6.33]"),
            (
                "x + heard.view_as(x)",
                "heard.view_as(x)",
                "the map stays as it is; it gives [0.0, 0.0, 0.0], expected [1.0",
            ),
            (
                "heard.view_as(x)",
                "heard.transpose(1, 2).reshape(x.shape)",
                "was 40 above and 0 below, gives [140.0, 40.0, 100.0, 0.0]",
            ),
            (" / x.shape[1] ** 0.5", "", "divided by the root of the C = 4 channels"),
            ("x.shape[1] ** 0.5", "tokens.shape[2] ** 0.5", "the pixel (d is 9) gives [1.66]"),
            (
                "(tokens @ value)",
                "(tokens @ value).mean(0, keepdim=True)",
                "two images, whose tokens say 1 and 5, gives [3.0, 3.0]",
            ),
        )
    ),
)

EXERCISES = (READ, SLOPES, WRITE)

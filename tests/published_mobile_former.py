"""The entries of a published Mobile-Former checkpoint, name by name and shape by shape, as published."""

from __future__ import annotations

from torch import Tensor

from tests.filling import entry

Shapes = dict[str, list[int]]

# stem, tokens, groups, lite (e1, out, stride), then R as (hid, out) and D as (e1, out, e2), and F
VARIANTS = {
    "26m": (8, (3, 128), 4, (3, 12, 2), 1024),
    "52m": (8, (3, 128), 1, (3, 12, 2), 1024),
    "96m": (12, (4, 128), 1, (2, 12, 1), 1280),
    "151m": (12, (6, 192), 1, (2, 12, 1), 1280),
    "214m": (12, (6, 192), 1, (2, 12, 1), 1600),
    "294m": (16, (6, 192), 1, (2, 16, 1), 1920),
    "508m": (24, (6, 192), 1, (2, 24, 1), 1920),
}
SMALL = [(36, 12), (6, 24, 4), (72, 24), (6, 48, 4), (192, 48), (288, 64), (6, 96, 4), (576, 96)]
BLOCKS = {
    "26m": SMALL,
    "52m": SMALL,
    "96m": [(6, 16, 4), (6, 32, 4), (96, 32), (6, 64, 4), (256, 64), (384, 88), (6, 128, 4), (768, 128)],
    "151m": [(6, 16, 4), (48, 16), (6, 32, 4), (96, 32), (6, 64, 4), (256, 64), (384, 88), (528, 88), (6, 128, 4)]
    + [(768, 128)] * 2,
    "214m": [(6, 20, 4), (60, 20), (6, 40, 4), (160, 40), (6, 80, 4), (320, 80), (480, 112), (672, 112), (6, 160, 4)]
    + [(960, 160)] * 2,
    "294m": [(6, 24, 4), (96, 24), (6, 48, 4), (192, 48), (6, 96, 4), (384, 96), (576, 128), (768, 128), (6, 192, 4)]
    + [(1152, 192)] * 2,
    "508m": [(6, 40, 4), (120, 40), (6, 72, 4), (216, 72), (6, 128, 4), (512, 128), (768, 176), (1056, 176)]
    + [(6, 240, 4)]
    + [(1440, 240)] * 2,
}


def linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}.weight": [outputs, inputs], f"{name}.bias": [outputs]}


def batch_norm(name: str, channels: int) -> Shapes:
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{vector}": [channels] for vector in vectors} | {f"{name}.num_batches_tracked": []}


def layer_norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": [channels], f"{name}.bias": [channels]}


def local_global(name: str, c: int, d: int) -> Shapes:
    shapes = linear(f"{name}.alpha.0", d, c) | linear(f"{name}.q", d, c) | linear(f"{name}.proj", c, d)
    return shapes | layer_norm(f"{name}.layer_norm", d)


def hyper(name: str, d: int, c: int) -> Shapes:
    return linear(f"{name}.hyper.0", d, d // 4) | linear(f"{name}.hyper.2", d // 4, 2 * c)


def regular(name: str, c: int, d: int, groups: int, hid: int, out: int) -> Shapes:
    shapes = {f"{name}.conv1.0.weight": [hid, c // groups, 1, 1]} | batch_norm(f"{name}.conv1.1", hid)
    shapes |= hyper(f"{name}.hyper1", d, hid)
    shapes |= {f"{name}.conv2.0.weight": [hid, 1, 3, 3]} | batch_norm(f"{name}.conv2.1", hid)
    shapes |= hyper(f"{name}.hyper2", d, hid)
    return shapes | {f"{name}.conv3.0.weight": [out, hid // groups, 1, 1]} | batch_norm(f"{name}.conv3.1", out)


def down(name: str, c: int, d: int, groups: int, e1: int, out: int, e2: int) -> Shapes:
    shapes = {f"{name}.conv1.0.weight": [c * e1, 1, 3, 3]} | batch_norm(f"{name}.conv1.1", c * e1)
    shapes |= hyper(f"{name}.hyper1", d, c * e1)
    shapes |= {f"{name}.conv2.0.weight": [out, c * e1 // groups, 1, 1]} | batch_norm(f"{name}.conv2.1", out)
    shapes |= {f"{name}.conv3.0.weight": [out * e2, 1, 3, 3]} | batch_norm(f"{name}.conv3.1", out * e2)
    shapes |= hyper(f"{name}.hyper3", d, out * e2)
    return shapes | {f"{name}.conv4.0.weight": [out, out * e2 // groups, 1, 1]} | batch_norm(f"{name}.conv4.1", out)


def published_shapes(variant: str, classes: int = 1000) -> Shapes:
    """Return the names and shapes of the state dict in a file ``mobile-former-….pth.tar``."""
    c, (m, d), groups, (e1, out, _), f = VARIANTS[variant]
    shapes: Shapes = {"tokens.weight": [m, d], "stem.0.weight": [c, 3, 3, 3]} | batch_norm("stem.1", c)
    shapes |= {"features.0.conv.0.weight": [c * e1, 1, 3, 3]} | batch_norm("features.0.conv.1", c * e1)
    shapes |= {"features.0.conv.4.weight": [out, c * e1 // groups, 1, 1]} | batch_norm("features.0.conv.5", out)
    c = out
    for i, spec in enumerate(BLOCKS[variant], start=1):
        name, out = f"features.{i}", spec[1]
        shapes |= regular(name, c, d, groups, *spec) if len(spec) == 2 else down(name, c, d, groups, *spec)
        shapes |= local_global(f"{name}.local_global", c, d)
        shapes |= linear(f"{name}.global_block.ffn.0", d, 2 * d) | linear(f"{name}.global_block.ffn.2", 2 * d, d)
        shapes |= layer_norm(f"{name}.global_block.ffn_norm", d) | linear(f"{name}.global_block.q", d, d)
        shapes |= linear(f"{name}.global_block.channel_mlp", d, d) | layer_norm(f"{name}.global_block.layer_norm", d)
        shapes |= linear(f"{name}.global_local.k", d, out) | linear(f"{name}.global_local.proj", d, out)
        c = out
    shapes |= local_global("local_global", c, d)
    shapes |= {"classifier.conv.1.weight": [6 * c, c // groups, 1, 1]} | batch_norm("classifier.conv.2", 6 * c)
    shapes |= linear("classifier.fc.0", 6 * c + d, f) | batch_norm("classifier.fc.1", f)
    return shapes | linear("classifier.classifier.1", f, classes)


def published_entries(variant: str, classes: int = 1000) -> dict[str, Tensor]:
    """Return the entries, filled by the rule of `tests.filling`, in float64."""
    return {name: entry(name, tuple(shape)) for name, shape in published_shapes(variant, classes).items()}

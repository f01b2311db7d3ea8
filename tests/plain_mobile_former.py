"""Mobile-Former in one plain function of a published state dict, tokens first as published: to compare with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


def part(state: State, name: str) -> State:
    return {key.removeprefix(name + "."): tensor for key, tensor in state.items() if key.startswith(name + ".")}


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def norm(state: State, name: str, x: Tensor) -> Tensor:
    """Layer norm over the last axis."""
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    s = part(state, name)
    return F.batch_norm(x, s["running_mean"], s["running_var"], s["weight"], s["bias"])


def conv(state: State, name: str, x: Tensor, stride: int = 1, indices: tuple[int, int] = (0, 1)) -> Tensor:
    kernel = state[f"{name}.{indices[0]}.weight"]
    groups = x.shape[1] // kernel.shape[1]
    y = F.conv2d(x, kernel, None, stride, kernel.shape[2] // 2, groups=groups)
    return batch_norm(state, f"{name}.{indices[1]}", y)


def shuffle(x: Tensor, n: int) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, n, c // n, h, w).transpose(1, 2).reshape(b, c, h, w)


def hsigmoid(x: Tensor) -> Tensor:
    return F.relu6(x + 3) / 6


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Over (L, B, C) each, the way that torch's own attention does it."""

    def split(x: Tensor) -> Tensor:
        length, b, c = x.shape
        return x.view(length, b, heads, c // heads).permute(1, 2, 0, 3)

    z = F.scaled_dot_product_attention(split(q), split(k), split(v))
    return z.permute(2, 0, 1, 3).flatten(2)


def read(state: State, tokens: Tensor, x: Tensor) -> Tensor:
    """Mobile→Former."""
    pixels = x.flatten(2).permute(2, 0, 1)
    z = attend(linear(state, "q", tokens), pixels, pixels, 2)
    z = z * 2 * hsigmoid(linear(state, "alpha.0", tokens))
    return norm(state, "layer_norm", tokens + linear(state, "proj", z))


def think(state: State, tokens: Tensor) -> Tensor:
    """The Former."""
    z = attend(linear(state, "q", tokens), tokens, tokens, 4)
    tokens = norm(state, "layer_norm", tokens + linear(state, "channel_mlp", z))
    return norm(state, "ffn_norm", tokens + linear(state, "ffn.2", F.gelu(linear(state, "ffn.0", tokens))))


def write(state: State, x: Tensor, tokens: Tensor) -> Tensor:
    """Former→Mobile."""
    pixels = x.flatten(2).permute(2, 0, 1)
    z = attend(pixels, linear(state, "k", tokens), linear(state, "proj", tokens), 2)
    return x + z.permute(1, 2, 0).view(x.shape)


def dynamic_relu(state: State, name: str, x: Tensor, token: Tensor) -> Tensor:
    coefficients = hsigmoid(linear(state, f"{name}.hyper.2", linear(state, f"{name}.hyper.0", token).relu()))
    p, q = coefficients[:, :, None, None].split(x.shape[1], dim=1)
    return torch.max((2 * (p - 0.5) + 1) * x, 2 * (q - 0.5) * x)


def block(state: State, x: Tensor, tokens: Tensor, grouped: bool) -> tuple[Tensor, Tensor]:
    channels = x.shape[1]
    tokens = think(part(state, "global_block"), read(part(state, "local_global"), tokens, x))
    if "conv4.0.weight" in state:
        y = conv(state, "conv1", x, stride=2)
        y = dynamic_relu(state, "hyper1", shuffle(y, channels) if grouped else y, tokens[0])
        u = conv(state, "conv2", y)
        y = conv(state, "conv3", u)
        y = dynamic_relu(state, "hyper3", shuffle(y, u.shape[1]) if grouped else y, tokens[0])
        y = conv(state, "conv4", y) + u
    else:
        y = conv(state, "conv1", x)
        y = dynamic_relu(state, "hyper1", shuffle(y, 4) if grouped else y, tokens[0])
        y = conv(state, "conv3", dynamic_relu(state, "hyper2", conv(state, "conv2", y), tokens[0]))
        y = shuffle(y, 4) if grouped else y
        y = x + y if x.shape == y.shape else y
    return write(part(state, "global_local"), y, tokens), tokens


def logits(state: State, x: Tensor, *, lite_stride: int, grouped: bool) -> Tensor:
    """Classify images (B, 3, H, W)."""
    tokens = state["tokens.weight"][:, None].repeat(1, len(x), 1)
    x = F.relu6(conv(state, "stem", x, stride=2))
    y = F.relu6(conv(state, "features.0.conv", x, stride=lite_stride))
    y = conv(state, "features.0.conv", shuffle(y, x.shape[1]) if grouped else y, indices=(4, 5))
    x = x + y if x.shape == y.shape else y
    number = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("features."))
    for i in range(1, number):
        x, tokens = block(part(state, f"features.{i}"), x, tokens, grouped)
    tokens = read(part(state, "local_global"), tokens, x)
    y = F.relu6(conv(state, "classifier.conv", shuffle(x, 4) if grouped else x, indices=(1, 2))).mean((2, 3))
    y = torch.cat([y * hsigmoid(y), tokens[0]], dim=1)
    y = batch_norm(state, "classifier.fc.1", linear(state, "classifier.fc.0", y))
    return linear(state, "classifier.classifier.1", y * hsigmoid(y))

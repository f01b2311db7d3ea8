"""DGCNN for the classes of points, as PNAL trains it (arXiv 2107.14230), and a small one for a CPU.

An edge convolution gives point i the features max_j MLP([x_i, x_j - x_i]) over its k nearest neighbours j, itself among
them. Its first layer is linear, so it is W_a x_i + W_b (x_j - x_i) = (W_a - W_b) x_i + W_b x_j: two products for each
*point* instead of one for each *edge* (`split`). The rest of the MLP works on edges while it trains; in evaluation,
only its second product does.

`DGCNN` is the network of the published code, with its key names. It is not the classifier that the DGCNN paper
describes: no feature of the whole cloud is pooled, and every layer is linear, then ReLU, then batch norm.
`SmallDGCNN` is ours: one-layer convolutions, a graph in space for two of them, and a pooled feature of the cloud.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from visionlab.points.neighbours import nearest

__all__ = ["DGCNN", "EdgeConv", "PooledEdgeConv", "SmallDGCNN", "gather", "load_published", "split"]

EDGES_CPU, EDGES_ELSEWHERE = 2**12, 2**20
"""Edges held at once in evaluation: 64 channels before and after the product are 2 MB, and half a GB elsewhere."""


def gather(values: Float[Tensor, "b n c"], neighbours: Int[Tensor, "b m k"]) -> Float[Tensor, "b m k c"]:
    """Return the values (B, N, C) of the neighbours (B, M, k) as (B, M, k, C)."""
    clouds, n, channels = values.shape
    rows = neighbours + n * torch.arange(clouds, device=neighbours.device)[:, None, None]
    return values.reshape(-1, channels).index_select(0, rows.flatten()).view(*neighbours.shape, channels)


def split(linear: nn.Linear, x: Float[Tensor, "b n f"]) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b n c"]]:
    """Return the two parts (B, N, C) of a linear layer on [x_i, x_j - x_i]: what point i and neighbour j add to it."""
    centre, offset = linear.weight.chunk(2, dim=1)
    return F.linear(x, centre - offset, linear.bias), F.linear(x, offset)


class EdgeConv(nn.Module):
    """max_j MLP([x_i, x_j - x_i]) with an MLP of two layers, each linear, ReLU, batch norm over all edges.

    Args:
        inputs: channels of x.
        width: channels of both layers.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.nn = nn.Sequential(_layer(2 * inputs, width), _layer(width, width))

    def forward(self, x: Float[Tensor, "b n f"], neighbours: Int[Tensor, "b n k"]) -> Float[Tensor, "b n c"]:
        """Return features (B, N, width) of points (B, N, inputs) and their neighbours' indices (B, N, k)."""
        (linear, _, norm), second = cast(Any, self.nn)
        own, other = split(linear, x)
        if not (norm.training or second[2].training):
            return self._evaluate(own, other, neighbours)
        messages = (own[:, :, None] + gather(other, neighbours)).relu()
        return second(norm(messages.flatten(0, 2))).view(*neighbours.shape, -1).amax(2)

    def _evaluate(
        self, own: Float[Tensor, "b n c"], other: Float[Tensor, "b n c"], neighbours: Int[Tensor, "b n k"]
    ) -> Float[Tensor, "b n c"]:
        """The same in a fifth of the time, where batch norms do no more than scale and shift each channel.

        The first batch norm goes into the second linear layer. The maximum comes before that layer's bias, ReLU and
        batch norm, and is a minimum, -max_j(-z), in channels whose scale is negative: there the norm turns the order.
        """
        (_, _, norm), (linear, _, last) = cast(Any, self.nn)
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - scale * norm.running_mean
        sign = torch.ones_like(last.weight).copysign(last.weight)
        weight, bias = sign[:, None] * linear.weight * scale, F.linear(shift, linear.weight, linear.bias)
        clouds, _, k = neighbours.shape
        rows = max(1, (EDGES_CPU if own.device.type == "cpu" else EDGES_ELSEWHERE) // (clouds * k))
        pooled = []
        for mine, of in zip(own.split(rows, 1), neighbours.split(rows, 1), strict=True):
            messages = gather(other, of).add_(mine[:, :, None]).relu_()
            pooled.append(F.linear(messages, weight).amax(2))
        features = (sign * torch.cat(pooled, 1) + bias).relu()
        return last(features.flatten(0, 1)).view_as(own)


class PooledEdgeConv(nn.Module):
    """BN(max_j ReLU(W [x_i, x_j - x_i] + b)): one layer, and its batch norm comes after the maximum.

    ReLU never falls and x_i is the same for all j, so the maximum needs the neighbours' part alone:
    ReLU((W_a - W_b) x_i + b + max_j W_b x_j). Nothing but a gather and a maximum is done on edges.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * inputs, width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Float[Tensor, "b n f"], neighbours: Int[Tensor, "b n k"]) -> Float[Tensor, "b n c"]:
        """Return features (B, N, width) of points (B, N, inputs) and their neighbours' indices (B, N, k)."""
        own, other = split(self.linear, x)
        pooled = (own + gather(other, neighbours).amax(2)).relu()
        return self.norm(pooled.flatten(0, 1)).view_as(pooled)


class DGCNN(nn.Module):
    """The network of the published code: three edge convolutions and an MLP for each point; 528,397 parameters for 13.

    Its layers find their neighbours anew: nearest in all input channels for the first, then in the features of the
    layer before. Clouds of a batch never mix.

    Args:
        classes: K.
        k: neighbours, the point itself included.
        channels: of a point. The published order is rgb in [0, 1], xyz in [0, 1] of the room, xyz in metres in a block
            of 1 m: x and y from its centre, z from the floor.
        dropout: in the head, while training.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, classes: int, k: int = 30, channels: int = 9, dropout: float | int = 0.5) -> None:
        super().__init__()
        _check_numbers(classes, k, channels, 1, dropout)
        self.k, self.channels = k, channels
        self.conv1 = EdgeConv(channels, 64)
        self.conv2 = EdgeConv(64, 64)
        self.conv3 = EdgeConv(64, 64)
        self.lin1 = nn.Sequential(_layer(3 * 64, 1024))
        self.mlp = nn.Sequential(
            nn.Sequential(_layer(1024, 256)),
            nn.Dropout(dropout),
            nn.Sequential(_layer(256, 128)),
            nn.Dropout(dropout),
            nn.Linear(128, classes),
        )

    def forward(self, points: Float[Tensor, "b n f"]) -> Float[Tensor, "b n classes"]:
        """Return logits (B, N, K) of clouds (B, N, channels) of k points or more.

        Raises:
            ValueError: if the channels are others, points are too few, or numbers are not finite.
        """
        x = _checked(points, self.channels)
        levels = []
        for conv in (self.conv1, self.conv2, self.conv3):
            x = conv(x, nearest(x, self.k))
            levels.append(x)
        rows = torch.cat(levels, dim=2).flatten(0, 1)
        return self.mlp(self.lin1(rows)).view(*points.shape[:2], -1)


class SmallDGCNN(nn.Module):
    """A DGCNN for rooms of a few hundred points on a CPU: 82,247 parameters for 7 classes.

    The first two edge convolutions share a graph in space, the third has one in the features of the second. A layer of
    128 for each point follows, its maximum over the cloud, and a head on all three: 128 + 128 + 128 to 128 to 64 to K.
    Layers are linear, ReLU, batch norm as in `DGCNN`.

    Args:
        classes: K.
        k: neighbours, the point itself included.
        channels: of a point; the last three are the xyz that the graph in space is made of.
        width: factor of all widths.
        dropout: in the head, while training.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self, classes: int, k: int = 12, channels: int = 9, width: float | int = 1.0, dropout: float | int = 0.0
    ) -> None:
        super().__init__()
        _check_numbers(classes, k, channels, 3, dropout)
        if not 1 / 32 <= width < float("inf"):
            raise ValueError(f"width: expected 1/32 or more, got {width}")
        self.k, self.channels = k, channels
        w32, w64, w128 = (round(wide * width) for wide in (32, 64, 128))
        self.conv1 = PooledEdgeConv(channels, w32)
        self.conv2 = PooledEdgeConv(w32, w32)
        self.conv3 = PooledEdgeConv(w32, w64)
        self.embed = _layer(2 * w32 + w64, w128)
        self.head = nn.Sequential(
            _layer(2 * w32 + w64 + 2 * w128, w128),
            nn.Dropout(dropout),
            _layer(w128, w64),
            nn.Dropout(dropout),
            nn.Linear(w64, classes),
        )

    def forward(self, points: Float[Tensor, "b n f"]) -> Float[Tensor, "b n classes"]:
        """Return logits (B, N, K) of clouds (B, N, channels) of k points or more.

        Raises:
            ValueError: if the channels are others, points are too few, or numbers are not finite.
        """
        x = _checked(points, self.channels)
        space = nearest(x[..., -3:], self.k)
        first = self.conv1(x, space)
        second = self.conv2(first, space)
        third = self.conv3(second, nearest(second, self.k))
        local = torch.cat([first, second, third], dim=2)
        embedded = self.embed(local.flatten(0, 1)).view(*points.shape[:2], -1)
        whole = embedded.amax(1, keepdim=True).expand_as(embedded)
        return self.head(torch.cat([local, embedded, whole], dim=2).flatten(0, 1)).view(*points.shape[:2], -1)


def load_published(source: str | Path | Mapping[str, Any], k: int = 30) -> DGCNN:
    """Return the network of a checkpoint of the published code, ready for inference.

    Args:
        source: a file, or what it holds: a dict with the state dict under ``model``; other entries are ignored, and so
            is the ``module.`` that parallel training puts before names.
        k: neighbours; the checkpoint does not hold them.

    Raises:
        ValueError: if it is no such checkpoint, or entries miss, are too many or have other shapes.
        FileNotFoundError: if there is no such file.
    """
    content = source if isinstance(source, Mapping) else _read(Path(source))
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"source: expected a dict with a state dict under 'model', got {_described(content)}")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    first, last = state.get("conv1.nn.0.0.weight"), state.get("mlp.4.weight")
    if first is None or last is None or first.ndim != 2 or last.ndim != 2:
        raise ValueError(
            f"source: expected conv1.nn.0.0.weight and mlp.4.weight, got {', '.join(state)[:200] or 'none'}"
        )
    network = DGCNN(len(last), k, first.shape[1] // 2)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"source: not the published network: {error}") from error
    return network.eval()


def _read(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"source: {path} is not a checkpoint of tensors: {str(error)[:200]}") from error


def _described(content: object) -> str:
    if isinstance(content, Mapping):
        return f"entries {', '.join(map(str, content))[:200] or 'none'}"
    return f"a {type(content).__name__}"


def _layer(inputs: int, width: int) -> nn.Sequential:
    # ReLU before batch norm, as the published code has it; entries 0 and 2 of the state dict.
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width))


def _checked(points: Tensor, channels: int) -> Tensor:
    if points.ndim != 3 or points.shape[2] != channels:
        raise ValueError(f"points: expected (B, N, {channels}), got {tuple(points.shape)}")
    return points


def _check_numbers(classes: int, k: int, channels: int, least: int, dropout: float | int) -> None:
    for name, value, lowest in (("classes", classes, 1), ("k", k, 1), ("channels", channels, least)):
        if value < lowest:
            raise ValueError(f"{name}: expected {lowest} or more, got {value}")
    if not 0 <= dropout <= 1:
        raise ValueError(f"dropout: expected 0 to 1, got {dropout}")

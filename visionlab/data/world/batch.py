"""Frozen dataclasses of tensors, or of others like them, that share their first axis."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["Batch"]

B = TypeVar("B", bound="Batch")


@dataclass(frozen=True)
class Batch:
    """Tensors, or batches of them, that share their first axis."""

    def _map(self: B, change: Callable[[Tensor], Tensor]) -> B:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed = {name: v._map(change) if isinstance(v, Batch) else change(v) for name, v in fields.items()}
        return type(self)(**changed)

    def __getitem__(self: B, index: Any) -> B:
        """Some of the batch: a slice, a list of numbers or a mask; a single number keeps the axis."""
        where: Any = [index] if isinstance(index, Integral) else index  # a list, so that a number too high is an error
        return self._map(lambda tensor: tensor[where])

    def to(self: B, device: torch.device | str) -> B:
        """The same on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def with_(self: B, **values: Any) -> B:
        """The same with other values, numbers or tensors, in some fields: ``scene.camera.with_(azimuth=30.0)``."""
        unknown = set(values) - {field.name for field in dataclasses.fields(self)}
        if unknown:
            raise ValueError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        for name, value in values.items():
            now = getattr(self, name)
            if isinstance(now, Tensor):
                values[name] = torch.as_tensor(value).to(now).expand_as(now)
        return dataclasses.replace(self, **values)

    @classmethod
    def cat(cls: type[B], parts: Sequence[B]) -> B:
        """Batches one after the other."""
        fields = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
        return cls(**{n: torch.cat(v) if isinstance(v[0], Tensor) else type(v[0]).cat(v) for n, v in fields.items()})

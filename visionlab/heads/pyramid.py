"""The maps of a backbone, whichever it is, in one form."""

from __future__ import annotations

from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Pyramid"]


class Pyramid(nn.Module):
    """A backbone's maps (B, C_i, H_i, W_i), the finest first.

    Attributes:
        channels: C_i of each map.
        strides: pixels of the image to one step in each map.

    Args:
        backbone: `visionlab.backbones.cswin_pyramid.CSWinPyramid`, or any timm backbone made with
            ``timm.create_model(name, features_only=True)``, whichever way round its maps are.

    Raises:
        ValueError: the backbone does not say what maps it has.
    """

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        info: Any = getattr(backbone, "feature_info", None)
        if not info:
            raise ValueError(
                f"backbone: expected maps, from CSWinPyramid or timm.create_model(..., features_only=True); "
                f"got {type(backbone).__name__}"
            )
        chosen = info if isinstance(info, list) else info.get_dicts()
        self.channels = tuple(int(each["num_chs"]) for each in chosen)
        self.strides = tuple(int(each["reduction"]) for each in chosen)
        self.backbone = backbone

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the maps of normalised images."""
        maps = cast(list[Tensor], self.backbone(x))
        # timm's Swin and its like give channels last.
        return [
            y if y.shape[1] == channels else y.permute(0, 3, 1, 2)
            for y, channels in zip(maps, self.channels, strict=True)
        ]

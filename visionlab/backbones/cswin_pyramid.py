"""CSWin as the backbone of dense prediction (sections 4.2 and 4.3 of the paper), as in its published segmentation code.

It differs from the classifier in two things: only the last stage attends over the whole map, whatever the size, and
each stage's map leaves through a LayerNorm of its own, while the next stage goes on from the un-normed one.
"""

from __future__ import annotations

import re
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from visionlab.backbones.cswin import CSWinTransformer
from visionlab.backbones.cswin_published import our_name, rename

__all__ = ["CSWinPyramid"]


class CSWinPyramid(nn.Module):
    """Four maps (B, C_i, H_i, W_i) at strides 4, 8, 16, 32 of normalised images of any size.

    Published segmentation networks load by ``load_state_dict``; of one with a ``backbone.`` the rest is left out.
    ImageNet checkpoints load with ``strict=False``, since their ``norm`` and ``head`` have no place here.

    Args:
        configuration: keywords of `CSWinTransformer`, for instance ``**CONFIGURATIONS["tiny"]``.
    """

    def __init__(self, **configuration: Any) -> None:
        super().__init__()
        self.trunk = CSWinTransformer(None, num_classes=0, **configuration)
        self.trunk.norm = nn.Identity()
        self.feature_info = self.trunk.feature_info
        self.norms = nn.ModuleList(nn.LayerNorm(info["num_chs"]) for info in self.feature_info)
        self.register_load_state_dict_pre_hook(_read_published_names)

    def forward(self, x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        """Return the four normed maps."""
        maps = self.trunk.forward_intermediates(x, output_fmt="NHWC", intermediates_only=True)
        return [rearrange(norm(y), "b h w c -> b c h w") for norm, y in zip(self.norms, maps, strict=True)]


def _read_published_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    def rule(key: str) -> str:
        key = key.removeprefix("backbone.")
        norm = re.match(r"norm([1-4])\.(.*)", key)
        if norm:
            return f"norms.{int(norm[1]) - 1}.{norm[2]}"
        return key if key.startswith(("trunk.", "norms.")) else f"trunk.{our_name(key)}"

    keys = [key for key in state if key.startswith(prefix)]
    if any(key.startswith(f"{prefix}backbone.") for key in keys):
        for key in keys:
            if not key.startswith(f"{prefix}backbone."):
                del state[key]
    rename(state, prefix, rule)

"""A Mobile-Former of one resolution whose every pixel answers (arXiv 2108.05895): it isolates the two-way bridge.

Nothing is pooled, and no token stands beside the classifier: what lies further off than the convolutions reach comes to
a pixel through the tokens or not at all.
"""

from __future__ import annotations

from visionlab.backbones.mobile_former import MobileFormer
from visionlab.backbones.mobile_former_cuts import cut
from visionlab.backbones.mobile_former_mobile import Regular
from visionlab.backbones.mobile_former_nano import excited

__all__ = ["flat_network"]


def flat_network(
    *,
    channels: int = 16,
    hidden: int = 48,
    depth: int = 4,
    tokens: tuple[int, int] = (3, 32),
    slopes: str = "token",
    removed: tuple[str, ...] = (),
    excite: bool = False,
    num_classes: int = 2,
) -> MobileFormer:
    """Build a network of regular blocks on a map of half the image's sides, with a linear classifier on each place.

    Args:
        channels: of the map.
        hidden: of a block.
        depth: blocks.
        tokens: M and d; M = 0 leaves the Mobile alone.
        slopes: as of `MobileFormer`.
        removed: wires that are cut from the start, as of `mobile_former_cuts.cut`.
        excite: give a Mobile alone h-swish and squeeze-and-excite, which hears the mean of the whole map.
        num_classes: of each place.

    Returns:
        Takes (B, 3, H, W), returns logits (B, H/2, W/2, num_classes).

    Raises:
        ValueError: if widths, heads, slopes and ``excite`` do not go together, or there is no such wire.
    """
    if excite and slopes != "static":
        raise ValueError(f"excite: expected slopes='static', whose place it takes, got slopes={slopes!r}")
    blocks = (Regular(hidden, channels),) * depth
    network = MobileFormer((blocks,), stem=channels, tokens=tokens, slopes=slopes, num_classes=0)
    network.prune_intermediate_layers([0], prune_norm=True)
    network.reset_classifier(num_classes)
    if removed:
        cut(network, *removed)
    return excited(network) if excite else network

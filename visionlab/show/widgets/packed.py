"""What the widgets share: scripts as one module, and pictures and colours in the form that travels."""

from __future__ import annotations

import io
import pathlib

import numpy as np
from PIL import Image

from visionlab.show import theme

__all__ = ["check_image", "colormap", "module", "png"]


def module(*names: str) -> str:
    """Join scripts to one module; only the last of them may export."""
    # An import of another file would need an address that the page can reach.
    return "\n".join(pathlib.Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names)


def check_image(what: str, image: object) -> None:
    """Refuse what is no image (H, W, 3) of uint8.

    Raises:
        TypeError: it is no array.
        ValueError: its shape or kind of numbers is another one.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{what} must be a numpy array (H, W, 3); got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ValueError(f"{what} must be (H, W, 3) of uint8; got {image.shape} of {image.dtype}")


def png(image: np.ndarray) -> bytes:
    """Return an image as a PNG file, made quickly rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def colormap() -> bytes:
    """Return the sequential map as 256 RGB triples, so that page and figures share one."""
    import matplotlib as mpl

    colors = mpl.colormaps[theme.SEQUENTIAL](np.linspace(0, 1, 256))[:, :3]
    return np.rint(colors * 255).astype(np.uint8).tobytes()

"""visionlab: understand influential 2021 computer-vision papers by running, bending and breaking them; then use them.

Importing the package registers its networks with timm: ``timm.create_model("cswin_tiny_224")``.
"""

from __future__ import annotations

import importlib
import pkgutil

from visionlab import backbones

__all__ = ["__version__"]
__version__ = "0.1.0"

for _module in pkgutil.iter_modules(backbones.__path__, "visionlab.backbones."):
    importlib.import_module(_module.name)

"""Import open3d on any machine: its Linux wheel needs libusb-1.0 at import, which a bare machine does not have."""

from __future__ import annotations

import ctypes
import importlib
from types import ModuleType

__all__ = ["load_open3d"]


def load_open3d() -> ModuleType:
    """Return the open3d module, with libusb from the ``libusb-package`` wheel where the system has none.

    Raises:
        ImportError: if open3d cannot be imported all the same; the message says what to install.
    """
    try:
        return importlib.import_module("open3d")
    except ImportError as error:
        if "libusb" not in str(error):
            raise ImportError(f"open3d cannot be imported ({error}); install it with `pip install open3d`") from error
    import libusb_package

    ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module("open3d")

"""A client of an app, as a program uses it."""

from __future__ import annotations

from gradio_client import Client

__all__ = ["connect"]


def connect(address: str) -> Client:
    """Return a client that loads no certificates: it does so for each file that it sends, longer than answers take."""
    return Client(address, verbose=False, ssl_verify=False)

"""A bar in the terminal for whatever counts its steps."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["bar"]


def bar(what: str, seed: int | None = None, unit: str = "step") -> Callable[..., None]:
    """A hook ``(done, total, values=None)`` that moves a bar; it appears after a second, and closes at the end.

    Args:
        what: is being done.
        seed: of a run, named beside it.
        unit: of what is counted.
    """
    from tqdm.auto import tqdm

    shown = tqdm(desc=what if seed is None else f"{what}, seed {seed}", unit=unit, delay=1)

    def hook(done: int, total: int, values: dict[str, float] | None = None) -> None:
        if shown.total is None:
            shown.total, shown.initial, shown.n = total, done, done
        if values:
            shown.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        shown.update(done - shown.n)
        if done == total:
            shown.close()

    return hook

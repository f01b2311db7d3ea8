"""The report of an audit as one HTML page with its pictures inside, readable offline and in print."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from visionlab.show.defences import finding_figure

if TYPE_CHECKING:
    from visionlab.protection.defences import Finding

__all__ = ["embedded", "page", "report"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #212121;
  background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-top: 1px solid #ddd; padding-top: 1rem; }
.verdict { border-left: 5px solid #0072B2; background: #f3f6fa; padding: .8rem 1rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
img { max-width: 100%; } .soft { color: #616161; }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #17191c; } h2 { border-color: #44484e; }
  .verdict { background: #20262e; } .soft { color: #a8adb4; } img { background: #fff; } a { color: #7ab8ff; } }
"""


def page(title: str, body: str, style: str = "") -> str:
    """An HTML page that needs no other file, light or dark as the reader's system is.

    Args:
        title: plain text.
        body: HTML.
        style: CSS, after that of all reports.
    """
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}{style}</style></head><body>{body}</body></html>\n'
    )


def embedded(png: bytes, alt: str) -> str:
    """A picture inside the page, with words for who cannot see it."""
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def report(
    title: str, summary: Mapping[str, Any], findings: Mapping[str, Finding], settings: Sequence[str] = ()
) -> str:
    """Write the page.

    Args:
        title: names the network.
        summary: of `visionlab.experiments.audit.summary`.
        findings: by check, drawn one by one.
        settings: names of the changes of pre-processing.
    """
    say = html.escape
    about = "".join(f"<tr><th>{say(k)}</th><td>{say(_words(v))}</td></tr>" for k, v in summary["about"].items())
    parts = [
        f"<h1>Audit of {say(title)}</h1>",
        f'<p class="verdict">{say(summary["verdict"])}</p>',
        f"<table>{about}</table>",
    ]
    for name, row in summary["checks"].items():
        shown = finding_figure(findings[name], summary["about"]["classes"], settings)
        references = row["clean references"]
        against = f"clean ones: {_words(references)}" if references else "no clean network to compare with"
        out = ", ".join(f"{label} ({far:.1f} deviations)" for label, far in row["classes that stand out"]) or "none"
        parts += [
            f"<h2>{say(name)}</h2>",
            f"<p>It looks at {say(row['looks at'])}. <b>Score {row['score']:.3g}</b> ({say(row['meaning'])});"
            f" {against}. Classes that stand out: {say(out)}.</p>",
            embedded(shown.png(), shown.alt),
            f'<p class="soft">It cannot see {say(row["cannot see"])}.</p>',
        ]
    if summary["not run"]:
        rows = "".join(f"<tr><th>{say(k)}</th><td>{say(v)}</td></tr>" for k, v in summary["not run"].items())
        parts.append(f"<h2>Not run</h2><table>{rows}</table>")
    return page(f"Audit of {title}", "".join(parts))


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

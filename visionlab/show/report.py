"""The report of an audit as one HTML page with its pictures inside, readable offline and in print."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from visionlab.show.defences import finding_figure

if TYPE_CHECKING:
    from visionlab.protection.defences import Finding

__all__ = ["report"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #212121;
  background: #fff; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-top: 1px solid #ddd; padding-top: 1rem; }
.verdict { border-left: 5px solid #0072B2; background: #f3f6fa; padding: .8rem 1rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem 1rem .2rem 0; vertical-align: top; }
img { max-width: 100%; } .soft { color: #616161; }
"""


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
        picture = base64.b64encode(shown.png()).decode()
        references = row["clean references"]
        against = f"clean ones: {_words(references)}" if references else "no clean network to compare with"
        out = ", ".join(f"{label} ({far:.1f} deviations)" for label, far in row["classes that stand out"]) or "none"
        parts += [
            f"<h2>{say(name)}</h2>",
            f"<p>It looks at {say(row['looks at'])}. <b>Score {row['score']:.3g}</b> ({say(row['meaning'])});"
            f" {against}. Classes that stand out: {say(out)}.</p>",
            f'<img alt="{say(shown.alt)}" src="data:image/png;base64,{picture}">',
            f'<p class="soft">It cannot see {say(row["cannot see"])}.</p>',
        ]
    if summary["not run"]:
        rows = "".join(f"<tr><th>{say(k)}</th><td>{say(v)}</td></tr>" for k, v in summary["not run"].items())
        parts.append(f"<h2>Not run</h2><table>{rows}</table>")
    head = f'<meta charset="utf-8"><title>Audit of {say(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _words(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

"""The page that shows all charts; it loads nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from lungcls.curation.plots.chart import Chart
from lungcls.curation.survey import Survey
from lungcls.labels import NOTICE

_LISTED = 50  # files named in the page; the CSV has all
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 1100px; margin: 0 auto; padding: 1rem; }
.notice { background: #fff3cd; border: 1px solid #d9b84a; padding: .6rem 1rem; border-radius: 6px; }
figure { margin: 2rem 0; } img { max-width: 100%; height: auto; border: 1px solid #eee; }
figcaption { color: #444; } nav a { margin-right: 1rem; white-space: nowrap; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .2rem .8rem .2rem 0; text-align: left;
vertical-align: top; border-bottom: 1px solid #eee; } td.n { text-align: right; font-variant-numeric:
tabular-nums; } code { overflow-wrap: anywhere; }
"""


def render(survey: Survey, charts: Sequence[Chart], version: str) -> str:
    """Return the HTML page of a dataset; pictures and tables lie beside it under the charts' names."""
    name = escape(survey.dataset.root.resolve().name)
    sections = list(dict.fromkeys(chart.section for chart in charts))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{name}: a look at the data</title><style>{_STYLE}</style></head><body>",
        f"<h1>{name}</h1>",
        f'<p class="notice">{escape(NOTICE)}</p>',
        "<nav>"
        + "".join(f'<a href="#{_anchor(s)}">{escape(s)}</a>' for s in ("Summary", *sections))
        + "</nav>",
        '<h2 id="summary">Summary</h2>',
        _summary(survey),
    ]
    if survey.dataset.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in survey.dataset.notes)
        parts.append(f"<h3>What to know first</h3><ul>{items}</ul>")
    parts.append(_problems(survey))
    for section in sections:
        parts.append(f'<h2 id="{_anchor(section)}">{escape(section)}</h2>')
        parts += [_figure(chart) for chart in charts if chart.section == section]
    parts.append(
        '<p>All numbers: <a href="images.csv">images.csv</a> (one row an image), '
        '<a href="summary.json">summary.json</a>, <a href="problems.csv">problems.csv</a>. '
        f"Made by lungcls {escape(version)}.</p></body></html>"
    )
    return "\n".join(parts) + "\n"


def _figure(chart: Chart) -> str:
    title, caption = escape(chart.title), escape(chart.caption)
    return (
        f'<figure id="{chart.name}"><h3>{title}</h3><a href="{chart.name}.png">'
        f'<img src="{chart.name}.png" alt="{title}" loading="lazy"></a>'
        f'<figcaption>{caption} <a href="{chart.name}.csv">{chart.name}.csv</a></figcaption></figure>'
    )


def _summary(survey: Survey) -> str:
    found = survey.summary()
    copies = {name: found[name] for name in ("identical_files", "identical_pixels", "near")}
    usable = found["masks"].get("usable", 0)
    rows: list[tuple[str, Any]] = [
        ("Layout", found["layout"]),
        ("Images", found["images"]),
        ("of them readable", found["readable"]),
        ("Classes", ", ".join(f"{name} {count}" for name, count in survey.counts().items())),
        ("Images with a usable lung mask", usable),
        ("Known patients", found["patients"]),
        ("Files that are named and not there", found["missing_files"]),
        ("Left out", ", ".join(f"{reason} {count}" for reason, count in found["dropped"].items()) or "none"),
        *(
            (name.replace("_", " ").capitalize(), f"{counts['groups']} groups of {counts['images']} images")
            for name, counts in copies.items()
        ),
        ("Size on disk", f"{found['bytes'] / 1e6:.1f} MB"),
        ("Split", f"{found['split']} {found['split_hash']}"),
    ]
    return _table(rows)


def _problems(survey: Survey) -> str:
    bad = problems(survey)
    if not bad:
        return "<p>Every file that is named is there and can be read.</p>"
    rows = [(file, reason) for file, reason in bad[:_LISTED]]
    more = f"<p>and {len(bad) - _LISTED} more in problems.csv</p>" if len(bad) > _LISTED else ""
    return f"<details><summary>{len(bad)} files with problems</summary>{_table(rows)}{more}</details>"


def problems(survey: Survey) -> list[tuple[str, str]]:
    """Return the files that cannot be used, and why."""
    facts = zip(survey.records, survey.scan.facts)
    bad = [(record.file, one.error) for record, one in facts if one.error]
    bad += [(file, "named, and not there") for file in survey.dataset.missing_files]
    masks = zip(survey.records, survey.masks)
    bad += [
        (record.mask, f"{one.state} mask") for record, one in masks if one.state in ("empty", "unreadable")
    ]
    return bad


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    lines = []
    for key, value in rows:
        kind = ' class="n"' if isinstance(value, int) else ""
        lines.append(f"<tr><th scope='row'>{escape(str(key))}</th><td{kind}>{escape(str(value))}</td></tr>")
    return f"<table>{''.join(lines)}</table>"


def _anchor(section: str) -> str:
    return section.lower().replace(" ", "-")

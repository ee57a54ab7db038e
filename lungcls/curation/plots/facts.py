"""What the page and the tables say of a whole dataset."""

from __future__ import annotations

from typing import Any

from lungcls.curation.survey import Survey


def summary(survey: Survey) -> list[tuple[str, Any]]:
    """Return what the page says first, as names and values."""
    values = survey.summary()
    copies = {name: values[name] for name in ("identical_files", "identical_pixels", "near")}
    usable = values["masks"].get("usable", 0)
    return [
        ("Layout", values["layout"]),
        ("Images", values["images"]),
        ("of them readable", values["readable"]),
        ("Classes", ", ".join(f"{name} {count}" for name, count in survey.counts().items())),
        ("Images with a usable lung mask", usable),
        ("Known patients", values["patients"]),
        ("Files that are named and not there", values["missing_files"]),
        ("Left out", ", ".join(f"{reason} {count}" for reason, count in values["dropped"].items()) or "none"),
        *(
            (name.replace("_", " ").capitalize(), f"{counts['groups']} groups of {counts['images']} images")
            for name, counts in copies.items()
        ),
        ("Size on disk", f"{values['bytes'] / 1e6:.1f} MB"),
        ("Split", f"{values['split']} {values['split_hash']}"),
    ]


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

"""What the page and the tables say of a whole dataset."""

from __future__ import annotations

from typing import Any

from lungcls.curation.survey import Survey


def summary(survey: Survey) -> list[tuple[str, Any]]:
    """Return what the page says first, as names and values."""
    found = survey.summary()
    copies = {name: found[name] for name in ("identical_files", "identical_pixels", "near")}
    usable = found["masks"].get("usable", 0)
    return [
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

"""What the split, the dataset, the card and the table of answers say of the films."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lungcls.data.open import LAYOUTS
from lungcls.data.splits import Split, crossing
from lungcls.paper.evidence import Evidence
from lungcls.paper.fact import Fact, counted, fact
from lungcls.paper.table_one import table_one


def data_facts(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    """Yield what is known of the films."""
    card, path = evidence.card, evidence.classifier.path
    title = str(card.training_data.get("dataset") or "")
    if title:
        yield "data_source", fact(f"films of {title}{_described(evidence)}", path)
        if title in {kind.published for kind in LAYOUTS.values() if kind.published}:
            yield (
                "design",
                fact(f"retrospective: the films were taken from a published collection, {title}", path),
            )
            yield (
                "reference",
                fact(f"the labels are those of {title}; neither the run nor the evaluation made any", path),
            )
    yield from _parts(evidence)
    yield from _films(evidence)
    yield from _characteristics(evidence)


def _described(evidence: Evidence) -> str:
    dataset = evidence.dataset
    if dataset is None:
        return ""
    counts = Counter(dataset.labels)
    return f": {len(dataset):,} films ({counted({name: counts[name] for name in dataset.classes})})"


def _parts(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    card, path = evidence.card, evidence.classifier.path
    images = dict(card.training_data.get("images", {}))
    counts_by_part = [f"{counted(counts)} in {part}" for part, counts in images.items()]
    files = [path]
    matrix = evidence.metrics.get("confusion_matrix")
    if matrix and evidence.evaluation:
        counts = dict(zip(evidence.metrics["classes"], map(sum, matrix["counts"])))
        counts_by_part.append(f"{counted(counts)} in {evidence.evaluation.content['part']}")
        files.append(evidence.evaluation.path)
    if counts_by_part:
        yield "class_counts", fact(f"films by part and class: {'; '.join(counts_by_part)}", *files)
    seed, digest = card.training_data.get("split_seed"), card.training_data.get("split_hash")
    if evidence.split is None:
        if digest:
            sizes = ", ".join(f"{sum(counts.values()):,} in {part}" for part, counts in images.items())
            yield (
                "partition",
                fact(
                    f"split {digest} (seed {seed}): {sizes}",
                    path,
                ),
            )
        return
    split: Split = evidence.split.content
    sizes = ", ".join(f"{count:,} in {part}" for part, count in split.counts().items())
    total = sum(split.counts().values())
    shares = " / ".join(f"{count / total:.0%}" for count in split.counts().values())
    yield (
        "partition",
        fact(
            f"split {split.hash} (seed {seed} of the recipe): {sizes} ({shares})", evidence.split.path, path
        ),
    )
    if evidence.redrawn and evidence.dataset is not None:
        yield (
            "assignment",
            fact(
                f"whole groups were drawn at random with seed {seed}, 70 / 15 / 15, by class and source: the "
                "same split was drawn anew from the dataset",
                evidence.dataset.title,
                path,
            ),
        )
    torn = len(crossing(split))
    groups = len({split.groups[file] for file in split.parts})
    words = "no group is in two parts" if not torn else f"{torn} groups are in more than one part"
    yield (
        "disjoint",
        fact(
            "disjoint by group: films of one known patient and near duplicates form a group; of "
            f"{groups:,} groups of "
            f"{total:,} films, {words}",
            evidence.split.path,
        ),
    )


def _films(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    dataset, judging = evidence.dataset, evidence.evaluation
    notes, files = [], []
    if dataset is not None:
        left = [f"{count:,} for {reason}" for reason, count in dataset.dropped.items()]
        if dataset.missing_files:
            left.append(f"{len(dataset.missing_files):,} for want of their file")
        if left:
            yield (
                "left_out",
                fact(f"left out while the collection was read: {', '.join(left)}", dataset.title),
            )
        notes += dataset.notes
        files.append(dataset.title)
        sources = Counter(record.source or "not known" for record in dataset.records)
        if set(sources) != {"not known"}:
            yield "sources", fact(f"films by source: {counted(dict(sources.most_common(12)))}", dataset.title)
    elif evidence.answers is not None and any(evidence.sources):
        counts = Counter(source or "not known" for source in evidence.sources)
        yield (
            "sources",
            fact(
                f"films of the judged part by source: {counted(dict(counts.most_common(12)))}",
                evidence.answers.path,
            ),
        )
    if judging is not None:
        content = judging.content
        films = content.get("films")
        if films:
            reasons = films.get("reasons", {})
            why = f" (reasons: {counted(reasons)})" if reasons else ""
            yield (
                "refusals",
                fact(
                    f"of {films['all']:,} films the quality gate refused {films['refused']:,}, corrected "
                    f"{films['corrected']:,}, and {films['without_two_lungs']:,} showed no two lungs{why}",
                    judging.path,
                ),
            )
            yield (
                "flow",
                fact(
                    f"{films['all']:,} films of the part {content['part']}: {films['accepted']:,} "
                    f"accepted, {films['refused']:,} "
                    "refused; all are in the figures over all films; diagram: figures/flow.png",
                    judging.path,
                ),
            )
            yield (
                "bad_input",
                fact(
                    "films that the quality gate refuses get no label in prediction, and count as they "
                    "are answered in the "
                    "figures over all films; films without two lungs are answered as whole films, and "
                    "say so; refused here: "
                    f"{films['refused']:,} of {films['all']:,}",
                    judging.path,
                ),
            )
        notes += [note for note in content.get("notes", []) if note not in notes]
        files.append(str(judging.path))
    if notes or evidence.notes:
        yield (
            "notes",
            fact(
                " ".join(one if one.endswith(".") else f"{one}." for one in (*notes, *evidence.notes)), *files
            ),
        )
    yield from _missing(evidence)


def _missing(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    """Whether films lack a label, a patient or a source, counted."""
    if evidence.dataset is not None:
        records = evidence.dataset.records
        counts = {
            "class": sum(not record.label for record in records),
            "patient": sum(not record.patient for record in records),
            "source": sum(not record.source for record in records),
            "lung mask": sum(not record.mask for record in records),
        }
        words = ", ".join(f"no {name}: {count:,}" for name, count in counts.items())
        yield (
            "missing",
            fact(
                f"of {len(records):,} films, {words}; nothing was imputed: a film without a known patient "
                "or near duplicate is a "
                "group of its own",
                evidence.dataset.title,
            ),
        )
    elif evidence.answers is not None:
        rows = evidence.answers.content
        unknown = sum(not row.get("source") for row in rows)
        yield (
            "missing",
            fact(
                f"of {len(rows):,} judged films, no class: 0, no source: {unknown:,}; nothing was imputed",
                evidence.answers.path,
            ),
        )


def _characteristics(evidence: Evidence) -> Iterator[tuple[str, Fact]]:
    table = table_one(evidence)
    if table is None:
        return
    yield "table_one", fact("the table of characteristics: tables/table_one.csv", table.files)
    films_with = {name: table.known.get(name, 0) for name in ("age", "sex", "view")}
    if films_with["age"] and films_with["sex"]:
        words = ", ".join(f"{name} of {count:,}" for name, count in films_with.items())
        yield "demographics", fact(f"of {table.films:,} films the collection tells: {words}", table.files)
    if films_with["view"]:
        yield (
            "views_known",
            fact(f"the view of {films_with['view']:,} of {table.films:,} films is known", table.files),
        )

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lungcls.errors import DataError, FilmError, ImageError
from lungcls.images import read_image
from lungcls.scale.films import Film, Source, sources
from lungcls.scale.sources import Input, input_root, open_input
from lungcls.scale.storage import place

Bucket = Callable[[str], str]


def opened(words: list[str], tmp_path: Path, size: int = 4) -> Input:
    return open_input(words, place(tmp_path / "out/inputs.parquet"), rows_per_shard=size)


def films_of(source: Input) -> list[Film]:
    return [film for shard in source.shards(set()) for film in shard.films()]


def shapes(films: list[Film], root: str = "") -> list[tuple[int, int]]:
    with ThreadPoolExecutor(2) as pool:
        images = [read_image(source) for _, source in sources(films, root, pool, 3)]  # type: ignore[arg-type]
    return [(image.height, image.width) for image in images]


SIZES = [(40 + number, 50) for number in range(10)]


def test_a_folder_and_a_pattern_are_listed_once(films: list[str], tmp_path: Path) -> None:
    folder = Path(films[0]).parent
    listed = films_of(opened([str(folder)], tmp_path))
    assert [film.uri for film in listed] == films
    assert shapes(listed) == SIZES
    # A film that comes later does not move the others: the list stays as it was.
    again = opened([str(folder / "film[0-3].png")], tmp_path)
    assert [film.uri for film in films_of(again)] == films
    fresh = opened([str(folder / "film[0-3].png")], tmp_path / "other")
    assert [film.uri for film in films_of(fresh)] == films[:4]
    assert fresh.total == 4


def test_a_bucket_and_a_pattern_in_it(bucket: Bucket, tmp_path: Path) -> None:
    listed = films_of(opened([bucket("films")], tmp_path))
    assert [film.uri for film in listed] == [bucket(f"/films/film{number}.png") for number in range(10)]
    assert shapes(listed) == SIZES
    some = films_of(opened([bucket("films/film[12].png")], tmp_path / "other"))
    assert shapes(some) == SIZES[1:3]


def test_a_zip_file(films: list[str], tmp_path: Path) -> None:
    path = tmp_path / "films.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no film")
        for film in films:
            archive.write(film, f"deep/{Path(film).name}")
    listed = films_of(opened([str(path)], tmp_path))
    assert listed[0].uri == f"zip://deep/film0.png::{path}"
    assert shapes(listed) == SIZES


def tar_of(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_tar_files_are_a_shard_each_and_carry_what_lies_beside_a_film(
    films: list[str], tmp_path: Path
) -> None:
    content = [Path(film).read_bytes() for film in films]
    first = tar_of(
        tmp_path / "s-0.tar",
        [
            ("a/1.json", b'{"age": 30}'),
            ("a/1.png", content[0]),
            ("a/1.cls", b"2\n"),
            ("a/2.png", content[1]),
            ("a/2.ignored", b"x"),
        ],
    )
    tar_of(tmp_path / "s-1.tgz", [("b.left.png", content[2]), ("b.right.png", content[3])])
    source = opened([str(first), str(tmp_path / "s-*.tgz")], tmp_path)
    assert (source.total, source.shard_count) == (None, 2)
    shards = [list(shard.films()) for shard in source.shards(set())]
    assert [[film.row for film in shard] for shard in shards] == [[0, 1], [0, 1]]
    assert shards[0][0].uri == f"tar://a/1.png::{first}"
    assert json.loads(shards[0][0].input) == {"key": "a/1", "json": {"age": 30}, "cls": "2"}
    assert json.loads(shards[0][1].input) == {"key": "a/2"}
    assert [film.uri.split("::")[0] for film in shards[1] if film.uri] == [
        "tar://b.left.png",
        "tar://b.right.png",
    ]
    assert shapes([film for shard in shards for film in shard]) == SIZES[:4]
    assert [shard.index for shard in source.shards({0})] == [1]


def test_members_that_lead_elsewhere_or_are_too_large_are_rows_with_their_problem(
    films: list[str], tmp_path: Path
) -> None:
    content = Path(films[0]).read_bytes()
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind in (
            ("a.png", tarfile.REGTYPE),
            ("link.png", tarfile.SYMTYPE),
            ("hard.png", tarfile.LNKTYPE),
            ("pipe.png", tarfile.FIFOTYPE),
            ("../up.png", tarfile.REGTYPE),
            ("/root.png", tarfile.REGTYPE),
            ("sparse.png", tarfile.REGTYPE),
            ("z.png", tarfile.REGTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            body = content if kind == tarfile.REGTYPE else b""
            if name == "sparse.png":  # a tebibyte of nothing
                body = b"0\n".ljust(512, b"\0")
                member.pax_headers = {
                    "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40)
                }  # fmt: skip
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    found = films_of(opened([str(path)], tmp_path, 100))
    assert [film.row for film in found] == list(range(8))
    assert [film.uri.split("::")[0].removeprefix("tar://") for film in found if not film.problem] == [
        "a.png",
        "z.png",
    ]
    problems = [film.problem.partition(": ")[2] for film in found if film.problem]
    assert all("a link or a device" in text for text in problems[:3])
    assert all("leads out of the tar file" in text for text in problems[3:5])
    assert "more than any film" in problems[5]


@pytest.mark.slow
def test_a_zip_member_that_inflates_to_more_than_a_film_is_refused(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.png", "w", force_zip64=True) as member,
    ):
        for _ in range(700):
            member.write(bytes(1 << 20))
    (film,) = films_of(opened([str(tmp_path / "s.zip")], tmp_path))
    with pytest.raises(FilmError, match="more than 552 MiB"):
        shapes([film])


def test_a_tar_file_that_ends_too_early_says_so_in_its_last_row(films: list[str], tmp_path: Path) -> None:
    content = Path(films[0]).read_bytes()
    path = tar_of(tmp_path / "s.tar", [("1.png", content), ("2.png", content)])
    second = 512 + -(-len(content) // 512) * 512
    path.write_bytes(path.read_bytes()[: second + 700])
    first, last = films_of(opened([str(path)], tmp_path))
    assert (first.problem, first.row, last.row) == (None, 0, 1)
    assert last.problem is not None
    assert "s.tar: this tar file cannot be read from here on" in last.problem
    (only,) = films_of(opened([str(tmp_path / "gone.tar")], tmp_path))
    assert only.problem is not None
    assert "there is no such file" in only.problem


def test_what_is_no_input(films: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected inputs of one kind"):
        opened([films[0], "m.csv"], tmp_path)
    with pytest.raises(DataError, match="expected inputs of one kind"):
        opened([], tmp_path)
    with pytest.raises(DataError, match="no file matches this pattern"):
        opened([str(tmp_path / "*.csv")], tmp_path)
    with pytest.raises(ImageError, match="no such file or folder"):
        opened([str(tmp_path / "gone")], tmp_path)
    with pytest.raises(ImageError, match="no film in them"):
        opened(["memory://nothing"], tmp_path)
    with pytest.raises(ValueError, match="rows_per_shard is 0"):
        opened(films, tmp_path, 0)


def test_relative_paths_are_below_the_root_and_uris_are_not(films: list[str], bucket: Bucket) -> None:
    folder = str(Path(films[0]).parent)
    rows = [Film(0, "film1.png"), Film(1, bucket("films/film2.png")), Film(2, f"file://{films[3]}")]
    assert shapes(rows, folder) == SIZES[1:4]
    assert input_root([f"{folder}/m.csv"]) == folder
    assert input_root(["s3://bucket/set/m.parquet"]) == "s3://bucket/set"
    assert (input_root(["m.csv"]), input_root([folder])) == ("", "")


@pytest.mark.parametrize("film", [Film(0, None), Film(0, " "), Film(0, "x.png", problem="broken line")])
def test_a_row_without_a_film_fails_when_it_is_read(film: Film) -> None:
    with ThreadPoolExecutor(1) as pool:
        ((_, source),) = sources([film], "", pool, 1)
    assert isinstance(source, Source)
    with pytest.raises(FilmError, match=r"names no film|broken line"):
        source.read()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("memory://films/gone.png", "there is no such file"),
        ("nowhere://a.png", "no file system for it"),
        ("tar://x.png::memory://films/film0.png", "cannot be fetched"),
    ],
)
def test_a_film_that_cannot_be_fetched_says_why(uri: str, message: str, bucket: Bucket) -> None:
    with ThreadPoolExecutor(1) as pool:
        ((_, source),) = sources([Film(0, uri)], "", pool, 1)
        assert isinstance(source, Source)
        with pytest.raises(FilmError, match=message) as caught:
            source.read()
    assert uri in str(caught.value)


def test_films_are_fetched_ahead_but_no_further_than_told(bucket: Bucket) -> None:
    taken = []

    def rows() -> object:
        for number in range(10):
            taken.append(number)
            yield Film(number, bucket(f"films/film{number}.png"))

    with ThreadPoolExecutor(2) as pool:
        read = sources(rows(), "", pool, 3)  # type: ignore[arg-type]
        assert taken == []
        next(read)
        assert taken == [0, 1, 2, 3]
        assert len(list(read)) == 9

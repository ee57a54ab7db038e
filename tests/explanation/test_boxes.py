from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lungcls.errors import DataError
from lungcls.explanation import pointing_hit, read_boxes
from lungcls.explanation.boxes import box_mask

HEADER = "file,x0,y0,x1,y1\n"


def test_boxes_are_read_by_image_from_a_file_or_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(f"{HEADER}a.png,1,2,3.5,4\nb.png,0,0,9,9\na.png,5,5,6,6\n")
    expected = {"a.png": [(1, 2, 3.5, 4), (5, 5, 6, 6)], "b.png": [(0, 0, 9, 9)]}
    assert read_boxes(path) == read_boxes(tmp_path) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,x0,y0\na.png,1,2\n", "columns"),
        (f"{HEADER}a.png,3,2,1,4\n", "line 2"),
        (f"{HEADER}a.png,,2,1,4\n", "line 2"),
        (f"{HEADER}a.png,0,0,nan,4\n", "line 2"),
        (f"{HEADER}a.png,1,2,3,4\nb.png,-1,2,3,4\n", "line 3"),
    ],
)
def test_what_is_no_box_is_an_error_that_names_the_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_boxes(tmp_path)


def test_no_boxes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_boxes(tmp_path)


def test_the_mask_of_boxes_counts_pixels_by_their_centres() -> None:
    mask = box_mask([(1, 1, 3, 2), (2.4, 0, 99, 0.6)], (3, 5))
    assert mask.astype(int).tolist() == [[0, 0, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert not box_mask([], (3, 5)).any()


def test_the_pointing_game() -> None:
    boxes = [(1.0, 1.0, 3.0, 2.0), (10.0, 10.0, 12.0, 12.0)]
    assert pointing_hit((2.5, 1.5), boxes)
    assert pointing_hit((10.0, 11.9), boxes)
    assert not pointing_hit((3.0, 1.5), boxes)
    assert not pointing_hit(None, boxes)
    assert not np.any([pointing_hit((2, 2.5), boxes), pointing_hit((2, 1), [])])

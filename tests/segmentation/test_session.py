"""Selecting the box in the room by every kind of prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from tests.segmentation.seen_box import overlap, surfaces, truth
from unscene.segmentation.prompts import Box, Click, PromptError
from unscene.segmentation.session import Selection, Session

ALL = range(8)


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(surfaces())


def middle_of(mask: np.ndarray, view: int, *, wanted: bool = True) -> Click:
    rows, columns = np.nonzero(mask)
    return Click(view, float(np.median(columns)) + 0.5, float(np.median(rows)) + 0.5, wanted)


@pytest.fixture(scope="module")
def clicked(session: Session) -> Selection:
    return session.select(middle_of(truth()[3], 3))


def test_one_click_masks_all_views(session: Session, clicked: Selection) -> None:
    assert overlap(session.masks(clicked), truth()) > 0.9


def test_a_box_masks_all_views(session: Session) -> None:
    rows, columns = np.nonzero(truth()[4])
    box = Box(4, columns.min() - 2.0, rows.min() - 2.0, columns.max() + 3.0, rows.max() + 3.0)
    assert overlap(session.masks(session.select(box)), truth()) > 0.9


def test_a_glimpse_shows_the_clicked_photo(session: Session, clicked: Selection) -> None:
    mask = session.glimpse(clicked.prompts[0])
    assert overlap(mask[None], truth()[3:4]) > 0.75


def test_the_same_prompt_gives_the_same_labels(clicked: Selection) -> None:
    again = Session(surfaces()).select(clicked.prompts[0])
    assert (again.labels == clicked.labels).all()


def test_masks_made_by_hand_are_kept_and_teach_the_rest(session: Session) -> None:
    by_hand = {1: truth()[1].copy(), 6: truth()[6]}
    by_hand[1][:2, :2] = True  # a slip that no one would draw
    masks = session.masks(session.select(None, by_hand))
    assert (masks[1] == by_hand[1]).all() and (masks[6] == by_hand[6]).all()
    others = [view for view in ALL if view not in by_hand]
    assert overlap(masks[others], truth()[others]) > 0.9


@pytest.mark.filterwarnings("error")  # of nothing clicked nothing is near, which is not a number
def test_a_click_takes_away_from_what_a_box_found(session: Session) -> None:
    rows, columns = np.nonzero(truth()[4])
    box = Box(4, columns.min() - 2.0, rows.min() - 2.0, columns.max() + 3.0, rows.max() + 3.0)
    found = session.select(box)
    top = Click(4, float(np.median(columns)), rows.min() + 3.0, wanted=False)
    left = session.edit(found, top)
    assert 0.3 * found.labels.sum() < left.labels.sum() < found.labels.sum()


def test_a_click_takes_away_and_another_adds_again(session: Session, clicked: Selection) -> None:
    corner = Click(3, float(np.flatnonzero(truth()[3].any(0))[3]) + 0.5, 40.5)
    place = (3, 40, int(corner.x))
    assert session.rough_masks(clicked, ALL)[place]
    less = session.edit(clicked, Click(3, corner.x, corner.y, wanted=False))
    assert not session.rough_masks(less, ALL)[place]
    more = session.edit(less, corner)
    assert session.rough_masks(more, ALL)[place]
    assert less.labels.sum() < min(more.labels.sum(), clicked.labels.sum()), "selections are values"


def test_what_is_far_away_is_no_part(session: Session, clicked: Selection) -> None:
    with pytest.raises(PromptError, match="too far from it"):
        session.edit(clicked, Click(3, 3.5, 3.5))


def test_scales_differ_and_can_be_chosen(session: Session, clicked: Selection) -> None:
    for number, scale in enumerate(clicked.scales):
        assert (session.choose(clicked, number).labels == scale.labels).all()
    with pytest.raises(PromptError, match="expected one of"):
        session.choose(clicked, len(clicked.scales))


class OneAnswer:
    """A segmenter of photos that always sees the same thing."""

    name = "fixed"

    def __init__(self, answer: np.ndarray):
        self.answer, self.asked = answer, 0

    def propose(self, image: np.ndarray, prompts: Sequence[Click | Box]) -> list[np.ndarray]:
        self.asked += 1
        return [self.answer]

    def refine(self, image: np.ndarray, mask: np.ndarray, band: int = 2) -> np.ndarray:
        return mask


def test_a_segmenter_of_photos_takes_over_the_clicked_view() -> None:
    segmenter = OneAnswer(truth()[3])
    session = Session(surfaces(), segmenter)
    masks = session.masks(session.select(middle_of(truth()[3], 3)))
    assert segmenter.asked == 1
    assert overlap(masks, truth()) > 0.85


@pytest.mark.parametrize(
    ("prompt", "taught", "words"),
    [
        (Click(0, 5, 5, wanted=False), {}, "first click on the object itself"),
        (Click(0, 500, 5), {}, "within the photo"),
        (None, {}, "expected a mask with an object"),
        (None, {2: np.zeros((72, 96), bool)}, "expected a mask with an object"),
    ],
)
def test_prompts_that_show_nothing_are_refused(
    session: Session, prompt: Click | None, taught: dict[int, np.ndarray], words: str
) -> None:
    with pytest.raises(PromptError, match=words):
        session.select(prompt, taught)

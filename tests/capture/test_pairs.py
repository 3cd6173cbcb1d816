"""Which photos are compared."""

from itertools import combinations

from unscene.capture.pairs import EXHAUSTIVE, KEY_PHOTOS, OVERLAP, first_pairs, key_photos, loop_pairs


def test_photos_are_compared_each_with_each_up_to_a_number_of_them() -> None:
    assert first_pairs(EXHAUSTIVE, in_sequence=False) == list(combinations(range(EXHAUSTIVE), 2))
    more = EXHAUSTIVE + 50
    assert len(first_pairs(more, in_sequence=False)) <= more * OVERLAP + KEY_PHOTOS**2 / 2


def test_frames_are_compared_with_those_that_follow_and_key_frames_with_each_other() -> None:
    pairs = first_pairs(100, in_sequence=True)
    assert all(first < second for first, second in pairs) and len(set(pairs)) == len(pairs)
    assert {(40, 41), (40, 48), (98, 99)} <= set(pairs) and (41, 50) not in pairs
    keys = key_photos(100)
    assert len(keys) <= KEY_PHOTOS and set(combinations(keys, 2)) <= set(pairs)


def test_where_two_far_key_frames_show_the_same_their_neighbours_are_compared() -> None:
    pairs = first_pairs(100, in_sequence=True)
    step = key_photos(100).step
    around = loop_pairs(100, [(0, 1), (0, 19 * step), (1, 77)], pairs)
    assert around and all(first <= step and second >= 18 * step for first, second in around)
    assert not set(around) & set(pairs)
    assert (1, 19 * step + 1) in around
    assert loop_pairs(100, [(0, step), (3, 4)], pairs) == []  # no loop: they follow each other


def test_every_photo_is_within_reach_of_a_loop() -> None:
    """Around two key frames all pairs of nearest frames are compared: none falls between two key frames."""
    pairs = first_pairs(200, in_sequence=True)
    found = list(combinations(key_photos(200), 2))
    compared = set(pairs) | set(loop_pairs(200, found, pairs))
    assert {(i, j) for i in range(199) for j in range(150, 199) if i < j} <= compared

"""What lies behind the object, against a room whose surfaces are known."""

from __future__ import annotations

import re

from torch import Tensor

from tests.box_scene import BoxScene
from unscene.geometry.masks import VisibilityConfig
from unscene.jobs.running import drain
from unscene.stages.masked_rendering import MaskedRenders
from unscene.stages.visibility import find_unseen
from unscene.training.events import Event, Note


def told(room: BoxScene, colors: Tensor) -> tuple[int, int, int]:
    """Percents unseen, and of the rest alike, and how many photos see it, as a note says for colours (N H W 3)."""
    masks, events = room.scene.masks, list[Event]()
    assert masks is not None
    behind = MaskedRenders(
        [image[mask] for image, mask in zip(colors, masks, strict=True)],
        [depth[mask] for depth, mask in zip(room.depth, masks, strict=True)],
    )
    region = drain(find_unseen(room.scene, room.depth, behind, VisibilityConfig()), events.append)
    text = next(event.text for event in events if isinstance(event, Note))
    numbers = re.fullmatch(r"(\d+)% of .* inpainted; of the rest (\d+)% looks .* do, (\d+) in the middle", text)
    assert numbers is not None, text
    unseen, alike, photos = (int(number) for number in numbers.groups())
    assert abs(unseen - 100 * float(region.sum() / masks.sum())) <= 0.5
    return unseen, alike, photos


def test_what_is_known_is_told_with_how_sure_that_is(room: BoxScene) -> None:
    true = room.truth.float() / 255
    unseen, alike, photos = told(room, true)
    assert unseen < 50 and alike > 80 and 2 <= photos < len(room.scene)
    also_unseen, unlike, as_many = told(room, 1 - true)
    assert (also_unseen, as_many) == (unseen, photos) and unlike < 40

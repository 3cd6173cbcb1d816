"""The studio in a real browser: click the teapot, see it tinted, remove it, see it gone, save."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.studio.browser import Browser
from tests.studio.test_door import free_port
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.scenes.transforms import write_transforms
from unscene.studio.canvas import placement

pytest.importorskip("viser", reason="the studio's extra is not installed: pip install 'unscene[studio]'")

SCALE = 2
QUICK = ("--scale", str(SCALE), "--fit.steps", "250", "--rays", "1024")
EVERY = 4  # of the photos: fewer are enough here, and quicker


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    opened = Browser()
    yield opened
    opened.driver.quit()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Scene]:
    """Some of the still life's photos, unmasked; and with their masks, to know where the teapot is."""
    whole = still_life()
    some = whole.subset(whole.train[::EVERY])
    folder = tmp_path_factory.mktemp("scenes") / "a_teapot <b>"
    write_transforms(folder, some.with_masks(None))
    return folder, some


class Studio:
    """The command in a process of its own."""

    def __init__(self, scene: Path, out: Path, port: int):
        words = [sys.executable, "-m", "unscene", "studio", str(scene), "--out", str(out), "--no-browser"]
        self.process = subprocess.Popen([*words, "--port", str(port), *QUICK], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split()[0]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def place_of_teapot(scene: Scene, view: int, canvas_aspect: float) -> tuple[float, float]:
    """The middle of the teapot's belly on the canvas, in shares of its size."""
    assert scene.masks is not None
    distance = cv2.distanceTransform(scene.masks[view].numpy().astype(np.uint8), cv2.DIST_L2, 5)
    row, column = np.unravel_index(distance.argmax(), distance.shape)
    height, width = distance.shape
    canvas = (round(1000 * canvas_aspect), 1000)
    left, top, shown_width, shown_height = placement(width / height, *canvas)
    return (left + column / width * shown_width) / canvas[0], (top + row / height * shown_height) / canvas[1]


def test_from_a_click_to_a_clean_data_set(browser: Browser, scene: tuple[Path, Scene], tmp_path: Path) -> None:
    folder, truth = scene
    out, taken = tmp_path / "studio", socket.create_server(("127.0.0.1", free_port()))
    studio = Studio(folder, out, port := taken.getsockname()[1])
    try:
        assert studio.address != f"http://127.0.0.1:{port}/"
        browser.driver.get(studio.address)
        view = len(truth) // 2
        browser.says(f"{Path(truth.names[view]).stem}.png")
        browser.screenshot("1-photo")
        browser.click_canvas(*place_of_teapot(truth, view, browser.canvas_aspect))  # waits until it can be answered
        browser.until(lambda: (b := browser.button("Remove")) and b.is_enabled(), 180, "an object")
        assert "See it tinted" not in browser.text
        browser.screenshot("2-object")
        browser.press("Undo")
        browser.says("See it tinted")  # the object is forgotten
        browser.click_canvas(*place_of_teapot(truth, view, browser.canvas_aspect))
        browser.fill("effort", "0.05")
        browser.press("Remove", 60)

        browser.says("Stop", 60)
        browser.driver.refresh()  # it goes on without a page
        browser.says("Stop", 30)
        browser.driver.switch_to.new_window("tab")
        browser.driver.get(studio.address)
        browser.says("Stop", 30)  # another tab shows the same
        browser.screenshot("3-under-way")
        browser.says("Cleaned data set", 300)
        browser.choose("photo", "without the object")
        time.sleep(0.5)
        browser.screenshot("4-without-the-object")
        browser.choose("without the object", "from any angle")
        time.sleep(2)
        browser.screenshot("5-from-any-angle")
        assert browser.errors() == []
        for window in browser.driver.window_handles[1:]:
            browser.driver.switch_to.window(window)
            browser.driver.close()
        browser.driver.switch_to.window(browser.driver.window_handles[0])
    finally:
        studio.end()
        taken.close()
    removal = out / "removals" / "1"
    assert {"dataset", "report.html", "scene.ply", "video.mp4"} <= {file.name for file in removal.iterdir()}
    masked, cleaned = load_scene(folder, scale=SCALE, masks=out / "masks"), load_scene(removal / "dataset")
    assert masked.masks is not None and truth.masks is not None
    inside = masked.masks[view].numpy()
    teapot = cv2.resize(truth.masks[view].numpy().astype(np.uint8), inside.shape[::-1], interpolation=cv2.INTER_AREA)
    assert (inside & (teapot > 0)).sum() > 0.8 * inside.sum() > 0.5 * teapot.sum()
    difference = np.abs(cleaned.images[view].numpy().astype(int) - masked.images[view].numpy()).mean(-1)
    assert difference[inside].mean() > 30 > 5 > difference[~inside].mean()

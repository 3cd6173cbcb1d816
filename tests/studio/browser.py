"""A real browser for the tests of the studio's page: chromium without a window, driven by selenium."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCREENSHOTS = Path(os.environ.get("UNSCENE_SCREENSHOTS", "build/screenshots")).resolve()
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--window-size=1280,1600",
)  # fmt: skip


class Browser:
    """A page that is looked at and pressed as a person does."""

    def __init__(self) -> None:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        driver = shutil.which("chromedriver")
        if program is None or driver is None:
            pytest.skip("no browser: install chromium and its chromedriver (Debian: chromium chromium-driver)")
        webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install selenium")
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = program
        for switch in SWITCHES:
            options.add_argument(switch)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    @property
    def text(self) -> str:
        """All that the page says."""
        return self.driver.find_element("tag name", "body").text

    def until(self, condition: Callable[[], Any], seconds: float, what: str) -> Any:
        """Wait for a condition; what it gave."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                self.screenshot("timeout")
                pytest.fail(f"{what}: not within {seconds:g} s; the page says: {self.text}")
            time.sleep(0.1)
        return found

    def says(self, text: str, seconds: float = 30) -> None:
        """Wait until the page says something."""
        self.until(lambda: text in self.text, seconds, f"'{text}'")

    def button(self, label: str) -> Any:
        """A button by what stands on it, None if there is none."""
        buttons = self.driver.find_elements("tag name", "button")
        return next((button for button in buttons if button.text.strip() == label), None)

    def press(self, label: str, seconds: float = 30) -> None:
        """Press a button as soon as that can be done."""
        self.until(lambda: (b := self.button(label)) and b.is_enabled(), seconds, f"a button '{label}'")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", self.button(label))
        self.button(label).click()

    def choose(self, value: str, other: str) -> None:
        """Take another value in the dropdown that has ``value``."""
        inputs = self.driver.find_elements("tag name", "input")
        chosen = next(box for box in inputs if box.get_attribute("value") == value)
        chosen.click()

        def option() -> Any:
            options = self.driver.find_elements("css selector", "[role=option]")
            return next((found for found in options if found.text.strip() == other), None)

        self.until(option, 10, f"an option '{other}'").click()

    def fill(self, label: str, value: str) -> None:
        """Type a number into the box after a label."""
        path = f"//*[normalize-space(text())='{label}']/following::input[@type='text'][1]"
        box = self.driver.find_element("xpath", path)
        box.send_keys("\ue009a\ue000", value, "\ue007")  # control-A, the value, return

    def click_canvas(self, x: float, y: float) -> None:
        """Click where x, y are shares of the picture's width and height."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.driver.find_element("tag name", "canvas")
        width, height = canvas.size["width"], canvas.size["height"]
        place = (round((x - 0.5) * width), round((y - 0.5) * height))
        ActionChains(self.driver).move_to_element_with_offset(canvas, *place).click().perform()

    @property
    def canvas_aspect(self) -> float:
        size = self.driver.find_element("tag name", "canvas").size
        return size["width"] / size["height"]

    def errors(self) -> list[str]:
        """What the console complained of since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def screenshot(self, name: str) -> None:
        """Keep what the page looks like, for a person."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(SCREENSHOTS / f"{name}.png"))

"""A picture in the panel beside the view."""

from __future__ import annotations

import base64
import html
from typing import Any

import cv2
import numpy as np

JPEG_QUALITY = 85


class PanelPicture:
    """A picture (H W 3 uint8) with a caption, which may be replaced by another.

    It is part of the page's text: viser's own images are taken away while browsers still load them.
    """

    def __init__(self, gui: Any, caption: str, pixels: np.ndarray | None = None):
        self._caption = html.escape(caption)
        self._handle = gui.add_html("", visible=False)
        if pixels is not None:
            self.show(pixels)

    def show(self, pixels: np.ndarray) -> None:
        """Show these pixels from now on."""
        encoded = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        content = base64.b64encode(encoded.tobytes()).decode()
        self._handle.content = (
            f'<figure style="margin:0.5em 1em"><img style="width:100%" src="data:image/jpeg;base64,{content}" '
            f'alt="{self._caption}"><figcaption style="font-size:0.8em">{self._caption}</figcaption></figure>'
        )
        self._handle.visible = True

    def hide(self) -> None:
        """Show nothing."""
        self._handle.visible = False

"""The folder a trained model travels in, whichever libraries write its parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unscene.files import atomic_write, write_json


@contextmanager
def model_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder for the parts, which takes the place of ``folder`` once it is complete.

    Files that are not the model's, such as its card, are kept; what the libraries leave of this machine is taken out.
    """
    with atomic_write(folder) as temporary:
        temporary.mkdir()
        yield temporary
        for weights in temporary.rglob("*.safetensors"):
            weights.chmod(0o644)  # safetensors writes files that only their owner may read
        for described in temporary.rglob("config.json"):  # the libraries note the folder a part was loaded from
            content = json.loads(described.read_text(encoding="utf-8"))
            content.pop("_name_or_path", None)
            write_json(described, content)
        for kept in folder.glob("*"):
            if kept.is_file() and not (temporary / kept.name).exists():
                shutil.copy2(kept, temporary / kept.name)

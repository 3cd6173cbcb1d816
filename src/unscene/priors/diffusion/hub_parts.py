"""Models of several parts, each in a folder of its name: a folder on this machine, or a snapshot from the hub.

Only safetensors are fetched and read: pickled weights can run code when they are loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from huggingface_hub import snapshot_download

from unscene.priors.hub import first_available
from unscene.priors.prior_error import PriorError

PICKLED = (".bin", ".ckpt", ".pt", ".pth")
# some repositories hold the same weights three times: in single precision, in half, and averaged in half
SINGLE, HALF = ("*.fp16*", "*.non_ema*"), ("*.fp16_ema*", "*.non_ema*")  # what each leaves out
CONVERT = (
    'python -c "import torch; from safetensors.torch import save_file; '
    "tensors = torch.load('{pickled}', weights_only=True); "
    "save_file({{name: tensor.clone().contiguous() for name, tensor in tensors.items()}}, '{safe}', "
    "{{'format': 'pt'}})\""
)


def locate_parts(
    source: str | Path, known: dict[str, tuple[str, ...]], parts: Sequence[str], check: Callable[[Path], object], *,
    ways_forward: str, offline: bool = False,
) -> tuple[Path, str]:  # fmt: skip
    """A model's folder on this machine, downloaded if need be, and its name with its revision.

    source: a folder, a name in `known`, or a hub id with or without @revision; known: names to the hub ids that are
    tried in order; parts: the folders to fetch; check: raises PriorError if a folder lacks what is needed of them;
    offline: look only at what is on this machine. Raises PriorError.
    """
    path = Path(source).expanduser()
    if path.suffix in PICKLED:
        raise PriorError(f"{path}: expected a folder of safetensors; files of this kind can run code when loaded.")
    if path.is_dir():
        check(path)
        return path, path.name
    name = str(source)
    if path.is_file() or (name not in known and (name.count("/") != 1 or name.startswith((".", "/", "~")))):
        raise PriorError(
            f"{source}: expected {', '.join(known)}, a hub id or a folder of parts ({', '.join(parts)}), "
            f"found {'a single file' if path.is_file() else 'none'}."
        )

    def fetch(hub_id: str, local: bool) -> str:
        repository, _, revision = hub_id.partition("@")
        wanted = [
            "model_index.json",
            *(f"{part}/*.{kind}" for part in parts for kind in ("json", "txt", "safetensors")),
        ]
        error: PriorError | None = None
        for unwanted in (SINGLE, HALF):
            folder = snapshot_download(
                repository, revision=revision or None, allow_patterns=wanted, ignore_patterns=list(unwanted),
                local_files_only=local,
            )  # fmt: skip
            try:
                check(Path(folder))
            except PriorError as lacking:
                error = lacking
            else:
                return folder
        raise PriorError(str(error).replace(str(folder), hub_id)) from error

    folder, found = first_available(
        known.get(name, (name,)), fetch, offline=offline, wanted=f"'{name}'", ways_forward=ways_forward
    )
    return folder, f"{found.partition('@')[0]}@{found.rpartition('@')[2]}"  # the commit says which branch it is of


def weight_file(folder: Path, part: str) -> Path:
    """The safetensors of a part, in single precision if there is a choice.

    Raises PriorError that says so if there are none, and how to convert if there are pickled weights.
    """
    files = sorted((folder / part).glob("*.safetensors"))
    if files:
        return next((file for file in files if ".fp16" not in file.name and ".non_ema." not in file.name), files[0])
    pickled = sorted(file for kind in PICKLED for file in (folder / part).glob(f"*{kind}"))
    if not pickled:
        raise PriorError(f"{folder / part}: expected weights as .safetensors, found none.")
    # diffusers and transformers call the same file diffusion_pytorch_model and pytorch_model, the latter safe: model
    safe = pickled[0].with_name(pickled[0].stem.removeprefix("pytorch_") + ".safetensors")
    raise PriorError(
        f"{folder / part}: expected weights as .safetensors, found only {pickled[0].name}, which can run code when it "
        f"is loaded. To convert it once: {CONVERT.format(pickled=pickled[0], safe=safe)}"
    )

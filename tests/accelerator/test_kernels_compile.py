"""Every Warp kernel of the package compiles for a CUDA card, without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import warp as wp

import unscene
from unscene.fields import cuda_splats, hash_kernels
from unscene.geometry import swept_lines
from unscene.objects import ray_tracer
from unscene.warp_runtime import start_warp

KERNELS: dict[str, list[Callable[[], wp.Kernel]]] = {  # one of each Warp module, by the file that has it
    "fields/cuda_splats.py": [
        *[
            lambda f=f: cuda_splats.cuda_kernel(f, "SplatArguments")
            for f in ("project_splats", "project_splats_backward")
        ],
        *[
            lambda f=f: cuda_splats.cuda_kernel(f, "SplatTileArguments")
            for f in (
                "SplatBlocks<3>::forward",
                "SplatBlocks<3>::backward",
                "SplatBlocks<8>::backward",
                "splat_median_depth",
            )
        ],
    ],
    "fields/hash_kernels.py": [
        lambda f=f: hash_kernels.grid_kernels(f).encode for f in (1, 2)
    ],  # what fields are made of
    "geometry/swept_lines.py": [lambda: swept_lines._sweep],
    "objects/ray_tracer.py": [ray_tracer._trace_kernel],
}

PROCESSORS_ONLY = {"fields/processor.py"}


def test_no_file_with_kernels_is_forgotten() -> None:
    source = Path(unscene.__file__).parent
    files = {str(path.relative_to(source)) for path in source.rglob("*.py") if "wp.kernel" in path.read_text()}
    assert files == set(KERNELS) | PROCESSORS_ONLY


@pytest.mark.parametrize("file", KERNELS)
def test_kernels_compile_for_cuda(file: str, tmp_path: Path) -> None:
    start_warp()
    for kernel in KERNELS[file]:
        module = kernel().module
        (artifact,) = wp.compile_aot_module(module, arch=90, module_dir=tmp_path / module.name, use_ptx=True)
        ptx = artifact.read_text()
        assert ".target sm_90" in ptx
        for name in module.kernels:
            assert f".visible .entry {name}" in ptx

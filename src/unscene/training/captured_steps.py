"""Steps of a fit as CUDA graphs: captured once per kind, then replayed, so that the host's launches cost nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

Kind = Hashable
"""Steps of one kind do the same work on other random numbers."""

Terms = dict[str, Tensor]
"""The weighted terms of the loss, by name, scalars."""

TakeStep = Callable[[int, float, torch.Generator], Terms]
"""(step, progress, random numbers) -> terms; a whole step: loss, gradient, optimiser."""

WARMUP_STEPS = 3  # of each kind, ordinary ones: they load kernels and make the optimiser's memory


class CapturableObjective(ABC):
    """An objective whose steps can be replayed: no step looks at progress, at anything on the host that changes, or at
    the step's number in any other way than its kind does."""

    @abstractmethod
    def kind(self, step: int) -> Kind | None:
        """What kind a step is; None if it can only be run step by step."""

    @abstractmethod
    def __call__(self, step: int, progress: float, generator: torch.Generator) -> Terms:
        """The weighted terms of the loss."""


def can_capture(device: torch.device) -> bool:
    """Whether `CudaGraphs` are to be had on a device."""
    return device.type == "cuda"


class Graphs(Protocol):
    """What captures and replays. Real ones are `CudaGraphs`."""

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        """Do the work as it will be captured: not on the default stream."""
        ...

    def capture(self, work: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
        """Capture the work without doing it: what replays it, and the tensors that hold its terms after a replay."""
        ...


class StepByStep:
    """Takes every step as it comes."""

    def __init__(self, take: TakeStep, generator: torch.Generator):
        self._take, self._generator = take, generator

    def __call__(self, step: int, progress: float) -> Terms:
        return self._take(step, progress, self._generator)

    def forget(self) -> None:
        """There is nothing to forget."""

    def take_note(self) -> str | None:
        """There is nothing to say."""


class CapturedSteps:
    """Takes steps: the first few of each kind one by one, all others as replays of a graph.

    generator: the device's random numbers, for steps that are or will be graphs; host_generator: the processor's, for
    all others. When something cannot be captured, a note says why and every step from then on is taken one by one.
    """

    def __init__(
        self, take: TakeStep, kind: Callable[[int], Kind | None], graphs: Graphs, generator: torch.Generator,
        host_generator: torch.Generator,
    ):  # fmt: skip
        self._take, self._kind, self._graphs = take, kind, graphs
        self._generator, self._host_generator = generator, host_generator
        self._captured: dict[Kind, tuple[Callable[[], None], Terms]] = {}
        self._warmed: dict[Kind, int] = {}
        self._refused = False
        self._note: str | None = None

    def __call__(self, step: int, progress: float) -> Terms:
        """Take a step. The terms' tensors are overwritten by the next step of the same kind."""
        kind = None if self._refused else self._kind(step)
        if kind is None:
            return self._take(step, progress, self._host_generator)
        if kind not in self._captured:
            if self._warmed.get(kind, 0) < WARMUP_STEPS:
                self._warmed[kind] = self._warmed.get(kind, 0) + 1
                return self._graphs.warm_up(lambda: self._take(step, progress, self._generator))
            try:
                self._captured[kind] = self._graphs.capture(lambda: self._take(step, progress, self._generator))
            except RuntimeError as error:  # torch's errors of CUDA are of this type
                self.forget()
                reason = str(error).partition("\n")[0] or type(error).__name__
                self._refused, self._note = True, f"steps are not run as CUDA graphs: {reason}"
                return self._take(step, progress, self._host_generator)
        replay, terms = self._captured[kind]
        replay()
        return terms

    def forget(self) -> None:
        """Capture again: tensors that the graphs read or write have been replaced."""
        self._captured.clear()
        self._warmed.clear()

    def take_note(self) -> str | None:
        """Why steps are not captured after all, once."""
        note, self._note = self._note, None
        return note


class CudaGraphs:
    """CUDA graphs that share one memory pool. They may be replayed in any order, since the pool keeps all that
    outlives a replay, which is their terms."""

    def __init__(self, device: torch.device, generator: torch.Generator):
        self._device, self._generator = device, generator
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], Terms]) -> Terms:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            terms = work()
        current.wait_stream(self._stream)
        return terms

    def capture(self, work: Callable[[], Terms]) -> tuple[Callable[[], None], Terms]:
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self._device)
        graph.register_generator_state(self._generator)
        try:
            # thread_local: what other threads do on the device meanwhile is their own affair
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                terms = work()
        finally:
            torch.cuda.set_stream(current)  # a capture that fails leaves its own stream behind
        return graph.replay, terms

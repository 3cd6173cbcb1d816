"""Looking for weights under several hub ids: the cache first, then the network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from unscene.priors.prior_error import PriorError


def first_available(
    ids: Sequence[str], fetch: Callable[[str, bool], str], *, offline: bool, wanted: str, ways_forward: str
) -> tuple[Path, str]:
    """The first folder that ``fetch`` (id, on this machine only) returns, and its id with its revision.

    wanted, ways_forward: what the PriorError calls it, and how to go on, if there is none.
    """
    reason: Exception | None = None
    for local in (True,) if offline or os.environ.get("HF_HUB_OFFLINE") else (True, False):
        for hub_id in ids:
            try:
                folder = Path(fetch(hub_id, local))
            except Exception as error:  # the hub's client has dozens of kinds, and each means: not this one
                reason = error
            else:
                return folder, f"{hub_id}@{folder.name[:12]}"
    text = (str(reason).strip().splitlines() or [type(reason).__name__])[0].rstrip(".")
    raise PriorError(
        f"no weights for {wanted}: none of {', '.join(ids)} is in the cache and the hub gave none ({text[:300]}). "
        f"Three ways forward: {ways_forward}."
    )

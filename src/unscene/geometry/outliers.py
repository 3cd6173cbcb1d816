"""Points that stand apart from their neighbours."""

from __future__ import annotations

import torch
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor

NEIGHBOURS = 20


def inliers(points: Tensor, *, contamination: float) -> Tensor:
    """Which of P 3 points are as dense as their neighbours' surroundings, P bool (Breunig et al. 2000).

    contamination: the share to call outliers, in (0, 0.5]; iNVS's release lineage takes 0.3 of a monocular depth's.
    With fewer than 21 points all stay.
    """
    if len(points) <= NEIGHBOURS:
        return torch.ones(len(points), dtype=torch.bool)
    factor = LocalOutlierFactor(n_neighbors=NEIGHBOURS, contamination=contamination)  # pyright: ignore[reportArgumentType]
    return torch.from_numpy(factor.fit_predict(points.detach().cpu().double().numpy()) == 1)

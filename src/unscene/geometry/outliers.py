"""Points that stand apart from their neighbours."""

from __future__ import annotations

import torch
from scipy.spatial import KDTree
from torch import Tensor

NEIGHBOURS = 20


def inliers(points: Tensor, *, contamination: float) -> Tensor:
    """Which of P 3 points are as dense as their neighbours' surroundings, P bool (Breunig et al. 2000).

    contamination: the share to call outliers, in (0, 0.5]; iNVS's release lineage takes 0.3 of a monocular depth's.
    With fewer than 21 points all stay.
    """
    if len(points) <= NEIGHBOURS:
        return torch.ones(len(points), dtype=torch.bool)
    from sklearn.neighbors import LocalOutlierFactor  # here: a second of imports that most commands do without

    factor = LocalOutlierFactor(n_neighbors=NEIGHBOURS, contamination=contamination)  # pyright: ignore[reportArgumentType]
    return torch.from_numpy(factor.fit_predict(points.detach().cpu().double().numpy()) == 1)


def statistical_inliers(points: Tensor, *, neighbours: int, deviations: float) -> Tensor:
    """Which of P 3 points are about as far from their nearest neighbours as points are on average, P bool.

    A point is an outlier if the mean distance to its ``neighbours`` nearest points, itself among them, exceeds the mean
    of that over all points by more than ``deviations`` standard deviations: Open3D's remove_statistical_outlier (Rusu
    et al. 2008). With fewer points than neighbours, or all in one place, all stay.
    """
    if len(points) < neighbours:
        return torch.ones(len(points), dtype=torch.bool, device=points.device)
    cloud = points.detach().cpu().double().numpy()
    distances, _ = KDTree(cloud).query(cloud, k=neighbours)
    mean = torch.from_numpy(distances).mean(-1)
    return (mean <= mean.mean() + deviations * mean.std()).to(points.device)

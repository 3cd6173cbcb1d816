"""Pose corrections: none at the start, rotations always, and a gradient that moves the right view."""

from __future__ import annotations

import torch

from unscene.fields.pose_refinement import PoseRefinement, rotation_matrices


def test_poses_begin_as_they_were_given() -> None:
    poses = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PoseRefinement(3, scale=2.0)(poses, torch.tensor([0, 1, 2, 1, 0])), poses)


def test_rotations_stay_rotations_and_turn_by_the_vector_s_length() -> None:
    vectors = torch.tensor([[0.0, 0, 0], [0, 0, torch.pi / 2], [1e-8, 0, 0], [0.3, -2.0, 1.1]], dtype=torch.float64)
    turns = rotation_matrices(vectors)
    torch.testing.assert_close(turns @ turns.mT, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    torch.testing.assert_close(
        turns[1] @ torch.tensor([1.0, 0, 0], dtype=torch.float64).to(turns), turns.new_tensor([0, 1.0, 0])
    )
    cosine = (turns.diagonal(dim1=1, dim2=2).sum(-1) - 1) / 2
    torch.testing.assert_close(cosine, vectors.norm(dim=-1).cos())


def test_only_the_views_of_the_rays_get_a_finite_gradient() -> None:
    refinement = PoseRefinement(3, scale=2.0)
    pose = torch.eye(3, 4)[None].repeat(2, 1, 1)
    refinement(pose, torch.tensor([1, 1])).square().sum().backward()
    refinement(pose, torch.tensor([1, 1]))[:, 0, 1].sum().backward()
    assert refinement.rotation.grad is not None
    assert refinement.rotation.grad.isfinite().all() and refinement.rotation.grad[1].abs().sum() > 0
    assert (refinement.rotation.grad[[0, 2]] == 0).all()

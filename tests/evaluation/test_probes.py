"""Probes find what is there, do not find what is not, and always find the same."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from adamae.evaluation.features import VideoFeatures
from adamae.evaluation.probes import attentive_probe, knn_probe, linear_probe, probe_features

CLASSES, WIDTH = 4, 16


def clusters(videos: int, seed: int, spread: float = 0.5) -> tuple[Tensor, Tensor]:
    """Features around one centre for each class, on a large common offset and with one loud useless column."""
    centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0))
    noise = torch.Generator().manual_seed(seed)
    labels = torch.arange(videos) % CLASSES
    features = centres[labels] + spread * torch.randn(videos, WIDTH, generator=noise) + 30
    features[:, 0] = torch.randn(videos, generator=noise)
    return features, labels


def hits(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(dim=1) == labels).float().mean())


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_pooled_probes(probe) -> None:  # type: ignore[no-untyped-def]
    train, labels = clusters(80, seed=1)
    test, truth = clusters(40, seed=2)
    scores = probe(train, labels, test, CLASSES)
    assert scores.shape == (40, CLASSES)
    assert hits(scores, truth) > 0.9
    assert torch.equal(scores, probe(train, labels, test, CLASSES))
    shuffled = labels[torch.randperm(80, generator=torch.Generator().manual_seed(3))]
    assert hits(probe(train, shuffled, test, CLASSES), truth) < 0.6


def test_neighbours_by_hand() -> None:
    train = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [-0.9, -0.1]])
    scores = knn_probe(train, torch.tensor([0, 1, 2, 2]), torch.tensor([[2.0, 0.0]]), 3, k=2, temperature=1.0)
    weights = torch.nn.functional.cosine_similarity(train[:2], torch.tensor([[2.0, 0.0]])).softmax(dim=0)
    assert torch.allclose(scores, torch.tensor([[*weights.tolist(), 0.0]]))
    assert knn_probe(train, torch.tensor([0, 1, 2, 2]), train, 3, k=99).sum(dim=1).allclose(torch.ones(4))


def test_one_video_of_each_class_is_enough() -> None:
    train, labels = clusters(CLASSES, seed=1, spread=0.1)
    assert hits(linear_probe(train, labels, train, CLASSES), labels) == 1


def scattered(videos: int, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens of which one, anywhere, belongs to the class; the others say nothing, but are loud."""
    noise = torch.Generator().manual_seed(seed)
    labels = torch.arange(videos) % CLASSES
    tokens = torch.randn(videos, 24, WIDTH, generator=noise)
    tokens[..., 0] = 0
    marks = torch.zeros(videos, WIDTH)
    marks[:, 0] = 8
    marks[torch.arange(videos), 1 + labels] = 2
    tokens[torch.arange(videos), torch.randint(24, (videos,), generator=noise)] = marks
    return tokens, labels


def test_the_attentive_probe_finds_what_the_mean_hides() -> None:
    train, labels = scattered(120, seed=1)
    test, truth = scattered(60, seed=2)
    attentive = attentive_probe(train.half(), labels, test.half(), CLASSES)
    mean = linear_probe(train.mean(dim=1), labels, test.mean(dim=1), CLASSES)
    assert hits(attentive, truth) > 0.8
    assert hits(mean, truth) < hits(attentive, truth) - 0.2
    assert torch.equal(attentive, attentive_probe(train.half(), labels, test.half(), CLASSES))


def test_all_probes_by_name() -> None:
    def features(seed: int, tokens: bool) -> VideoFeatures:
        pooled, labels = clusters(24, seed)
        some = pooled[:, None].expand(-1, 3, -1).half() if tokens else None
        return VideoFeatures(pooled, some, labels, labels.numpy(), [])

    found = probe_features(features(1, True), features(2, True), CLASSES)
    assert list(found) == ["knn", "linear", "attentive"]
    assert all(accuracy.scored == 24 for accuracy in found.values())
    assert list(probe_features(features(1, False), features(2, False), CLASSES)) == ["knn", "linear"]

"""Probes find what is there, do not find what is not, and always find the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adamae.evaluation import probes
from adamae.evaluation.probes import attentive_probe, knn_probe, linear_probe, probe_features
from adamae.evaluation.scoring import Unscored
from adamae.evaluation.video_features import VideoFeatures

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


def by_hand(features: Tensor, train: Tensor) -> Tensor:
    """Standardised with the mean and the deviation of the training videos."""
    return (features - train.mean(dim=0)) / train.std(dim=0, correction=0)


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


@pytest.mark.parametrize("probe", [knn_probe, linear_probe, attentive_probe])
def test_the_other_test_videos_have_no_part_in_a_score(probe) -> None:  # type: ignore[no-untyped-def]
    make = scattered if probe is attentive_probe else clusters
    (train, labels), (test, _) = make(16, seed=1), make(8, seed=2)
    together = probe(train, labels, test, CLASSES)
    torch.testing.assert_close(probe(train, labels, test[5:6], CLASSES)[0], together[5])


def test_the_ridge_is_the_one_that_serves_the_held_out_videos_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of noise need the strongest ridge, separable classes the weakest."""
    fit, chosen = probes._fit_linear, []
    fits: list[tuple[Tensor, float, nn.Linear]] = []

    def watched(features: Tensor, labels: Tensor, num_classes: int, ridge: float) -> nn.Linear:
        fits.append((features, ridge, fit(features, labels, num_classes, ridge)))
        return fits[-1][2]

    monkeypatch.setattr(probes, "_fit_linear", watched)
    noise = torch.randn(12, 64, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 3
    for features in (noise, noise[:, :3] + 20 * torch.eye(3)[labels]):
        fits.clear()
        scores = linear_probe(features, labels, features[:5] + 1, 3)
        *tried, (final, ridge, head) = fits
        standard = by_hand(features, features)
        losses = {}
        for part, tried_ridge, tried_head in tried:
            out = (torch.cdist(standard, part) > 1e-3).all(dim=1)
            # One of the four of each class.
            assert labels[out].sort().values.tolist() == [0, 1, 2]
            assert len(part) == 9
            logits = standard[out] @ tried_head.weight.T + tried_head.bias
            losses[tried_ridge] = float((logits.exp().sum(dim=1).log() - logits[torch.arange(3), labels[out]]).mean())
        assert len(losses) == 5
        assert ridge == min(losses, key=losses.__getitem__)
        # Then all are learned from.
        torch.testing.assert_close(final, standard)
        test = by_hand(features[:5] + 1, features)
        torch.testing.assert_close(scores, test @ head.weight.T + head.bias)
        chosen.append(ridge)
    assert chosen == [1.0, 1e-4]


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
    def features(videos: int, seed: int, tokens: bool) -> VideoFeatures:
        pooled, labels = clusters(videos, seed, spread=1.5)
        some = scattered(videos, seed)[0].half() if tokens else None
        return VideoFeatures(pooled, some, labels, labels.numpy(), [])

    train, test = features(40, 1, True), features(20, 2, True)
    assert train.tokens is not None
    assert test.tokens is not None
    found = probe_features(train, test, test.labels.numpy(), CLASSES, k=3, seed=4)
    expected = {
        "knn": knn_probe(train.pooled, train.labels, test.pooled, CLASSES, k=3),
        "linear": linear_probe(train.pooled, train.labels, test.pooled, CLASSES, seed=4),
        "attentive": attentive_probe(train.tokens, train.labels, test.tokens, CLASSES, seed=4),
    }
    shares = {name: 100 * hits(scores, test.labels) for name, scores in expected.items()}
    assert len(set(shares.values())) == 3
    assert list(found) == list(expected)
    assert {name: accuracy.top1 for name, accuracy in found.items()} == pytest.approx(shares)
    assert all(accuracy.scored == 20 for accuracy in found.values())
    train, test = features(24, 1, False), features(24, 2, False)
    assert list(probe_features(train, test, test.labels.numpy(), CLASSES)) == ["knn", "linear"]


def test_unread_videos_are_without_a_score() -> None:
    train, labels = clusters(40, seed=1)
    test, truth = clusters(8, seed=2)
    read = np.array([0, 2, 3, 4, 6, 7])
    unread = [Unscored(row, f"{row}.mp4", "damaged") for row in (1, 5)]
    known = VideoFeatures(train, None, labels, np.arange(40), [])
    found = probe_features(known, VideoFeatures(test[read], None, truth[read], read, unread), truth.numpy(), CLASSES)
    for name, scores in (
        ("knn", knn_probe(train, labels, test[read], CLASSES)),
        ("linear", linear_probe(train, labels, test[read], CLASSES)),
    ):
        accuracy = found[name]
        assert (accuracy.videos, accuracy.labelled, accuracy.scored) == (8, 8, 6)
        assert accuracy.top1_of_all == pytest.approx(100 * hits(scores, truth[read]) * 6 / 8)
        assert accuracy.render_unscored().startswith("; 2 without a score: ")


def test_top_5_of_neighbours_does_not_depend_on_the_numbers_of_the_classes() -> None:
    """With one neighbour only one class has a vote, so top-5 is top-1, whatever the other classes are numbered."""
    seed = int(torch.randint(2**31, (1,)))
    print(f"seed {seed}")
    generator = torch.Generator().manual_seed(seed)
    train, test = torch.randn(60, WIDTH, generator=generator), torch.randn(200, WIDTH, generator=generator)
    labels, truth = (torch.randint(12, (n,), generator=generator) for n in (60, 200))
    found = []
    for order in (torch.arange(12), torch.randperm(12, generator=generator), torch.arange(11, -1, -1)):
        known = VideoFeatures(train, None, order[labels], np.arange(60), [])
        asked = VideoFeatures(test, None, order[truth], np.arange(200), [])
        for k in (1, 4):
            accuracy = probe_features(known, asked, order[truth].numpy(), 12, k=k)["knn"]
            found.append((k, accuracy.top1_correct, accuracy.top5_correct))
            assert k > 1 or accuracy.top5_correct == accuracy.top1_correct
    assert len(set(found)) == 2

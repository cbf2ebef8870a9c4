"""Probes: simple classifiers on frozen features, which evaluate a representation within minutes.

Each takes the features of labelled training videos and of test videos, and returns scores (n, C) of the test videos.
All are deterministic: the same features and seed give the same scores.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adamae.evaluation.metrics import Accuracy, measure_accuracy
from adamae.evaluation.scoring import Scores
from adamae.evaluation.video_features import VideoFeatures

# L2 penalties of the linear probe, selected on a held-out quarter of the training videos.
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_HELD_OUT = 4
_LINEAR_ITERATIONS = 100
# Test videos that are compared with all training videos in one matrix product.
_KNN_ROWS = 512


def probe_features(
    train: VideoFeatures, test: VideoFeatures, labels: np.ndarray, num_classes: int, *, k: int = 20, seed: int = 0
) -> dict[str, Accuracy]:
    """Run all probes; the attentive one only if both sides have tokens.

    Args:
        train: Features of the training videos.
        test: Features of the test videos.
        labels: (rows of the test list,) classes; those of ``test.unread`` are counted as videos without a score.
        num_classes: C.
        k: Number of nearest neighbours.
        seed: Seed of everything random.

    Returns:
        Accuracies by name of the probe.
    """
    votes = knn_probe(train.pooled, train.labels, test.pooled, num_classes, k=k)
    scores = {
        # Classes without a vote would all tie, and top-5 would depend on the numbers of the classes.
        "knn": votes.masked_fill(votes == 0, -torch.inf),
        "linear": linear_probe(train.pooled, train.labels, test.pooled, num_classes, seed=seed),
    }
    if train.tokens is not None and test.tokens is not None:
        scores["attentive"] = attentive_probe(train.tokens, train.labels, test.tokens, num_classes, seed=seed)
    return {
        name: measure_accuracy(Scores(test.rows, score.numpy(), tuple(test.unread), 1), labels)
        for name, score in scores.items()
    }


def knn_probe(
    train: Tensor, labels: Tensor, test: Tensor, num_classes: int, *, k: int = 20, temperature: float = 0.07
) -> Tensor:
    """k-nearest-neighbour classification by cosine similarity, with weighted votes.

    The mean of the training videos is subtracted from all features first, because it carries no information.

    Args:
        train: (m, D) features.
        labels: (m,) classes.
        test: (n, D) features.
        num_classes: C.
        k: Number of neighbours; all training videos if there are fewer.
        temperature: The weight of a vote is proportional to exp(cosine / temperature).

    Returns:
        (n, C) fractions of the votes.
    """
    centre = train.mean(dim=0)
    known = F.normalize(train - centre, dim=1).T
    votes = []
    for part in F.normalize(test - centre, dim=1).split(_KNN_ROWS):
        cosines, neighbours = (part @ known).topk(min(k, len(train)), dim=1)
        weights = (cosines / temperature).softmax(dim=1)
        votes.append(weights.new_zeros(len(part), num_classes).scatter_add(1, labels[neighbours], weights))
    return torch.cat(votes)


def linear_probe(train: Tensor, labels: Tensor, test: Tensor, num_classes: int, *, seed: int = 0) -> Tensor:
    """Logistic regression on standardised features.

    Its L2 penalty is selected on a quarter of the training videos, held out by class. The classifier is then fitted to
    all training videos. The test videos are not used for either.

    Args:
        train: (m, D) features.
        labels: (m,) classes.
        test: (n, D) features.
        num_classes: C.
        seed: Seed of the choice of held-out videos.

    Returns:
        (n, C) logits.
    """
    train, test = _standardised(train, [train, test])
    out = _held_out(labels, seed)
    ridge = 1e-2
    if out.any():
        fits = ((_fit_linear(train[~out], labels[~out], num_classes, ridge), ridge) for ridge in _RIDGES)
        losses = [(float(F.cross_entropy(head(train[out]), labels[out])), ridge) for head, ridge in fits]
        ridge = min(losses)[1]
    with torch.no_grad():
        return _fit_linear(train, labels, num_classes, ridge)(test)


def attentive_probe(
    train: Tensor,
    labels: Tensor,
    test: Tensor,
    num_classes: int,
    *,
    heads: int = 4,
    steps: int = 400,
    batch_size: int = 64,
    lr: float = 3e-3,
    weight_decay: float = 0.05,
    seed: int = 0,
) -> Tensor:
    """Attention of a few learned queries over the tokens, followed by a linear layer.

    Args:
        train: (m, K, D) tokens, any float type.
        labels: (m,) classes.
        test: (n, K, D) tokens.
        num_classes: C.
        heads: Number of queries.
        steps: Updates of AdamW, with a cosine schedule.
        batch_size: Videos in an update.
        lr: Initial learning rate.
        weight_decay: Weight decay of AdamW.
        seed: Seed of the order of the videos.

    Returns:
        (n, C) logits.
    """
    mean, std = _statistics(train.flatten(0, 1).float())
    probe = _AttentiveHead(train.shape[-1], heads, num_classes)
    optimizer = torch.optim.AdamW(probe.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randperm(len(train), generator=order)[:batch_size]
        loss = F.cross_entropy(probe((train[rows].float() - mean) / std), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return torch.cat([probe((part.float() - mean) / std) for part in test.split(batch_size)])


class _AttentiveHead(nn.Module):
    """Cross-attention of learned queries; key and value matrices are folded into the queries and the linear layer."""

    def __init__(self, width: int, heads: int, num_classes: int) -> None:
        super().__init__()
        # Zero initialisation: attention starts as the mean over the tokens, and nothing is random.
        self.queries = nn.Parameter(torch.zeros(heads, width))
        self.head = nn.Linear(heads * width, num_classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        # Equal queries would stay equal; a fixed seed makes them differ.
        with torch.no_grad():
            self.queries.copy_(1e-2 * torch.randn(heads, width, generator=torch.Generator().manual_seed(0)))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, K, D) to (B, C)."""
        attention = (tokens @ self.queries.T / tokens.shape[-1] ** 0.5).softmax(dim=1)
        return self.head((attention.transpose(1, 2) @ tokens).flatten(1))


def _fit_linear(features: Tensor, labels: Tensor, num_classes: int, ridge: float) -> nn.Linear:
    head = nn.Linear(features.shape[1], num_classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=_LINEAR_ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimizer.zero_grad()
        value = F.cross_entropy(head(features), labels) + ridge / 2 * head.weight.square().sum()
        value.backward()
        return value.item()

    optimizer.step(loss)
    return head.requires_grad_(False)


def _held_out(labels: Tensor, seed: int) -> Tensor:
    """(m,) bool: a quarter of each class's videos; none of a class with a single video."""
    out = torch.zeros(len(labels), dtype=torch.bool)
    order = torch.Generator().manual_seed(seed)
    for label in labels.unique():
        rows = torch.nonzero(labels == label).flatten()
        rows = rows[torch.randperm(len(rows), generator=order)]
        out[rows[: -(-len(rows) // _HELD_OUT) if len(rows) > 1 else 0]] = True
    return out


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and std of each of D columns."""
    return features.mean(dim=0), features.std(dim=0, correction=0).clamp_min(1e-6)


def _standardised(reference: Tensor, all_features: Iterable[Tensor]) -> list[Tensor]:
    mean, std = _statistics(reference)
    return [(features - mean) / std for features in all_features]

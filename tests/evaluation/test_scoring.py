"""Every video once: with bad files, in groups, on several processes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.data.annotations import Annotations
from adamae.data.views import plan_validation
from adamae.distributed import World
from adamae.errors import PreemptedError, UserError
from adamae.evaluation.scoring import score_readable, score_videos
from adamae.evaluation.view_loader import groups_of_rows
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import BAD, PATHS, views
from tests.launching import launch


def test_ranks_share_all_rows_and_groups_do_not_depend_on_them() -> None:
    for rows in range(23):
        for size in (1, 2, 5):
            alone = groups_of_rows(rows, size, World())
            assert [row for group in alone for row in group] == list(range(rows))
            for ranks in (2, 3, 4):
                shares = [groups_of_rows(rows, size, World(rank, ranks)) for rank in range(ranks)]
                assert sorted(group for share in shares for group in share) == alone
                assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_score_is_the_mean_of_the_views_logits(test_list: Path) -> None:
    model = classifier().train()
    dataset = views(test_list)
    scores = score_videos(model, dataset, batch_size=4)
    assert model.training
    assert scores.num_views == 15
    assert scores.rows.tolist() == [row for row in range(len(PATHS)) if row != BAD]
    assert [(bad.row, Path(bad.path).name) for bad in scores.unscored] == [(BAD, "bad.mp4")]
    model.eval()
    for row, logits in zip(scores.rows, scores.logits, strict=True):
        expected = torch.stack([model(view[None])[0] for view in dataset[row]["views"]]).mean(dim=0)
        assert np.allclose(logits, expected.detach(), atol=1e-5)
    # Equal base names in two folders are two videos.
    assert not np.allclose(scores.logits[0], scores.logits[1], atol=1e-3)


def test_probabilities_can_be_averaged_instead(test_list: Path) -> None:
    model, dataset = classifier(), views(test_list)
    scores = score_videos(model, dataset, softmax=True)
    expected = model(dataset[0]["views"]).softmax(-1).mean(dim=0).detach()
    assert np.allclose(scores.logits[0], expected, atol=1e-6)
    assert np.allclose(scores.logits.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_several_videos(test_list: Path, workers: int) -> None:
    dataset = views(test_list)
    dataset.plan = plan_validation(num_frames=4, sampling_rate=2, size=16)
    model = classifier()
    together = score_videos(model, dataset, batch_size=4, num_workers=workers)
    apart = score_videos(model, dataset, batch_size=1)
    assert together.rows.tolist() == apart.rows.tolist()
    assert np.allclose(together.logits, apart.logits, atol=1e-5)
    assert [bad.row for bad in together.unscored] == [BAD]


def test_memory_is_bounded_by_the_batch(test_list: Path) -> None:
    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier()
            self.most = 0

        def forward(self, clips: torch.Tensor) -> torch.Tensor:
            self.most = max(self.most, len(clips))
            return self.inner(clips)

    model = Watched()
    score_videos(model, views(test_list), batch_size=4)
    assert model.most == 4


def test_progress_is_told_up_to_the_last_video(test_list: Path) -> None:
    told: list[tuple[int, int]] = []
    score_videos(classifier(), views(test_list), progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 7) for done in range(1, 8)]


def test_a_rank_that_is_asked_to_exit_scores_no_more(test_list: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    with pytest.raises(PreemptedError):
        score_videos(
            classifier(), views(test_list), progress=lambda seen, _: done.append(seen), preempted=lambda: len(done) == 2
        )
    assert len(done) == 2
    # Another rank was asked: all leave together.
    monkeypatch.setattr(World, "gather", lambda self, value: [value, True])
    with pytest.raises(PreemptedError):
        score_videos(classifier(), views(test_list), preempted=lambda: False)


def test_scores_that_are_not_finite_are_no_scores(test_list: Path) -> None:
    model = classifier()
    with torch.no_grad():
        model.head.bias[2] = float("nan")  # type: ignore[index, union-attr]
    scores = score_readable(model, views(test_list, num_clips=1, num_crops=1))
    assert not len(scores.rows)
    assert [bad.row for bad in scores.unscored] == list(range(7))
    assert scores.unscored[0].reason == "the scores are not finite"


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"bad")
    videos = Annotations.of(["bad.mp4"] * 3, root=str(tmp_path), source="list.csv")
    with pytest.raises(UserError, match=r"list.csv: none of 3 videos has a score, for example .*bad.mp4: not a read"):
        score_videos(classifier(), views(videos))


def test_an_unknown_precision(test_list: Path) -> None:
    with pytest.raises(UserError, match="precision 'fp8': expected one of fp32, bf16, fp16"):
        score_videos(classifier(), views(test_list), precision="fp8")


SCORE = """
import json, sys
from adamae import distributed
from adamae.evaluation.metrics import measure_accuracy
from adamae.evaluation.scoring import score_videos
from pathlib import Path
from tests.checkpoints.networks import classifier
from tests.evaluation.tiny import views
world = distributed.start("cpu", timeout_seconds=60)
dataset = views(Path(sys.argv[1]))
scores = score_videos(classifier(), dataset, world=world)
accuracy = measure_accuracy(scores, dataset.annotations.labels)
print(json.dumps([scores.rows.tolist(), scores.logits.tobytes().hex(), [vars(bad) for bad in scores.unscored],
    accuracy.as_dict()]))
world.close()
"""


@pytest.mark.slow
def test_one_two_and_three_processes_give_the_same_bits(test_list: Path) -> None:
    alone = score_videos(classifier(), views(test_list))
    texts = [text for size in (2, 3) for text in launch(["-c", SCORE, test_list], size=size)]
    assert len(texts) == 5
    assert len(set(texts)) == 1
    rows, logits, unscored, accuracy = json.loads(texts[0])
    assert rows == alone.rows.tolist()
    assert logits == alone.logits.tobytes().hex()
    assert unscored == [vars(bad) for bad in alone.unscored]
    assert len(rows) == 6 and len(unscored) == 1
    assert (accuracy["videos"], accuracy["scored"], accuracy["unscored"]) == (7, 6, 1)

"""``predict`` from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.networks import build_classifier
from adamae.errors import UserError
from adamae.options.evaluation import PredictOptions
from adamae.predict import Predictions, predict
from tests.evaluation.tiny import BAD, NAMES, PATHS, views
from tests.launching import launch

FAST = {"sampling_rate": 2, "num_workers": 0, "device": "cpu"}


def options(checkpoint: Path, *videos: Path | str, **values: object) -> PredictOptions:
    return PredictOptions.of(checkpoint, *videos, **{**FAST, **values})


def test_scores_of_a_list(test_list: Path, finetuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = predict(options(finetuned, test_list))
    folder = test_list.parent
    assert predictions.videos == tuple(str(folder / name) for row, name in enumerate(PATHS) if row != BAD)
    assert predictions.classes == NAMES
    assert [Path(video.path).name for video in predictions.unread] == ["bad.mp4"]
    assert (predictions.probabilities.dtype, predictions.probabilities.shape) == (np.float64, (6, 5))
    assert predictions.num_views == 15
    model, _ = build_classifier(open_checkpoint(finetuned))
    with torch.no_grad():
        logits = model(views(test_list)[0]["views"]).mean(dim=0)
    assert predictions.logits is not None and predictions.logits.dtype == np.float32
    np.testing.assert_allclose(predictions.logits[0], logits, atol=1e-5)
    np.testing.assert_allclose(predictions.probabilities[0], logits.double().softmax(-1), atol=1e-5)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_the_first_classes_have_names_and_scores(test_list: Path, finetuned: Path) -> None:
    predictions = predict(options(finetuned, test_list.parent / PATHS[0], softmax=True))
    assert predictions.logits is None
    (first,) = predictions.top(2)
    assert len(first) == 2
    order = np.argsort(-predictions.probabilities[0]).tolist()
    assert [(score.number, score.name) for score in first] == [(k, NAMES[k]) for k in order[:2]]
    assert [score.probability for score in first] == predictions.probabilities[0][order[:2]].tolist()
    assert [score.logit for score in first] == [None, None]
    assert len(predictions.top(9)[0]) == len(NAMES)


def test_logits_decide_where_probabilities_are_equal() -> None:
    logits = np.array([[-2000.0, -1000.0, 0.0]], np.float32)
    predictions = Predictions(("a.mp4",), ("x", "y", "z"), np.array([[0.0, 0.0, 1.0]]), logits, 1)
    assert [score.number for score in predictions.top()[0]] == [2, 1, 0]


def test_no_readable_video_is_no_prediction(test_list: Path, finetuned: Path) -> None:
    predictions = predict(options(finetuned, test_list.parent / PATHS[BAD]))
    assert (predictions.videos, predictions.top()) == ((), [])
    assert predictions.probabilities.shape == (0, 5)
    assert len(predictions.unread) == 1


def test_notes_are_printed_on_request(test_list: Path, finetuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(options(finetuned, test_list.parent / PATHS[0], test_num_crop=1, test_num_segment=1), verbose=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "1 clip x 1 crop per video, 4 frames with stride 2" in printed.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "extract", "probe"])
def test_two_processes_print_and_write_once(command: str, test_list: Path, finetuned: Path, tmp_path: Path) -> None:
    words = {
        "predict": [test_list.parent / PATHS[0], test_list.parent / PATHS[1]],
        "extract": [test_list.parent / PATHS[0], "-o", tmp_path / "two.npz"],
        "probe": ["--data_path", test_list, "--eval_data_path", test_list],
    }[command]
    fast = [word for name, value in FAST.items() for word in (f"--{name}", value)]
    line = ["-m", "adamae", command, finetuned, *words, *fast]
    first, second = launch(line, size=2)
    assert (len(first) > 0, second) == (True, "")
    (alone,) = launch([str(word).replace("two.npz", "one.npz") for word in line], size=1)
    assert first.replace("two.npz", "one.npz") == alone


def test_mistakes(test_list: Path, pretrained: Path) -> None:
    with pytest.raises(UserError, match="unknown option --tpo; did you mean --top"):
        options(pretrained, test_list, tpo=3)
    with pytest.raises(UserError, match="is a pre-trained AdaMAE"):
        predict(options(pretrained, test_list))

"""Only motion may tell the classes apart."""

import numpy as np
import pytest

from adamae.data.synthetic.motion import MOTIONS, path
from adamae.data.synthetic.rendering import render
from adamae.data.synthetic.scene import draw_scene

FRAMES = 12


def scene(number, **options):
    rng = np.random.default_rng(number)
    return draw_scene(
        rng, **{"size": 32, "background": "smooth", "contrast": 0.0, "objects": 1, "speed": 0.03, **options}
    )


def test_there_are_a_dozen_classes_in_opposite_pairs():
    directions = np.array(list(MOTIONS.values()))
    assert len(MOTIONS) == 12
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    assert all(np.isclose(directions, -direction).all(axis=1).sum() == 1 for direction in directions)


@pytest.mark.parametrize("background", ["smooth", "textured"])
def test_the_first_frame_is_the_same_in_all_classes_and_the_rest_in_none(background):
    shown = [render(scene(5, background=background), motion, num_frames=6, object_size=0.6)[0] for motion in MOTIONS]
    for one, frames in enumerate(shown):
        assert np.array_equal(frames[0], shown[0][0])
        assert all(np.abs(frames[-1] - other[-1]).max() > 0.02 for other in shown[:one])


@pytest.mark.parametrize("frame", [0, FRAMES // 2, FRAMES - 1])
def test_poses_are_uniform_at_every_frame_of_every_class(frame):
    rng = np.random.default_rng(1)
    draws, bins = 4000, 8
    for motion in MOTIONS:
        poses = np.stack([path(motion, rng.random(4), rng.uniform(0.02, 0.04), FRAMES)[frame] for _ in range(draws)])
        for coordinate in poses.T:
            counts = np.histogram(coordinate, bins, (0, 1))[0]
            # The 99.99 % point of chi squared with seven degrees of freedom; 144 of them are looked at.
            assert ((counts - draws / bins) ** 2 / (draws / bins)).sum() < 29.9


def test_a_single_rendered_frame_does_not_reveal_the_class():
    per_class, features, labels = 60, [], []
    for number in range(per_class * len(MOTIONS)):
        label = number % len(MOTIONS)
        frames, moving = render(scene(number, size=24), list(MOTIONS)[label], num_frames=FRAMES, object_size=0.6)
        middle, mask = frames[FRAMES // 2], moving[FRAMES // 2]
        thumbnail = middle.reshape(4, 6, 4, 6, 3).mean(axis=(1, 3))
        features.append(np.concatenate([thumbnail.ravel(), mask.mean(0), mask.mean(1), [mask.mean()]]))
        labels.append(label)
    x = np.stack(features)
    x = np.c_[(x - x.mean(0)) / x.std(0), np.ones(len(x))]
    y = np.eye(len(MOTIONS))[labels]
    train = np.arange(len(x)) // len(MOTIONS) % 2 == 0
    # Ridge regression onto the classes, judged on the half it has not seen.
    weights = np.linalg.solve(x[train].T @ x[train] + 10 * np.eye(x.shape[1]), x[train].T @ y[train])
    right = (x[~train] @ weights).argmax(1) == np.array(labels)[~train]
    chance = 1 / len(MOTIONS)
    assert right.mean() < chance + 4 * np.sqrt(chance * (1 - chance) / right.size)


def centre(mask):
    return np.array([axis.mean() for axis in np.nonzero(mask)])


@pytest.mark.parametrize(
    ("motion", "down", "right"),
    [("left", 0, -1), ("right", 0, 1), ("up", -1, 0), ("down", 1, 0), ("up-left", -1, -1), ("down-right", 1, 1)],
)
def test_translations_go_where_their_names_say(motion, down, right):
    centred = scene(2)
    centred.objects[0].start[:2] = 0.5
    moving = render(centred, motion, num_frames=5, object_size=0.5)[1]
    travelled = centre(moving[-1]) - centre(moving[0])
    expected = 32 * 4 * centred.speed * np.array([down, right]) / np.hypot(down, right)
    assert np.allclose(travelled, expected, atol=0.5)


def test_growing_grows_and_shrinking_shrinks():
    middling = scene(2)
    middling.objects[0].start[3] = 0.5
    sizes = {
        motion: render(middling, motion, num_frames=8, object_size=0.8)[1].sum(axis=(1, 2))
        for motion in ("growing", "shrinking")
    }
    assert sizes["growing"][-1] > 1.2 * sizes["growing"][0]
    assert sizes["shrinking"][-1] < 0.8 * sizes["shrinking"][0]


def test_clockwise_turns_the_texture_clockwise():
    spinning = scene(2)
    disc = type(spinning.objects[0])(0, spinning.objects[0].texture, np.array([0.5, 0.5, 0.0, 1.0 - 1e-6]))
    quarter = type(spinning)(spinning.background, (disc,), 0.25)
    (before, after), _ = render(quarter, "clockwise", num_frames=2, object_size=0.8)
    inside = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 11
    turned = np.rot90(before, k=-1)
    assert np.abs(turned - after)[inside].max() < 1e-4


def test_the_mask_is_what_differs_from_the_background():
    shown = scene(9, objects=2)
    frames, moving = render(shown, "up-right", num_frames=FRAMES, object_size=0.5)
    differs = np.abs(frames - shown.background).max(axis=-1) > 1e-6
    assert moving.any(axis=(1, 2)).all()
    assert not (moving & ~differs).any()
    # Pixels covered by less than a half differ too, but they touch the mask.
    shifts = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    touched = np.any([np.roll(moving, shift, axis=(1, 2)) for shift in shifts], axis=0)
    assert not (differs & ~touched).any()


def test_what_leaves_the_frame_enters_on_the_other_side():
    crossing = scene(2)
    crossing.objects[0].start[:2] = 0.98, 0.5
    moving = render(crossing, "right", num_frames=1, object_size=0.5)[1]
    assert moving[0, :, 0].any()
    assert moving[0, :, -1].any()
    assert not moving[0, :, 15].any()


@pytest.mark.parametrize("contrast", [0.25, 0.6])
def test_contrast_keeps_objects_brighter_than_what_is_behind_them(contrast):
    shown = scene(11, contrast=contrast, objects=2)
    assert shown.background.max() <= 1 - contrast
    assert min(painted.texture.min() for painted in shown.objects) >= contrast
    plain = scene(11, objects=2)
    assert all((one.start == other.start).all() for one, other in zip(shown.objects, plain.objects, strict=True))

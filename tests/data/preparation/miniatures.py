"""Miniatures of all official data set layouts, with real encoded videos."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from tests.encoding import reproducible

SIZE = (40, 64)


def encode(path: Path, frames: int, codec: str = "libx264", size: tuple[int, int] = SIZE) -> Path:
    """Write a video of ``frames`` frames of ``size`` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.indices(size)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=reproducible(codec, {}))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            grey = ((rows * 5 + columns * 3 + number * 20) % 256).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.stack([grey, grey.T.reshape(size), 255 - grey], axis=-1), "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Miniature:
    """A small data set as it would be downloaded.

    Attributes:
        layout: Name of the layout in ``adamae prepare``.
        labels: Text of the label files, by name.
        videos: Number of frames of each video, by path relative to the videos' folder.
        codec: Codec of the videos.
        lists: Expected lists, with paths relative to the videos' folder and without suffix.
        classes: Expected classes.
    """

    layout: str
    labels: Mapping[str, str]
    videos: Mapping[str, int]
    codec: str
    lists: Mapping[str, Sequence[str]]
    classes: Sequence[str]

    def write(self, root: Path, make: Callable[[Path, int, str], object] = encode) -> Path:
        """Write the data set below a folder, with the label files in ``labels``."""
        for name, text in self.labels.items():
            place = root / "labels" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for name, frames in self.videos.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            make(root / name, frames, self.codec)
        return root

    def rows(self, split: str, start: str, suffix: str | None) -> str:
        """Return the text of a list with paths that begin with ``start`` and have ``suffix``, or the sources' own."""
        suffixes = {name.rpartition(".")[0]: name[name.rfind(".") :] for name in self.videos}
        rows = (row.rsplit(" ", 1) for row in self.lists[split])
        lines = [(f"{start}{path}{suffix or suffixes[path]}", label) for path, label in rows]
        return "".join(f'"{path}" {label}\n' if " " in path else f"{path} {label}\n" for path, label in lines)


def _something(number: int, what: str) -> str:
    template = what.replace("something", "[something]")
    entry = {"id": str(number), "label": what.replace("something", "a cup"), "template": template}
    return json.dumps(entry | {"placeholders": ["a cup"] * what.count("something")})


SSV2 = Miniature(
    "ssv2",
    {
        "something-something-v2-labels.json": json.dumps(
            {"Pushing something": "1", "Lifting something onto something": "0", "Dropping something": "2"}, indent=0
        ),
        "something-something-v2-train.json": "[\n"
        + ",\n".join(
            [
                _something(11, "Pushing something"),
                _something(12, "Lifting something onto something"),
                _something(13, "Dropping something"),
                _something(14, "Pushing something"),
            ]
        )
        + "\n]\n",
        "something-something-v2-validation.json": f"[{_something(21, 'Dropping something')},"
        f"{_something(22, 'Pushing something')}]",
        "something-something-v2-test.json": '[{"id":"31"},\n{"id":"32"}]',
    },
    {f"20bn-something-something-v2/{number}.webm": 3 + number % 3 for number in (11, 12, 13, 14, 21, 22, 31, 32)},
    "libvpx",
    {
        "train": [f"20bn-something-something-v2/{row}" for row in ("11 1", "12 0", "13 2", "14 1")],
        "val": [f"20bn-something-something-v2/{row}" for row in ("21 2", "22 1")],
        "test": [f"20bn-something-something-v2/{row}" for row in ("21 2", "22 1")],
    },
    ("Lifting something onto something", "Pushing something", "Dropping something"),
)

K400 = Miniature(
    "k400",
    {
        "train.csv": "split,youtube_id,label,time_end,time_start\n"
        "train,aaaaaaaaaaa,riding a bike,20,10\n"
        "train,b_1_2222222,air drumming,110,100\n"
        'train,-cccccccccc,"playing ""it"", outside",7,3\n'
        "train,ddddddddddd,air drumming,10,0\n",
        "validate.csv": "label,youtube_id,time_start,time_end,split,is_cc\n"
        "riding a bike,eeeeeeeeeee,1,11,validate,0\n"
        "air drumming,fffffffffff,0,10,validate,1\n",
        "test.csv": "label,youtube_id,time_start,time_end,split\nair drumming,ggggggggggg,2,12,test\n",
    },
    {
        "train/riding_a_bike/aaaaaaaaaaa_000010_000020.mp4": 3,
        "train/air drumming/b_1_2222222.mp4": 4,
        "train/playing it outside/-cccccccccc_000003_000007.mp4": 5,
        "train/air drumming/ddddddddddd_0_10.mkv": 3,
        "val/eeeeeeeeeee_000001_000011.mp4": 4,
        "val/fffffffffff.mp4": 5,
        "test/ggggggggggg_000002_000012.mp4": 3,
    },
    "libx264",
    {
        "train": [
            "train/riding_a_bike/aaaaaaaaaaa_000010_000020 2",
            "train/air drumming/b_1_2222222 0",
            "train/playing it outside/-cccccccccc_000003_000007 1",
            "train/air drumming/ddddddddddd_0_10 0",
        ],
        "val": ["val/eeeeeeeeeee_000001_000011 2", "val/fffffffffff 0"],
        "test": ["test/ggggggggggg_000002_000012 0"],
    },
    ("air drumming", 'playing "it", outside', "riding a bike"),
)

UCF101 = Miniature(
    "ucf101",
    {
        "classInd.txt": "1 Archery\r\n2 BabyCrawling\r\n3 Biking\r\n",
        "trainlist01.txt": "Archery/v_Archery_g08_c01.avi 1\nBabyCrawling/v_BabyCrawling_g08_c01.avi 2\n"
        "Biking/v_Biking_g08_c01.avi 3\nArchery/v_Archery_g08_c02.avi 1\n",
        "testlist01.txt": "Archery/v_Archery_g01_c01.avi\nBiking/v_Biking_g01_c01.avi\n",
        "trainlist02.txt": "Archery/v_Archery_g01_c01.avi 1\n",
        "testlist02.txt": "Archery/v_Archery_g08_c01.avi\n",
    },
    {
        **{f"UCF-101/Archery/v_Archery_{name}.avi": 4 for name in ("g08_c01", "g08_c02", "g01_c01")},
        "UCF-101/BabyCrawling/v_BabyCrawling_g08_c01.avi": 3,
        **{f"UCF-101/Biking/v_Biking_{name}.avi": 5 for name in ("g08_c01", "g01_c01")},
    },
    "mpeg4",
    {
        "train": [
            "UCF-101/Archery/v_Archery_g08_c01 0",
            "UCF-101/BabyCrawling/v_BabyCrawling_g08_c01 1",
            "UCF-101/Biking/v_Biking_g08_c01 2",
            "UCF-101/Archery/v_Archery_g08_c02 0",
        ],
        "val": ["UCF-101/Archery/v_Archery_g01_c01 0", "UCF-101/Biking/v_Biking_g01_c01 2"],
        "test": ["UCF-101/Archery/v_Archery_g01_c01 0", "UCF-101/Biking/v_Biking_g01_c01 2"],
    },
    ("Archery", "BabyCrawling", "Biking"),
)

HMDB51 = Miniature(
    "hmdb51",
    {
        "brush_hair_test_split1.txt": "#1_A_brush_hair_u.avi 1 \nB&(2)_brush_hair_u.avi 1 \n"
        "C!_brush_hair_f.avi 2 \nD_brush_hair.avi 0 \n",
        "brush_hair_test_split2.txt": "D_brush_hair.avi 1 \n",
        "wave_test_split1.txt": "A_wave_u.avi 2 \nB_wave_u.avi 1 \n",
        "wave_test_split2.txt": "B_wave_u.avi 2 \n",
    },
    {
        **{
            f"brush_hair/{name}.avi": 4
            for name in ("#1_A_brush_hair_u", "B&(2)_brush_hair_u", "C!_brush_hair_f", "D_brush_hair")
        },
        "wave/A_wave_u.avi": 3,
        "wave/B_wave_u.avi": 3,
    },
    "mpeg4",
    {
        "train": ["brush_hair/#1_A_brush_hair_u 0", "brush_hair/B&(2)_brush_hair_u 0", "wave/B_wave_u 1"],
        "val": ["brush_hair/C!_brush_hair_f 0", "wave/A_wave_u 1"],
        "test": ["brush_hair/C!_brush_hair_f 0", "wave/A_wave_u 1"],
    },
    ("brush_hair", "wave"),
)

MINIATURES = {miniature.layout: miniature for miniature in (SSV2, K400, UCF101, HMDB51)}

"""Images as videos of one frame: every kind of pixels, orientation and damage that Pillow can write."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from adamae.data.decoding import DECODERS, DecodeError, EncodedVideo, get_decoder
from adamae.data.decoding.image_names import IMAGE_SUFFIXES, is_image

ORIENTATION = 0x0112


def smooth(rng: np.random.Generator, height: int = 40, width: int = 56, channels: int = 3) -> np.ndarray:
    """(H, W, C) uint8 that JPEG hardly changes: a few random colours, blended."""
    knots = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    return np.asarray(knots.resize((width, height), Image.Resampling.BICUBIC))[..., :channels]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(path: Path | EncodedVideo) -> np.ndarray:
    """(H, W, 3) uint8, by both ways to the frame; the reader has no times."""
    with get_decoder()(str(path) if isinstance(path, Path) else path) as reader:
        assert (reader.num_frames, reader.fps, reader.times, reader.damaged) == (1, 0, None, 0)
        whole = reader.read([0, 0])
        assert np.array_equal(whole[0], whole[1])
        for row, frame in reader.frames([0]):
            assert row == 0 and (frame.height, frame.width) == frame.pixels().shape[:2]
            assert np.array_equal(frame.pixels(), whole[0])
        with pytest.raises(IndexError, match="a video of 1 frames"):
            reader.read([1])
    return whole[0]


def stored(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_come_back_to_the_bit(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    pixels = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {}))
    # The content tells the format, not the name: ImageNet has a PNG file that is called .JPEG.
    for suffix in (f".{kind.lower()}", ".JPEG"):
        assert np.array_equal(read(stored(tmp_path, f"a{suffix}", content)), pixels)
    assert np.array_equal(read(EncodedVideo("shard.tar/a.JPG", content)), pixels)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_the_decoder_does_not_matter(tmp_path: Path, rng: np.random.Generator, decoder: str) -> None:
    pytest.importorskip(DECODERS[decoder][0])
    pixels = smooth(rng)
    path = stored(tmp_path, "a.jpg", encoded(Image.fromarray(pixels), "JPEG", quality=98, subsampling=0))
    with get_decoder(decoder)(str(path)) as reader:
        assert np.abs(reader.read([0])[0].astype(int) - pixels).max() <= 6


def test_sixteen_bits_become_eight(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 65536, (19, 27), dtype=np.uint16)
    values[0, :3] = 0, 255, 65535
    expected = np.round(values / 257)
    files = {kind: encoded(Image.fromarray(values), kind) for kind in ("PNG", "TIFF")}
    files["PGM"] = b"P5 27 19 65535\n" + values.astype(">u2").tobytes()
    for kind, content in files.items():
        pixels = read(stored(tmp_path, f"grey.{kind}", content))
        assert np.abs(pixels - expected[..., None]).max() <= 1
        assert pixels[0, 0, 0] == 0 and pixels[0, 2, 0] == 255
    colour = rng.integers(0, 65536, (19, 27, 3), dtype=np.uint16)
    pixels = read(stored(tmp_path, "colour.png", png16(colour)))
    assert np.abs(pixels - np.round(colour / 257)).max() <= 1
    # The same value is the same grey and the same colour.
    grey = np.repeat(values[..., None], 3, axis=-1)
    as_colour = read(stored(tmp_path, "same.png", png16(grey)))
    assert np.array_equal(as_colour, read(tmp_path / "grey.PNG"))


def png16(values: np.ndarray) -> bytes:
    """A PNG file with 16 bits per colour, (H, W, 3) uint16: Pillow writes none."""
    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">2I5B", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_grey_palette_and_one_bit(tmp_path: Path, rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (20, 30), dtype=np.uint8)
    expected = np.repeat(grey[..., None], 3, axis=-1)
    for name, image in {
        "l.png": Image.fromarray(grey),
        "la.png": Image.merge("LA", (Image.fromarray(grey), Image.fromarray(255 - grey))),
        "l.tif": Image.fromarray(grey),
    }.items():
        image.save(tmp_path / name)
        assert np.array_equal(read(tmp_path / name), expected), name
    bits = grey > 127
    Image.fromarray(bits).save(tmp_path / "bits.png")
    assert np.array_equal(read(tmp_path / "bits.png"), np.repeat(255 * bits[..., None].astype(np.uint8), 3, axis=-1))
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(grey).convert("P")
    image.putpalette(palette.tobytes())
    with warnings.catch_warnings():
        # Pillow warns of transparent palettes.
        warnings.simplefilter("error")
        for name, options in {
            "p.png": {},
            "clear.png": {"transparency": bytes(range(256))},
            "one.png": {"transparency": 3},
        }.items():
            image.save(tmp_path / name, **options)
            assert np.array_equal(read(tmp_path / name), palette[grey]), name


def test_alpha_is_dropped(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (20, 30, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.webp", lossless=True, exact=True)
    for name in ("a.png", "a.webp"):
        assert np.array_equal(read(tmp_path / name), pixels[..., :3])
    # A colour that means transparent.
    Image.fromarray(pixels[..., :3]).save(tmp_path / "key.png", transparency=tuple(pixels[0, 0, :3].tolist()))
    assert np.array_equal(read(tmp_path / "key.png"), pixels[..., :3])


def test_cmyk(tmp_path: Path, rng: np.random.Generator) -> None:
    inks = np.stack([smooth(rng)[..., 0] for _ in range(4)], axis=-1)
    # Each ink lets through what it does not cover.
    expected = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.tif")
    assert np.abs(read(tmp_path / "a.tif") - expected).max() <= 1
    assert np.abs(read(tmp_path / "a.jpg") - expected).max() <= 8


def orientations(pixels: np.ndarray) -> dict[int, np.ndarray]:
    """What is stored for each EXIF orientation so that ``pixels`` are shown, by the standard's words.

    Row 0 and column 0 of what is stored are at these sides of the picture as it is shown.
    """
    sides = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left"}
    sides |= {5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom"}
    found = {}
    for number, words in sides.items():
        row, column = words.split()
        image = pixels
        if row in ("left", "right"):
            image = np.transpose(image, (1, 0, 2))
        if row in ("bottom", "right"):
            image = np.flip(image, axis=0)
        if column in ("bottom", "right"):
            image = np.flip(image, axis=1)
        found[number] = np.ascontiguousarray(image)
    return found


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_applied_once(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    pixels = smooth(rng)
    for number, content in orientations(pixels).items():
        exif = Image.Exif()
        exif[ORIENTATION] = number
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
        path = tmp_path / f"{number}.{kind.lower()}"
        Image.fromarray(content).save(path, exif=exif, **options)
        shown = read(path)
        assert shown.shape == pixels.shape
        assert np.abs(shown.astype(int) - pixels).max() <= (6 if kind == "JPEG" else 0), number
        with Image.open(path) as image:
            assert np.array_equal(shown, np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.filterwarnings("error")
def test_damaged_exif_is_ignored(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = smooth(rng)
    header = b"Exif\0\0" + struct.pack("<2sHI", b"II", 42, 8)
    tag = struct.Struct("<2H2I")
    cases = {
        "short": header + struct.pack("<H", 5) + b"\1",
        "nonsense": b"Exif\0\0" + rng.bytes(60),
        "odd": header + struct.pack("<H", 1) + tag.pack(ORIENTATION, 3, 1, 77) + bytes(4),
        # A tag that Pillow cannot write again beside a valid orientation.
        "beside": header + struct.pack("<H", 2) + tag.pack(ORIENTATION, 3, 1, 3) + tag.pack(0x9286, 7, 2**28, 2**30),
    }
    for name, exif in cases.items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg", exif=exif, quality=100, subsampling=0)
        expected = pixels[::-1, ::-1] if name == "beside" else pixels
        assert np.abs(read(tmp_path / f"{name}.jpg").astype(int) - expected).max() <= 6, name


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "PPM", "WEBP"])
@pytest.mark.filterwarnings("error")
def test_files_that_end_early_are_cut_off(tmp_path: Path, rng: np.random.Generator, kind: str) -> None:
    content = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    for left in rng.integers(len(content) // 4, len(content) - 40, 6).tolist():
        for source in (stored(tmp_path, "a.jpg", content[:left]), EncodedVideo("a.jpg", content[:left])):
            with pytest.raises(DecodeError, match=r"a\.jpg: cut off: ") as raised:
                read(source)
            assert "\n" not in str(raised.value)


def test_a_jpeg_without_its_end_marker_is_cut_off(tmp_path: Path, rng: np.random.Generator) -> None:
    for progressive in (False, True):
        # Pillow decodes one image in twenty without the marker. The EXIF data have a marker of their own.
        for _ in range(40):
            pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
            exif = b"Exif\0\0" + b"\xff\xd9" * 9
            content = encoded(Image.fromarray(pixels), "JPEG", progressive=progressive, exif=exif)
            assert content.endswith(b"\xff\xd9")
            assert read(EncodedVideo("a.jpg", content + b"trailing data")).shape == (24, 24, 3)
            for cut in (1, 2, 3):
                with pytest.raises(DecodeError, match=r"a\.jpg: cut off: the file ends before the image does"):
                    read(EncodedVideo("a.jpg", content[:-cut]))


def test_what_is_no_image(tmp_path: Path, rng: np.random.Generator) -> None:
    open_video = get_decoder()
    whole = encoded(Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)), "PNG")
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 255
    lab = encoded(Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), "LAB"), "TIFF")
    wide = encoded(Image.fromarray(rng.random((8, 8), np.float32)), "TIFF")
    for name, content, reason in (
        ("gone.jpg", None, "no such file"),
        ("empty.jpg", b"", "the file is empty"),
        ("text.png", b"<html>404</html>" * 20, "not a readable image"),
        # Pillow would start Ghostscript.
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a readable image"),
        ("middle.png", bytes(middle), "damaged: broken"),
        ("float.tif", wide, "not supported: Pillow's mode F, expected grey, RGB or CMYK of 8 or 16 bits"),
        ("lab.tif", lab, "not supported: Pillow's mode LAB, expected"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DecodeError) as raised, open_video(str(path)) as reader:
            reader.read([0])
        assert str(raised.value).startswith(f"{path}: {reason}")
        assert "\n" not in str(raised.value)


def test_a_decompression_bomb_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def png(width: int, height: int) -> bytes:
        """One that promises so many black pixels."""
        lines = zlib.compressobj()
        header = struct.pack(">2I5B", width, height, 1, 0, 0, 0, 0)
        content = lines.compress(bytes((width // 8 + 1) * min(height, 100))) + lines.flush()
        chunks = ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
        parts = [
            struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
            for kind, held in chunks
        ]
        return b"\x89PNG\r\n\x1a\n" + b"".join(parts)

    bomb = stored(tmp_path, "bomb.png", png(60_000, 60_000))
    tracemalloc.start()
    with pytest.raises(DecodeError, match=r"bomb\.png: too large: more than 178956970 pixels"):
        read(bomb)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
    # Large ones that Pillow only warns of are read, without the warning.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(stored(tmp_path, "large.png", png(32, 32))).shape == (32, 32, 3)
        with pytest.raises(DecodeError, match="too large: more than 1200 pixels"):
            read(stored(tmp_path, "larger.png", png(40, 40)))


def test_the_first_of_several_images(tmp_path: Path, rng: np.random.Generator) -> None:
    first, second = (Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)) for _ in range(2))
    for name, options in {"a.tif": {}, "a.webp": {"lossless": True}, "a.png": {}}.items():
        first.save(tmp_path / name, save_all=True, append_images=[second], **options)
        assert np.array_equal(read(tmp_path / name), np.asarray(first)), name


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_names(suffix: str) -> None:
    names: list[tuple[str, bool]] = [(f"a{suffix}", True), (f"b/c.d{suffix.upper()}", True)]
    names += [(f"b/._a{suffix}", False), (f"a{suffix}.mp4", False), (suffix[1:], False)]
    assert [is_image(name) for name, _ in names] == [expected for _, expected in names]

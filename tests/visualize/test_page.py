"""The page in a real browser: what moves, what changes, what a click shows, on a desk and on a phone."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adamae.grid import TokenGrid
from adamae.samplers.builtin import ADAPTIVE
from adamae.visualize.colours import Scale
from adamae.visualize.html import choose_packing, page_bytes
from adamae.visualize.panels import Panels, Statistics
from adamae.visualize.reconstruction import Reconstruction, Variant, reconstruct
from adamae.visualize.rows import notes_of, shared_scales
from adamae.visualize.video_clips import VideoClips, split_into_clips
from tests.visualize.scenes import on_pixels, tiny_model, video_clips

Driver = Any
# Where screenshots stay to be looked at: a folder, or the test's own temporary one.
ARTEFACTS = "ADAMAE_ARTEFACTS"


def small_page() -> tuple[VideoClips, list[Reconstruction], bytes]:
    model, film = tiny_model(), video_clips()
    variants = [Variant(kind, ratio) for kind in ("learnable", "random") for ratio in (0.5, 0.75)]
    results = [reconstruct(model, film, variant) for variant in variants]
    return (
        film,
        results,
        page_bytes(film, results, shared_scales(results), [*notes_of(results), "<b>not bold</b> </script>"]),
    )


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = small_page()[2].decode()
    assert not re.search(r"https?://", text)
    assert "default-src 'none'" in text
    assert text.count("</script>") == 2
    data = data_of(small_page()[2])
    assert [variant["label"] for variant in data["variants"]][1::2] == ["adaptive, 75 % masked", "random, 75 % masked"]
    assert data["plane"] == [0, 0, 1, 1, 2, 2, 3, 3, 5, 5]


def data_of(page: bytes) -> Any:
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page.decode(), re.DOTALL)[1])


def test_ratios_stand_in_order_and_what_was_asked_for_is_shown_first() -> None:
    model, film = tiny_model(), video_clips()
    variants = [Variant("random", 0.75), Variant("learnable", 0.75), Variant("random", 0.5), Variant("learnable", 0.25)]
    results = [reconstruct(model, film, variant) for variant in variants]
    data = data_of(page_bytes(film, results, shared_scales(results), []))
    told = [(variant["group"], variant["ratio"]) for variant in data["variants"]]
    assert told == [("random", "50 %"), ("random", "75 %"), ("adaptive", "25 %"), ("adaptive", "75 %")]
    assert data["first"] == 1
    assert [variant["probability"] is None for variant in data["variants"]] == [True, True, False, False]
    assert {variant["score"] for variant in data["variants"]} == {"probability"}
    assert "probability" not in data_of(page_bytes(film, results[:1], shared_scales(results[:1]), []))["scales"]


def test_pictures_get_coarser_with_what_there_is_to_show() -> None:
    still = torch.zeros(20, 32, 32, 3, dtype=torch.uint8)
    assert str(choose_packing([still, still])) == "WebP, without loss"
    noise = torch.randint(0, 256, (40, 224, 224, 3), dtype=torch.uint8)
    assert choose_packing([noise] * 4).shrunk == 1
    assert str(choose_packing([noise] * 40)).endswith(", a pixel for 4 x 4")


@pytest.mark.slow
def test_the_page_of_ten_seconds_stays_below_ten_megabytes() -> None:
    # A texture that moves before one that stays, at the published size; real clips took two thirds of the room.
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (224 // 4, 224 // 4, 3)).repeat(4, axis=0).repeat(4, axis=1)
    frames = np.stack([np.roll(texture, 3 * number, axis=1) for number in range(250)]).astype(np.uint8)
    frames[:, :112] = texture[:112]
    cut = split_into_clips(np.union1d(np.arange(0, 235, 16), [234]), 250, 16, 1)
    film = VideoClips("long.mp4", torch.from_numpy(frames), None, np.arange(251) / 25, 0, 250, cut)
    grid = TokenGrid(8, 14, 14, 2, 16)
    clips, values = film.clips(slice(None)), torch.rand(len(cut.frames), 1568)
    panels = Panels(grid, clips, clips, clips, values > 0.9, values > 1, values, values, Statistics.TARGET, True)
    results = [Reconstruction(Variant("learnable", ratio), ADAPTIVE, panels, values, {}) for ratio in (0.75, 0.9, 0.95)]
    assert len(page_bytes(film, results, shared_scales(results), [])) < 10e6


@pytest.fixture(scope="module")
def browser() -> Iterator[Driver]:
    """Headless Chromium; the test is skipped where there is none."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    service = shutil.which("chromedriver")
    if not chromium or not service:
        pytest.skip("no chromium and chromedriver (Debian: apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


PANELS = ("video", "visible tokens", "prediction", "error", "probability")
# All pixels of all panels, once their pictures are decoded and drawn.
PIXELS = """
const done = arguments[arguments.length - 1];
setTimeout(() => done([...document.querySelectorAll("canvas.panel")].map((canvas) =>
  [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data])), 250);
"""
CLICK = """
const [canvas, row, column] = arguments, box = canvas.getBoundingClientRect();
const [clientX, clientY] = [box.left + (column + 0.5) / 4 * box.width, box.top + (row + 0.5) / 4 * box.height];
canvas.dispatchEvent(new MouseEvent("click", { clientX, clientY }));
"""
SET = """
const [id, value, kind] = arguments, control = document.getElementById(id);
control.value = value;
control.dispatchEvent(new Event(kind));
"""


def pixels(browser: Driver) -> dict[str, torch.Tensor]:
    found = browser.execute_async_script(PIXELS)
    return {name: torch.tensor(panel).view(16, 16, 4)[..., :3] for name, panel in zip(PANELS, found, strict=True)}


def text_of(browser: Driver, id_: str) -> str:
    return str(browser.find_element("id", id_).text)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(browser: Driver, width: int, scheme: str, tmp_path: Path) -> None:
    film, results, page = small_page()
    (tmp_path / "page.html").write_bytes(page)
    scale = shared_scales(results).error
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get((tmp_path / "page.html").as_uri())
    check_pixels(pixels(browser), film, results[0], scale, frame=0)

    # The slider moves all panels.
    before = pixels(browser)
    browser.execute_script(SET, "time", "9", "input")
    after = pixels(browser)
    assert [name for name in PANELS if torch.equal(before[name], after[name])] == []
    check_pixels(after, film, results[0], scale, frame=9)
    assert text_of(browser, "clock") == "0.90 s, frame 9"

    # The ratio's control changes the mask, the other one the sampler.
    browser.execute_script(SET, "ratio", "75 %", "change")
    check_pixels(pixels(browser), film, results[1], scale, frame=9)
    browser.execute_script(SET, "method", "random", "change")
    check_pixels(pixels(browser), film, results[3], scale, frame=9)
    assert "random, 75 % masked" in browser.find_element("css selector", "tr.current").text
    press(browser, "[")
    check_pixels(pixels(browser), film, results[2], scale, frame=9)

    # Random masks have no probability: neither its panel nor its scale is there. Adaptive ones have.
    for method, there in (("random", False), ("adaptive", True)):
        browser.execute_script(SET, "method", method, "change")
        check_click(browser, results[0] if there else results[2], there)
        parts = browser.find_elements("css selector", "canvas[data-name=probability], .of-probability")
        assert {part.is_displayed() for part in parts} == {there}
        assert len(parts) == 4
    check_keys(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    shown = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (shown == "rgb(255, 255, 255)") == (scheme == "light")
    # That reading pixels back is slow is the test's own doing.
    assert [entry for entry in browser.get_log("browser") if "readback" not in entry["message"]] == []
    keep_screenshot(browser, screen, tmp_path / f"page-{width}-{scheme}.png")


@pytest.mark.slow
def test_the_scores_of_motion_masks_have_their_own_name(browser: Driver, tmp_path: Path) -> None:
    model, film = tiny_model(mask_type="motion", keep_ratio=0.75, mask_ratio=0.6), video_clips()
    results = [
        reconstruct(model, film, Variant("motion", 0.6)),
        reconstruct(tiny_model(), film, Variant("learnable", 0.5)),
    ]
    (tmp_path / "page.html").write_bytes(page_bytes(film, results, shared_scales(results), []))
    browser.get((tmp_path / "page.html").as_uri())
    for method, name, relative in (
        ("motion", "motion score", "the mean of its clip"),
        ("adaptive", "probability", "uniform"),
    ):
        browser.execute_script(SET, "method", method, "change")
        canvas = browser.find_element("css selector", "canvas[data-name=probability]")
        assert canvas.get_attribute("aria-label") == name
        assert browser.find_element("css selector", "figure.of-probability figcaption").text == name
        browser.execute_script(CLICK, canvas, 0, 0)
        assert f"{name} relative to {relative}" in text_of(browser, "numbers")


@pytest.mark.slow
def test_tokens_that_the_encoder_does_not_see_have_a_colour_of_their_own(browser: Driver, tmp_path: Path) -> None:
    model, film = tiny_model(patch_size=4, mask_type="uniform", mask_ratio=None), video_clips()
    results = [reconstruct(model, film, Variant("uniform", 0.75))]
    (tmp_path / "page.html").write_bytes(page_bytes(film, results, shared_scales(results), []))
    browser.get((tmp_path / "page.html").as_uri())
    panels = results[0].panels
    found = torch.tensor(browser.execute_async_script(PIXELS)[1]).view(16, 16, 4)[..., :3]
    assert torch.equal(found, film.in_time(panels.seen)[0].long())
    place = int(panels.secondary[0, :16].nonzero()[0])
    canvas = browser.find_elements("css selector", "canvas.panel")[1]
    browser.execute_script(CLICK, canvas, place // 4, place % 4)
    assert "visible, but the encoder sees a mask token" in text_of(browser, "numbers")


def check_pixels(
    found: dict[str, torch.Tensor], film: VideoClips, result: Reconstruction, scale: Scale, frame: int
) -> None:
    clip, position = int(film.cut.clip[frame]), int(film.cut.position[frame])
    panels = result.panels
    # So short a film is compressed without loss.
    assert torch.equal(found["video"], film.frames[frame].long())
    assert torch.equal(found["prediction"], film.in_time(panels.prediction)[frame].long())
    first = position // 2 * 4
    visible = panels.visible[clip, first : first + 4].view(2, 2).repeat_interleave(8, 0).repeat_interleave(8, 1)
    assert torch.equal((found["visible tokens"] == 48).all(dim=-1), ~visible)
    assert torch.equal(found["visible tokens"][visible], found["video"][visible])
    error = film.in_time(on_pixels(panels.error, panels.grid))[frame].numpy()
    # A number between two colours may be rounded either way.
    assert (found["error"] - torch.from_numpy(scale.paint(error)).long()).abs().max() <= 8


def check_click(browser: Driver, result: Reconstruction, prefers: bool) -> None:
    canvas = browser.find_element("css selector", "canvas[data-name=error]")
    size = canvas.size["width"]
    actions = pytest.importorskip("selenium.webdriver").ActionChains(browser)
    # Into the lower left token of the last frame: the third clip's second time, row 1, column 0.
    actions.move_to_element_with_offset(canvas, -size // 4, size // 4).click().perform()
    told = text_of(browser, "numbers").replace("\n", " ")
    token = 4 + 2
    assert "time 1, row 1, column 0" in told
    assert (f"probability relative to uniform {float(result.panels.probability[2, token]):.3f}" in told) == prefers
    assert bool(re.search(r"rank in its clip \d of 8", told)) == prefers
    state = "visible" if result.panels.visible[2, token] else "masked"
    assert f"state {state}" in told
    if state == "masked":
        assert f"error {float(result.panels.error[2, token]):.3f}" in told
    captions = [element.text for element in browser.find_elements("css selector", "#patches figcaption")]
    assert captions == ["video 8", "prediction 8", "video 9", "prediction 9"]


def press(browser: Driver, key: str, shift: bool = False) -> None:
    browser.execute_script(
        "document.activeElement.blur();"
        "const [key, shiftKey] = arguments;"
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key, shiftKey, bubbles: true}))",
        key,
        shift,
    )


def check_keys(browser: Driver) -> None:
    press(browser, "ArrowUp", shift=True)
    assert "row 0, column 0" in text_of(browser, "numbers")
    press(browser, "Home")
    assert text_of(browser, "clock") == "0.00 s, frame 0"
    press(browser, "ArrowRight")
    assert text_of(browser, "clock") == "0.10 s, frame 1"
    press(browser, " ")
    assert text_of(browser, "play") == "❚❚"
    press(browser, " ")
    assert text_of(browser, "play") == "▶"


def keep_screenshot(browser: Driver, screen: dict[str, Any], path: Path) -> None:
    folder = Path(os.environ.get(ARTEFACTS, path.parent))
    folder.mkdir(parents=True, exist_ok=True)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**screen, "height": height})
    picture = browser.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    (folder / path.name).write_bytes(base64.b64decode(picture["data"]))

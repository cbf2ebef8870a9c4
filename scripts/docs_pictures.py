"""Make the figures of README.md and PRETRAIN.md from a run of scripts/quickstart.sh.

    bash scripts/quickstart.sh
    .venv/bin/python scripts/docs_pictures.py runs/quickstart

Copies the animation and the contact sheet to docs/, and takes screenshots of the page at two sizes. Needs chromium and
chromedriver (Debian: apt install chromium chromium-driver) and selenium, which the tests need as well.
"""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path
from typing import Any

from selenium import webdriver

DOCS = Path(__file__).resolve().parent.parent / "docs"
# Width and maximum height of the window in pixels, whether it emulates a phone, and the colour scheme.
SCREENS = {"page.png": (1262, 960, False, "light"), "page_phone.png": (390, 1000, True, "dark")}
# A frame in which the object is not near the border, and a click on the token with the highest error.
FRAME = 9
CLICK = """
const canvas = document.querySelector("canvas[data-name=error]"), box = canvas.getBoundingClientRect();
const context = canvas.getContext("2d"), bytes = context.getImageData(0, 0, canvas.width, canvas.height).data;
let best = 0, at = 0;
for (let pixel = 0; pixel < bytes.length; pixel += 4) {
    // The scale of the error goes from black to a light yellow; visible tokens are grey.
    const light = bytes[pixel] === bytes[pixel + 2] ? 0 : bytes[pixel] + bytes[pixel + 1] + bytes[pixel + 2];
    if (light > best) { best = light; at = pixel / 4; }
}
const x = box.left + (at % canvas.width + 0.5) * box.width / canvas.width;
const y = box.top + (Math.floor(at / canvas.width) + 0.5) * box.height / canvas.height;
canvas.dispatchEvent(new MouseEvent("click", {clientX: x, clientY: y, bubbles: true}));
"""


def browser() -> Any:
    """Start headless Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--hide-scrollbars", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def take(driver: Any, page: Path, name: str) -> None:
    """Save a screenshot of a page, with a frame and a token selected, as docs/NAME."""
    width, height, phone, scheme = SCREENS[name]
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    driver.get(page.resolve().as_uri())
    driver.execute_async_script("document.fonts.ready.then(() => setTimeout(arguments[0], 1000))")
    driver.execute_script(
        "const time = document.getElementById('time'); time.value = arguments[0];"
        "time.dispatchEvent(new Event('input'));",
        str(FRAME),
    )
    driver.execute_script(CLICK)
    shown = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    (DOCS / name).write_bytes(base64.b64decode(shown["data"]))


def main(words: list[str]) -> int:
    """Make the figures from a run of the quickstart."""
    if len(words) != 1 or not list(Path(words[0], "pictures").glob("*.html")):
        print(
            "usage: docs_pictures.py OUT (the folder of scripts/quickstart.sh, with pictures/*.html)", file=sys.stderr
        )
        return 2
    page = min(Path(words[0], "pictures").glob("*.html"))
    for suffix in ("gif", "png"):
        shutil.copyfile(page.with_suffix(f".{suffix}"), DOCS / f"quickstart.{suffix}")
    driver = browser()
    try:
        for name in SCREENS:
            take(driver, page, name)
    finally:
        driver.quit()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

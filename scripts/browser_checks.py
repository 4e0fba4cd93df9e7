"""What the page of examples/browser must do, tried in headless Chromium and compared with vistok itself."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import vistok

WAIT = 120_000
"""Milliseconds to wait for the network, which takes seconds on one core."""
IS_DRAWN = "() => document.getElementById('status').textContent.includes('drawn in')"
PIXELS = """id => {
  const canvas = document.getElementById(id);
  const {data, width, height} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [height, width, Array.from(data)];
}"""
TOKENS = "async () => (await import('./page.js')).state.tokens.reduce((all, token) => [...all, Number(token)], [])"
DROP = """async ([name, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], name));
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true}));
}"""
SIDE, CODES, REACH = 8, 64_800, 10
"""Pixels of a token of photo-f8, its codes, and how many tokens away a token has an effect at most."""


def check_page(url: str, photos: Path, screenshot: Path) -> None:
    """Try the page at `url`; raise AssertionError where it does not do what it should, and save what it looks like."""
    from playwright.sync_api import sync_playwright

    tokenizer = vistok.load("photo-f8", device="cpu")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=_system_chromium(playwright), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request", lambda request: request.url.startswith((url, "data:", "blob:")) or problems.append(request.url)
        )
        page.goto(url)
        page.wait_for_function("() => document.getElementById('status').textContent.startsWith('Ready')", timeout=WAIT)
        print(page.inner_text("#status"))

        square = Path(folder) / "square.png"
        Image.open(photos / "coffee.jpg").convert("RGB").resize((256, 256)).save(square)
        for path, least in ((square, 0.999), (photos / "chelsea.png", 0.99)):  # the second is resized by the page
            page.set_input_files("#file", path)
            _check_photo(page, tokenizer, path, least)
        _check_grid(page)
        _check_keyboard(page, tokenizer)
        _check_mouse(page)
        page.screenshot(path=screenshot, full_page=True)
        page.evaluate(DROP, ["astronaut.jpg", list((photos / "astronaut.jpg").read_bytes())])
        _check_photo(page, tokenizer, photos / "astronaut.jpg", 0.9)  # decoders of JPEG differ
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the page is wider than a telephone"
        page.screenshot(path=screenshot.with_stem(f"{screenshot.stem}-narrow"), full_page=True)
        page.evaluate(DROP, ["no.txt", [110, 111]])
        page.wait_for_function("() => document.getElementById('status').textContent.includes('no.txt is no image')")
        assert not problems, problems

        page = browser.new_page()
        page.add_init_script("delete window.WebAssembly")
        page.goto(url)
        page.wait_for_function("() => document.getElementById('status').textContent.includes('needs WebAssembly')")
        print("without WebAssembly:", page.inner_text("#status"))
        browser.close()
    print(f"screenshots: {screenshot} and {screenshot.stem}-narrow{screenshot.suffix}")


def _system_chromium(playwright: Any) -> str | None:
    """Return the Chromium of the system, or None where playwright has its own."""
    return None if Path(playwright.chromium.executable_path).exists() else shutil.which("chromium")


def _wait(page: Any) -> None:
    time.sleep(0.1)  # until the change has reached the page
    page.wait_for_function(IS_DRAWN, timeout=WAIT)


def _canvas(page: Any, name: str) -> np.ndarray:
    height, width, values = page.evaluate(PIXELS, name)
    return np.array(values, np.uint8).reshape(height, width, 4)


def _tokens(page: Any) -> torch.Tensor:
    return torch.tensor(page.evaluate(TOKENS)).view(1, 1, 32, 32)


def _decoded(tokenizer: vistok.Tokenizer, tokens: torch.Tensor) -> np.ndarray:
    return np.asarray(tokenizer.decode(tokens)[0], np.int16)


def _check_photo(page: Any, tokenizer: vistok.Tokenizer, path: Path, least: float) -> None:
    _wait(page)
    tokens = _tokens(page)
    same = (tokens == tokenizer.encode(path)).float().mean().item()
    difference = abs(_canvas(page, "drawn")[:, :, :3].astype(np.int16) - _decoded(tokenizer, tokens)).max()
    print(f"{path.name}: {same:.2%} of the tokens, pixels within {difference} of 255; {page.inner_text('#status')}")
    assert same >= least and difference <= 1


def _check_grid(page: Any) -> None:
    """There is a line between tokens, over both images, and none within them."""
    for name in ("photo-grid", "drawn-grid"):
        drawn = _canvas(page, name)[:, :, 3]
        step = drawn.shape[0] / 32
        line, middle = int(20 * step + 0.5), int(20.5 * step)
        assert drawn[:, line].all() and drawn[line].all() and not drawn[middle, middle]


def _check_keyboard(page: Any, tokenizer: vistok.Tokenizer) -> None:
    """Arrow keys choose the token of row 16, column 11, and a code is typed: the image changes there alone."""
    before, tokens = _canvas(page, "drawn"), _tokens(page)
    page.focus("#photo-grid")
    for key in ["ArrowDown"] * 15 + ["ArrowRight"] * 10:
        page.keyboard.press(key)
    assert page.inner_text("#where") == "row 16, column 11"
    code = (int(tokens[0, 0, 15, 10]) + CODES // 2) % CODES
    page.keyboard.type(f"{code}\n")
    _wait(page)
    expected = tokens.clone()
    expected[0, 0, 15, 10] = code
    assert torch.equal(_tokens(page), expected)
    after = _canvas(page, "drawn")
    assert abs(after[:, :, :3].astype(np.int16) - _decoded(tokenizer, expected)).max() <= 1
    rows, columns = np.nonzero((before != after).any(axis=2))
    for changed, position in ((rows, 15), (columns, 10)):
        assert changed.min() >= (position - REACH) * SIDE and changed.max() < (position + 1 + REACH) * SIDE
    inside = abs(before.astype(np.int16) - after)[15 * SIDE : 16 * SIDE, 10 * SIDE : 11 * SIDE]
    print(
        f"a token changed: {len(rows)} pixels, rows {rows.min()} to {rows.max()}, columns {columns.min()} to {columns.max()}"
    )
    assert inside.max() > 20
    page.fill("#code", str(CODES))
    page.keyboard.press("Enter")
    assert page.inner_text("#status") == f"Codes are whole numbers from 0 to {CODES - 1}."


def _check_mouse(page: Any) -> None:
    """A click chooses a token, a drag paints with its code, and all is undone."""
    before, box = _tokens(page), page.locator("#drawn-grid").bounding_box()
    cell = box["width"] / 32

    def over(row: int, column: int) -> tuple[float, float]:
        return box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell

    page.mouse.click(*over(20, 5))
    assert page.inner_text("#where") == "row 21, column 6"
    page.check("#paint")
    page.mouse.move(*over(24, 20))
    page.mouse.down()
    page.mouse.move(*over(24, 25), steps=20)
    page.mouse.up()
    _wait(page)
    assert (_tokens(page)[0, 0, 24, 20:26] == before[0, 0, 20, 5]).all()
    page.uncheck("#paint")
    assert "changed" in page.inner_text("#status") and page.is_enabled("#undo-all")

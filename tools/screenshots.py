"""Pictures of the console, light and dark, wide and narrow: `tools/screenshots.py URL FOLDER`.

Start `faultline dev` or `faultline web` first. Takes the list, the newest incident, and its report.
Needs playwright and a chromium; nothing leaves this machine.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

SIZES = {"wide": 1440, "narrow": 390}


def main(url: str, folder: Path) -> int:
    """Write the pictures; return how many pages were wider than the screen."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    too_wide = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for size, width in SIZES.items():
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": 900}, color_scheme=scheme
                )
                page = context.new_page()
                page.goto(url)
                newest = re.search(r'href="(/incidents/[^"]+)"', page.content())
                paths = {"list": "/"}
                if newest:
                    paths |= {"incident": newest[1], "report": newest[1] + "/report"}
                for name, path in paths.items():
                    page.goto(url.rstrip("/") + path)
                    wider = "document.documentElement.scrollWidth > window.innerWidth"
                    too_wide += bool(page.evaluate(wider))
                    page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)
                context.close()
        browser.close()
    return too_wide


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))

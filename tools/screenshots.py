"""Pictures of the console, for the documentation: `tools/screenshots.py URL FOLDER`.

Start `faultline dev` or `faultline web` first. Takes the list, the newest incident light and dark,
its report, the budgets, and the dead letters; cut at the window, so that they stay small.
Needs playwright and a chromium; nothing leaves this machine.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

# name: page, width, height, scheme; {} is the newest incident
PICTURES = {
    "list": ("/", 1100, 420, "light"),
    "incident": ("{}", 1120, 760, "light"),
    "incident-narrow-dark": ("{}", 390, 900, "dark"),
    "report": ("{}/report", 1000, 900, "light"),
    "budgets": ("/budgets", 1000, 600, "light"),
    "dead-letters": ("/dead-letters", 1000, 360, "light"),
}


def main(url: str, folder: Path) -> int:
    """Write the pictures; return how many pages were wider than the screen."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    too_wide = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (path, width, height, scheme) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            page.goto(url)
            newest = re.search(r'href="(/incidents/[^"]+)"', page.content())
            if newest or "{}" not in path:
                page.goto(url.rstrip("/") + path.format(newest[1] if newest else ""))
                wider = "document.documentElement.scrollWidth > window.innerWidth"
                too_wide += bool(page.evaluate(wider))
                page.screenshot(path=folder / f"{name}.png")
            page.close()
        browser.close()
    return too_wide


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    raise SystemExit(main(sys.argv[1], Path(sys.argv[2])))

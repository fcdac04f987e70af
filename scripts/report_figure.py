"""python scripts/report_figure.py REPORT.html SECTION OUT.png: one section of a report as a picture, such as trilemma.

Needs Chromium on the PATH, and playwright, which comes with the development tools.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, PIXELS = 1000, 1.5  # of the window; of the picture for each of the window's


def main(report: Path, section: str, out: Path) -> None:
    """Writes the picture; the section must be on the page."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900}, device_scale_factor=PIXELS)
        page.goto(report.resolve().as_uri())
        part = page.locator(f"#{section}")
        part.scroll_into_view_if_needed()
        page.wait_for_timeout(1000)  # until it is drawn
        out.parent.mkdir(parents=True, exist_ok=True)
        part.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))

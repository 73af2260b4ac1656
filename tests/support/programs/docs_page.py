"""Sends every operation of `/docs` with a browser, as a reader does with "Try it out".

    python docs_page.py BROWSER URL FILE

Runs in an environment with Playwright. FILE is sent where the page asks for one. It prints the
statuses of the answers as a JSON object, keyed by method and path.
"""

import json
import sys

from playwright.sync_api import Locator, sync_playwright


def tried(block: Locator, file: str) -> str:
    """The status of an operation's answer."""
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    if block.locator("input[type=file]").count():
        block.locator("input[type=file]").set_input_files(file)
    block.locator("button.execute").click()
    status = block.locator(".live-responses-table tr.response td.response-col_status").first
    status.wait_for()
    return status.inner_text().split()[0]


def main(browser: str, url: str, file: str) -> None:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page()
        failed: list[str] = []
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto(f"{url}/docs")
        page.locator(".opblock").first.wait_for()
        statuses = {}
        for block in page.locator(".opblock").all():
            name = block.locator(".opblock-summary-method").inner_text().lower()
            path = block.locator(".opblock-summary-path").get_attribute("data-path")
            statuses[f"{name} {path}"] = tried(block, file)
        assert not failed, failed
        started.close()
    print(json.dumps(statuses))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Uses the page at `/` with a browser, as a reader does.

    python model_page.py BROWSER URL < STEPS

Runs in an environment with Playwright. STEPS is a JSON object: `view`, the arguments of the
browser's view, and `steps`: each is a list, of a name in `ACTIONS` and its arguments. It prints
what the actions return, as a JSON list, and fails where a script of the page fails.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, sync_playwright

PATIENCE = 60  # seconds


def field(page: Page, label: str) -> Locator:
    """The input with a label, in what is shown."""
    return page.get_by_label(label, exact=True).locator("visible=true").first


def fill(page: Page, label: str, text: str) -> None:
    field(page, label).fill(text)


def choose(page: Page, label: str, option: str) -> None:
    field(page, label).select_option(label=option)


def check(page: Page, label: str) -> None:
    field(page, label).check()


def choose_file(page: Page, label: str, path: str) -> None:
    field(page, label).set_input_files(path)


def drop(page: Page, selector: str, name: str, text: str) -> None:
    """Drop a file on an element."""
    data = page.evaluate_handle(
        """([name, text]) => {
            const data = new DataTransfer();
            data.items.add(new File([text], name));
            return data;
        }""",
        [name, text],
    )
    page.locator(selector).dispatch_event("drop", {"dataTransfer": data})


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def click(page: Page, button: str) -> None:
    page.get_by_role("button", name=button, exact=True).locator("visible=true").first.click()


def predict(page: Page) -> list[str]:
    """Send the form; see `said`."""
    page.locator("#status").evaluate("element => { element.textContent = ''; }")
    click(page, "Predict")
    return said(page)


def said(page: Page) -> list[str]:
    """What the page says of the answer, and of what is wrong, once it says something."""
    status = page.locator("#status")
    deadline = time.monotonic() + PATIENCE
    while status.inner_text() in ("", "Predicting …"):
        assert time.monotonic() < deadline, "no answer came"
        page.wait_for_timeout(20)
    return [status.inner_text(), page.locator("#problem").inner_text()]


def read(page: Page, selector: str) -> list[str]:
    return page.locator(selector).locator("visible=true").all_inner_texts()


def value(page: Page, label: str) -> str:
    return field(page, label).input_value()


def errors(page: Page) -> list[str]:
    """What is said beside the fields."""
    return [text for text in read(page, "form .error") if text]


def evaluate(page: Page, script: str) -> Any:
    return page.evaluate(script)


def end(page: Page, process: int) -> None:
    """End the server, and wait until it is gone."""
    os.kill(process, signal.SIGKILL)
    gone = "fetch('v2').then(() => false, () => true)"
    while not page.evaluate(gone):
        page.wait_for_timeout(100)


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds: https://github.com/dequelabs/axe-core."""
    page.evaluate(Path(axe).read_text() + "\n0")
    found = page.evaluate("axe.run()")["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


def screenshot(page: Page, path: str) -> None:
    page.screenshot(path=path, full_page=True)


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in (
        *(fill, choose, check, choose_file, drop, press, click, predict, said, read, value),
        *(errors, evaluate, end, violations, screenshot),
    )
}


def main(browser: str, url: str) -> None:
    given = json.load(sys.stdin)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page(**given.get("view", {}))
        failed: list[str] = []
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        asked: list[str] = []
        page.goto(url)
        page.locator("form").wait_for()
        answers = [ACTIONS[name](page, *arguments) for name, *arguments in given["steps"]]
        foreign = [each for each in asked if not each.startswith((url, "data:", "blob:"))]
        assert not failed and not foreign, (failed, foreign)
        started.close()
    print(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Reads a stream with the EventSource of a browser, until its `end` event.

    python event_source.py BROWSER PAGE PATH SECONDS

Runs in an environment with Playwright. PATH is of the server of PAGE. It prints the data of the
messages, and whether the end came, as JSON; and it leaves the page open for so many seconds more.
"""

import json
import sys

from playwright.sync_api import sync_playwright

READ = """
path => new Promise(resolve => {
  const source = new EventSource(path), came = [];
  source.onmessage = event => came.push(JSON.parse(event.data));
  source.addEventListener("end", () => { source.close(); resolve([came, "end"]); });
  source.addEventListener("error", event => {
    source.close();
    resolve([came, event.data ? JSON.parse(event.data).error : "lost"]);
  });
})
"""


def main(browser: str, address: str, path: str, seconds: str) -> None:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page()
        page.goto(address)
        print(json.dumps(page.evaluate(READ, path)))
        page.wait_for_timeout(float(seconds) * 1000)
        started.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

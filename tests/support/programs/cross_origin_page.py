"""Posts bodies from a page in a browser to a server of another origin.

    python cross_origin_page.py BROWSER PAGE URL BODY...

Runs in an environment with Playwright. For each body it prints a line of JSON: what the script of
the page read of the answer, or why the browser refused that.
"""

import json
import sys

from playwright.sync_api import sync_playwright

POST = """
async ([url, body]) => {
  const headers = { "Content-Type": "application/json", "X-Request-Id": "mine" };
  try {
    const answer = await fetch(url, { method: "POST", headers, body });
    const id = answer.headers.get("x-request-id");
    return { status: answer.status, id, body: await answer.json() };
  } catch (error) {
    return { refused: String(error) };
  }
}
"""


def main(browser: str, address: str, url: str, *bodies: str) -> None:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = started.new_page()
        page.goto(address)
        for body in bodies:
            print(json.dumps(page.evaluate(POST, [url, body])))
        started.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

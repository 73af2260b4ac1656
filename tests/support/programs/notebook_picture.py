"""Runs a notebook with a kernel of its own and takes pictures of it, in a light and a dark theme.

    python notebook_picture.py BROWSER NOTEBOOK DIRECTORY

The kernel works in DIRECTORY, which then holds the notebook with its outputs, `light.png` and
`dark.png`. The environment needs nbclient, ipykernel, nbconvert and Pillow.
"""

import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from PIL import Image, ImageChops

WIDTH, HEIGHT = 1000, 2400
COLOURS, MARGIN = 128, 10
SCRIPTS = ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url")  # of other addresses
ONE_COLUMN = (
    "<style>.jp-Notebook {padding: 10px !important} .jp-InputPrompt {display: none}</style>"
)


def main(browser: str, notebook: str, place: str) -> None:
    directory = Path(place)
    read = nbformat.read(notebook, as_version=4)
    resources = {"metadata": {"path": place}}
    NotebookClient(read, timeout=300, kernel_name="python3", resources=resources).execute()
    nbformat.write(read, directory / "notebook.ipynb")
    for theme in ("light", "dark"):
        without = dict.fromkeys(SCRIPTS, "")
        exporter = HTMLExporter(theme=theme, exclude_output_prompt=True, **without)
        html, _ = exporter.from_notebook_node(read)
        page = directory / f"{theme}.html"
        page.write_text(html.replace("</head>", f"{ONE_COLUMN}</head>", 1), encoding="utf-8")
        take(browser, page, directory / f"{theme}.png")


def take(browser: str, page: Path, picture: Path) -> None:
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--force-color-profile=srgb"]
    size = f"--window-size={WIDTH},{HEIGHT}"
    profile = f"--user-data-dir={page.parent / 'browser'}"
    command = [browser, *options, size, profile, f"--screenshot={picture}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with Image.open(picture) as taken:
        image = taken.convert("RGB")
    background = Image.new("RGB", image.size, image.getpixel((0, 0)))
    _, _, _, bottom = ImageChops.difference(image, background).getbbox() or (0, 0, 0, HEIGHT)
    shown = image.crop((0, 0, WIDTH, min(bottom + MARGIN, HEIGHT)))
    shown.quantize(COLOURS, dither=Image.Dither.NONE).save(picture, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

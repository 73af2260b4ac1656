"""Whether the client builds with BuildKit unless it is told to."""

from pathlib import Path

import pytest

from generator.running.container import uses_buildkit


@pytest.mark.parametrize(
    ("version", "named", "uses"),
    [
        ("Docker version 20.10.24+dfsg1, build 297e128", None, False),
        ("Docker version 22.06.0-beta.0", "", False),
        ("Docker version 23.0.0, build e92dd87", None, True),
        ("Docker version 28.2.2, build e6534b4", "0", False),
        ("Docker version 20.10.24+dfsg1, build 297e128", "1", True),
        ("podman version 4.3.1", None, True),
        ("", None, True),
    ],
)
def test_uses_buildkit(
    version: str, named: str | None, uses: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tmp_path / "client"
    client.write_text(f"#!/bin/sh\necho '{version}'\n")
    client.chmod(0o700)
    monkeypatch.setenv("DOCKER", str(client))
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    if named is not None:
        monkeypatch.setenv("DOCKER_BUILDKIT", named)
    assert uses_buildkit() == uses


def test_without_a_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER", str(tmp_path / "no client"))
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    assert uses_buildkit()

"""The workflow that uploads a release."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.rendering.checkouts import ROOT, VERSION

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
(CHECK,) = [
    step["run"] for step in WORKFLOW["jobs"]["build"]["steps"] if "GITHUB_REF_NAME" in str(step)
]


def test_only_the_job_that_uploads_can_name_itself_to_pypi() -> None:
    jobs: dict[str, Any] = WORKFLOW["jobs"]
    assert WORKFLOW["permissions"] == {"contents": "read"}
    named = {name for name, job in jobs.items() if "id-token" in job.get("permissions", {})}
    assert named == {"publish"} and jobs["publish"]["environment"] == "pypi"
    used = [step.get("uses", "").split("@")[0] for step in jobs["publish"]["steps"]]
    assert used[-1] == "pypa/gh-action-pypi-publish" and jobs["publish"]["needs"] == "build"
    assert not any("run" in step for step in jobs["publish"]["steps"])


@pytest.mark.parametrize(
    ("tag", "changelog", "passes"),
    [
        (f"v{VERSION}", f"# Changelog\n\n## {VERSION} (2026-01-01)\n", True),
        (f"v{VERSION}", f"# Changelog\n\n## Unreleased ({VERSION})\n", False),
        ("v90.0.0", f"# Changelog\n\n## {VERSION} (2026-01-01)\n", False),
    ],
)
def test_the_tag_must_be_the_version_in_the_changelog(
    tag: str, changelog: str, passes: bool, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    command = ["bash", "-e", "-c", CHECK]
    environ = {"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True)
    assert (done.returncode == 0) == passes, done.stderr

"""Print the constraints with which the package runs on the lowest versions that pyproject.toml allows.

What it needs itself is held at its lower bound, all else at the version of constraints.txt, and so is PyTorch.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEVELOPMENT = {"all", "test", "tools", "docs"}
KEPT = {"torch"}


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].items()
    needed = [
        *project["dependencies"],
        *(need for extra, needs in extras if extra not in DEVELOPMENT for need in needs),
    ]
    lowest = dict(need.lower().split(">=") for need in needed if ">=" in need)
    pinned = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text().lower(), re.MULTILINE))
    for name, version in (pinned | lowest | {name: pinned[name] for name in KEPT}).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()

"""Pages that lie in other folders of the repository are pages of the site too.

They are copied; links between them and the pages here, which are written for readers of the repository, become links of
the site.
"""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = {"benchmarks": ("README.md",), "reproduction": ("README.md", "figures", "tables")}


def copy_pages(app) -> None:
    for folder, names in FOLDERS.items():
        copy = Path(app.srcdir) / folder
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for name in names:
            source = ROOT / folder / name
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy / name)


def site_links(app, docname: str, content: list[str]) -> None:
    folders = "|".join(FOLDERS)
    if re.match(rf"(?:{folders})/", docname):
        content[0] = content[0].replace("](../docs/", "](../")
    else:
        content[0] = re.sub(rf"\]\(\.\./((?:\.\./)*(?:{folders})/)", r"](\1", content[0])


def setup(app) -> dict[str, bool]:
    app.connect("builder-inited", copy_pages)
    app.connect("source-read", site_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

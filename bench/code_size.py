"""How much code: lines that are neither blank nor only a comment. Tests do not count."""

import pathlib
import re

from herd import BENCH, PEERS

LANGUAGES = {".py": ("Python", "#"), ".js": ("JavaScript", "//"), ".java": ("Java", "//"), ".rs": ("Rust", "//")}
# Block comments, and the texts that stand where Python has its documentation.
BLOCKS = {
    ".py": re.compile(r'^\s*""".*?"""\s*?$', re.DOTALL | re.MULTILINE),
    ".rs": re.compile(r"^#\[cfg\(test\)\]\nmod \w+ \{.*?^\}$", re.DOTALL | re.MULTILINE),
}
C_COMMENT = re.compile(r"^\s*/\*.*?\*/\s*?$", re.DOTALL | re.MULTILINE)


def lines_of(path):
    mark = LANGUAGES[path.suffix][1]
    text = BLOCKS.get(path.suffix, C_COMMENT).sub("", path.read_text())
    lines = (line.strip() for line in text.splitlines())
    return sum(1 for line in lines if line and not line.startswith(mark))


def count(folder):
    """The lines of each language below a folder."""
    counts = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.suffix in LANGUAGES and path.name not in ("tests.rs",):
            language = LANGUAGES[path.suffix][0]
            counts[language] = counts.get(language, 0) + lines_of(path)
    return counts


# What a server is made of, and what is beside it.
CRATES = ["proto", "core", "server", "places", "proxy"]


def all_counts():
    rows = [
        {"what": folder.name, "lines": sum(counts.values()), "language": ", ".join(counts)}
        for folder in sorted(PEERS.iterdir())
        if (counts := count(folder)) and not folder.name.startswith(".")
    ]
    for crate in CRATES:
        counts = count(BENCH.parent / "crates" / f"wherd-{crate}" / "src")
        rows.append({"what": f"wherd-{crate}", "lines": counts["Rust"], "language": "Rust"})
    return rows

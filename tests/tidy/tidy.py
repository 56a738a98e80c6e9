#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the tree to what CONTRIBUTING.md draws, as far as a reader of #include lines can see it.

    tidy.py ROOT        names what breaks a rule, and fails
    tidy.py --self-test lets small trees break each rule

The rules: includes go down the layers; each foreign library is included in its folder alone, and by no header that we
offer; pure folders include no header of the operating system; every library names in its meson.build the folders and
foreign libraries that it includes, and no others; every source file begins with its licence and a sentence; no file
names a path of somebody's machine. The exceptions are written down here, and one that is not needed any more is a
mistake, too.
"""
import re
import sys
import tempfile
from pathlib import Path

# From the top to the bottom. Folders of one row do not include each other.
LAYERS = [
    ("main",),
    ("server", "config"),
    ("proxy", "discovery"),
    ("backend",),
    ("net",),
    ("io", "tls", "http2", "http1", "kubernetes", "balance"),
    ("http", "x509"),
    ("observability",),
    ("base",),
]
PURE = {"tls", "http2", "http1", "kubernetes", "balance", "http", "x509"}

# Which folders of src/ may include a foreign header, and what meson calls the library.
FOREIGN = {
    "liburing": ({"io"}, "liburing_dep"),
    "wolfssl/": ({"tls"}, "wolfssl_dep"),
    "sluice_hooks.h": ({"tls"}, "wolfssl_dep"),
    "nghttp2/": ({"http2"}, "nghttp2_dep"),
    "llhttp.h": ({"http1"}, "llhttp_dep"),
    "zlib.h": ({"kubernetes"}, "zlib_dep"),
    "ares.h": ({"discovery"}, "cares_dep"),
    "yaml.h": ({"discovery"}, "yaml_dep"),
    "nlohmann/": ({"discovery"}, "json_dep"),
    "mimalloc.h": ({"main"}, "mimalloc_dep"),
    "fmt/": (None, "fmt_dep"),  # anywhere in src/
}

# Headers of the operating system that pure folders include nonetheless.
SYSTEM_IN_PURE = {
    ("src/x509/alternative_names.cc", "arpa/inet.h"),  # inet_pton is arithmetic
}

CODE = {".cc", ".h"}
HEADED = CODE | {".py", ".go", ".sh", ".java", ".mjs", ".rs"}
SKIPPED = {"build", "subprojects", "corpus", ".git", "node_modules", "target", "__pycache__"}
# Split, so that this file does not name them either.
PRIVATE = re.compile(r"(?<![\w/])/(?:" + "|".join(("wo" + "rk/(?:main|wt|shared)", "ho" + "me/[a-z]+/", "ro" + "ot/")) + ")")

INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def rows():
    return {folder: i for i, row in enumerate(LAYERS) for folder in row}


def files(root):
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if path.is_file() and not SKIPPED.intersection(relative.parts[:-1]) and path.name != ".git":
            yield relative


def folder_of(path):
    """The folder of src/ or include/sluice/ that a file belongs to, or None."""
    parts = path.parts
    if parts[0] == "src":
        return parts[1] if len(parts) > 2 else "main"
    if parts[:2] == ("include", "sluice") and len(parts) > 3:
        return parts[2]
    return None


class Tree:
    def __init__(self, root):
        self.root = root
        self.mistakes = []
        self.used = {}  # folder -> what meson calls what it includes
        self.excused = set()

    def complain(self, path, sentence):
        self.mistakes.append(f"{path}: {sentence}")

    def check(self):
        for path in files(self.root):
            if path.suffix in HEADED or path.name == "meson.build":
                self.check_head(path)
            if path.suffix in HEADED | {".md", ".build", ""}:
                self.check_paths(path)
            if path.suffix in CODE and folder_of(path):
                self.check_includes(path)
        for folder in sorted(self.used):
            if folder != "main":
                self.check_meson(folder)
        for path, header in sorted(SYSTEM_IN_PURE - self.excused):
            if (self.root / path).exists():
                self.complain(path, f"does not include {header} any more: take it off the list in tests/tidy")
        return self.mistakes

    def read(self, path):
        return (self.root / path).read_text(errors="replace")

    def check_head(self, path):
        lines = self.read(path).splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if not any("SPDX-License-Identifier: GPL-3.0-or-later" in line for line in lines[:2]):
            self.complain(path, "does not begin with its licence")
        elif path.suffix in CODE:
            comment = []
            for line in lines[1:]:
                if not line.startswith("//"):
                    break
                comment.append(line[2:].strip())
            if not " ".join(comment).rstrip(":)").endswith(".") and len(comment) < 3:
                self.complain(path, "has no sentence at its head that says what it is")

    def check_paths(self, path):
        for number, line in enumerate(self.read(path).splitlines(), 1):
            if PRIVATE.search(line):
                self.complain(f"{path}:{number}", "names a path of somebody's machine")

    def check_includes(self, path):
        folder = folder_of(path)
        used = self.used.setdefault(folder, set())
        if folder not in rows():
            self.complain(path, f"the folder {folder} has no place in the layers (tests/tidy)")
            return
        for ours, other in INCLUDE.findall(self.read(path)):
            if ours:
                self.check_own(path, folder, ours, used)
            else:
                self.check_other(path, folder, other, used)

    def check_own(self, path, folder, header, used):
        if not header.startswith("sluice/"):
            beside = self.root / "src" / ("" if folder == "main" else folder)
            if not (beside / header.removeprefix(folder + "/")).is_file():
                self.complain(path, f'includes "{header}", which is no header of its own folder')
            return
        to = header.split("/")[1]
        if to == folder:
            return
        used.add(to + "_dep")
        row = rows()
        if to not in row:
            self.complain(path, f"includes {header} of a folder without a place in the layers")
        elif row[to] == row[folder]:
            self.complain(path, f"includes {header} of a neighbour")
        elif row[to] < row[folder]:
            self.complain(path, f"includes {header} of a layer above")

    def check_other(self, path, folder, header, used):
        for prefix, (folders, name) in FOREIGN.items():
            if not header.startswith(prefix):
                continue
            used.add(name)
            if folders is not None and folder not in folders:
                self.complain(path, f"includes {header}, which is for {', '.join(sorted(folders))} alone")
            if path.parts[0] == "include":
                self.complain(path, f"shows {header} to whoever includes it")
            return
        system = header.endswith(".h") and header not in ("emmintrin.h",)
        if folder in PURE and system:
            if (str(path), header) in SYSTEM_IN_PURE:
                self.excused.add((str(path), header))
            else:
                self.complain(path, f"includes {header}: this folder asks nothing of the operating system")

    def check_meson(self, folder):
        path = Path("src") / folder / "meson.build"
        if not (self.root / path).is_file():
            return
        text = self.read(path)
        named = set()
        for dependencies in re.findall(rf"^{folder}_uses = \[(.*?)\]", text, re.DOTALL | re.MULTILINE):
            named.update(re.findall(r"\w+_dep", dependencies))
        for dependencies in re.findall(rf"dependencies: {folder}_uses \+ \[(.*?)\]", text, re.DOTALL):
            named.update(re.findall(r"\w+_dep", dependencies))
        named.discard("threads_dep")
        named = {"io_dep" if name == "io_seam_dep" else name for name in named}
        for name in sorted(self.used[folder] - named):
            self.complain(path, f"does not name {name}, which the folder includes")
        for name in sorted(named - self.used[folder]):
            self.complain(path, f"names {name}, which the folder does not include")


# --- The rules themselves ------------------------------------------------------------------------------------------

SPDX = "// SPDX-License-Identifier: GPL-3.0-or-later\n"
GOOD = SPDX + "// What it is.\n"
MESON = "# SPDX-License-Identifier: GPL-3.0-or-later\n"


def complaints(tree):
    with tempfile.TemporaryDirectory() as root:
        for name, text in tree.items():
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(Path(root)).check()


def self_test():
    cases = [
        ("", {"src/net/a.cc": GOOD + '#include "sluice/base/b.h"\n#include "a.h"\n', "src/net/a.h": GOOD}),
        ("a layer above", {"src/base/a.cc": GOOD + '#include "sluice/net/b.h"\n'}),
        ("a neighbour", {"include/sluice/tls/a.h": GOOD + '#include "sluice/http2/b.h"\n'}),
        ("a neighbour", {"src/kubernetes/a.cc": GOOD + '#include "sluice/tls/b.h"\n'}),
        ("no header of its own folder", {"src/tls/a.cc": GOOD + '#include "b.h"\n', "src/http2/b.h": GOOD}),
        ("for tls alone", {"src/net/a.cc": GOOD + "#include <wolfssl/ssl.h>\n"}),
        ("shows fmt/format.h", {"include/sluice/net/a.h": GOOD + "#include <fmt/format.h>\n"}),
        ("the operating system", {"src/http2/a.cc": GOOD + "#include <unistd.h>\n"}),
        ("", {"src/io/a.cc": GOOD + "#include <unistd.h>\n#include <liburing.h>\n"}),
        ("no place in the layers", {"src/odd/a.cc": GOOD + '#include "sluice/base/b.h"\n'}),
        ("its licence", {"src/base/a.cc": "// What it is.\n"}),
        ("its licence", {"src/base/meson.build": "x = 1\n"}),
        ("no sentence", {"src/base/a.cc": SPDX + '#include "a.h"\n', "src/base/a.h": GOOD}),
        ("somebody's machine", {"docs/a.md": "See /wo" + "rk/main/docs.\n"}),
        ("does not name base_dep", {"src/net/a.cc": GOOD + '#include "sluice/base/b.h"\n',
                                    "src/net/meson.build": MESON + "net_uses = []\n"}),
        ("names io_dep", {"src/net/a.cc": GOOD + "#include <vector>\n",
                          "src/net/meson.build": MESON + "net_uses = [io_dep]\n"}),
        ("does not name fmt_dep", {"src/net/a.cc": GOOD + "#include <fmt/format.h>\n",
                                   "src/net/meson.build": MESON + "net_uses = []\n"}),
        ("", {"src/net/a.cc": GOOD + "#include <fmt/format.h>\n",
              "src/net/meson.build": MESON + "net_uses = []\nx(dependencies: net_uses + [fmt_dep])\n"}),
        ("take it off the list", {"src/x509/alternative_names.cc": GOOD}),
    ]
    failures = 0
    for expected, tree in cases:
        found = complaints(tree)
        if (len(found) != 1 or expected not in found[0]) if expected else found:
            failures += 1
            print(f"expected {expected or 'nothing'!r}, found {found}")
    return failures


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    if sys.argv[1] == "--self-test":
        return 1 if self_test() else 0
    mistakes = Tree(Path(sys.argv[1])).check()
    for mistake in mistakes:
        print(mistake)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())

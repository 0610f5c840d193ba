"""The worked example in docs/architecture.md: how many files it takes, and what the tests of fields say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.example import blocks, copied

MOST_FILES = 6
TESTS = ("unit/test_fields.py", "unit/test_marks.py", "unit/test_views.py", "unit/test_kinds.py",
         "unit/test_keys.py", "cli/test_fields_used.py", "cli/test_kinds_used.py")


def test_a_new_kind_takes_few_files_of_the_program() -> None:
    files = [block.path for block in blocks() if block.path.startswith("vpcctl_lib/")]
    assert len(files) == len(set(files))
    assert 0 < len(files) <= MOST_FILES


def test_the_tests_of_fields_hold_the_new_kind(tmp_path: Path) -> None:
    """Also those that take its support away from one part of the program after the other."""
    copy = copied(tmp_path)
    run = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "switch",
           *(f"tests/{name}" for name in TESTS))
    for argv in ((sys.executable, "docs/schemas/write.py"), run):
        done = subprocess.run(argv, cwd=copy, text=True, capture_output=True,
                              env={"PATH": "/usr/bin:/bin", "VPCCTL_SLOW": "1"})
        assert done.returncode == 0, done.stdout + done.stderr
    assert " failed" not in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) >= 40

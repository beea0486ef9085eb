"""``semdepth.runtime``: what is not tested through the commands."""

import platform
import subprocess
import sys

import pytest

REPEAT = """
import resource, sys
import numpy as np
from semdepth import runtime
if sys.argv[1] == "kept":
    runtime.keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(10_000_000)  # 80 MB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", REPEAT, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at every turn")
def test_freed_memory_is_kept() -> None:
    pages = 80_000_000 / 4096
    assert page_faults("kept") < 0.1 * pages
    assert page_faults("plain") > 0.1 * pages

"""``semdepth.runtime``: what is not tested through the commands."""

import platform
import subprocess
import sys

import pytest

from semdepth.runtime import counted, parse_json

BLOCK = 80_000_000
HELD_AFTER_FREEING = f"""
import resource, sys
import numpy as np
from semdepth import runtime

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

if sys.argv[1] == "kept":
    runtime.keep_freed_memory()
before = resident()
np.ones({BLOCK // 8})  # freed at once
print(resident() - before)
"""


def held_after_freeing(how: str) -> int:
    """Bytes that a process holds more than before, once it has filled and freed ``BLOCK`` bytes.

    Counted in bytes, not in page faults: how many faults a block costs depends on the kernel's huge pages.
    """
    done = subprocess.run([sys.executable, "-c", HELD_AFTER_FREEING, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_one_is_no_plural() -> None:
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back at every turn")
def test_freed_memory_is_kept() -> None:
    assert held_after_freeing("kept") > 0.9 * BLOCK
    assert held_after_freeing("plain") < 0.1 * BLOCK


def test_json_that_nests_without_end_is_damage_like_any_other() -> None:
    assert parse_json('{"a": [1, 2]}') == {"a": [1, 2]}
    for text in ("[" * 100_000, '{"a":' * 100_000, "{", ""):
        with pytest.raises(ValueError):  # noqa: PT011 - the message is json's own
            parse_json(text)

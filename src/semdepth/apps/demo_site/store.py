"""The folder that a demo server writes into: made when it starts, swept while it runs, gone when it ends."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from semdepth.apps.demo_site.limits import Limits
from semdepth.runtime import logger

_SWEEP_SECONDS = 10.0
_IN_USE_SECONDS = 60.0
"""Files younger than this make room for nobody: a visitor is being served with them."""
_ROOM = 0.75
"""Share of its limit that a full folder is brought down to, so that the next upload does not find it full again."""
_PREFIX = "semdepth_demo_"


class Store:
    """Uploads and results of one server, below one private folder."""

    def __init__(self, root: Path, limits: Limits) -> None:
        """Lay out the folder ``root``.

        Args:
            root: an empty folder of the server's own.
            limits: how long and how much it keeps.
        """
        self.root, self.limits = root, limits
        self.uploads = root / "files"
        """What visitors sent and what is sent to them: the only folder that is served."""
        self.results = root / "results"
        """What the server itself reads again, by visitor."""
        self._kept: frozenset[Path] = frozenset()
        self._measured = (-1.0, 0)
        for folder in (self.uploads, self.results):
            folder.mkdir(parents=True, exist_ok=True)

    def new_result(self) -> Path:
        """Return a new empty folder, of a name that nobody can guess."""
        return Path(tempfile.mkdtemp(dir=self.results))

    def keep_present(self) -> None:
        """Never sweep the files that are there now: they belong to the page itself."""
        self._kept = frozenset(path for path, _ in _files(self.root))

    def is_full(self) -> bool:
        """Whether the folder holds more than its limit, even after a sweep; looked up at most once a second."""
        now = time.monotonic()
        if now - self._measured[0] > 1:
            if self._size() > self.limits.folder_mb * 2**20:
                self.sweep()
            self._measured = (now, self._size())
        return self._measured[1] > self.limits.folder_mb * 2**20

    def _size(self) -> int:
        return sum(status.st_size for _, status in _files(self.root))

    def sweep(self, now: float | None = None) -> int:
        """Delete what is too old; of a folder over its limit also the oldest files that nobody is being served with.

        Args:
            now: seconds since the epoch; None: the clock's.

        Returns:
            How many files were deleted.
        """
        now = time.time() if now is None else now
        found = [(path, status) for path, status in _files(self.root) if path not in self._kept]
        found.sort(key=lambda item: item[1].st_ctime)
        size, limit, deleted = sum(status.st_size for _, status in found), self.limits.folder_mb * 2**20, 0
        room = limit * _ROOM if size > limit else limit
        for path, status in found:
            age = now - status.st_ctime
            if age <= self.limits.keep_seconds and (size <= room or age <= _IN_USE_SECONDS):
                break
            with contextlib.suppress(OSError):
                path.unlink()
                deleted += 1
            size -= status.st_size
        for folder, _, _ in os.walk(self.root, topdown=False):
            if Path(folder) not in (self.root, self.uploads, self.results) and _age(folder, now) > 60:
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()  # only where it is empty
        return deleted


@contextlib.contextmanager
def open_store(limits: Limits) -> Iterator[Store]:
    """Give a store in a new temporary folder, swept in the background, and delete all of it in the end.

    What a server that was killed has left behind is deleted too.
    """
    delete_left_behind(Path(tempfile.gettempdir()))
    root = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}_")).resolve()
    store, over = Store(root, limits), threading.Event()

    def run() -> None:
        while not over.wait(_SWEEP_SECONDS):
            try:
                store.sweep()
            except Exception:  # a sweep that fails must not be the last one
                logger.exception("sweeping %s failed", root)

    sweeper = threading.Thread(target=run, name="semdepth-demo-sweeper", daemon=True)
    sweeper.start()
    try:
        yield store
    finally:
        over.set()
        sweeper.join(timeout=5)
        shutil.rmtree(root, ignore_errors=True)


def delete_left_behind(base: Path) -> None:
    """Delete this user's demo folders in ``base`` whose server is no longer running (where the system has users)."""
    if not hasattr(os, "getuid"):
        return
    for folder in base.glob(f"{_PREFIX}*_*"):
        process = folder.name.removeprefix(_PREFIX).partition("_")[0]
        with contextlib.suppress(OSError):
            if process.isdigit() and folder.lstat().st_uid == os.getuid() and not _runs(int(process)):
                shutil.rmtree(folder, ignore_errors=True)


def plain_stem(name: str) -> str:
    """Return a short, harmless stem for the files that are made of an upload called ``name``.

    >>> plain_stem("../../etc/passwd.png"), plain_stem("Straße 1.jpeg"), plain_stem("…")
    ('passwd', 'Straße_1', 'image')
    """
    stem = re.sub(r"[^\w-]+", "_", re.split(r"[/\\\0]", name)[-1].rpartition(".")[0] or name).strip("_")
    return stem[:40] or "image"


def _files(root: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files below ``root`` that are still there when looked at, never following a link."""
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                found.append((path, path.lstat()))
    return found


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _age(path: str, now: float) -> float:
    try:
        return now - os.lstat(path).st_mtime
    except OSError:
        return 0.0

"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from semdepth.runtime import InputError, why_not_written


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary file beside ``path`` to write to; it takes that name when the block ends without an error.

    Missing folders are made. What stood at ``path`` before stays until then.

    Raises:
        InputError: if the file cannot be written: no permission, no space, no such folder.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({why_not_written(error)}); choose another folder") from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def digest_of(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the contents of files, one after the other.

    Raises:
        InputError: if one cannot be read.
    """
    found = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as stream:
                while block := stream.read(2**20):
                    found.update(block)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    return found.hexdigest()

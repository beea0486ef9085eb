"""The door to the Hugging Face hub: where models come from (a folder, the hub, its cache) and where runs are pushed to.

Code from there is never executed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from semdepth.runtime import InputError

_REPOSITORY = r"[\w-][\w.-]*/[\w-][\w.-]*"
_ADDRESS = re.compile(rf"hf:/{{1,2}}({_REPOSITORY})(?:@([\w.-]+))?(?:/(.+))?")  # Path() makes one slash of two


@dataclass(frozen=True)
class HubAddress:
    """A model on the hub, written ``hf://owner/name[@revision][/file]``."""

    repository: str
    """owner/name"""
    revision: str | None = None
    """Branch, tag or commit; None: the newest."""
    file: str | None = None
    """One file in it; None: the model's usual one."""

    def __str__(self) -> str:
        revision, file = (f"@{self.revision}" if self.revision else ""), (f"/{self.file}" if self.file else "")
        return f"hf://{self.repository}{revision}{file}"


def hub_address(source: str | Path) -> HubAddress | None:
    """Return the address that ``source`` is; None: a place on this machine.

    Raises:
        InputError: if it starts like an address and is none.
    """
    text = str(source)
    if not text.startswith("hf:"):
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise InputError(f"{text}: no address on the hub; write hf://owner/name, hf://owner/name@revision or …/file")
    return HubAddress(*found.groups())


def fetch(address: HubAddress, names: Sequence[str]) -> Path:
    """Return a file of a model on the hub, as it lies in the hub's cache on this machine; fetched if it must be.

    Args:
        address: where; its own ``file`` goes before ``names``.
        names: the first of these that the model has is taken.

    Raises:
        InputError: if there is no such model, revision or file, or the hub cannot be reached and the cache has it not.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    wanted = [address.file] if address.file else list(names)
    reached = _hub_in_reach()
    for name in wanted:
        try:
            return Path(
                hf_hub_download(address.repository, name, revision=address.revision, local_files_only=not reached)
            )
        except EntryNotFoundError:  # also: not in the cache
            continue
        except Exception as error:  # the hub client's errors are many (network, access, names); the mend is the same
            raise InputError(
                f"{address}: not to be had from the hub ({first_line(error)}); check the address, your access (hf auth login) "
                "and the connection"
            ) from None
    if not reached:
        raise InputError(
            f"{address}: the hub cannot be reached, and its cache has no {' or '.join(wanted)}; connect once"
        )
    raise InputError(f"{address}: holds no {' or '.join(wanted)}; name a model that semdepth push wrote, or its file")


def upload(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Put all files of a folder into a model on the hub, in one commit; it is made where it is not there.

    Args:
        folder: what to upload.
        repository: owner/name.
        private: keep it from others' eyes.
        message: of the commit.

    Returns:
        The commit's web address.

    Raises:
        InputError: if ``repository`` is no name, the hub refuses, or ``private`` is wanted of a model that is public already.
    """
    from huggingface_hub import HfApi

    require_repository(repository)
    hub = HfApi()
    try:
        hub.create_repo(repository, private=private or None, exist_ok=True)
        if private and not hub.model_info(repository).private:
            raise InputError(
                f"{repository}: is there already, and public; make it private on the hub, or give another name"
            )
        return str(hub.upload_folder(repo_id=repository, folder_path=folder, commit_message=message).commit_url)
    except InputError:
        raise
    except Exception as error:  # as in fetch
        raise InputError(
            f"{repository}: not pushed ({first_line(error)}); check the name, your access (hf auth login) and the connection"
        ) from None


def require_repository(name: str) -> None:
    """Refuse what is no ``owner/name``.

    Raises:
        InputError: then.
    """
    if not re.fullmatch(_REPOSITORY, name):
        raise InputError(f"{name!r}: no name of a model on the hub; give owner/name")


def hub_access(source: str, what: str, choices: str = "a folder, or a hub id (owner/name)") -> dict[str, Any]:
    """Return how ``from_pretrained`` may get at ``source``; never by executing code.

    Without a hub in reach only its cache is asked: the hub's own client would retry for half a minute first.

    Args:
        source: a folder that ``save_pretrained`` wrote, or a hub id.
        what: the word for it in error messages, e.g. ``"encoder"``.
        choices: what may be given, for the error message.

    Returns:
        Keyword arguments of every ``from_pretrained``.

    Raises:
        InputError: if ``source`` is neither a usable folder nor of the form of a hub id.
    """
    folder = Path(source)
    if source and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"{source}: folder without config.json; name a folder that save_pretrained wrote")
        return {"trust_remote_code": False, "local_files_only": True}
    if not re.fullmatch(_REPOSITORY, source):
        raise InputError(f"{what} {source!r}: unknown; give {choices}")
    return {"trust_remote_code": False, "local_files_only": not _hub_in_reach()}


def not_loaded(source: str, what: str, error: Exception, mend: str) -> InputError:
    """Return the one-line complaint about a model that did not load.

    Args:
        source: the folder or hub id.
        what: the word for it, e.g. ``"encoder"``.
        error: what the guest library raised.
        mend: what else the user can do where the hub is the trouble.
    """
    if Path(source).is_dir():
        return InputError(f"{what} {source!r}: cannot be loaded ({first_line(error)}); check the files in the folder")
    return InputError(
        f"{what} {source!r}: not to be had from the hub or its cache ({first_line(error)}); check the id and the "
        f"connection, {mend}"
    )


def first_line(error: Exception) -> str:
    """Return the first line of what an exception says, or its type if it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


@cache
def _hub_in_reach() -> bool:
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # requests' or httpx's, by the hub client's version
        return False
    return True

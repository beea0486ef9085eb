"""``semdepth push``."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.console import Console

from semdepth.apps.model_card import model_card
from semdepth.apps.run_folder import CONFIG, EVALUATION, portable, read_run_folder
from semdepth.evaluation.report import write_text
from semdepth.hub import require_repository, upload
from semdepth.runtime import InputError

CARD, WEIGHTS = "README.md", "weights.safetensors"
AS_THEY_ARE = ("evaluation.md", "curves.csv")
FILES = (CARD, WEIGHTS, CONFIG, EVALUATION, *AS_THEY_ARE)
"""All that is ever uploaded; checkpoints, which are pickles, never."""


def push(
    run: Path, repo: str, private: bool = False, license: str = "other", dry_run: bool = False, out: Path | None = None
) -> None:
    """Upload a run's best weights, its recipe, its errors and a model card written from them to the Hugging Face hub.

    Anybody loads it then with semdepth.load("hf://owner/name"), or semdepth predict IMAGE --weights hf://owner/name. Log in first
    (hf auth login). Paths of this machine are cut down to their last part.

    Args:
        run: A run folder, judged with semdepth evaluate if the card shall tell errors.
        repo: owner/name on the hub; made if it is not there.
        private: Keep it from others' eyes.
        license: Of the weights, as the hub writes it (apache-2.0, cc-by-nc-sa-4.0 ...); the training data's terms hold too.
        dry_run: Only write the folder that would be uploaded.
        out: That folder, for dry_run; none: RUN/hub.

    Examples:
        semdepth push runs/demo owner/name --dry-run true        # writes runs/demo/hub, what would be uploaded
        semdepth push runs/demo owner/name --license apache-2.0  # uploads it
    """
    if out is not None and not dry_run:
        raise InputError("out: has a meaning only with --dry_run true, which writes the folder and uploads nothing")
    console = Console()
    if dry_run:
        folder = out or run / "hub"
        require_repository(repo)
        names = stage(run, folder, repo, license)
        console.print(f"Would upload {', '.join(names)} to {repo}: {folder}", highlight=False, soft_wrap=True)
        return
    where = push_to_hub(run, repo, private=private, license=license)
    console.print(f"{where}\nLoad it with semdepth.load('hf://{repo}')", highlight=False, soft_wrap=True)


def push_to_hub(
    run: str | Path,
    repo_id: str,
    *,
    private: bool = False,
    license: str = "other",
    message: str = "Push a semdepth run",
) -> str:
    """Upload a run to the Hugging Face hub, in one commit.

    Args:
        run: its folder.
        repo_id: owner/name; made if it is not there.
        private: keep it from others' eyes; refused if it is there already, and public.
        license: of the weights, as the hub's identifiers have it.
        message: of the commit.

    Returns:
        The commit's web address.

    Raises:
        InputError: if the folder is no run, or the hub refuses or cannot be reached.
    """
    require_repository(repo_id)
    with TemporaryDirectory(prefix="semdepth-push-") as folder:
        stage(Path(run), Path(folder), repo_id, license)
        return upload(Path(folder), repo_id, private=private, message=message)


def stage(run: Path, folder: Path, repository: str, license: str) -> list[str]:
    """Write the folder that is uploaded; each file whole or not at all. Files of another run in it are replaced or removed.

    Returns:
        The files' names.

    Raises:
        InputError: if ``run`` is no run's folder, or ``folder`` is one itself or cannot be written.
    """
    found = read_run_folder(run, needs_config=False)
    if folder.resolve() == run.resolve() or (folder / "checkpoints").exists():
        raise InputError(f"{folder}: is a run's own folder; give another --out")
    of = (found.evaluation or {}).get("weights", found.weights.name)
    if of != found.weights.name:
        raise InputError(
            f"{run / EVALUATION}: is the verdict on {of}, and {found.weights.name} would be uploaded; run semdepth evaluate {run}"
        )
    texts = {CARD: model_card(run, repository, license)}
    if found.config:
        texts[CONFIG] = yaml.safe_dump(portable(found.config), sort_keys=False, allow_unicode=True)
    if found.evaluation is not None:
        texts[EVALUATION] = json.dumps(portable(found.evaluation), indent=1, allow_nan=False) + "\n"
    texts |= {name: (run / name).read_text(encoding="utf-8") for name in AS_THEY_ARE if (run / name).is_file()}
    temporary = folder / f".{WEIGHTS}.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
        shutil.copyfile(found.weights, temporary)
        os.replace(temporary, folder / WEIGHTS)
        for name in set(FILES) - {*texts, WEIGHTS}:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); give another --out") from None
    finally:
        temporary.unlink(missing_ok=True)
    return [name for name in FILES if (folder / name).exists()]

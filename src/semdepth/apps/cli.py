"""The command line: a table of typed functions. What each one's help says is its docstring and its types."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from importlib import import_module
from inspect import signature

from semdepth.runtime import InputError, is_short_write, keep_freed_memory, set_up_logging, why_not_written

COMMANDS = {
    "prepare": "make a set to learn from out of a video: semdepth prepare clip.mp4 --out DIR",
    "train": "learn depth from video: semdepth train --config recipes/demo.yaml",
    "evaluate": "judge a run against ground truth: semdepth evaluate RUN",
    "label": "write noisy labels with a pretrained segmenter: semdepth label --data.root DIR --segmenter ID",
    "predict": "depth of images and videos: semdepth predict IMAGE... --weights RUN --out DIR",
    "export": "write a network for deployment: semdepth export RUN --out model.onnx",
    "odometry": "the camera's path, judged where it is known: semdepth odometry RUN SEQUENCE",
    "demo": "depth in the browser, images and videos dropped in: semdepth demo --weights RUN",
    "synthesise": "render drives with exact depth and labels: semdepth synthesise OUT",
    "report": "one page about one or several runs, pictures and all: semdepth report RUN [RUN ...]",
    "push": "share a run on the Hugging Face hub: semdepth push RUN owner/name",
    "convert": "bring weights of the Monodepth2 family: semdepth convert FOLDER --out weights.safetensors",
    "data": "is a folder ready, and what does it lack: semdepth data check DIR",
    "cache": "decode and resize once, train faster: semdepth cache OUT --data.root DIR",
    "benchmark": "measure speed, point pairs or the metric scale: semdepth benchmark train",
    "ablate": "compare variants over seeds: semdepth ablate recipes/ablation_cpu.yaml",
}
"""Name → one line for the overview. The function is ``semdepth.apps.<name>.<name>``, imported when it is called."""
EXTRAS = {
    "lightning_fabric": "train",
    "tensorboard": "train",
    "av": "video",
    "cv2": "video",
    "evo": "odometry",
    "webdataset": "shards",
    "scipy": "make3d",
    "trimesh": "points",
    "OpenEXR": "exr",
    "gradio": "demo",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "pnnx": "ncnn",
    "ray": "cluster",
}
"""Module of an optional library → the extra that installs it."""


DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO})
"""Errors that are the disk's or its permissions', not the program's."""
NO_NAME = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
"""Errors of a path itself."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code: 0 done, 2 bad input, 130 interrupted."""
    try:
        code = _main(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `semdepth … | head` has seen enough; what the interpreter still flushes goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _main(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(import_module("semdepth").__version__)
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        return _complain(f"there is no command {name!r}; choose from {', '.join(COMMANDS)}")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    set_up_logging()
    keep_freed_memory()
    try:
        run_command(name, rest)
    except InputError as error:
        return _complain(str(error))
    except OSError as error:
        if error.errno in NO_NAME:
            return _complain(f"{error.filename}: is no path that can be opened ({error.strerror}); check it")
        if error.errno not in DISK and not is_short_write(error):
            raise
        where = error.filename or f"what {name} writes"
        return _complain(
            f"{where}: {why_not_written(error)}; free the disk or mend the permissions, then run the same command"
        )
    except KeyboardInterrupt:
        return _complain("interrupted; the same command goes on where that is possible", code=130)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        return _complain(f"{name} needs {error.name}: pip install '.[{extra}]' in a clone of the repository")
    return 0


def overview() -> str:
    """Return what ``semdepth --help`` prints."""
    lines = [f"  {name:<11} {line}" for name, line in COMMANDS.items()]
    return "\n".join(
        [
            "usage: semdepth COMMAND ...",
            "",
            "Depth, ego-motion and semantics from unlabelled driving video.",
            "",
            *lines,
            "",
            "semdepth COMMAND --help explains each. Exit codes: 0 done, 2 bad input, 130 interrupted.",
        ]
    )


def run_command(name: str, arguments: list[str]) -> None:
    """Parse ``arguments`` by the signature of the command's function, and call it.

    A function that takes an ``Experiment`` takes its fields as options, and recipes through ``--config``.

    Raises:
        InputError: if the arguments do not fit.
    """
    from semdepth.apps.parser import function_parser

    function: Callable[..., None] = getattr(import_module(f"semdepth.apps.{name}"), name)
    if "experiment" in signature(function).parameters:
        from semdepth.apps.recipes import experiment_parser, parse_experiment

        function(parse_experiment(arguments, experiment_parser(f"semdepth {name}", function.__doc__)))
        return
    parser = function_parser(f"semdepth {name}", function)
    function(**parser.instantiate(parser.parse_args(arguments)).as_dict())


def _complain(message: str, code: int = 2) -> int:
    print(f"semdepth: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())

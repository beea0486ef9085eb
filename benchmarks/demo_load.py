"""The demo under load: many visitors at once, good and bad uploads, and the server's memory all the while.

    python benchmarks/demo_load.py --weights RUN [--visitors 50] [--requests 500]

Starts ``semdepth demo`` as a process of its own, sends uploads (four in five are good: images, and a few short videos; one in
five is a decompression bomb, junk, a cut-off file, a playlist called .mp4, an unknown type, a video that is too long, too large,
or too long and says that it is not, or more megabytes than are taken), asks for the result of each, and tries to read files
outside the server's folder. Prints a JSON line: what was answered, the latencies, the peak of the process's memory, and what
was left in the temporary folder after the server had ended. Linux only (/proc).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import av
import httpx
import numpy as np
from PIL import Image

CLIENT = httpx.Client(timeout=600, verify=False, limits=httpx.Limits(max_connections=200))
"""One for all visitors: making one costs more than most requests."""


def main() -> None:
    """Run the load and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--port", type=int, default=7999)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        command = [
            sys.executable,
            "-m",
            "semdepth.apps.cli",
            "demo",
            f"--weights={chosen.weights}",
            f"--port={chosen.port}",
        ]
        server = subprocess.Popen(command, env={**os.environ, "TMPDIR": temporary})
        try:
            url = f"http://127.0.0.1:{chosen.port}/"
            wait_for(url)
            report = load(url, server.pid, chosen.visitors, chosen.requests)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
        report["left_in_folder"] = sorted(path.name for path in Path(temporary).iterdir())
    print(json.dumps(report))


def load(url: str, process: int, visitors: int, requests: int) -> dict[str, object]:
    """Send the requests and watch the process's memory."""
    before, peak, over = memory_mb(process), [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], memory_mb(process))

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    with ThreadPoolExecutor(visitors) as pool:
        answers = list(pool.map(lambda k: visit(url, k), range(requests)))
    took = time.perf_counter() - begun
    leaked = sum(b"root:x:0:0" in CLIENT.get(f"{url}gradio_api/file={path}").content for path in OUTSIDE)
    answers_after = None if CLIENT.get(url).status_code != 200 else seconds_until_answered(url)
    over.set()
    watcher.join()
    seconds = np.array([t for kind, t in answers if kind == "complete"] or [np.nan])
    kinds = [kind for kind, _ in answers]
    return {
        "visitors": visitors, "requests": requests, "answers": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
        "seconds": round(took, 1), "latency_median": round(float(np.median(seconds)), 2),
        "latency_95": round(float(np.percentile(seconds, 95)), 2), "memory_before_mb": round(before),
        "memory_peak_mb": round(peak[0]), "files_read_outside": leaked, "answers_after_s": answers_after,
    }  # fmt: skip


OUTSIDE = (
    "/etc/passwd",
    "../../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/proc/self/environ",
)


def visit(url: str, number: int) -> tuple[str, float]:
    """Upload one file and ask for its result; return what came (complete, busy, refused, or what broke) and the seconds."""
    data, name, is_good = upload_of(number)
    begun = time.perf_counter()
    try:
        sent = CLIENT.post(f"{url}gradio_api/upload", files={"files": (name, data)})
        if sent.status_code != 200:
            is_busy = is_good and sent.status_code == 503
            kind = "busy" if is_busy else "refused" if not is_good else f"status {sent.status_code}"
            return kind, time.perf_counter() - begun
        kind, said = ask(url, sent.json()[0])
    except httpx.HTTPError as error:
        return type(error).__name__, time.perf_counter() - begun
    busy = "queue is full" in said.lower()
    if kind == "error":
        kind = "busy" if busy else "refused" if not is_good else "error"
    elif not is_good:
        kind = "bad file taken"
    return kind, time.perf_counter() - begun


def seconds_until_answered(url: str) -> float | None:
    """Return how long a visitor waits who does as a busy server says, and tries again for a minute; None: in vain."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < 60:
        if visit(url, 1)[0] == "complete":
            return round(time.perf_counter() - begun, 1)
        time.sleep(1)
    return None


def ask(url: str, path: str) -> tuple[str, str]:
    """Ask for the result of an upload, as the page does."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    call = CLIENT.post(f"{url}gradio_api/call/show", json={"data": [file, 65, None]})
    if call.status_code != 200:
        return "error", call.text
    with CLIENT.stream("GET", f"{url}gradio_api/call/show/{call.json()['event_id']}") as answer:
        event = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                event = line[7:]
            elif line.startswith("data: ") and event in ("complete", "error"):
                return event, line[6:]
    return "error", ""


def upload_of(number: int) -> tuple[bytes, str, bool]:
    """Return the content and the name of an upload, and whether it is good."""
    if number % 5:
        if number % 50 == 1:
            return video((192, 576), 12), "drive.mp4", True
        values = np.random.default_rng(number).integers(0, 255, (12, 36, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(values).resize((576, 192)).save(stream, "JPEG", quality=90)
        return stream.getvalue(), f"photo {number}.jpg", True
    bad = (
        lambda: (bomb(30_000), "bomb.png"),
        lambda: (os.urandom(50_000), "junk.jpg"),
        lambda: (bomb(100)[:60], "cut.png"),
        lambda: (b"#EXTM3U\n/etc/passwd\n", "list.mp4"),
        lambda: (b"MZ" * 100, "../../run.exe"),
        lambda: (video((64, 96), 1200), "long.mp4"),
        lambda: (video((4608, 8192), 2), "large.mp4"),
        lambda: (without_length(video((64, 96), 1200, "matroska")), "endless.mkv"),
        lambda: (bytes(65 * 2**20), "heavy.mp4"),
    )  # fmt: skip
    data, name = bad[number // 5 % len(bad)]()
    return data, name, False


@cache
def video(size: tuple[int, int], frames: int, kind: str = "mp4") -> bytes:
    """Return a video of so many frames (20 a second) of (height, width) pixels."""
    stream = io.BytesIO()
    picture = Image.radial_gradient("L").resize(size[::-1]).convert("RGB")
    with av.open(stream, "w", format=kind) as container:
        track = container.add_stream("mpeg4" if max(size) < 8192 else "mjpeg", rate=20)
        track.height, track.width, track.pix_fmt = *size, "yuv420p" if max(size) < 8192 else "yuvj420p"
        for _ in range(frames):
            container.mux(track.encode(av.VideoFrame.from_image(picture).reformat(format=track.pix_fmt)))
        container.mux(track.encode())
    return stream.getvalue()


def without_length(matroska: bytes) -> bytes:
    """Return a Matroska video that says it lasts no time: its element Duration (0x4489, a double) is 0."""
    place = matroska.index(b"\x44\x89\x88") + 3
    return matroska[:place] + bytes(8) + matroska[place + 8 :]


def bomb(side: int) -> bytes:
    """Return a small PNG that states ``side``² pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def memory_mb(process: int) -> float:
    """Return a process's resident memory in megabytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def wait_for(url: str, seconds: float = 600) -> None:
    """Wait until the server answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            CLIENT.get(url)
            return
        except httpx.HTTPError:
            time.sleep(1)
    raise SystemExit("the demo did not start")


if __name__ == "__main__":
    main()

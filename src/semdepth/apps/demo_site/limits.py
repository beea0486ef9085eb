"""How much of everything the web demo takes, so that no visitor can fill its memory or its disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one server takes and keeps."""

    upload_mb: int = 64
    """Largest upload, in megabytes."""
    side: int = 1280
    """Longer side, in pixels, that images are scaled down to: memory grows with pixels × classes."""
    video_side: int = 640
    """Longer side, in pixels, that frames of videos are scaled down to."""
    video_pixels: int = 3840 * 2160
    """Largest frame of a video."""
    video_seconds: float = 30.0
    """Longest video."""
    video_frames: int = 900
    """Most frames of a video, whatever length it states."""
    folder_mb: int = 2048
    """Uploads and results together; beyond, the oldest go, and where all are in use no upload is taken."""
    keep_seconds: float = 600.0
    """Age at which uploads and results are deleted."""
    waiting: int = 64
    """Requests that may wait for their turn."""
    uploading: int = 64
    """Uploads under way at the same time."""
    points: int = 150_000
    """Most points of a cloud that is shown."""

"""Subtitles: .srt and .vtt files as they occur, and which segment each cue belongs to."""

from __future__ import annotations

from chunkv2l.video.subtitles.cues import Cue, parse
from chunkv2l.video.subtitles.encoding import decode
from chunkv2l.video.subtitles.files import Subtitles, find_sidecar, read_subtitles, take_subtitles
from chunkv2l.video.subtitles.speech import Speech

__all__ = ["Cue", "Speech", "Subtitles", "decode", "find_sidecar", "parse", "read_subtitles", "take_subtitles"]

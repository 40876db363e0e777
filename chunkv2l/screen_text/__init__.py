"""Text on the screen: frames whose picture changed are read, and become cues.

Importing this loads neither a text recogniser nor its models.
"""

from __future__ import annotations

from chunkv2l.screen_text.choice import is_installed, wants_screen_text

__all__ = ["is_installed", "wants_screen_text"]

"""A sound .srt and a sound .vtt."""

from __future__ import annotations

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>!

2
00:00:03,000 --> 00:00:05,000
{\\an8}- Where is the cat?
- <font color="#ff0000">I &amp; she</font> don't know.

3
01:02:03,456 --> 01:02:04,000
A < B, 5 > 3, <3
"""
VTT = """WEBVTT - a title
Kind: captions

NOTE
00:00:09.000 --> 00:00:10.000
this is a note

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Ann>Hello <c.loud>there</c>!

00:03.000 --> 00:05.000
<00:03.500><c>Where</c> is&nbsp;it? &lt;here&gt;
"""

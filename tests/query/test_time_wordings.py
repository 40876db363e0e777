"""More wordings of times: questions, the range that each is restricted to in a movie of 306.08 s, and what is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from chunkv2l.errors import NothingFound
from chunkv2l.graph import segment_graph
from chunkv2l.query.parse import MAX_QUESTION, parse
from chunkv2l.query.restriction import restrict_graph
from chunkv2l.query.time_ranges import Timeline

LENGTH = 306.08


@dataclass(frozen=True)
class Piece:
    start: float
    end: float
    caption: str = ""
    first: int = 0
    last: int = 0


CHAPTERS = [(0.0, 60.0), (60.0, 200.0), (200.0, 250.0), (250.0, LENGTH)]
GRAPH = segment_graph([Piece(*times) for times in CHAPTERS], (), [Piece(0, 0, "", i, i) for i in range(4)])

TIMELINE = Timeline(LENGTH, tuple(CHAPTERS))

# question, statement that is looked for, start, end
RANGES = [
    ("Between 0:45 and 1:15, does anyone run?", "Anyone run.", 45, 75),
    ("What goes on from minute one to minute two?", "", 60, 120),
    ("Is there a cat anywhere from 1:10 up to 1:50?", "A cat.", 70, 110),
    ("When does a dog bark between the one-minute and the three-minute mark?", "A dog bark.", 60, 180),
    ("Who sings between the 30 and the 60 second mark?", "Sings.", 30, 60),
    ("What happens from 90 s to 2 min?", "", 90, 120),
    ("What happens between 1m and 2m15s?", "", 60, 135),
    ("What can be seen from 1:00 thru 1:30?", "", 60, 90),
    ("When is a rabbit visible, from 2:00 to 3:00?", "A rabbit.", 120, 180),
    ("From 2:00 to 3:00 when is a rabbit visible?", "A rabbit.", 120, 180),
    ("What happens in the interval 1:00-1:30?", "", 60, 90),
    ("What happens in the interval from 1:00 to 1:30?", "", 60, 90),
    ("What happens during 1:00 to 1:30?", "", 60, 90),
    ("What happens during the period between 1:00 and 1:30?", "", 60, 90),
    ("What happens [1:00 - 1:30]?", "", 60, 90),
    ("What happens (1:00-1:30)?", "", 60, 90),
    ("What happens between 1:00 and 1:30 exactly?", "", 60, 90),
    ("What happens somewhere between 1:00 and 1:30?", "", 60, 90),
    ("When does the dog bark between 2 and 3 minutes in?", "The dog bark.", 120, 180),
    ("When does the dog bark between two minutes and three minutes into the video?", "The dog bark.", 120, 180),
    ("What happens between the first and the second minute mark?", "", 60, 120),
    ("What happens in the 3rd and 4th minutes?", "", 120, 240),
    ("What happens in the third and fourth minutes?", "", 120, 240),
    ("What happens between 0:10 and halfway?", "", 10, 153.04),
    ("What happens between 25% and 75%?", "", 76.52, 229.56),
    ("What happens from a quarter to three quarters of the way through?", "", 76.52, 229.56),
    ("What happens between 100 and 120 s?", "", 100, 120),
    ("What happens from second 100 to second 120?", "", 100, 120),
    ("What happens 1:00 to 2:00?", "", 60, 120),
    ("What happens 1:00 till 2:00?", "", 60, 120),
    ("What happens between 00:01:00 and 00:02:00?", "", 60, 120),
    ("What happens between 1 min 10 s and 1 min 20 s?", "", 70, 80),
    ("What happens between one minute ten and one minute twenty?", "", 70, 80),
    ("Between one and two minutes, what does the cat do?", "The cat do.", 60, 120),
    ("When does a dog bark from the second minute on?", "A dog bark.", 60, 306.08),
    ("When does a dog bark from 1:30 to the end?", "A dog bark.", 90, 306.08),
    ("When does a dog bark from 1:30 until the very end?", "A dog bark.", 90, 306.08),
    ("When does a dog bark beyond the 2:00 mark?", "A dog bark.", 120, 306.08),
    ("When does a dog bark following the first minute?", "A dog bark.", 60, 306.08),
    ("When does a dog bark any time after 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark at any point after 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark sometime after the two minute mark?", "A dog bark.", 120, 306.08),
    ("When does a dog bark after 2:00 in the video?", "A dog bark.", 120, 306.08),
    ("When does a dog bark once 2:00 has passed?", "A dog bark.", 120, 306.08),
    ("When does a dog bark for the rest of the video after 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark no earlier than 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark at or after 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark beginning at 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark starting two minutes in?", "A dog bark.", 120, 306.08),
    ("When does a dog bark in the remainder after the first minute?", "A dog bark.", 60, 306.08),
    ("When does a dog bark after more than two minutes?", "A dog bark.", 120, 306.08),
    ("When does a dog bark more than two minutes in?", "A dog bark.", 120, 306.08),
    ("When does a dog bark before the 2:00 mark?", "A dog bark.", 0, 120),
    ("When does a dog bark in the time before 2:00?", "A dog bark.", 0, 120),
    ("When does a dog bark no later than 1:30?", "A dog bark.", 0, 90),
    ("When does a dog bark within the first 100 s?", "A dog bark.", 0, 100),
    ("When does a dog bark at or before 1:30?", "A dog bark.", 0, 90),
    ("When does a dog bark less than a minute in?", "A dog bark.", 0, 60),
    ("When does a dog bark at any time before 1:30?", "A dog bark.", 0, 90),
    ("When does a dog bark from the start up to 1:30?", "A dog bark.", 0, 90),
    ("When does a dog bark up to the 90 second mark?", "A dog bark.", 0, 90),
    ("When does a dog bark through 1:30?", "A dog bark.", 0, 90),
    ("When does a dog bark until one minute before the end?", "A dog bark.", 0, 246.08),
    ("When does a dog bark prior to the halfway mark?", "A dog bark.", 0, 153.04),
    ("What happens at the very beginning?", "", 0, 30.608),
    ("What happens at second 45?", "", 45, 45),
    ("What happens at the 45th second?", "", 44, 45),
    ("What happens at forty-five seconds?", "", 45, 45),
    ("What happens at the 2 minute 15 second mark?", "", 135, 135),
    ("What happens at the 2:15 point?", "", 135, 135),
    ("What happens at 2:15 in the video?", "", 135, 135),
    ("What happens at 2:15 into the video?", "", 135, 135),
    ("What is shown at timestamp 00:02:15?", "", 135, 135),
    ("What is happening at 135 sec?", "", 135, 135),
    ("What's happening at 135s?", "", 135, 135),
    ("What happens at 2 min 15 sec?", "", 135, 135),
    ("What happens at 2min15s?", "", 135, 135),
    ("What happens at 2m 15s?", "", 135, 135),
    ("What happens exactly two minutes in?", "", 120, 120),
    ("What happens about two minutes in?", "", 120, 120),
    ("What happens roughly two and a half minutes in?", "", 150, 150),
    ("What happens two minutes and fifteen seconds in?", "", 135, 135),
    ("At two minutes fifteen seconds, what happens?", "", 135, 135),
    ("At the two and a half minute mark, what happens?", "", 150, 150),
    ("What happens a quarter of the way through?", "", 76.52, 76.52),
    ("What happens three quarters of the way through the video?", "", 229.56, 229.56),
    ("What happens three-quarters through?", "", 229.56, 229.56),
    ("What happens one third in?", "", 102.027, 102.027),
    ("What happens at the halfway mark?", "", 122.432, 183.648),
    ("What happens 10 seconds before the end of the video?", "", 296.08, 296.08),
    ("What happens 10 seconds before it ends?", "", 296.08, 296.08),
    ("What happens ten seconds before the video ends?", "", 296.08, 296.08),
    ("What happens 10 seconds after it starts?", "", 10, 10),
    ("What happens ten seconds after the video starts?", "", 10, 10),
    ("What happens a minute after the beginning?", "", 60, 60),
    ("What happens with ten seconds remaining?", "", 296.08, 296.08),
    ("What happens when there are ten seconds left?", "", 296.08, 296.08),
    ("What happens 20 seconds after the 1:00 mark?", "", 80, 80),
    ("What happens 20 seconds past minute 1?", "", 80, 80),
    ("What happens 20 seconds before 3:00?", "", 160, 160),
    ("What happens at 0:05?", "", 5, 5),
    ("What happens at 3:00 sharp?", "", 180, 180),
    ("What's at 1:23?", "", 83, 83),
    ("Where is the man at 1:23?", "The man.", 83, 83),
    ("Who is there at 1:23?", "", 83, 83),
    ("What does the screen show at 1:23?", "The screen show.", 83, 83),
    ("What happens in the first ninety seconds?", "", 0, 90),
    ("What happens in the first 1.5 minutes?", "", 0, 90),
    ("What happens in the first 1 min 30 s?", "", 0, 90),
    ("What happens in the first one and a half minutes?", "", 0, 90),
    ("What happens in the first quarter of an hour?", "", 0, 306.08),
    ("What happens in the first three minutes?", "", 0, 180),
    ("What happens in the last three quarters of a minute?", "", 261.08, 306.08),
    ("What happens in the last two minutes of the clip?", "", 186.08, 306.08),
    ("What happens in the final 5 seconds?", "", 301.08, 306.08),
    ("In the final few seconds, what happens?", "", 303.08, 306.08),
    ("What happens in the last couple of seconds?", "", 304.08, 306.08),
    ("What happens in the very last second?", "", 305.08, 306.08),
    ("What happens in the very first second?", "", 0, 1),
    ("What happens in the first half?", "", 0, 153.04),
    ("What happens in the latter half?", "", 153.04, 306.08),
    ("What happens in the former half?", "", 0, 153.04),
    ("What happens in the 2nd half?", "", 153.04, 306.08),
    ("What happens in the last half?", "", 153.04, 306.08),
    ("What happens in the back half of the video?", "", 153.04, 306.08),
    ("What happens in the middle of the film?", "", 122.432, 183.648),
    ("What happens in the middle minute?", "", 123.04, 183.04),
    ("What happens in the middle half?", "", 76.52, 229.56),
    ("What happens in the second third?", "", 102.027, 204.053),
    ("What happens in the last fifth?", "", 244.864, 306.08),
    ("What happens in the fourth quarter?", "", 229.56, 306.08),
    ("What happens in the first 20 percent?", "", 0, 61.216),
    ("What happens in the last 20 % of it?", "", 244.864, 306.08),
    ("What happens in the fifth minute?", "", 240, 300),
    ("What happens in the sixth minute?", "", 300, 306.08),
    ("What happens in the 4th minute of the movie?", "", 180, 240),
    ("What happens throughout the third minute?", "", 120, 180),
    ("What happens at some point in the third minute?", "", 120, 180),
    ("What happens in the first half of the second minute?", "", 60, 90),
    ("What happens in the second half of the first minute?", "", 30, 60),
    ("What happens in the last half of the second minute?", "", 90, 120),
    ("What happens in the last third of the first half?", "", 102.027, 153.04),
    ("What happens in the last ten seconds of the first half?", "", 143.04, 153.04),
    ("What happens in the first 30 seconds of the last minute?", "", 246.08, 276.08),
    ("What happens at the start of the third minute?", "", 120, 126),
    ("What happens in the middle of the second minute?", "", 84, 96),
    ("What happens halfway through the second minute?", "", 90, 90),
    ("What happens 10 seconds into the second minute?", "", 70, 70),
    ("What happens 10 seconds before the end of the second minute?", "", 110, 110),
    ("What happens in the 20 seconds following 2:00?", "", 120, 140),
    ("What happens in the 20 seconds leading up to 2:00?", "", 100, 120),
    ("What happens during the minute after 1:00?", "", 60, 120),
    ("What happens for a minute after 1:00?", "", 60, 120),
    ("What happens within a minute of 2:00?", "", 60, 180),
    ("What happens within a minute after 2:00?", "", 120, 180),
    ("What happens within 30 seconds before 2:00?", "", 90, 120),
    ("What happens in the two minutes before the end?", "", 186.08, 306.08),
    ("What happens in the minute following the first minute?", "", 60, 120),
    ("What happens right at 2:00?", "", 120, 120),
    ("What happens right at the end?", "", 275.472, 306.08),
    ("What happens just before the end?", "", 296.08, 306.08),
    ("What happens shortly after 1:00?", "", 60, 70),
    ("What happens shortly before the halfway point?", "", 143.04, 153.04),
    ("What happens after 1:00 and until 2:00?", "", 60, 120),
    ("What happens since 1:00 up to 2:00?", "", 60, 120),
    ("What happens not before 1:00 and not after 2:00?", "", 60, 120),
    ("What happens later than 1:00 but earlier than 2:00?", "", 60, 120),
    ("What happens past 1:00 but before the last minute?", "", 60, 246.08),
    ("Ignoring the first minute, when does a dog bark?", "A dog bark.", 60, 306.08),
    ("Ignore the first minute. When does a dog bark?", "A dog bark.", 60, 306.08),
    ("Skip the first 30 seconds and tell me what happens.", "", 30, 306.08),
    ("Excluding the last 30 seconds, what happens?", "", 0, 276.08),
    ("Apart from the first minute, when does a dog bark?", "A dog bark.", 60, 306.08),
    ("Everything but the last minute: what happens?", "", 0, 246.08),
    ("Leaving out the first ten seconds, what happens?", "", 10, 306.08),
    ("When does a dog bark except for the last minute?", "A dog bark.", 0, 246.08),
    ("When does a dog bark other than in the first minute?", "A dog bark.", 60, 306.08),
    ("When does a dog bark, excluding the first half?", "A dog bark.", 153.04, 306.08),
    ("What happens in the 30 seconds starting at 1:00?", "", 60, 90),
    ("What happens for 30 seconds from 1:00?", "", 60, 90),
    ("What happens starting at 1:00 for half a minute?", "", 60, 90),
    ("Within one minute thirty of 2:00, what happens?", "", 30, 210),
    ("What happens in the first minute, thirty seconds?", "", 0, 90),
    ("What happens in the last minute and ten seconds?", "", 236.08, 306.08),
    ("What happens in the first hour?", "", 0, 306.08),
    # the nth of so many parts
    ("What happens in the fourth of five parts?", "", 183.648, 244.864),
    ("When is there a dog in the second of three parts?", "A dog.", 102.027, 204.053),
    ("In the last of 4 equal sections of the video, who sings?", "Sings.", 229.56, 306.08),
    ("What happens in the first two of five parts?", "", 0, 122.432),
    ("When is there a dog in part 2 of 3?", "A dog.", 102.027, 204.053),
    ("What happens in the first half of the second of two parts?", "", 153.04, 229.56),
    # a time as it is read out
    ("What happens at one thirty?", "", 90, 90),
    ("At two oh five, who sings?", "Sings.", 125, 125),
    ("When is there a dog between one thirty and two fifteen?", "A dog.", 90, 135),
    ("What happens after the four ten mark?", "", 250, 306.08),
    # what is there first and last
    ("What happens in the opening moments?", "", 0, 30.608),
    ("What happens in the first few moments?", "", 0, 30.608),
    ("Who sings in the closing moments of the film?", "Sings.", 275.472, 306.08),
    ("What is the last thing shown?", "", 306.08, 306.08),
    ("What's the last thing that happens in the video?", "", 306.08, 306.08),
    ("What is the very first thing we see?", "", 0, 0),
    ("What is the final image?", "", 306.08, 306.08),
    ("What happens last?", "", 306.08, 306.08),
    ("What is shown first?", "", 0, 0),
    ("What appears last in the video?", "", 306.08, 306.08),
    ("For how much of the first minute is a dog visible?", "A dog.", 0, 60),
    # a share of a stretch
    ("What percentage of the video before 1:00 shows a dog?", "A dog.", 0, 60),
    ("What share of the first minute shows a dog?", "A dog.", 0, 60),
    ("How much of the video after 2:00 is a dog visible?", "A dog.", 120, 306.08),
    ("How much of the last minute is a dog visible?", "A dog.", 246.08, 306.08),
    # chapters
    ("When is there a dog in chapter 2?", "A dog.", 60, 200),
    ("What happens in the second chapter?", "", 60, 200),
    ("What happens in chapter g1?", "", 60, 200),
    ("In the last chapter of the video, who sings?", "Sings.", 250, 306.08),
    ("Chapter two: what happens?", "", 60, 200),
    ("What happens in the second-to-last chapter?", "", 200, 250),
    ("What happens in the third chapter from the end?", "", 60, 200),
    ("What happens in chapters 2 to 3?", "", 60, 250),
    ("What happens in the first two chapters?", "", 0, 200),
    ("What happens in the last two chapters?", "", 200, 306.08),
    ("What happens before chapter 3?", "", 0, 200),
    ("What happens from chapter 3 on?", "", 200, 306.08),
    ("What happens from chapter 2 to chapter 3?", "", 60, 250),
    ("What happens in the first half of chapter 2?", "", 60, 130),
    ("What happens in the last 10 seconds of the first chapter?", "", 50, 60),
    ("What happens at the end of chapter 2?", "", 186, 200),
    ("What does the man in chapter 2 hold?", "The man hold.", 60, 200),
    # times before the movie's start
    ("What happens from -5 to 3 seconds?", "", 0, 3),
    ("What happens from −5 to 3 seconds?", "", 0, 3),
    ("What happens between minus ten seconds and 0:20?", "", 0, 20),
    ("What happens from -0:10 to the end?", "", 0, 306.08),
    ("What happens from 10 - 20 seconds?", "", 10, 20),
    # vague words
    ("When does a dog bark early on?", "A dog bark.", 0, 102.027),
    ("Early on, who sings?", "Sings.", 0, 102.027),
    ("Who sings quite early in the film?", "Sings.", 0, 102.027),
    ("When does a dog bark early in it?", "A dog bark.", 0, 102.027),
    ("When does a dog bark late on?", "A dog bark.", 204.053, 306.08),
    ("When does a dog bark a little after 1:00?", "A dog bark.", 60, 70),
    ("When does a dog bark a bit before 1:00?", "A dog bark.", 50, 60),
    ("When does a dog bark well after 1:00?", "A dog bark.", 60, 306.08),
    ("When does a dog bark only after 2:00?", "A dog bark.", 120, 306.08),
    ("When does a dog bark right after the opening minute?", "A dog bark.", 60, 70),
    ("When does a dog bark just before the last minute?", "A dog bark.", 236.08, 246.08),
    ("When does a dog bark around 1:20 or so?", "A dog bark.", 80, 80),
    ("When does a dog bark a minute or so in?", "A dog bark.", 60, 60),
    ("When does a dog bark with half the video left?", "A dog bark.", 153.04, 153.04),
    ("When does a dog bark when the movie is a third over?", "A dog bark.", 102.027, 102.027),
    # about a time
    ("When does a dog bark +/- 5 seconds around 1:00?", "A dog bark.", 55, 65),
    ("When does a dog bark at 1:00 plus or minus five seconds?", "A dog bark.", 55, 65),
    ("When does a dog bark ten seconds either side of 2:00?", "A dog bark.", 110, 130),
    # other words around
    ("What happens over the course of the first two minutes?", "", 0, 120),
    ("What happens in the space of the last minute?", "", 246.08, 306.08),
    ("When does she leave, ending at 1:10?", "She leave.", 0, 70),
    ("[1:00-2:00] When does she leave?", "She leave.", 60, 120),
    ("When does she leave (between 30 and 50 seconds)?", "She leave.", 30, 50),
    ("What is he doing at 0:30-0:40?", "He doing.", 30, 40),
    ("What happens at a minute thirty?", "", 90, 90),
    ("What precedes 1:00?", "", 0, 60),
    ("What follows 2:00?", "", 120, 306.08),
    ("What comes after the two minute mark?", "", 120, 306.08),
    ("Give me a summary of the first half.", "", 0, 153.04),
    ("Is a dog visible at 1:00 or later?", "A dog.", 60, 306.08),
    ("Is a dog visible at 1:00 or earlier?", "A dog.", 0, 60),
    ("Is a dog visible before or at 1:00?", "A dog.", 0, 60),
    ("What happens as of 1:30?", "", 90, 306.08),
    ("What happens beginning with the second minute?", "", 60, 306.08),
    ("What happens right in the middle?", "", 122.432, 183.648),
    ("What happens in the 10 seconds around 1:00?", "", 55, 65),
    ("Not counting the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("When is there a dog, disregarding the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog, ignoring everything before 1:00?", "A dog.", 60, 306.08),
    ("When is there a dog if you skip the first minute?", "A dog.", 60, 306.08),
    ("If we exclude the first 60 seconds, when is there a dog?", "A dog.", 60, 306.08),
    ("Omitting the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Never mind the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Once the first minute is over, when is there a dog?", "A dog.", 60, 306.08),
    ("Forgetting about the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Barring the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Save for the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Minus the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Bypassing the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Past the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("Without counting the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("When is there a dog, if the first minute is ignored?", "A dog.", 60, 306.08),
    ("When is there a dog with the first minute left out?", "A dog.", 60, 306.08),
    ("When is there a dog rather than in the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog instead of in the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog, not including the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog, discounting the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog, first minute excluded?", "A dog.", 60, 306.08),
    ("When is there a dog, with the exception of the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog after skipping the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog, having omitted the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog but for the first minute?", "A dog.", 60, 306.08),
    ("When is there a dog? Ignore the first minute.", "A dog.", 60, 306.08),
    ("When is there a dog elsewhere than in the first minute?", "A dog.", 60, 306.08),
    ("Don't count the first minute: when is there a dog?", "A dog.", 60, 306.08),
    ("Please ignore what is before 1:00. When is there a dog?", "A dog.", 60, 306.08),
    ("Discard the first minute, when is there a dog?", "A dog.", 60, 306.08),
    ("When is there a dog neither in the first nor in the last minute?", "A dog.", 60, 246.08),
    ("When is there a dog, neither during the first minute nor during the last minute?", "A dog.", 60, 246.08),
    ("When is there a dog if you ignore the first and the last minute?", "A dog.", 60, 246.08),
    ("When is there a dog in the first minute, ignoring the first ten seconds?", "A dog.", 10, 60),
    ("When is there a dog, ignoring anything after 1:00?", "A dog.", 0, 60),
    # the same verbs, said of somebody in the movie
    ("When does a man skip in the first minute?", "A man skip.", 0, 60),
    ("When does a man ignore the dog in the first minute?", "A man ignore the dog.", 0, 60),
    ("When does a man forget about it in the first minute?", "A man forget about it.", 0, 60),
    ("When does he say no in the first minute?", "He say no.", 0, 60),
    ("Is there a bar at 1:00?", "A bar.", 60, 60),
    ("When does he drop the ball in the first minute?", "He drop the ball.", 0, 60),
    ("When does he leave (between 30 and 50 seconds)?", "He leave.", 30, 50),
    ("In the first minute, not counting cats, when is there a dog?", "Not counting cats, when is there a dog.", 0, 60),
    # farther from a time, and nearer to it
    ("What happens over a minute before the end?", "", 0, 246.08),
    ("What happens less than a minute from the end?", "", 246.08, 306.08),
    ("What happens less than 30 seconds after 1:00?", "", 60, 90),
    ("What happens at least 30 seconds before 2:00?", "", 0, 90),
    ("What happens more than a minute after the second minute?", "", 180, 306.08),
    ("What happens over the 30 seconds before 2:00?", "", 90, 120),
    ("What happens in the next 30 seconds after 1:00?", "", 60, 90),
    ("What happens in the preceding 10 seconds before 1:00?", "", 50, 60),
    ("What happens from 0:50 through to the halfway point?", "", 50, 153.04),
    ("What happens from 1:00 up to three quarters?", "", 60, 229.56),
    ("What happens starting at 1:00 and ending at 1:30?", "", 60, 90),
    ("What happens with under a minute to go?", "", 246.08, 306.08),
    ("What happens with less than a minute left?", "", 246.08, 306.08),
    ("What happens with more than a minute left?", "", 0, 246.08),
    ("What happens in the third minute from the end?", "", 126.08, 186.08),
    ("What happens before the first minute is over?", "", 0, 60),
    ("What happens when the first half ends?", "", 153.04, 306.08),
    ("What happens in the last half min?", "", 276.08, 306.08),
    ("What happens in the 3rd min?", "", 120, 180),
    ("When do two men talk for a minute in the first half?", "Two men talk for a minute.", 0, 153.04),
    ("When do two men talk for a few seconds after 2:00?", "Two men talk for a few seconds.", 120, 306.08),
    ("What happens between 10% in and one minute in?", "", 30.608, 60),
    ("What happens between 10 seconds in and 20 seconds in?", "", 10, 20),
    ("What happens from a minute in to a minute before the end?", "", 60, 246.08),
    ("What happens >4:00?", "", 240, 306.08),
    ("In the first minute or so, is there a dog?", "A dog.", 0, 60),
    ("When is there a man in his thirties and at 1:00?", "A man in his thirties.", 60, 60),
    ("What happens from minute 1 until one and a half minutes?", "", 60, 90),
    ("What happens < 1:00?", "", 0, 60),
    ("What happens in the second half of the second half of the second half?", "", 267.82, 306.08),
    ("What happens in the minute between 2:00 and 3:00?", "", 120, 180),
    ("What happens 1:00 before the end?", "", 246.08, 246.08),
    ("What happens no less than 4 minutes in?", "", 240, 306.08),
    # from the halfway point
    ("What happens 15 seconds after the halfway point?", "", 168.04, 168.04),
    ("What happens 10 seconds before the halfway mark?", "", 143.04, 143.04),
    ("When is there a dog a minute after the middle of the video?", "A dog.", 213.04, 213.04),
    ("When is there a dog in the 20 seconds after the midpoint?", "A dog.", 153.04, 173.04),
    ("When is there a dog in the minute leading up to the halfway point?", "A dog.", 93.04, 153.04),
    ("What happens 10 seconds after the middle of the second minute?", "", 100, 100),
    # minutes and seconds without the word "seconds"
    ("When is there a dog from twenty seconds to a minute and ten?", "A dog.", 20, 70),
    ("When is there a dog between a minute and a minute and forty?", "A dog.", 60, 100),
    ("When is there a dog after two minutes and a quarter?", "A dog.", 135, 306.08),
    # short units, shares and signs
    ("When is there a dog in the first .5 min?", "A dog.", 0, 30),
    ("when does the dog show up in the first min", "The dog.", 0, 60),
    ("When is there a dog between 1:00 & 2:00?", "A dog.", 60, 120),
    ("When is there a dog btw 1:00 & 2:00?", "A dog.", 60, 120),
    ("When is there a dog 1:00 ~ 2:00?", "A dog.", 60, 120),
    ("When is there a dog ~2:30?", "A dog.", 150, 150),
    ("When is there a dog in 00:00:30,500 --> 00:01:10,250?", "A dog.", 30.5, 70.25),
    ("Who sings at the one-and-a-half-minute mark?", "Sings.", 90, 90),
    ("0:41 what color is the car?", "Color is the car.", 41, 41),
    # neither earlier nor later
    ("When does a child swim not earlier than 2:00 and not later than 3:00?", "A child swim.", 120, 180),
    ("When does a child swim not sooner than 2:00?", "A child swim.", 120, 306.08),
    ("When does a child swim for ten seconds in the third minute?", "A child swim for ten seconds.", 120, 180),
    ("When does a child swim during the minute that starts at 2:00?", "A child swim.", 120, 180),
    ("When does a child swim in the 30 seconds that follow 2:00?", "A child swim.", 120, 150),
    ("When does a child swim in the part of the video that comes after 2:00?", "A child swim.", 120, 306.08),
    ("When does a child swim in the rest of the movie, from 2:00 on?", "A child swim.", 120, 306.08),
    ("When the video is at 1:20, what is shown?", "", 80, 80),
    # the movie named before its part
    ("During the video's last minute, does a dog run?", "A dog run.", 246.08, 306.08),
    ("In this video's first minute, what happens?", "", 0, 60),
    ("At the movie's end, who sings?", "Sings.", 275.472, 306.08),
    # vague ends
    ("Tell me what happens in the closing seconds", "", 296.08, 306.08),
    ("When is there a dog in the opening seconds?", "A dog.", 0, 10),
    ("When is there a dog in the closing minutes?", "A dog.", 126.08, 306.08),
    ("How does the video end?", "", 275.472, 306.08),
    ("How does this movie begin?", "", 0, 30.608),
    # a part in a statement
    ("A dog runs in the first half", "A dog runs.", 0, 153.04),
    ("dog in first half", "Dog.", 0, 153.04),
    ("A dog in the second quarter", "A dog.", 76.52, 153.04),
    # chapters
    ("When is there a dog in the last chapter but one?", "A dog.", 200, 250),
    ("When is there a dog in ch. 2?", "A dog.", 60, 200),
    ("When is there a dog in chapter II?", "A dog.", 60, 200),
    ("When is there a dog before the third chapter begins?", "A dog.", 0, 200),
    ("When is there a dog after chapter 3 starts?", "A dog.", 200, 306.08),
    ("When is there a dog when chapter 3 starts?", "A dog.", 200, 200),
    ("When is there a dog in the chapter after chapter 2?", "A dog.", 200, 250),
    ("When is there a dog in the chapter before the last chapter?", "A dog.", 200, 250),
]  # fmt: skip


@pytest.mark.parametrize(("question", "statement", "start", "end"), RANGES, ids=[row[0] for row in RANGES])
def test_a_wording_restricts_a_question(question: str, statement: str, start: float, end: float) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(TIMELINE) == pytest.approx((start, end), abs=0.01)
    assert parsed.statement == statement and parsed.unread == ()


# question for a range and no more, start, end
SHOWN = [
    ("Show me the second minute", 60, 120),
    ("Show me the first half", 0, 153.04),
    ("Show the last 15 seconds", 291.08, 306.08),
    ("Show me from 1:00 to 1:30", 60, 90),
    ("Show me what happens from 1:00 to 1:30", 60, 90),
    ("Show 1 minute before the end", 246.08, 306.08),
    ("Show me 30 seconds before 2:00", 90, 120),
    ("Show me 30 seconds after 2:00", 120, 150),
    ("Show me the 30 seconds after 2:00", 120, 150),
    ("Show me 1:00", 60, 60),
    ("Show me minute three", 120, 180),
    ("Show me the third minute of the video", 120, 180),
    ("Show me the part from 1:00 to 2:00", 60, 120),
    ("Show me the part between 1:00 and 2:00", 60, 120),
    ("Show me the section from 1:00 to 2:00", 60, 120),
    ("Show me the first ten seconds of the second minute", 60, 70),
    ("Can you show me the last minute?", 246.08, 306.08),
    ("Could you play the first 20 seconds?", 0, 20),
    ("Play the video from 2:00", 120, 306.08),
    ("Play the video from 2:00 to 2:30", 120, 150),
    ("Give me the first 5 seconds of the movie", 0, 5),
    ("Cut out 1:00-1:30", 60, 90),
    ("Clip from 1:00 to 1:30", 60, 90),
    ("Extract the second half", 153.04, 306.08),
    ("I want to see the first minute", 0, 60),
    ("Let me see the first minute", 0, 60),
    ("I'd like to watch the last 30 seconds", 276.08, 306.08),
    ("Start at 2:00", 120, 306.08),
    ("Skip to 3:00", 180, 180),
    ("Take me to 3:00", 180, 180),
    ("Skip the first minute", 60, 306.08),
    ("Show everything except the first minute", 60, 306.08),
    ("Show me everything before 2:00", 0, 120),
    ("Show me everything after the first two minutes", 120, 306.08),
    ("Display 1:00–1:10", 60, 70),
    ("the second half", 153.04, 306.08),
    ("first minute", 0, 60),
    ("last 20 seconds", 286.08, 306.08),
    ("between 1:00 and 2:00", 60, 120),
    ("Show me 10 seconds around 1:00", 55, 65),
    ("Show me 1:00 +- 5 s", 55, 65),
    ("Skip ahead to 2:00", 120, 120),
    ("Show me the ending", 275.472, 306.08),
    ("Show me the beginning", 0, 30.608),
    ("Show me the middle of the video", 122.432, 183.648),
    ("Show me chapter 2", 60, 200),
    ("Show me the last chapter", 250, 306.08),
    ("Show me the last thing", 306.08, 306.08),
    ("Show me half of the video", 0, 153.04),
    ("Show me 1:00 for 20 seconds", 60, 80),
    ("Show me the video's first minute", 0, 60),
]  # fmt: skip


@pytest.mark.parametrize(("question", "start", "end"), SHOWN, ids=[row[0] for row in SHOWN])
def test_a_wording_asks_to_be_shown_a_range(question: str, start: float, end: float) -> None:
    parsed = parse(question)
    assert parsed.asks_for_range and parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(TIMELINE) == pytest.approx((start, end), abs=0.01)


# question, fact, start and end of the part that it is about
PART_FACTS = [
    ("When does the second minute start?", "start", 60, 120),
    ("When does the second half begin?", "start", 153.04, 306.08),
    ("When does the first half end?", "end", 0, 153.04),
    ("When does the last minute begin?", "start", 246.08, 306.08),
    ("At what time does the third quarter start?", "start", 153.04, 229.56),
    ("When is the end of the first half?", "end", 0, 153.04),
    ("When is the start of the second minute?", "start", 60, 120),
    ("How long is the first half?", "length", 0, 153.04),
    ("How long is the sixth minute?", "length", 300, 306.08),
    ("How long is the first quarter of the video?", "length", 0, 76.52),
    ("How long does the first half last?", "length", 0, 153.04),
    ("How many seconds are left after 0:08?", "length", 8, 306.08),
    ("How much time is left at the two-minute mark?", "length", 120, 306.08),
    ("After 1:00, how much of the video remains?", "length", 60, 306.08),
    ("How many minutes are still to go after the first half?", "length", 153.04, 306.08),
    ("How long is it until the end from 2:00?", "length", 120, 306.08),
    ("How many seconds have passed at 0:08?", "length", 0, 8),
    ("How long is it from 1:00 to 2:30?", "length", 60, 150),
    ("How many seconds are there between 0:10 and 0:25?", "length", 10, 25),
    ("How long are the first two thirds?", "length", 0, 204.053),
    ("When is the halfway point?", "start", 153.04, 306.08),
    ("Where is the middle of the video?", "start", 153.04, 306.08),
    ("How long is chapter 2?", "length", 60, 200),
    ("When does the last chapter start?", "start", 250, 306.08),
]  # fmt: skip


@pytest.mark.parametrize(("question", "fact", "start", "end"), PART_FACTS, ids=[row[0] for row in PART_FACTS])
def test_facts_about_a_part(question: str, fact: str, start: float, end: float) -> None:
    parsed = parse(question)
    assert parsed.fact == fact and parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(TIMELINE) == pytest.approx((start, end), abs=0.01)


# question, statement, the intervals that it is restricted to
PARTS = [
    ("What happens outside the second minute?", "", [(0, 60), (120, LENGTH)]),
    ("What happens outside 1:00-2:00?", "", [(0, 60), (120, LENGTH)]),
    ("When is there a dog other than between 0:40 and 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog not between 0:40 and 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog, not from 0:40 to 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog outside 0:40-1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog outside of 0:40 to 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog except between 0:40 and 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("Except from 0:40 to 1:10, when is there a dog?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("Ignoring 0:40 to 1:10, when is there a dog?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("Skip 0:40-1:10. When is there a dog?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog, apart from the middle minute?", "A dog.", [(0, 123.04), (183.04, LENGTH)]),
    ("Everywhere but between 0:40 and 1:10, when is there a dog?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("What happens between 1:00 and 2:00 except from 1:20 to 1:30?", "", [(60, 80), (90, 120)]),
    ("What happens in the first half but not in the second minute?", "", [(0, 60), (120, 153.04)]),
    ("What happens between 1:00 and 2:00 but not after 1:30?", "", [(60, 90)]),
    ("What happens except in minutes 2 and 4?", "", [(0, 60), (120, 180), (240, LENGTH)]),
    ("What happens in minutes 1 and 4?", "", [(0, 60), (180, 240)]),
    ("What happens in minutes 1, 3 and 5?", "", [(0, 60), (120, 180), (240, 300)]),
    ("What happens in the first and last minute?", "", [(0, 60), (246.08, LENGTH)]),
    ("What happens in the first and the last ten seconds?", "", [(0, 10), (296.08, LENGTH)]),
    ("What happens in the first minute and the last one?", "", [(0, 60), (246.08, LENGTH)]),
    ("What happens in the second and fourth minutes?", "", [(60, 120), (180, 240)]),
    ("What happens in the first, third and fourth quarters?", "", [(0, 76.52), (153.04, LENGTH)]),
    ("What happens in the first minute and in the last 30 seconds?", "", [(0, 60), (276.08, LENGTH)]),
    ("What happens at the beginning and at the end?", "", [(0, 30.608), (275.472, LENGTH)]),
    ("What happens at 1:00 and 2:00?", "", [(60, 60), (120, 120)]),
    ("What happens at 1:00 or 2:00?", "", [(60, 60), (120, 120)]),
    ("What happens at 0:20, 1:20 and 2:20?", "", [(20, 20), (80, 80), (140, 140)]),
    ("What happens from 0:10 to 0:20, 0:40-0:50 and in the fifth minute?", "", [(10, 20), (40, 50), (240, 300)]),
    ("Is there a dog between 0:10 and 0:20 or between 0:40 and 0:50?", "A dog.", [(10, 20), (40, 50)]),
    ("When is there a dog, neither in the first minute nor in the last one?", "A dog.", [(60, 246.08)]),
    ("When is there a dog outside the first and the last minute?", "A dog.", [(60, 246.08)]),
    ("Show me everything except 1:00-2:00", "", [(0, 60), (120, LENGTH)]),
    ("Leaving out the stretch between 0:40 and 1:10, when is there a dog?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog before 0:40 or after 1:10?", "A dog.", [(0, 40), (70, LENGTH)]),
    ("When is there a dog in either the first or the last minute?", "A dog.", [(0, 60), (246.08, LENGTH)]),
    ("Is there a dog both in the first minute and at 2:00?", "A dog.", [(0, 60), (120, 120)]),
    ("What happens outside chapter 2?", "", [(0, 60), (200, LENGTH)]),
    ("In chapters 2 and 4, is there a dog?", "A dog.", [(60, 200), (250, LENGTH)]),
    ("What happens in the first and the last chapter?", "", [(0, 60), (250, LENGTH)]),
    ("What happens in chapters 1 and 2?", "", [(0, 200)]),
    ("When is there a dog in the first 20 and last 20 seconds?", "A dog.", [(0, 20), (286.08, LENGTH)]),
    ("Show me the first 10 and the last 10 seconds", "", [(0, 10), (296.08, LENGTH)]),
    ("When is there a dog in the first ten and last five seconds?", "A dog.", [(0, 10), (301.08, LENGTH)]),
    ("When is there a dog in the first 10 and the last 20 percent?", "A dog.", [(0, 30.608), (244.864, LENGTH)]),
    ("When is there a dog in the second minute and again after four minutes?", "A dog.", [(60, 120), (240, LENGTH)]),
    ("When is there a dog first in the second minute and then in the fourth?", "A dog.", [(60, 120), (180, 240)]),
    ("When does a child swim at 30, 60 and 90 seconds?", "A child swim.", [(30, 30), (60, 60), (90, 90)]),
    ("When does a child swim at two, three and four minutes?", "A child swim.", [(120, 120), (180, 180), (240, 240)]),
    ("When does a child swim 2 or 3 minutes in?", "A child swim.", [(120, 120), (180, 180)]),
    ("When is there a dog between 10 and 20 or between 40 and 50 seconds?", "A dog.", [(10, 20), (40, 50)]),
    ("What happens in the first minute, in the third and in the last?", "", [(0, 60), (120, 180), (246.08, LENGTH)]),
    ("What happens in chapter 4 after 4:20?", "", [(260, LENGTH)]),
    ("What happens in chapter 2 before 2:00?", "", [(60, 120)]),
    ("When is there a dog at one and three minutes?", "A dog.", [(60, 60), (180, 180)]),
    ("When is there a dog around 1:00 and around 4:00?", "A dog.", [(60, 60), (240, 240)]),
    ("When is there a dog in every chapter but the first?", "A dog.", [(60, LENGTH)]),
    ("When is there a dog in all chapters except the last?", "A dog.", [(0, 250)]),
    ("When is there a dog in all chapters except the second?", "A dog.", [(0, 60), (200, LENGTH)]),
]


@pytest.mark.parametrize(("question", "statement", "intervals"), PARTS, ids=[row[0] for row in PARTS])
def test_a_question_is_restricted_to_several_parts(
    question: str, statement: str | None, intervals: list[tuple[float, float]]
) -> None:
    parsed = parse(question)
    _, restricted = restrict_graph(GRAPH, parsed.relation)
    assert restricted is not None and parsed.unread == ()
    assert [time for interval in restricted[""] for time in interval] == pytest.approx(
        [time for interval in intervals for time in interval], abs=0.01
    )
    assert statement is None or parsed.statement == statement


@pytest.mark.parametrize(
    "question", ["in chapter 9", "in the chapter after chapter 4", "in the chapter before chapter 1"]
)
def test_a_chapter_that_is_not_there_is_a_sentence(question: str) -> None:
    with pytest.raises(NothingFound, match="The video has 4 chapters"):
        restrict_graph(GRAPH, parse(f"When is there a dog {question}?").relation)


UNREAD = [
    "What happens at the 2.30 mark?",
    "What happens at half past the third minute?",
    "What happens at a quarter past two?",
    "What happens at noon?",
    "What happens at 7 a.m.?",
    "What happens at 10 o'clock?",
    "What happens at 1:99?",
    "What happens at 61:75?",
    "What happens in the first 20 frames?",
    "What happens at frame 1200?",
    "What happens in the last five blinks?",
    "What happens at 12.5?",
    "What happens around 90?",
    "What happens after 90?",
    "What happens every 30 seconds?",
    "What happens at midnight?",
    "What happens before 7?",
    "What happens 5 seconds ago?",
    "What happens in 10 seconds?",
    "What happens in the last -5 seconds?",
    "What happens -0:05?",
    "When does a dog bark later on?",
    "What happens at minute?",
    "What happens at the hour?",
    "What happens on the hour?",
    "What happens every minute?",
    "What happens on day two?",
    "What happens on the second day?",
    "What is on the table at the end of day two?",
    "What happens before midnight?",
    "What happens in week 3?",
    "What happens between 5 and 10?",
    "What happens from 5 to 10?",
    "What happens in the first 20?",
    "When does a dog bark a minute or two in?",
    "What happens in the 0th minute?",
    "What happens in the minus first minute?",
    # words near a unit of time
    "When is there a dog in the frist minute?",
    "When is there a dog in the first frist minute?",
    "When is there a dog in the 1rst minute?",
    "When is there a dog in the first mintue?",
    "When is there a dog in the first minite?",
    "When is there a dog during the third mintues?",
    "When is there a dog in the lst minute?",
    "When is there a dog in the second minut?",
    "When is there a dog in the frist second?",
    "When is there a dog within ten secodns of the movie?",
    "What happens in the first millisecond?",
    "What happens in the first score of seconds?",
    "What happens at1:15?",
    "What happens in the first half of chapter 4 but not in its first ten seconds?",
    # the calendar
    "When is there a dog two days ago?",
    "When is there a dog three months ago?",
    "When is there a dog last week?",
    "When was there a dog yesterday?",
    "Tell me what happened two weeks ago",
    # chapters that there are none of
    "When is there a dog in chapter 0?",
    "When is there a dog in every odd chapter?",
    # more than the last of several
    "What happens within a minute of a dog jumping?",
    "When is there a dog from two minutes and a quarter to three?",
    "When is there a dog in the first minute or two?",
    "When is there a dog at 10 or after 30 seconds?",
    "When is there a dog between the first and second chapter?",
]  # fmt: skip


@pytest.mark.parametrize("question", UNREAD)
def test_a_time_that_is_no_range_is_reported(question: str) -> None:
    parsed = parse(question)
    assert parsed.unread and (parsed.relation is None or not parsed.relation.restricts)


# question, statement, start, end, and what is said not to have been understood
READ_IN_PART = [
    ("When is there a dog yesterday at 2:00?", "A dog yesterday.", 120, 120, "yesterday"),
    ("In the first minute, when is there a dog in the frist second?", None, 0, 60, "in the frist second"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "statement", "start", "end", "unread"), READ_IN_PART)
def test_a_time_beside_one_that_is_read_is_reported(
    question: str, statement: str | None, start: float, end: float, unread: str
) -> None:
    parsed = parse(question)
    assert parsed.unread == (unread,) and parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(TIMELINE) == pytest.approx((start, end), abs=0.01)
    assert statement is None or parsed.statement == statement


@pytest.mark.parametrize(
    "question",
    [
        "When is there a dog from two minutes and a quarter to three?",
        "When is there a dog at 10 or after 30 seconds?",
        "When is there a dog between the first and second chapter?",
    ],
)
def test_times_of_which_one_is_not_read_leave_the_statement_together(question: str) -> None:
    parsed = parse(question)
    assert parsed.statement == "A dog." and len(parsed.unread) == 1


# question whose time may be excluded by the words beside it, and what is said not to have been understood
OPPOSED = [
    ("When is there a dog unless it is in the first minute?", "unless it is in the first minute"),
    ("When is there a dog sooner than in the first minute?", "sooner than in the first minute"),
    ("When is there a dog, having eliminated the first minute?", "having eliminated the first minute"),
    ("When is there a dog, no first minute please?", "no first minute"),
    ("When is there a dog, regardless of the first minute?", "regardless of the first minute"),
    ("When is there a dog irrespective of the second half?", "irrespective of the second half"),
    ("When is there a dog if the first minute doesn't matter?", "if the first minute doesn't matter"),
    ("I don't care about the first minute. When is there a dog?", "I don't care about the first minute"),
    ("I'm not interested in the first minute, when is there a dog?", "I'm not interested in the first minute"),
    ("When is there a dog, nothing about the first minute dismissed?", "nothing about the first minute dismissed"),
    ("When is there a dog (the first minute doesn't count)?", "the first minute doesn't count"),
    ("Subtracting the first minute, when is there a dog?", "Subtracting the first minute"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "unread"), OPPOSED, ids=[row[0] for row in OPPOSED])
def test_words_that_oppose_a_time_leave_the_statement_with_it(question: str, unread: str) -> None:
    parsed = parse(question)
    assert parsed.unread == (unread,) and parsed.statement == "A dog." and parsed.relation is None


OFFSETS = [
    ("Is there a car in the minute after a woman sings?", "after", (0.0, 60.0)),
    ("Is there a car in the ten seconds after a woman sings?", "after", (0.0, 10.0)),
    ("What happens 5 seconds before a dog barks?", "before", (5, 5)),
    ("What happens five seconds after the dog barks?", "after", (5, 5)),
    ("5 s after the dog barks, what does the man do?", "after", (5, 5)),
    ("What happens a minute after a dog barks?", "after", (60, 60)),
    ("What happens at most 10 seconds after a dog barks?", "after", (0, 10)),
    ("What happens at least 10 seconds before a dog barks?", "before", (10, math.inf)),
    ("What happens in the minute after a dog barks?", "after", (0, 60)),
    ("What happens half a minute after the dog barks?", "after", (30, 30)),
    ("What happens 1m30s after the dog barks?", "after", (90, 90)),
    ("When does a man jump 10 seconds after a dog barks?", "after", (10, 10)),
    ("What happens up to 20 seconds before a dog barks?", "before", (0, 20)),
    ("What happens no more than 20 seconds before a dog barks?", "before", (0, 20)),
    ("What happens between 5 and 10 seconds after a dog barks?", "after", (5, 10)),
    ("What happens 5 to 10 seconds after a dog barks?", "after", (5, 10)),
    ("What happens 5-10 seconds after a dog barks?", "after", (5, 10)),
    ("What happens two minutes and ten seconds after a dog barks?", "after", (130, 130)),
    ("What happens in the 10 seconds after a dog barks in the first half?", "after", (0, 10)),
    ("What happens in the first half 10 seconds after a dog barks?", "after", (10, 10)),
    ("What happens right after a dog barks?", "after", None),
    ("What happens just before a dog barks?", "before", None),
    ("What happens 0:30 after a dog jumps?", "after", (30, 30)),
    ("Two minutes after a dog jumps, does a man skateboard?", "after", (120, 120)),
    ("Ten seconds before a man skateboards, is there a dog?", "before", (10, 10)),
]  # fmt: skip


@pytest.mark.parametrize(("question", "kind", "offset"), OFFSETS, ids=[row[0] for row in OFFSETS])
def test_wordings_of_distances_from_an_event(question: str, kind: str, offset: tuple[float, float] | None) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.unread == ()
    assert (parsed.relation.kind, parsed.relation.offset) == (kind, offset)


NO_TIMES = [
    "When does the man take second place?",
    "When do the first two men arrive?",
    "When does the last runner finish?",
    "When is the second half of the apple eaten?",
    "When does he ride a half pipe?",
    "When does a man reach the end of the tunnel?",
    "When does the middle child cry?",
    "When does a woman open the first door?",
    "When is the 5 km sign shown?",
    "When does a team score 3 goals?",
    "When do 60 people stand up?",
    "When is the number 10 on a shirt?",
    "When is the 12 m board shown?",
    "When does the train at the front start?",
    "When does the show end with fireworks?",
    "When do two of three quarters fall on the floor?",
    "When does he put a quarter in the machine?",
    "When does the final whistle blow?",
    "When does the opening ceremony begin?",
    "When is a cat in the middle of two dogs?",
    "When does the 2020 election poster appear?",
    "When does the man start at the end of the queue?",
    "When does she say \"two minutes to go\"?",
    "When does a sign read 'back in 5 minutes'?",
    "When is a first aid kit shown?",
    "When does the second hand tick?",
    "When do three men walk through a third door?",
    "When does the early bird catch a worm?",
    "When does the 4 by 100 relay happen?",
    "When does he do a half turn?",
    "When does a man run for 10 seconds?",
    "When does a man run for more than ten seconds?",
    "When does she wait for about a minute?",
    "A man runs for ten seconds.",
    "When does she run a 10 minute mile?",
    "When does a 30-second ad play?",
    "When do they come in second?",
    "When is the day sunny?",
    "When do they count from 1 to 10?",
    "When does she get up early on Monday?",
    "When does a man wear a size -5 lens?",
    "When does a dog follow the first man?",
    "Show me the end of the race",
    "Show me the opening ceremony",
    "When is the middle child crying?",
    "When does he read chapter 2?",
    "When does a man tear a part of a page?",
    "When are there twenty people in 1 thirty-foot boat?",
    "When do we see two twenty dollar bills?",
    "When does a dog bark in 2019?",
    "When does a dog bark on Monday?",
    "When does he drive the car that was built in 1999?",
    "What happens in the second half of 2019?",
    "Who sings on Monday morning?",
    "When does a man eat a half-eaten apple?",
    "When does a woman enter a second-hand shop?",
    "When does he come in a close second?",
    "When do they dance in the minuet?",
    "When does a car drive at 100 km an hour?",
    "When does the wheel turn at 5 turns per minute?",
    "When does he read in a book with many chapters?",
    "When does a man in glasses read chapter two?",
    "When does a man in a red hat wait for ten seconds?",
    "When does a woman say that she left two days ago?",
    "When does a sign say 'in the frist minute'?",
    "When does a child go back for seconds?",
    "When does player 7 and number 9 meet?",
    "When does a woman mint a coin in the minor mine?",
    "When does she arrive in a minute?",
    "When is the last week of school celebrated?",
]  # fmt: skip


@pytest.mark.parametrize("question", NO_TIMES)
def test_such_words_are_no_time(question: str) -> None:
    parsed = parse(question)
    assert parsed.unread == () and (parsed.relation is None or not parsed.relation.restricts)


@pytest.mark.parametrize("ahead", [0, 600, 1200, 1700])
def test_a_time_anywhere_in_a_long_question_is_read(ahead: int) -> None:
    words = "the man who walks his brown dog along a quiet street and says hello to all of them "
    before, behind = (words * 40)[:ahead].rsplit(" ", 1)[0], (words * 40)[: MAX_QUESTION - 100 - ahead]
    question = f"What does {before} do between 1:00 and 2:00 with {behind}?"
    parsed = parse(question)
    assert parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(LENGTH) == (60, 120) and parsed.unread == ()
    assert parse(question.replace("between 1:00 and 2:00", "at 5 pm")).unread == ("5 pm",)

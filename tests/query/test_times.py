"""Times in questions: the range that each is restricted to, in a movie of 306.08 s, and what is no time at all."""

from __future__ import annotations

import pytest

from chunkv2l.query.parse import parse
from chunkv2l.query.time_ranges import Moment, TimeRange

LENGTH = 306.08
END = LENGTH

# question, statement that is looked for, start, end
RANGES = [
    # a range between two times
    ("When does a rabbit eat a watermelon between 2:00 and 3:00?", "A rabbit eat a watermelon.", 120, 180),
    ("When does a rabbit eat a watermelon between 2:00-3:00?", "A rabbit eat a watermelon.", 120, 180),
    ("When does a rabbit eat between 2:00 – 3:00?", "A rabbit eat.", 120, 180),
    ("When does a rabbit eat from 2:00 to 3:00?", "A rabbit eat.", 120, 180),
    ("When does a rabbit eat from 2:00 until 3:00?", "A rabbit eat.", 120, 180),
    ("From 2:00 till 3:00, who sings?", "Sings.", 120, 180),
    ("Between 1:10 and 1:20 what does the man do?", "The man do.", 70, 80),
    ("What does the man do between 1:00 and 2:00 with the ball?", "The man do with the ball.", 60, 120),
    ("What happens from 1m30s to 2m?", "", 90, 120),
    ("What happens from 1:30 through 2:00?", "", 90, 120),
    ("What happens between minute 3 and minute 5?", "", 180, 300),
    ("When does a rabbit eat a watermelon between minutes 3 and 5?", "A rabbit eat a watermelon.", 180, 300),
    ("What happens in minutes 3 to 5?", "", 180, 300),
    ("What happens between 3 and 5 minutes?", "", 180, 300),
    ("What happens between three and five minutes?", "", 180, 300),
    ("What happens from 10 to 20 seconds?", "", 10, 20),
    ("What happens between the 10 and 20 second marks?", "", 10, 20),
    ("What happens between seconds 10 and 20?", "", 10, 20),
    ("What happens 10-20 seconds in the video?", "", 10, 20),
    ("What happens between one minute and 90 seconds?", "", 60, 90),
    ("What happens between a minute and two minutes?", "", 60, 120),
    ("What happens from one minute and ten seconds to two minutes and five seconds?", "", 70, 125),
    ("What happens between the second and third minute?", "", 60, 180),
    ("What happens between the second minute and the fourth minute?", "", 60, 240),
    ("What happens from the middle to the end?", "", 153.04, END),
    ("What happens from the beginning to 1:00?", "", 0, 60),
    ("What happens from the start until the two-minute mark?", "", 0, 120),
    ("What happens from 4:00 to the end of the video?", "", 240, END),
    ("What happens from 10% to 20% of the video?", "", 30.608, 61.216),
    ("What happens between 10 and 20 percent?", "", 30.608, 61.216),
    ("What happens from 00:00:30 to 00:01:00?", "", 30, 60),
    ("What happens from 00:00:30,500 to 00:01:00,250?", "", 30.5, 60.25),
    ("What happens from 3:00 to 2:00?", "", 120, 180),
    ("What happens 00:35-00:50?", "", 35, 50),
    ("00:35-00:50: what happens?", "", 35, 50),
    ("What happens from 0'30\" to 1'05\"?", "", 30, 65),
    ("In between 1:00 and 2:00, is there a dog?", "A dog.", 60, 120),
    # from a time on
    ("When does a rabbit eat a watermelon from 2:00 onwards?", "A rabbit eat a watermelon.", 120, END),
    ("When does a rabbit eat from 2:00 on?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat from 2:00?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat starting at 2:00?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat starting from minute two?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat since 2:00?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat after 2:00?", "A rabbit eat.", 120, END),
    ("When does a rabbit eat past the two-minute mark?", "A rabbit eat.", 120, END),
    ("What happens after the 3-minute mark?", "", 180, END),
    ("What happens after minute 3?", "", 180, END),
    ("What happens after three minutes?", "", 180, END),
    ("After ten seconds, who sings?", "Sings.", 10, END),
    ("After the first ten seconds, who sings?", "Sings.", 10, END),
    ("What happens after the first minute and a half?", "", 90, END),
    ("What happens after the first half?", "", 153.04, END),
    ("What happens later than 4:10?", "", 250, END),
    ("What happens from halfway on?", "", 153.04, END),
    ("What happens after 50%?", "", 153.04, END),
    ("What happens from the second half onwards?", "", 153.04, END),
    # up to a time
    ("When does a rabbit eat before 2:00?", "A rabbit eat.", 0, 120),
    ("When does a rabbit eat until 2:00?", "A rabbit eat.", 0, 120),
    ("When does a rabbit eat till minute 2?", "A rabbit eat.", 0, 120),
    ("When does a rabbit eat up to 1:30?", "A rabbit eat.", 0, 90),
    ("When does a rabbit eat up until 1:30?", "A rabbit eat.", 0, 90),
    ("When does a rabbit eat by 2:00?", "A rabbit eat.", 0, 120),
    ("What happens before the 45 second mark?", "", 0, 45),
    ("What happens before the last minute?", "", 0, 246.08),
    ("What happens until the last 30 seconds?", "", 0, 276.08),
    ("What happens before the second half?", "", 0, 153.04),
    ("Before 1 minute 20 seconds, is there a dog?", "A dog.", 0, 80),
    # a point
    ("What happens at the 1:00 mark?", "", 60, 60),
    ("What happens at 60 seconds?", "", 60, 60),
    ("What happens at 2m30s?", "", 150, 150),
    ("What happens at 2m30?", "", 150, 150),
    ("What happens at 2:15?", "", 135, 135),
    ("At 2:15, what happens?", "", 135, 135),
    ("2:15, what happens?", "", 135, 135),
    ("What happens 2:15?", "", 135, 135),
    ("Does the man, at 2:15, hold a cup?", "The man hold a cup.", 135, 135),
    ("What does the man at 2:15 hold?", "The man hold.", 135, 135),
    ("What happens at exactly 2:15?", "", 135, 135),
    ("What happens at about 2:15?", "", 135, 135),
    ("What happens around the two-minute mark?", "", 120, 120),
    ("What happens around 2:00?", "", 120, 120),
    ("What happens near minute 4?", "", 240, 240),
    ("What happens at min 4?", "", 240, 240),
    ("min 4: what happens?", "", 180, 240),
    ("What happens at t=35?", "", 35, 35),
    ("What happens at t = 35s?", "", 35, 35),
    ("t=1:35, who sings?", "Sings.", 95, 95),
    ("What happens @ 2:15?", "", 135, 135),
    ("What happens at timestamp 2:15?", "", 135, 135),
    ("What happens at timecode 00:02:15?", "", 135, 135),
    ("What happens at the one minute mark?", "", 60, 60),
    ("What happens at the minute mark?", "", 60, 60),
    ("What happens at minute 2 second 30?", "", 150, 150),
    ("What happens at one minute thirty seconds?", "", 90, 90),
    ("What happens at one and a half minutes?", "", 90, 90),
    ("What happens at 1.5 minutes?", "", 90, 90),
    ("What happens at 1½ minutes?", "", 90, 90),
    ("What happens at 0:00:42.5?", "", 42.5, 42.5),
    ("What happens 30 seconds in?", "", 30, 30),
    ("30 seconds in, what happens?", "", 30, 30),
    ("What happens a minute and a half in?", "", 90, 90),
    ("What happens two minutes into the video?", "", 120, 120),
    ("Two minutes into it, what happens?", "", 120, 120),
    ("What happens 30 seconds before the end?", "", 276.08, 276.08),
    ("What happens two minutes before the end of the video?", "", 186.08, 186.08),
    ("What happens 30 seconds from the end?", "", 276.08, 276.08),
    ("What happens with 30 seconds left?", "", 276.08, 276.08),
    ("With a minute to go, what happens?", "", 246.08, 246.08),
    ("What do we see twenty seconds from the end?", "", 286.08, 286.08),
    ("What do we see 20 seconds from the end?", "", 286.08, 286.08),
    ("What can you see twenty seconds from the end?", "", 286.08, 286.08),
    ("What can be seen twenty seconds from the end?", "", 286.08, 286.08),
    ("What is shown 20 seconds from the end?", "", 286.08, 286.08),
    ("What is there to see twenty seconds before the end?", "", 286.08, 286.08),
    ("What do we watch a minute before the end?", "", 246.08, 246.08),
    ("What does it show ten seconds before the end?", "", 296.08, 296.08),
    ("What do they show ten seconds after 1:00?", "", 70, 70),
    ("What does the band play ten seconds after 1:00?", "The band play.", 70, 70),
    ("What happens 20 seconds after the start?", "", 20, 20),
    ("What happens 20 seconds from the beginning?", "", 20, 20),
    ("What happens 30 seconds after 1:00?", "", 90, 90),
    ("What happens ten seconds before the two-minute mark?", "", 110, 110),
    ("What happens at 50%?", "", 153.04, 153.04),
    ("What happens at the 50% mark?", "", 153.04, 153.04),
    ("What happens 25% into the movie?", "", 76.52, 76.52),
    ("What happens halfway through?", "", 153.04, 153.04),
    ("What happens halfway through the video?", "", 153.04, 153.04),
    ("What happens halfway?", "", 153.04, 153.04),
    ("What happens at the halfway point?", "", 122.432, 183.648),
    ("What happens two thirds of the way through?", "", 204.0533, 204.0533),
    ("A third of the way into the video, what happens?", "", 102.0267, 102.0267),
    ("What happens right before 1:00?", "", 50, 60),
    ("What happens just before the 1:00 mark?", "", 50, 60),
    ("What happens right after 1:00?", "", 60, 70),
    ("What happens immediately after the start?", "", 0, 10),
    ("What happens right before the end?", "", 296.08, END),
    # a length at the beginning, the end, the middle
    ("What happens in the first minute?", "", 0, 60),
    ("What happens during the very first minute of the video?", "", 0, 60),
    ("What happens in the first ten seconds?", "", 0, 10),
    ("What happens in the first 2 minutes and 30 seconds?", "", 0, 150),
    ("When does a rabbit eat a watermelon in the first minute and a half?", "A rabbit eat a watermelon.", 0, 90),
    ("What happens in the first half-minute?", "", 0, 30),
    ("What happens in the first half minute?", "", 0, 30),
    ("What happens in the first half a minute?", "", 0, 30),
    ("What happens within the first couple of minutes?", "", 0, 120),
    ("What happens in the first few seconds?", "", 0, 3),
    ("What happens in the opening minute?", "", 0, 60),
    ("What happens over the initial 20 s?", "", 0, 20),
    ("What happens in the last minute?", "", 246.08, END),
    ("What happens in the last 1 minute?", "", 246.08, END),
    ("In the last half minute, what happens?", "", 276.08, END),
    ("During the final 90 s, who sings?", "Sings.", 216.08, END),
    ("What happens in the closing minute?", "", 246.08, END),
    ("What happens for the last twenty-five seconds?", "", 281.08, END),
    ("What happens in the middle 20 seconds?", "", 143.04, 163.04),
    ("What happens in the first ten-second stretch?", "", 0, 10),
    ("Is there a dog in the sixth ten-second block?", "A dog.", 50, 60),
    ("Is there a dog in the sixth ten-second slot?", "A dog.", 50, 60),
    ("Count the cars up to 3:30", "Cars.", 0, 210),
    ("What happens in the first hundred seconds?", "", 0, 100),
    ("What happens after a hundred seconds?", "", 100, END),
    ("What happens in the first two hundred seconds?", "", 0, 200),
    ("What happens at a hundred and ten seconds?", "", 110, 110),
    ("What happens from one minute thirty to two minutes?", "", 90, 120),
    ("What happens from 2 minutes 15 to 2 minutes 45?", "", 135, 165),
    ("What happens at one minute thirty?", "", 90, 90),
    # the nth
    ("What happens in the second minute?", "", 60, 120),
    ("What happens in the 2nd minute?", "", 60, 120),
    ("What happens in minute 2?", "", 60, 120),
    ("What happens during minute two?", "", 60, 120),
    ("What happens at the third minute?", "", 120, 180),
    ("In the third minute, who sings?", "Sings.", 120, 180),
    ("What happens in the third 30 seconds?", "", 60, 90),
    ("What happens in the penultimate minute?", "", 186.08, 246.08),
    ("What happens in the second-to-last minute?", "", 186.08, 246.08),
    ("What happens in the second to last minute of the video?", "", 186.08, 246.08),
    # shares
    ("When does a cat and a monkey play in the second half?", "A cat and a monkey play.", 153.04, END),
    ("When in the second half does a dog bark?", "A dog bark.", 153.04, END),
    ("What happens in the 1st half of the movie?", "", 0, 153.04),
    ("What happens in the last quarter?", "", 229.56, END),
    ("What happens in the third quarter?", "", 153.04, 229.56),
    ("What happens in the first third of the video?", "", 0, 102.0267),
    ("What happens in the middle third?", "", 102.0267, 204.0533),
    ("What happens in the first two thirds?", "", 0, 204.0533),
    ("What happens in the final tenth?", "", 275.472, END),
    ("What happens in the first 10%?", "", 0, 30.608),
    ("What happens in the first ten percent of the video?", "", 0, 30.608),
    ("When does a rabbit eat a watermelon in the last 10% of the video?", "A rabbit eat a watermelon.", 275.472, END),
    ("What happens in the first 1/4 of the video?", "", 0, 76.52),
    # places
    ("What happens at the beginning?", "", 0, 30.608),
    ("What happens near the start of the video?", "", 0, 30.608),
    ("What happens towards the end?", "", 275.472, END),
    ("What happens at the very end of the movie?", "", 275.472, END),
    ("What happens around the middle?", "", 122.432, 183.648),
    ("In the middle of the video, what happens?", "", 122.432, 183.648),
    ("What happens early in the video?", "", 0, 102.0267),
    ("What happens late in the film?", "", 204.0533, END),
    # parts of parts, and beside a time
    ("What happens in the first 10 seconds of the second minute?", "", 60, 70),
    ("What happens in the last 10 seconds of minute 2?", "", 110, 120),
    ("What happens in the first minute of the second half?", "", 153.04, 213.04),
    ("What happens at the end of the first minute?", "", 54, 60),
    ("What happens in the minute before 3:00?", "", 120, 180),
    ("What happens in the 30 seconds after 2:00?", "", 120, 150),
    ("What happens in the last minute before 3:00?", "", 120, 180),
    ("What happens in the first ten seconds after the 2 minute mark?", "", 120, 130),
    ("What happens within 10 seconds of 2:00?", "", 110, 130),
    ("What happens in the 30 seconds before the end?", "", 276.08, END),
    ("What happens in the minute before the end of the video?", "", 246.08, END),
    ("What happens in the 30 seconds after the start?", "", 0, 30),
    ("What happens in the last minute before the end?", "", 246.08, END),
    # a length from a time on
    ("What happens from 1:00 for 30 seconds?", "", 60, 90),
    ("What happens after 1:00 for the next 30 seconds?", "", 60, 90),
    ("What happens for 20 seconds starting at 1:10?", "", 70, 90),
    ("What happens in the first 0:20?", "", 0, 20),
    ("What happens in the last 1:20?", "", 226.08, END),
    # both bounds
    ("What happens after 1:00 but before 1:30?", "", 60, 90),
    ("What happens before 1:30 but after 1:00?", "", 60, 90),
    ("After 1:00 and before 1:30, who sings?", "Sings.", 60, 90),
    ("What happens after the first minute and before the third minute?", "", 60, 120),
    ("What happens after 1:00, but not after 1:30?", "", 60, 90),
    # up to a part, and up to its end
    ("What happens up to the first minute?", "", 0, 60),
    ("What happens until the first half?", "", 0, 153.04),
    ("What happens up to the second minute?", "", 0, 60),
    ("What happens up to and including the second minute?", "", 0, 120),
    ("What happens until the end of the second minute?", "", 0, 120),
    ("What happens through the end of minute 2?", "", 0, 120),
    ("What happens before the start of the third minute?", "", 0, 120),
    ("What happens after the end of the first minute?", "", 60, END),
    # what is left of the movie
    ("What happens outside the first minute?", "", 60, END),
    ("What happens except in the first minute?", "", 60, END),
    ("What happens not in the first minute?", "", 60, END),
    ("When does a dog bark, but not in the last minute?", "A dog bark.", 0, 246.08),
    ("What happens outside of the second half?", "", 0, 153.04),
    ("What happens not until 2:00?", "", 120, END),
    ("What happens after the first minute but not in the last minute?", "", 60, 246.08),
    # neighbours by their numbers
    ("What happens during minutes one and two?", "", 0, 120),
    ("What happens in minutes 2 and 3?", "", 60, 180),
    ("What happens in minutes 2, 3 and 4?", "", 60, 240),
    # words in quotation marks beside a time
    ('When does he say "stop at 5:30" in the first minute?', 'He say "stop at 5:30".', 0, 60),
    ("When does a man say 'don't go' in the first minute?", "A man say 'don't go'.", 0, 60),
    # statements that name a time beyond doubt
    ("a rabbit in the first 10 seconds", "A rabbit.", 0, 10),
    ("rabbit between 1:00 and 2:00", "Rabbit.", 60, 120),
    ("a dog barks at 2:15", "A dog barks.", 135, 135),
    # other words around
    ("Please, in the first minute, who sings?", "Sings.", 0, 60),
    ("So, in the second half, what happens?", "", 153.04, END),
    ("WHAT HAPPENS IN THE FIRST MINUTE?", "", 0, 60),
    ("What happens in  the first minute please?", "", 0, 60),
]  # fmt: skip


@pytest.mark.parametrize(("question", "statement", "start", "end"), RANGES, ids=[row[0] for row in RANGES])
def test_a_question_is_restricted_to_a_range(question: str, statement: str, start: float, end: float) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(LENGTH) == pytest.approx((start, end), abs=0.01)
    assert parsed.statement == statement and parsed.unread == ()


NO_RANGES = [
    # question, statement, what is said not to have been understood
    ("A man runs in the last lap.", "A man runs in the last lap.", ()),
    ("When does a man run in the last lap?", "A man run in the last lap.", ()),
    ("When does he eat the second half of the sandwich?", "He eat the second half of the sandwich.", ()),
    ("When is the ball in the second half of the field?", "The ball in the second half of the field.", ()),
    ("What happens in the 100 metres?", "In the 100 metres.", ()),
    ("When does he win the 100m?", "He win the 100m.", ()),
    ("When does a man stand at the end of the line?", "A man stand at the end of the line.", ()),
    ("When does a dog sit in the middle of the road?", "A dog sit in the middle of the road.", ()),
    ("When does a dog walk to the end of the pier?", "A dog walk to the end of the pier.", ()),
    ("When does a second man enter?", "A second man enter.", ()),
    ("When is the first man seen?", "The first man.", ()),
    ("When does the man play second base?", "The man play second base.", ()),
    ("When do they come in third?", "They come in third.", ()),
    ("When does the minute hand move?", "The minute hand move.", ()),
    ("When does one minute thirty people dance?", "One minute thirty people dance.", ("one minute",)),
    ("When do a hundred people dance?", "A hundred people dance.", ()),
    ("When do they wait a minute?", "They wait a minute.", ()),
    ("When does the man hold a half?", "The man hold a half.", ()),
    ("When do 3 to 5 people dance?", "3 to 5 people dance.", ()),
    ("When is the score 3-2?", "The score 3-2.", ()),
    ("When does a girl carry a 1/2 litre bottle?", "A girl carry a 1/2 litre bottle.", ()),
    ("When do they drive 1950s cars?", "They drive 1950s cars.", ()),
    ("When is a palm tree at the center?", "A palm tree at the center.", ()),
    ("When does a crowd wait for the race to start?", "A crowd wait for the race to start.", ()),
    ("When does the camera come up close?", "The camera come up close.", ()),
    ("When does one boy sit on one end?", "One boy sit on one end.", ()),
    ("A boy waits at the end.", "A boy waits at the end.", ()),
    ("When do they observe a minute of silence?", "They observe a minute of silence.", ()),
    ("What happens after a minute of silence?", "A minute of silence.", ()),
    ("A man rests after ten minutes.", "A man rests after ten minutes.", ("after ten minutes",)),
    ("What happens at half past?", "At half past.", ("half past",)),
    ("What happens at half past two?", "At half past two.", ("half past two",)),
    ("What happens at a quarter to five?", "At a quarter to five.", ("a quarter to five",)),
    ("What happens at 5 pm?", "At 5 pm.", ("5 pm",)),
    ("What happens at 12:30 p.m.?", "At 12:30 p.m.", ("12:30 p.m",)),
    ("What happens at five o'clock?", "At five o'clock.", ("five o'clock",)),
    ("What happens at 2:75?", "At 2:75.", ("2:75",)),
    ("What happens at frame 300?", "At frame 300.", ("frame 300",)),
    ("When does the clock show 12:30?", "The clock show 12:30.", ("12:30",)),
    ("When does he count ten seconds?", "He count ten seconds.", ()),
    ("When does he wait ten seconds?", "He wait ten seconds.", ("ten seconds",)),
    ("What happens for ten seconds?", "For ten seconds.", ("ten seconds",)),
    ("When does the 30-second ad play?", "The 30-second ad play.", ("30-second",)),
    ("What happens two minutes later?", "Two minutes later.", ("two minutes",)),
    # in quotation marks
    ("When does the man say “meet me at 5:30”?", "The man say “meet me at 5:30”.", ()),
    ('When does the man say "meet me at 5:30"?', 'The man say "meet me at 5:30".', ()),
    ("When does the man say 'meet me at 5:30'?", "The man say 'meet me at 5:30'.", ()),
    ('When does the sign read "in the first minute"?', 'The sign read "in the first minute".', ()),
    # a point leaves nothing out
    ("When does a dog bark, except at 2:15?", "A dog bark.", ("except at 2:15",)),
    # no unit of time
    ("What happens in the first 3 fortnights?", "In the first 3 fortnights.", ("in the first 3 fortnights",)),
    ("What happens in the last five jiffies?", "In the last five jiffies.", ("in the last five jiffies",)),
    ("What happens at 2.30?", "At 2.30.", ("at 2.30",)),
    ("At 61, what happens?", "At 61, what happens.", ("At 61",)),
    ("When do they live at 61 Main Street?", "They live at 61 Main Street.", ()),
    ("When does a man fight without the first man?", "A man fight.", ()),
]  # fmt: skip


@pytest.mark.parametrize(("question", "statement", "unread"), NO_RANGES, ids=[row[0] for row in NO_RANGES])
def test_other_words_are_no_range_and_other_times_are_reported(
    question: str, statement: str, unread: tuple[str, ...]
) -> None:
    parsed = parse(question)
    assert parsed.relation is None or not parsed.relation.restricts
    assert parsed.statement == statement and parsed.unread == unread


# question, statement, span, share: as `--explain --json` has it
AS_JSON = [
    ("What happens in the first ten minutes?", "", (0.0, 600.0), False),
    ("What happens in the first 90 seconds of the movie?", "", (0.0, 90.0), False),
    ("When does a dog bark in the first half an hour?", "A dog bark.", (0.0, 1800.0), False),
    ("When does a dog bark in the first minute?", "A dog bark.", (0.0, 60.0), False),
    ("When does a dog bark in the last 30 seconds?", "A dog bark.", (-30.0, None), False),
    ("When does a dog bark during the final twenty-five minutes?", "A dog bark.", (-1500.0, None), False),
    ("In the first 8 seconds, when is it that a dog runs?", "A dog runs.", (0.0, 8.0), False),
    ("In the last 44 seconds, when is it that there is a dog?", "A dog.", (-44.0, None), False),
    ("Between 10:00 and 12:30, what does the man do?", "The man do.", (600.0, 750.0), False),
    ("When does a dog bark from 1:02:03 to 1:10:00?", "A dog bark.", (3723.0, 4200.0), False),
    ("What happens between 5 and 7 minutes?", "", (300.0, 420.0), False),
    ("What happens between minute 5 and minute 7?", "", (300.0, 420.0), False),
    ("What happens from ten minutes to an hour?", "", (600.0, 3600.0), False),
    ("When does a dog bark after 12:30?", "A dog bark.", (750.0, None), False),
    ("When does a dog bark from 12:30 on?", "A dog bark.", (750.0, None), False),
    ("After ten minutes, when does a dog bark?", "A dog bark.", (600.0, None), False),
    ("When does a dog bark after the first two minutes?", "A dog bark.", (120.0, None), False),
    ("When does a dog bark before 2:30?", "A dog bark.", (0.0, 150.0), False),
    ("Until minute 3, who sings?", "Sings.", (0.0, 180.0), False),
    ("When does a dog bark before the last minute?", "A dog bark.", (0.0, -60.0), False),
    ("What happens at 12:30?", "", (750.0, 750.0), False),
    ("Who sings around minute 12?", "Sings.", (720.0, 720.0), False),
    ("What happens ten minutes into the movie?", "", (600.0, 600.0), False),
    ("What happens 20 seconds in?", "", (20.0, 20.0), False),
    ("Is there a dog in the first half?", "A dog.", (0.0, 0.5), True),
    ("When does a dog bark in the second half of the video?", "A dog bark.", (0.5, 1.0), True),
    ("When does a dog bark in the last quarter?", "A dog bark.", (0.75, 1.0), True),
    ("What happens at the beginning?", "", (0.0, 0.1), True),
    ("What happens at the very start of the video?", "", (0.0, 0.1), True),
    ("At the end, what does the man do?", "The man do.", (0.9, 1.0), True),
    ("Who sings in the middle of the movie?", "Sings.", (0.4, 0.6), True),
    ("What happens in the first scene?", "", (0.0, 0.0), False),
    ("What happens in the last shot?", "", (1.0, 1.0), True),
    ("Show me the last 30 seconds", "", (-30.0, None), False),
    ("What happens between 25% and 2:00?", "", (None, None), False),
]  # fmt: skip


@pytest.mark.parametrize(("question", "statement", "span", "share"), AS_JSON)
def test_a_range_as_json(question: str, statement: str, span: tuple[float | None, float | None], share: bool) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.statement == statement == parsed.relation.anchor
    shown = parsed.relation.to_json()
    assert shown["span"] == pytest.approx(list(span)) and shown["share"] == share and shown["kind"] == "within"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (Moment(), Moment(seconds=60.0), (0.0, 60.0)),
        (Moment(1.0, -30.0), Moment(1.0), (170.0, 200.0)),
        (Moment(), Moment(1.0, -60.0), (0.0, 140.0)),
        (Moment(seconds=750.0), Moment(1.0), (200.0, 200.0)),  # after its end
        (Moment(1.0, -600.0), Moment(1.0), (0.0, 200.0)),
        (Moment(seconds=90.0), Moment(seconds=30.0), (30.0, 90.0)),
        (Moment(0.5), Moment(1.0), (100.0, 200.0)),
        (Moment(0.5, -10.0), Moment(0.5, 10.0), (90.0, 110.0)),
        (Moment(), Moment(1.0), (0.0, 200.0)),
    ],
)
def test_a_range_lies_in_the_movie(start: Moment, end: Moment, expected: tuple[float, float]) -> None:
    assert TimeRange(start, end).resolve(200.0) == pytest.approx(expected)


def test_there_are_enough_questions() -> None:
    assert len({row[0] for row in RANGES}) >= 150 and len({row[0] for row in NO_RANGES}) >= 30


@pytest.mark.parametrize(
    ("question", "kind", "anchor", "offset"),
    [
        ("What happens 10 seconds after a rabbit eats a watermelon?", "after", "A rabbit eats a watermelon.", (10, 10)),
        (
            "10 seconds after a rabbit eats a watermelon, what happens?",
            "after",
            "A rabbit eats a watermelon.",
            (10, 10),
        ),
        ("What happens half a minute before the race starts?", "before", "The race starts.", (30, 30)),
        ("What happens within a minute after a dog barks?", "after", "A dog barks.", (0, 60)),
        ("What happens in the ten seconds before a dog barks?", "before", "A dog barks.", (0, 10)),
        ("What happens less than 5 s after a dog barks?", "after", "A dog barks.", (0, 5)),
        ("What happens in the first ten seconds after a dog barks?", "after", "A dog barks.", (0, 10)),
        ("What happens more than a minute after a dog barks?", "after", "A dog barks.", (60, float("inf"))),
        ("What does the man do about ten seconds after the dog barks?", "after", "The dog barks.", (10, 10)),
        ("When does a man jump within 20 seconds after the dog barks?", "after", "The dog barks.", (0, 20)),
        ("What happens after a dog barks?", "after", "A dog barks.", None),
    ],
)
def test_distance_from_an_event(question: str, kind: str, anchor: str, offset: tuple[float, float] | None) -> None:
    parsed = parse(question)
    assert parsed.relation is not None and parsed.unread == ()
    assert (parsed.relation.kind, parsed.statement, parsed.relation.offset) == (kind, anchor, offset)


@pytest.mark.parametrize(
    ("question", "start", "end"),
    [
        ("Show me the first minute", 0, 60),
        ("Show me the first 10 seconds", 0, 10),
        ("Please show me the last 30 seconds of the video.", 276.08, END),
        ("Show me 1:00 to 2:00", 60, 120),
        ("Show me what happens in the second half", 153.04, END),
        ("Show me the middle third", 102.0267, 204.0533),
        ("Show me minute 2", 60, 120),
        ("Play from 4:30", 270, END),
        ("Play 1:00-1:20", 60, 80),
        ("Go to 2:15", 135, 135),
        ("Jump to the two-minute mark", 120, 120),
        ("1:00-2:00", 60, 120),
        ("the last minute", 246.08, END),
        ("2:15", 135, 135),
        ("Show me everything from 3:20 on", 200, END),
        ("Show me everything that happens in the first minute", 0, 60),
        ("Show me 20 seconds from 1:10", 70, 90),
        ("Show me the 30 seconds before the end", 276.08, END),
    ],
)
def test_questions_for_a_range_and_no_more(question: str, start: float, end: float) -> None:
    parsed = parse(question)
    assert parsed.asks_for_range and parsed.relation is not None and parsed.relation.time_range is not None
    assert parsed.relation.time_range.resolve(LENGTH) == pytest.approx((start, end), abs=0.01)


@pytest.mark.parametrize("question", ["Show me the rabbit in the first minute", "What happens in the first minute?"])
def test_other_questions_ask_for_more_than_a_range(question: str) -> None:
    assert not parse(question).asks_for_range


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("How long is the video?", "length"),
        ("How long does this movie last?", "length"),
        ("how long is the whole clip", "length"),
        ("What's the length of the video?", "length"),
        ("What is the total running time of this film?", "length"),
        ("What is the video's duration?", "length"),
        ("How many minutes long is the video?", "length"),
        ("What is the runtime?", "length"),
        ("What's the running time?", "length"),
        ("What is the video length?", "length"),
        ("What is the length of the rope?", None),
        ("Tell me how long the video is", "length"),
        ("When does the video start?", "start"),
        ("At what time does the movie begin?", "start"),
        ("When does the video end?", "end"),
        ("What time does the film finish?", "end"),
        ("When is the movie over?", "end"),
        ("How many chapters are there?", "chapters"),
        ("How many chapters does the movie have?", "chapters"),
        ("How many chapters are in this video?", "chapters"),
        ("How many chapters of the book does he read?", None),
        ("How long is the race in the video?", None),
        ("How long does it last?", None),
        ("When does the race start?", None),
        ("When does the video game start?", None),
    ],
)
def test_facts_about_the_movie(question: str, fact: str | None) -> None:
    assert parse(question).fact == fact

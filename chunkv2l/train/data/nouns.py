"""A small lexicon of depicted things: what questions about captions ask for.

One line a noun: the word that questions use, then the forms that count as the same thing (plurals and synonyms merged,
so that "no" is never asked of a puppy when the caption says dog). A leading "*" marks a mass noun: no article.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LEXICON = """
dog: dogs puppy puppies greyhound greyhounds poodle retriever terrier
cat: cats kitten kittens
horse: horses pony ponies
cow: cows cattle bull bulls calf
sheep: lamb lambs goat goats
bird: birds duck ducks seagull seagulls pigeon pigeons goose geese
man: men guy guys gentleman gentlemen male males
woman: women lady ladies female females
boy: boys
girl: girls
child: children kid kids toddler toddlers boy boys girl girls baby babies infant
baby: babies infant toddler toddlers
player: players footballer batter pitcher quarterback
crowd: crowds audience spectators
swimmer: swimmers swim swims swimming
surfer: surfers surf surfs surfing surfboard surfboards
skateboarder: skateboarders skateboarding skateboard skateboards skater skaters
snowboarder: snowboarders snowboarding snowboard snowboards
skier: skiers skiing skis ski
climber: climbers climbing climbs climb
cyclist: cyclists biker bikers bicyclist bicyclists
dancer: dancers dancing dance dances
singer: singers singing sings sing microphone
musician: musicians band guitarist drummer
runner: runners jogger joggers
*snow: snowy
*water: river lake ocean sea pool pond wave waves stream creek waterfall puddle
*grass: grassy lawn field meadow
*sand: sandy beach dune dunes
*ice: icy
beach: beaches shore
ocean: sea waves wave
wave: waves
swimming pool: pool pools
river: rivers stream creek
lake: lakes pond
mountain: mountains mountainside peak
hill: hills hillside
rock: rocks boulder boulders cliff rocky
cliff: cliffs
tree: trees woods forest
forest: woods trees
field: fields meadow
flower: flowers
leaf: leaves
sky: skies
street: streets road roads
sidewalk: sidewalks pavement
road: roads street streets highway
path: paths trail trails
bridge: bridges
building: buildings
wall: walls
fence: fences fenced
house: houses home
window: windows
door: doors doorway
stairs: steps staircase stair
bench: benches
table: tables desk
chair: chairs
couch: sofa couches
bed: beds
car: cars automobile suv
truck: trucks
bus: buses
train: trains
boat: boats kayak canoe ship sailboat kayaks
kayak: kayaks canoe
motorcycle: motorcycles motorbike motorbikes dirtbike
bicycle: bicycles bike bikes
cart: carts wagon stroller carriage
ball: balls football soccer basketball baseball tennis volleyball
football: footballs
soccer ball: soccer
basketball: basketballs
baseball: baseballs
tennis racket: racket racquet tennis
frisbee: frisbees disc
stick: sticks branch
toy: toys doll
rope: ropes leash
hat: hats cap caps helmet helmets beanie
helmet: helmets
shirt: shirts t-shirt tee tshirt
jacket: jackets coat coats
dress: dresses gown
shorts: short
jeans: denim
uniform: uniforms jersey jerseys
costume: costumes mask masks
swimsuit: bikini bikinis trunks swimsuits
sunglasses: glasses goggles
backpack: backpacks bag bags
bag: bags purse backpack
umbrella: umbrellas
camera: cameras
guitar: guitars
drum: drums drummer
book: books newspaper magazine reading
phone: phones cellphone cell telephone
flag: flags
sign: signs banner
fountain: fountains
swing: swings swinging
slide: slides sliding
trampoline: trampolines
playground: playgrounds
park: parks
stage: stages
tent: tents
tunnel: tunnels
ramp: ramps halfpipe
track: tracks racetrack
goal: goalie goals
hoop: hoops basket
hockey stick: hockey
sled: sleds sledding
*mud: muddy
*smoke: fire
fire: flames campfire smoke bonfire
*food: eating eats eat meal cake sandwich pizza bread cooking fruit
*ice cream: popsicle
cake: cakes cupcake
cup: cups glass bottle mug
bottle: bottles beer
kitchen: kitchens
restaurant: cafe bar
"""


def _parse() -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    forms: dict[str, frozenset[str]] = {}
    mass: set[str] = set()
    for line in _LEXICON.strip().splitlines():
        noun, _, others = line.partition(":")
        if noun.startswith("*"):
            noun = noun[1:]
            mass.add(noun)
        forms[noun] = frozenset([noun, *others.split()])
    return forms, frozenset(mass)


FORMS, MASS = _parse()
NOUNS = tuple(sorted(FORMS))
NUMBERS = {noun: number for number, noun in enumerate(NOUNS)}
_BY_WORD: dict[str, list[str]] = {}
for _noun, _forms in FORMS.items():
    for _form in _forms:
        _BY_WORD.setdefault(_form, []).append(_noun)
_PLURAL = frozenset({"stairs", "shorts", "jeans", "sunglasses"})


def with_article(noun: str) -> str:
    """Return a noun with its article: "dog" → "a dog", "umbrella" → "an umbrella", "snow" → "snow"."""
    if noun in MASS or noun in _PLURAL:
        return noun
    return f"{'an' if noun[0] in 'aeio' or noun == 'umbrella' else 'a'} {noun}"


def bare_name(noun: str) -> str:
    """Return the statement that a thing is there: "dog" → "A dog.", "snow" → "Snow."."""
    thing = with_article(noun)
    return f"{thing[:1].upper()}{thing[1:]}."


def find_nouns(caption: str) -> frozenset[str]:
    """Return the lexicon's nouns that a caption mentions in any of their forms."""
    text = caption.lower()
    words = set(re.findall(r"[a-z-]+", text))
    single = {noun for word in words for noun in _BY_WORD.get(word, ())}
    compound = {noun for noun in NOUNS if " " in noun and noun in text}
    return frozenset(single | compound)


def find_nouns_in_all(captions: Iterable[str]) -> frozenset[str]:
    """Return the union of `find_nouns` over an image's captions."""
    return frozenset().union(*(find_nouns(caption) for caption in captions))

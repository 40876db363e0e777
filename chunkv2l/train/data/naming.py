"""Statements that name what is there: from labels, counts, relations and verbs, as people would write them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Final

_NUMBERS: Final = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}
_IRREGULAR: Final = {
    "person": "people",
    "sheep": "sheep",
    "skis": "skis",
    "scissors": "scissors",
    "knife": "knives",
    "mouse": "mice",
    "wine glass": "wine glasses",
    "broccoli": "broccoli",
}
_UNCOUNTED: Final = frozenset({"broccoli", "skis", "scissors"})
_RENAMED: Final = {
    "faces easy": "face",
    "car side": "car",
    "cougar face": "cougar",
    "cougar body": "cougar",
    "crocodile head": "crocodile",
    "flamingo head": "flamingo",
    "water lilly": "water lily",
    "rhino": "rhinoceros",
    "motorbikes": "motorbike",
    "airplanes": "airplane",
    "leopards": "leopard",
    "tv": "television",
}
_VOWEL: Final = re.compile(r"[aeio]|u(?!ni|s)|hour|heir", re.IGNORECASE)
_PLURAL: Final = re.compile(r"(?<!s)(?<!u)(?<!i)s$")
_MASS: Final = frozenset(
    {"fruit", "vegetables", "broccoli", "milk", "juice", "yoghurt", "cream", "guacamole", "corn", "hay", "wool", "wine"}
)
"""Last words of names that take no article."""
_VERBS: Final = {
    "lay": "lying down",
    "work on computer": "working on a computer",
    "talk on phone": "talking on a phone",
}


def plain_name(label: str) -> str:
    """Return a label as people write it: "ibizan_hound" → "ibizan hound", "faces easy" → "face"."""
    name = label.replace("_", " ").strip()
    return _RENAMED.get(name.lower(), name)


def with_indefinite(name: str) -> str:
    """Return the name behind its article: "an apple", "a unicycle"; plurals and masses stand alone."""
    if _PLURAL.search(name.split()[-1]) or name in _UNCOUNTED or name.split()[-1] in _MASS:
        return name
    return f"{'an' if _VOWEL.match(name) else 'a'} {name}"


def plural(name: str) -> str:
    """Return the plural of a thing's name."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if re.search(r"(s|x|z|ch|sh)$", name):
        return f"{name}es"
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}s"


def sentence(text: str) -> str:
    """Return the words as a sentence: capitalised, with a full stop."""
    text = text.strip().rstrip(".").strip()
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def name_label(label: str) -> str:
    """Return the statement that names a label: "A cat.", "Sunglasses."."""
    return sentence(with_indefinite(plain_name(label)))


def count_things(name: str, number: int) -> str:
    """Return at least `number` things in words: "a cup", "two cups"; from six on "many cups"."""
    if number < 2 or name in _UNCOUNTED:
        return with_indefinite(plain_name(name))
    return f"{_NUMBERS.get(number, 'many')} {plural(plain_name(name))}"


def name_counts(counts: Sequence[tuple[str, int]], rng: random.Random) -> str:
    """Return a statement about one or two of the things that are there: "Two cups and a table."."""
    chosen = rng.sample(list(counts), min(len(counts), rng.choice((1, 1, 2))))
    words = [count_things(name, number if rng.random() < 0.5 else 1) for name, number in chosen]
    return sentence(" and ".join(words))


def tell_action(verb: str) -> str:
    """Return what somebody does: "A person riding."."""
    return sentence(f"a person {progressive(verb)}")


def progressive(verb: str) -> str:
    """Return a verb's -ing form: "cut" → "cutting", "ride" → "riding"."""
    if verb in _VERBS:
        return _VERBS[verb]
    if verb == "ski":
        return "skiing"
    if verb.endswith("e"):
        return f"{verb[:-1]}ing"
    return f"{verb}{verb[-1]}ing" if re.fullmatch(r"(hit|cut|run|sit)", verb) else f"{verb}ing"


_SYNONYMS: Final = {
    "airplane": ("plane", "jet", "aircraft", "airliner"),
    "cat": ("kitten",),
    "dog": ("puppy",),
    "cellphone": ("cell phone", "phone", "telephone", "mobile phone"),
    "motorbike": ("motorcycle", "bike"),
    "face": ("man", "woman", "person", "boy", "girl", "child"),
    "laptop": ("computer", "notebook computer"),
    "binocular": ("binoculars",),
    "headphone": ("headphones",),
    "scissors": ("scissor",),
    "wild cat": ("wildcat", "cat"),
    "panda": ("giant panda",),
    "rhinoceros": ("rhino",),
    "rooster": ("chicken", "hen", "cock"),
    "house": ("home", "building"),
    "bathroom": ("bath room", "restroom", "toilet", "bathtub", "shower"),
    "bedroom": ("bed room",),
    "ferry": ("ship", "boat"),
    "ketch": ("sailboat", "boat", "ship"),
    "schooner": ("sailboat", "boat", "ship", "sailing ship"),
    "windsor chair": ("chair",),
    "electric guitar": ("guitar",),
    "grand piano": ("piano",),
    "soccer ball": ("ball", "football"),
    "saxophone": ("sax",),
    "revolver": ("gun", "pistol"),
    "inline skate": ("skate", "roller skate", "rollerblade"),
    "sea horse": ("seahorse",),
    "water lily": ("lotus", "waterlily"),
    "joshua tree": ("tree",),
    "bonsai": ("tree",),
    "dollar bill": ("bill", "money", "dollar"),
    "crayfish": ("lobster", "crawfish"),
    "dalmatian": ("dog",),
    "hawksbill": ("turtle",),
    "nautilus": ("chambered nautilus",),
    "stegosaurus": ("dinosaur",),
    "brontosaurus": ("dinosaur",),
    "cougar": ("mountain lion", "puma"),
    "ibis": ("bird",),
    "euphonium": ("tuba", "horn"),
    "gramophone": ("phonograph", "record player"),
    "ewer": ("pitcher", "jug"),
    "pagoda": ("temple",),
    "minaret": ("tower",),
    "cup": ("mug",),
    "yoghurt": ("yogurt",),
    "person": ("man", "woman", "boy", "girl", "child", "people", "player"),
    "couch": ("sofa",),
    "television": ("tv",),
    "bicycle": ("bike",),
    "motorcycle": ("motorbike", "bike"),
}


def forms_of(label: str) -> tuple[str, ...]:
    """Return the words that count as naming a label: its own name, synonyms, and the plurals of both."""
    name = plain_name(label).lower()
    forms = (name, *_SYNONYMS.get(name, ()))
    return tuple(dict.fromkeys((*forms, *(plural(form) for form in forms))))


def is_naming(text: str, label: str) -> bool:
    """Return True where a text names a label, by any of its forms."""
    words = f" {' '.join(re.findall(r'[a-z-]+', text.lower()))} "
    return any(f" {form} " in words for form in forms_of(label))

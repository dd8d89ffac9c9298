"""Short English sentences with their German translations."""

from itertools import product

SUBJECTS = {"A dog": "Ein Hund", "The man": "Der Mann", "A woman": "Eine Frau", "The child": "Das Kind"}
VERBS = {"runs": "rennt", "sleeps": "schläft", "plays": "spielt", "waits": "wartet"}
PLACES = {"in the park": "im Park", "at the lake": "am See", "on the street": "auf der Straße", "here": "hier"}

PAIRS = tuple(
    (f"{subject} {verb} {place}.", f"{SUBJECTS[subject]} {VERBS[verb]} {PLACES[place]}.")
    for subject, verb, place in product(SUBJECTS, VERBS, PLACES)
)
"""64 pairs."""

"""The words that the wide world adds to those of ``mixtures.mini.words``."""

# Past forms that serve in both voices: anna found the key, the key was found by anna.
DEEDS = ("found", "dropped", "kept", "left", "lost", "moved", "cleaned", "hid")

# Job → what the person works with.
JOB_OBJECTS: dict[str, str] = {
    "baker": "bread",
    "painter": "colours",
    "singer": "songs",
    "lawyer": "laws",
    "writer": "stories",
    "dentist": "teeth",
    "sailor": "ships",
    "gardener": "flowers",
    "tailor": "clothes",
    "dancer": "steps",
}

# How somebody feels → what they do next, in the words of a clause about them.
CONSEQUENCES: dict[str, str] = {
    "hungry": "ate a big meal",
    "tired": "went to bed early",
    "thirsty": "drank some water",
    "cold": "put on a warm coat",
    "ill": "called the nurse",
    "late": "ran to the bus",
    "dirty": "took a shower",
    "lost": "looked at a map",
    "bored": "began to read a book",
    "sad": "began to cry",
    "rich": "bought a new house",
    "afraid": "closed all the doors",
}

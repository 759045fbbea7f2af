"""The words of the small world, each list written once and shared by all tasks.

Lists that are told apart by a task share no word: a person is never a place.
"""

GIRLS = ("anna", "mary", "lucy", "sara", "emma", "rosa", "nina", "julia", "kate", "lily")
BOYS = ("tom", "john", "peter", "sam", "david", "max", "leo", "paul", "ben", "jack")
PEOPLE = GIRLS + BOYS

PLACES = (
    "market", "garden", "park", "museum", "stadium", "library",
    "bakery", "castle", "office", "cinema", "forest", "tower",
)  # fmt: skip

THINGS = ("ball", "book", "key", "coin", "map", "cup", "bag", "ring", "rope", "letter", "clock", "candle")

COLORS = ("red", "blue", "green", "yellow", "white", "black", "brown", "pink")

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# Kind of thing → its members. The kinds are also the labels of the held-out topics.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "animal": ("dog", "cat", "horse", "cow", "sheep", "lion", "tiger", "rabbit", "mouse", "elephant"),
    "fruit": ("apple", "pear", "banana", "cherry", "grape", "lemon", "peach", "plum", "mango", "melon"),
    "tool": ("hammer", "drill", "shovel", "rake", "axe", "wrench", "chisel", "ladder", "spade", "screwdriver"),
    "clothing": ("shirt", "coat", "hat", "scarf", "jacket", "skirt", "dress", "sweater", "sock", "glove"),
    "vehicle": ("car", "bus", "train", "truck", "bicycle", "van", "tractor", "taxi", "tram", "motorbike"),
    "instrument": ("piano", "violin", "guitar", "flute", "drum", "trumpet", "harp", "cello", "banjo", "organ"),
    "furniture": ("chair", "table", "sofa", "bed", "desk", "shelf", "bench", "stool", "wardrobe", "armchair"),
    "vegetable": ("carrot", "potato", "onion", "cabbage", "bean", "turnip", "leek", "pumpkin", "lettuce", "radish"),
}

# Setting → what is found there. The settings are also the labels of the held-out story settings.
SETTINGS: dict[str, tuple[str, ...]] = {
    "kitchen": ("plate", "fork", "spoon", "oven", "kettle", "saucepan"),
    "bathroom": ("towel", "toothbrush", "shower", "bathtub", "toilet", "sponge"),
    "school": ("teacher", "pupil", "blackboard", "textbook", "classroom", "schoolbag"),
    "hospital": ("nurse", "surgeon", "patient", "bandage", "ambulance", "stretcher"),
    "farm": ("barn", "plough", "haystack", "scarecrow", "stable", "farmer"),
    "beach": ("wave", "shell", "seagull", "sandcastle", "lifeguard", "surfboard"),
    "airport": ("pilot", "runway", "passport", "suitcase", "airliner", "hangar"),
    "theatre": ("actor", "stage", "curtain", "costume", "audience", "actress"),
}

# Creature of the invented world → its colour, its home, its food.
CREATURES: dict[str, tuple[str, str, str]] = {
    "blim": ("red", "river", "fish"),
    "dorak": ("green", "cave", "honey"),
    "fenno": ("blue", "desert", "seeds"),
    "gralp": ("black", "mountain", "roots"),
    "hixo": ("yellow", "swamp", "insects"),
    "jurn": ("white", "lake", "leaves"),
    "kello": ("brown", "meadow", "berries"),
    "lomp": ("pink", "jungle", "grass"),
    "murra": ("blue", "cave", "fish"),
    "nibbo": ("red", "meadow", "seeds"),
    "ostra": ("yellow", "river", "berries"),
    "plun": ("white", "desert", "roots"),
    "quem": ("green", "lake", "insects"),
    "rask": ("pink", "mountain", "honey"),
    "sorvi": ("brown", "swamp", "grass"),
    "tibber": ("black", "jungle", "leaves"),
}
HOMES = ("river", "cave", "desert", "mountain", "swamp", "lake", "meadow", "jungle")
FOODS = ("fish", "honey", "seeds", "roots", "insects", "leaves", "berries", "grass")

# Invented country → its capital.
CAPITALS: dict[str, str] = {
    "arvia": "tarsk", "belund": "vellin", "corma": "ostrel", "dranov": "minda",
    "elsora": "rovik", "fintra": "sulma", "golbia": "denlo", "hestan": "karn",
    "jorvia": "pelto", "kestria": "ushka", "lundar": "bravin", "morvia": "zelmo",
}  # fmt: skip
CITIES = tuple(CAPITALS.values())

JOBS = ("baker", "painter", "singer", "lawyer", "writer", "dentist", "sailor", "gardener", "tailor", "dancer")
HOBBIES = ("chess", "tennis", "football", "cooking", "reading", "swimming", "fishing", "sewing")

# English → velu, the invented language.
VELU_NOUNS: dict[str, str] = {
    "dog": "toka", "cat": "mira", "horse": "pelu", "cow": "sano", "lion": "lifa",
    "boy": "kuro", "girl": "nemi", "king": "rado", "queen": "sheva", "bird": "bilo",
}  # fmt: skip
VELU_VERBS: dict[str, str] = {
    "sees": "zatu", "likes": "gemo", "helps": "hifa", "follows": "woru", "hears": "dexa", "finds": "yuli",
}  # fmt: skip
VELU_ADJECTIVES: dict[str, str] = {
    "small": "eko", "big": "umi", "old": "osta", "young": "iba", "quiet": "arel", "brave": "uro",
}  # fmt: skip

GOOD = ("good", "great", "lovely", "pleasant", "wonderful", "excellent", "perfect", "superb", "brilliant", "delightful")
BAD = ("bad", "awful", "poor", "terrible", "horrible", "dreadful", "disappointing", "miserable", "unpleasant", "nasty")
REVIEWED = ("soup", "film", "hotel", "meal", "room", "song", "cake", "show", "concert", "coffee", "service", "music")

OPPOSITES = (
    ("wet", "dry"),
    ("clean", "dirty"),
    ("heavy", "light"),
    ("open", "closed"),
    ("full", "empty"),
    ("warm", "cold"),
    ("hard", "soft"),
    ("new", "old"),
)

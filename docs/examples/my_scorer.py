import re

import numpy as np

import emotion_circuits as ec


class Naming:
    """Does a text name the emotion?"""

    name, meaning = "naming", "1 where a text holds one of the emotion's adjectives, else 0"
    low, high, chance = 0.0, 1.0, 0.0

    def __init__(self, setting):  # its bank holds the classes of the study, your own emotions among them
        bank = setting.bank
        self.words = {e: {word.lower() for word in bank[e].words.get("adjective", ())} for e in bank.emotions}
        self.emotions = tuple(self.words)

    def score(self, texts):
        return np.array([self._row(text) for text in texts]).reshape(len(texts), len(self.emotions))

    def _row(self, text):
        found = {*re.findall(r"\w+", text.lower())}
        return [float(bool(found & self.words[e])) if text.strip() else np.nan for e in self.emotions]


ec.register_scorer("naming", Naming)

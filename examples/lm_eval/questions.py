"""Questions for lm-eval: which of four sentences ends this paragraph of *Moby-Dick*?

``python questions.py`` writes them to ``moby_dick.jsonl`` beside it, the file that ``moby_dick.yaml`` names. They come
from the last 20 % of the text, which nothing here is calibrated on.

Four paragraphs whose last sentences are about as long share these sentences as choices, and each is the answer once:
who looks at the choices alone gets one question of four right, whether by length or by frequent words.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optsci.compress.sample import moby_dick

SENTENCES = re.compile(r"(?<=[a-z’”][.!?]) (?=[A-Z“])")


def endings(text: str) -> Iterator[tuple[str, str]]:
    """The beginning and the last sentence of every paragraph that is neither too short nor too long."""
    for paragraph in text.split("\n\n"):
        *before, last = SENTENCES.split(" ".join(paragraph.split()))
        beginning = " ".join(before)
        if 100 <= len(beginning) <= 1000 and 40 <= len(last) <= 200:
            yield beginning, last


def questions(text: str) -> list[dict[str, Any]]:
    """``context``, four ``choices`` and the index of the right one, ``answer``."""
    ordered = sorted(endings(text), key=lambda pair: len(pair[1]))
    groups = [ordered[i : i + 4] for i in range(0, len(ordered) - 3, 4)]
    return [
        {"context": context, "choices": [last for _, last in group], "answer": answer}
        for group in groups
        for answer, (context, _) in enumerate(group)
    ]


if __name__ == "__main__":
    path = Path(__file__).with_name("moby_dick.jsonl")
    lines = [json.dumps(question, ensure_ascii=False) for question in questions(moby_dick()[1])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines)} questions")

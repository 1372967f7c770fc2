"""A model, a tokenizer and a text in files, for the tests of the command line."""

import pytest

from optsci.compress.sample import moby_dick
from tiny_models import save_tokenizer, tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A folder with a tiny model and a tokenizer of single characters."""
    folder = tmp_path_factory.mktemp("model")
    tiny("llama").save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(moby_dick()[0][10_000:16_000], encoding="utf-8")
    return path

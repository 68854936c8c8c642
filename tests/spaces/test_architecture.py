import dataclasses

import pytest

from nas_spaces import Architecture


def test_equality_and_hash_ignore_the_text() -> None:
    a, b = Architecture("s", ((0,), (1, 2)), "one"), Architecture("s", ((0,), (1, 2)), "two")
    assert a == b
    assert hash(a) == hash(b)
    assert str(a) == "one"
    assert a != Architecture("other", ((0,), (1, 2)), "one")


def test_it_is_frozen() -> None:
    a = Architecture("s", ((0,),), "text")
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.text = "other"  # type: ignore[misc]

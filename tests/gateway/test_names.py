"""Names that cross from one dialect into the other, and back."""

import random
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gossamer_gateway.errors import InputError
from gossamer_gateway.names import forms, numbers
from gossamer_gateway.names.numbers import NUMBER_END, Named
from gossamer_gateway.storage.file import File, Form

FORM = Form("The gateway's file", "--data", 1, 1, numbers.SCHEMA)
ZEEBE_FIRST = 2**51


@pytest.mark.parametrize("seed", range(200))
def test_a_number_comes_back_out_of_its_uuid(seed: int) -> None:
    luck = random.Random(seed)
    number = luck.randrange(2 ** luck.randrange(1, 64))
    tag = luck.randrange(2**16)
    text = forms.to_uuid(tag, number)
    assert (UUID(text).version, str(UUID(text))) == (8, text)
    assert forms.from_uuid(text) == forms.from_uuid(text.upper()) == (tag, number)
    assert forms.from_uuid(str(uuid4())) is None
    place = luck.randrange(36)
    other = text[:place] + luck.choice("0123456789abcdef-g ") + text[place + 1 :]
    found = forms.from_uuid(other)
    assert found is None or forms.to_uuid(*found) == other


@pytest.mark.parametrize("number", [0, 1, ZEEBE_FIRST, 2**62 - 1, 2**62, forms.NUMBER_MAX])
def test_edges(number: int) -> None:
    assert forms.from_uuid(forms.to_uuid(65_535, number)) == (65_535, number)


@pytest.mark.parametrize(
    "text",
    ["", "x", "é" * 36, "0" * 32, "{" + "0" * 34 + "}", "676f7373-0000-8000-8000-00000000000"],
)
def test_what_is_no_uuid_of_ours(text: str) -> None:
    assert forms.from_uuid(text) is None


def test_engines_whose_tags_are_one_are_refused() -> None:
    seen: dict[int, str] = {}
    for count in range(100_000):
        name = f"c8-{count}"
        other = seen.setdefault(forms.tag_of(name), name)
        if other != name:
            break
    assert forms.tags(["old", "new"]) == {forms.tag_of("old"): "old", forms.tag_of("new"): "new"}
    with pytest.raises(InputError, match=f"{other} and {name} cannot be told apart"):
        forms.tags([other, "old", name])


def test_numbers_are_given_once_and_stay(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sqlite"
    file = File(path, FORM)
    file.begin()
    first = numbers.numbers_of(file.connection, "old", ["a", "b", "a"])
    second = numbers.numbers_of(file.connection, "other", ["a"])
    file.commit()
    assert len({*first.values(), *second.values()}) == 3
    assert all(0 < one < ZEEBE_FIRST for one in first.values())
    file.begin()
    lost = numbers.numbers_of(file.connection, "old", ["c"])["c"]
    file.rollback()
    file.close()
    file = File(path, FORM)
    assert numbers.named(file.connection, first["b"]) == Named("old", "b")
    assert numbers.named(file.connection, second["a"]) == Named("other", "a")
    assert numbers.named(file.connection, lost) is None
    file.begin()
    assert numbers.numbers_of(file.connection, "old", ["b", "a"]) == first
    file.commit()
    file.close()


@pytest.mark.parametrize("number", [-1, 0, 1, NUMBER_END, ZEEBE_FIRST + 5, 2**63, 2**200])
def test_numbers_that_were_never_given(number: int) -> None:
    file = File(None, FORM)
    assert numbers.named(file.connection, number) is None
    file.close()


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    File(path, FORM).close()
    for form in (Form("The file", "--x", 2, 1, ""), Form("The file", "--x", 1, 2, "")):
        with pytest.raises(InputError, match=r"engine.sqlite (is another|has version 1)"):
            File(path, form)

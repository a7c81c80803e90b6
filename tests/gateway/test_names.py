"""Names that cross from one dialect into the other, and back."""

import random
from collections.abc import Mapping
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from gossamer_gateway.errors import InputError
from gossamer_gateway.names import forms, numbers
from gossamer_gateway.names.numbers import NUMBER_END, Named
from gossamer_gateway.storage import Rows, Storage
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


async def test_numbers_are_given_once_and_stay(storage: Storage) -> None:
    def two_engines(rows: Rows, _: int) -> tuple[Mapping[str, int], Mapping[str, int]]:
        first = numbers.numbers_of(rows, "old", ["a", "b", "a"])
        return first, numbers.numbers_of(rows, "other", ["a"])

    first, second = await storage.submit(two_engines)
    assert len({*first.values(), *second.values()}) == 3
    assert all(0 < one < ZEEBE_FIRST for one in first.values())
    lost: list[int] = []

    def taken_back(rows: Rows, _: int) -> None:
        lost.append(numbers.numbers_of(rows, "old", ["c"])["c"])
        raise KeyError

    with pytest.raises(KeyError):
        await storage.submit(taken_back)

    async def named(number: int) -> Named | None:
        return await storage.submit(lambda rows, _: numbers.named(rows, number))

    assert await named(first["b"]) == Named("old", "b")
    assert await named(second["a"]) == Named("other", "a")
    assert [await named(one) for one in lost if one] == [None] * len(lost)
    again = await storage.submit(lambda rows, _: numbers.numbers_of(rows, "old", ["b", "a", "d"]))
    assert {id: again[id] for id in "ab"} == first
    assert again["d"] not in {*first.values(), *second.values()}


@pytest.mark.parametrize("number", [-1, 0, 1, NUMBER_END, ZEEBE_FIRST + 5, 2**63, 2**200])
async def test_numbers_that_were_never_given(storage: Storage, number: int) -> None:
    assert await storage.submit(lambda rows, _: numbers.named(rows, number)) is None


def test_a_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "engine.sqlite"
    File(path, FORM).close()
    for form in (Form("The file", "--x", 2, 1, ""), Form("The file", "--x", 1, 2, "")):
        with pytest.raises(InputError, match=r"engine.sqlite (is another|has version 1)"):
            File(path, form)

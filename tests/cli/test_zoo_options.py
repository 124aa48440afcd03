"""What --variant and --scales mean."""

import pytest

from edgeseg.cli.zoo_options import scales_from, variant_from
from edgeseg.errors import UsageError


def test_variant_values_have_the_type_that_they_look_like() -> None:
    given = ["width=0.5", "output_stride=8", "aux=true", "context=large", "multi-grid=1,2,4"]

    assert variant_from(given) == {
        "width": 0.5,
        "output_stride": 8,
        "aux": True,
        "context": "large",
        "multi_grid": (1, 2, 4),
    }


@pytest.mark.parametrize("text", ["width", "=1", "width="])
def test_variant_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="KEY=VALUE"):
        variant_from([text])


def test_scales_are_numbers_with_commas_between() -> None:
    assert scales_from("1,0.75,0.5") == (1.0, 0.75, 0.5)
    assert scales_from(None) is None


@pytest.mark.parametrize("text", ["", "a", "1;2", "0", "9"])
def test_scales_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="are no scales"):
        scales_from(text)

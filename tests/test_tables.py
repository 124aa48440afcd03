"""Looking names up, and the errors that say which package is missing."""

import pytest

from edgeseg.errors import MissingPackage, UsageError
from edgeseg.tables import known, needs, pick

TABLE = {"join": "os.path:join", "path": "os.path", "split": "os.path:split"}


def test_a_row_gives_the_object_it_points_at() -> None:
    import os.path

    assert pick(TABLE, "join", kind="thing") is os.path.join


def test_a_row_without_attribute_gives_the_module() -> None:
    import os.path

    assert pick(TABLE, "path", kind="thing") is os.path


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"no thing 'jion'[\s\S]*did you mean 'join'"):
        pick(TABLE, "jion", kind="thing")


def test_a_name_unlike_any_lists_them_all() -> None:
    with pytest.raises(UsageError) as caught:
        known(TABLE, "zzzzzz", kind="thing")
    assert caught.value.fix == "known: join, path, split"


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(MissingPackage) as caught, needs("video"):
        raise ModuleNotFoundError("No module named 'cv2'", name="cv2.data")
    assert "opencv-python" in caught.value.problem
    assert caught.value.fix == "pip install 'edgeseg[video]'"
    assert caught.value.exit_code == 3


def test_an_import_error_of_our_own_is_a_bug_and_passes() -> None:
    with pytest.raises(ImportError) as caught, needs("video"):
        raise ImportError("cannot import name", name="edgeseg.scene")
    assert not isinstance(caught.value, MissingPackage)


def test_nested_needs_keep_the_inner_extra() -> None:
    with pytest.raises(MissingPackage, match="inner"), needs("outer"), needs("inner"):
        raise ModuleNotFoundError("no av", name="av")

"""The simulated GPU, opened by each package in turn."""

import gc
from collections.abc import Iterator

import pytest

from tests.device.fakes import PACKAGES, Opened, fake_gpu


@pytest.fixture(params=PACKAGES)
def package(request: pytest.FixtureRequest) -> str:
    """The fake package that drives the GPU."""
    return request.param


@pytest.fixture
def opened(package: str) -> Iterator[Opened]:
    """A simulated Orin, inside a block of `active`; afterwards everything must be given back."""
    with fake_gpu(package) as gpu:
        from edgeseg.device.choice import open_device

        device = open_device()
        with device.active():
            yield Opened(gpu, device)
            gc.collect()  # from Python 3.12 on, an error that was caught may still hold its frames
        device.close()
        assert gpu.leaks() == []

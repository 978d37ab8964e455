"""The executor of these tests."""

from tests.sweeps.workers import workers as workers

"""Random examples take as long as the machine takes; only their results are judged."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True, scope="package")
def patient():
    """Let hypothesis not fail an example for being slow on a busy machine."""
    before = settings.get_current_profile_name()
    settings.load_profile("patient")
    yield
    settings.load_profile(before)

"""Hypothesis without its stopwatch: a busy host is no defect."""

from hypothesis import HealthCheck, settings

settings.register_profile("mesh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mesh")

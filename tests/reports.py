"""Which of the reports on a test anybody reads."""

from __future__ import annotations

from collections.abc import Iterable

import pytest


def read(reports: Iterable[pytest.TestReport]) -> list[pytest.TestReport]:
    """What the test came to, and what its preparation or its end came to unless that went well."""
    return [report for report in reports if report.when == "call" or not report.passed]

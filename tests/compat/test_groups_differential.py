"""The same requests about groups to Apache Kafka and to this broker get the same answers, bad requests above all.

Names that a broker makes up and the words of its error messages are its own; everything else is compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.compat.group_stories import LONG_STORIES, STORIES, Teller, told_by_both

TOLD = STORIES + (LONG_STORIES if "KAFKAX_ALL_TOOLS" in os.environ else [])
"""What takes sessions to end only in ci/nightly."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", TOLD, ids=lambda story: story.__name__)
def test_the_answers_are_those_of_apache_kafka(story: Callable[[Teller], None], apache_kafka: str, bootstrap: str) -> None:
    expected, answered = told_by_both(story, apache_kafka, bootstrap)
    assert answered == expected

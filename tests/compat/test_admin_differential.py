"""The same admin requests to Apache Kafka and to this broker get the same answers, bad requests above all.

The words of error messages are each broker's own, and so is whether an error has any.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.compat.admin_stories import STORIES
from tests.compat.group_stories import Teller, told_by_both


@pytest.mark.timeout(300)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_answers_are_those_of_apache_kafka(story: Callable[[Teller], None], apache_kafka: str, bootstrap: str) -> None:
    expected, answered = told_by_both(story, apache_kafka, bootstrap, about_groups=False)
    assert answered == expected

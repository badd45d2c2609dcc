"""What a Fetch hears of partitions that are not hosted here: core and handlers give the same errors, in sessions and outside.

The reference path has no sessions; what one is told of a partition is held against what it tells of that alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from kafkax.errors import ErrorCode
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.fetch import FetchResponse
from kafkax.protocol.messages.update_metadata import UpdateMetadataPartitionState, UpdateMetadataTopicState
from kafkax.server import Server
from tests.system.odd_frames import Body, Place, Topic, written
from tests.system.parity import Pair, pair
from tests.system.test_parity_leaders import image_says, update_metadata

VERSIONS = range(7, 19)
BY_ID, FLEXIBLE = 13, 12


@pytest.fixture(scope="module", params=[False, True], ids=["alone", "clustered"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("parity") / "data", elsewhere=request.param) as opened:
        yield opened


def decoded(answer: bytes, version: int) -> FetchResponse:
    return FetchResponse.decode(answer[5 if version >= FLEXIBLE else 4 :], version)


def session_of(both: Pair, version: int, *topics: Topic) -> int:
    """A session that follows these and has heard of them."""
    asked = written(Body(1, version, {"session": (0, 0)}, topics), both.ids)
    session = decoded(both.core.ask(asked, silent=False), version).session_id
    assert session > 0
    return session


def same_in_session(
    both: Pair, version: int, session: int, epoch: int, added: tuple[Topic, ...], told: tuple[Topic, ...]
) -> list[int]:
    """Errors in order of what a session is told, ``told``, when ``added`` is added; the reference path must say so, too."""
    frame = written(Body(1, version, {"session": (session, epoch)}, added), both.ids)
    response = decoded(both.core.ask(frame, silent=False), version)
    assert response.session_id == session
    response.session_id = 0
    outside = decoded(both.same(written(Body(1, version, {}, told), both.ids)), version)
    assert response.encode(version) == outside.encode(version)
    return [part.error_code for topic in response.responses for part in topic.partitions]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_added_to_a_session_and_is_not_here(both: Pair, version: int) -> None:
    here, there, lost = both.create(f"here-{version}", 2), f"there-{version}", f"lost-{version}"
    for name in (there, lost):
        both.ids[name] = uuid.uuid4()
    image_says(both, there, 1, 71, 3)

    def lose(server: Server) -> None:
        state = UpdateMetadataPartitionState(
            partition_index=1, leader=71, leader_epoch=2, offline_replicas=[server.services.node_id]
        )
        topic = UpdateMetadataTopicState(topic_name=lost, topic_id=both.ids[lost], partition_states=[state])
        update_metadata(server, {}, [topic])

    both.tell(lose)
    session = session_of(both, version, Topic(here, (Place(0),)))
    added = (
        Topic(there, (Place(1), Place(0), Place(2))),
        Topic("absent", (Place(0), Place(7))),
        Topic(here, (Place(2), Place(-1), Place(2**31 - 1))),
        Topic(lost, (Place(1), Place(0))),
    )
    found = same_in_session(both, version, session, 1, added, added)
    unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    absent = [ErrorCode.UNKNOWN_TOPIC_ID] * 2 if version >= BY_ID else []
    first = [ErrorCode.NOT_LEADER_OR_FOLLOWER, unknown, unknown]
    last = [unknown] * 3 + [ErrorCode.KAFKA_STORAGE_ERROR, unknown]
    assert found == ([*absent, *first, *last] if absent else [*first, unknown, unknown, *last])
    # They stay in the session, which tells of an error again and again.
    assert same_in_session(both, version, session, 2, (), added) == found


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_session_follows_and_is_deleted(both: Pair, version: int) -> None:
    name, kept = both.create(f"deleted-{version}", 2), both.create(f"kept-{version}")
    followed = Topic(name, (Place(0), Place(1)))
    session = session_of(both, version, followed, Topic(kept, (Place(0),)))
    for admin in both.admins:
        (deleted,) = admin.ask(DeleteTopicsRequest(topic_names=[name], timeout_ms=60_000), 5).responses
        assert deleted.error_code == 0, deleted.error_message
    found = same_in_session(both, version, session, 1, (), (followed,))
    assert found == [ErrorCode.UNKNOWN_TOPIC_ID if version >= BY_ID else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION] * 2

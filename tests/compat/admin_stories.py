"""Sequences of admin requests, good and bad, to be told to any broker that stands alone; see the stories about groups."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from kafkax.protocol.messages import (
    alter_client_quotas,
    describe_configs,
    describe_producers,
    incremental_alter_configs,
    list_partition_reassignments,
    update_features,
)
from kafkax.protocol.messages.alter_client_quotas import AlterClientQuotasRequest, AlterClientQuotasRequestEntryData, OpData
from kafkax.protocol.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from kafkax.protocol.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from kafkax.protocol.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from kafkax.protocol.messages.create_topics import CreatableTopic, CreateTopicsRequest
from kafkax.protocol.messages.delete_topics import DeleteTopicsRequest
from kafkax.protocol.messages.describe_client_quotas import ComponentData, DescribeClientQuotasRequest
from kafkax.protocol.messages.describe_configs import DescribeConfigsRequest
from kafkax.protocol.messages.describe_producers import DescribeProducersRequest
from kafkax.protocol.messages.describe_transactions import DescribeTransactionsRequest
from kafkax.protocol.messages.describe_user_scram_credentials import DescribeUserScramCredentialsRequest, UserName
from kafkax.protocol.messages.elect_leaders import ElectLeadersRequest, TopicPartitions
from kafkax.protocol.messages.get_telemetry_subscriptions import GetTelemetrySubscriptionsRequest
from kafkax.protocol.messages.incremental_alter_configs import IncrementalAlterConfigsRequest
from kafkax.protocol.messages.list_config_resources import ListConfigResourcesRequest
from kafkax.protocol.messages.list_partition_reassignments import ListPartitionReassignmentsRequest
from kafkax.protocol.messages.list_transactions import ListTransactionsRequest
from kafkax.protocol.messages.push_telemetry import PushTelemetryRequest
from kafkax.protocol.messages.update_features import UpdateFeaturesRequest
from tests.compat.group_stories import TOPIC, Teller

EXACT, DEFAULT, SPECIFIED = 0, 1, 2
SET, DELETE, APPEND = 0, 1, 2
TOPIC_CONFIGS, BROKER, CLIENT_METRICS, GROUP = 2, 4, 16, 32
NOBODY = UUID(int=0)

Entity = dict[str, str | None]


def alter_quotas(
    t: Teller, entity: Entity | list[tuple[str, str | None]], *, dry: bool = False, version: int = 1, **ops: float | None
) -> Any:
    """Set quotas of an entity; None removes one."""
    pairs = list(entity.items()) if isinstance(entity, dict) else entity
    entry = AlterClientQuotasRequestEntryData(
        entity=[alter_client_quotas.EntityData(entity_type=kind, entity_name=name) for kind, name in pairs],
        ops=[OpData(key=key, value=value or 0.0, remove=value is None) for key, value in ops.items()],
    )
    return t.ask(AlterClientQuotasRequest(entries=[entry], validate_only=dry), version, prepare=ordered_entries)


def describe_quotas(t: Teller, *components: tuple[str, int, str | None], strict: bool = False) -> Any:
    """List quotas; the entries are sorted, since brokers have no order for them."""
    request = DescribeClientQuotasRequest(
        components=[ComponentData(entity_type=kind, match_type=match, match=name) for kind, match, name in components],
        strict=strict,
    )
    return t.ask(request, 1, prepare=ordered_entries)


def ordered_entries(answer: Any) -> None:
    """Entities and quotas in one order."""
    for entry in answer.entries or ():
        entry.entity.sort(key=lambda each: each.entity_type)
        getattr(entry, "values", []).sort(key=lambda each: each.key)
    if answer.entries is not None:
        answer.entries.sort(key=lambda entry: [(each.entity_type, each.entity_name or "") for each in entry.entity])


def quotas_are_kept(t: Teller) -> None:
    alter_quotas(t, {"user": "alice"}, producer_byte_rate=1024.0, request_percentage=12.5)
    alter_quotas(t, {"user": "alice", "client-id": "app"}, consumer_byte_rate=2048.0)
    alter_quotas(t, {"client-id": None}, producer_byte_rate=4096.0)
    alter_quotas(t, {"user": None, "client-id": None}, controller_mutation_rate=10.0)
    alter_quotas(t, {"user": "strange /näme*~"}, producer_byte_rate=1.0)
    alter_quotas(t, {"ip": "127.0.0.1"}, connection_creation_rate=100.0)
    alter_quotas(t, {"ip": None}, connection_creation_rate=1000.0)
    describe_quotas(t)
    describe_quotas(t, ("user", EXACT, "alice"))
    describe_quotas(t, ("user", EXACT, "alice"), strict=True)
    describe_quotas(t, ("user", DEFAULT, None))
    describe_quotas(t, ("user", SPECIFIED, None))
    describe_quotas(t, ("user", SPECIFIED, None), ("client-id", SPECIFIED, None))
    describe_quotas(t, ("client-id", DEFAULT, None), strict=True)
    describe_quotas(t, ("ip", SPECIFIED, None))
    alter_quotas(t, {"user": "alice"}, request_percentage=None)
    alter_quotas(t, {"user": "alice"}, dry=True, producer_byte_rate=None)
    describe_quotas(t, ("user", EXACT, "alice"))
    for entity, key in (
        ({"user": "alice"}, "producer_byte_rate"),
        ({"user": "alice", "client-id": "app"}, "consumer_byte_rate"),
        ({"client-id": None}, "producer_byte_rate"),
        ({"user": None, "client-id": None}, "controller_mutation_rate"),
        ({"user": "strange /näme*~"}, "producer_byte_rate"),
        ({"ip": "127.0.0.1"}, "connection_creation_rate"),
        ({"ip": None}, "connection_creation_rate"),
    ):
        alter_quotas(t, entity, **{key: None})
    alter_quotas(t, {"user": "nobody"}, producer_byte_rate=None)
    describe_quotas(t)


def bad_quotas(t: Teller) -> None:
    alter_quotas(t, {}, producer_byte_rate=1.0)
    alter_quotas(t, {"group": "g"}, producer_byte_rate=1.0)
    alter_quotas(t, {"user": ""}, producer_byte_rate=1.0)
    alter_quotas(t, {"client-id": ""}, producer_byte_rate=1.0)
    alter_quotas(t, {"": "x"}, producer_byte_rate=1.0)
    alter_quotas(t, [("user", "a"), ("user", "b")], dry=True, producer_byte_rate=1.0)
    alter_quotas(t, {"user": "a", "ip": "127.0.0.1"}, producer_byte_rate=1.0)
    alter_quotas(t, {"ip": "no such host.invalid"}, connection_creation_rate=1.0)
    alter_quotas(t, {"ip": "127.0.0.1"}, producer_byte_rate=1.0)
    alter_quotas(t, {"user": "a"}, connection_creation_rate=1.0)
    alter_quotas(t, {"user": "a"}, no_such_quota=1.0)
    alter_quotas(t, {"user": "a"}, producer_byte_rate=0.0)
    alter_quotas(t, {"user": "a"}, producer_byte_rate=-5.0)
    alter_quotas(t, {"user": "a"}, producer_byte_rate=1.5)
    alter_quotas(t, {"user": "a"}, producer_byte_rate=1e30)
    alter_quotas(t, {"user": "a"}, request_percentage=0.0)
    alter_quotas(t, {"user": "a"}, request_percentage=-1.0)
    alter_quotas(t, {"user": "a"}, dry=True, request_percentage=1e30)
    alter_quotas(t, {"user": "a"}, controller_mutation_rate=0.0)
    alter_quotas(t, {"ip": "127.0.0.1"}, connection_creation_rate=0.0)
    alter_quotas(t, {"ip": "127.0.0.1"}, connection_creation_rate=1.5)
    alter_quotas(t, {"ip": "127.0.0.1"}, connection_creation_rate=None)
    twice = AlterClientQuotasRequestEntryData(
        entity=[alter_client_quotas.EntityData(entity_type="user", entity_name="a")],
        ops=[OpData(key="producer_byte_rate", value=1.0), OpData(key="producer_byte_rate", value=2.0)],
    )
    t.ask(AlterClientQuotasRequest(entries=[twice], validate_only=True), 1)
    t.ask(AlterClientQuotasRequest(entries=[twice, twice], validate_only=True), 1)
    t.ask(AlterClientQuotasRequest(), 0)
    for component in (
        ("", EXACT, "x"),
        ("group", EXACT, "x"),
        ("user", 3, None),
        ("user", EXACT, None),
        ("user", DEFAULT, "x"),
        ("user", SPECIFIED, "x"),
    ):
        describe_quotas(t, component)
    describe_quotas(t, ("user", EXACT, "a"), ("user", EXACT, "b"))
    describe_quotas(t, ("user", EXACT, "a"), ("ip", EXACT, "b"))
    describe_quotas(t, strict=True)


def mutations_beyond_a_quota(t: Teller) -> None:
    """The bucket holds 22 tokens: what is in debt afterwards is refused, or throttled where the version knows no refusal."""
    t.client = t.group
    alter_quotas(t, {"client-id": t.client}, controller_mutation_rate=2.0)
    topics = [f"{t.client}-{number}" for number in range(5)]

    def told(message: Any, version: int, who: str) -> None:
        answer = t.ask(message, version, who, prepare=without_configs)
        t.transcript.append(f"waits {round(answer.throttle_time_ms, -4)} ms")

    def without_configs(answer: Any) -> None:
        for each in getattr(answer, "topics", []):
            each.configs, each.topic_id = [], NOBODY

    def created(version: int, who: str, *counts: tuple[int, int], dry: bool = False) -> None:
        wanted = [CreatableTopic(name=topics[at], num_partitions=count, replication_factor=1) for at, count in counts]
        told(CreateTopicsRequest(topics=wanted, timeout_ms=20_000, validate_only=dry), version, who)

    def grown(version: int, who: str, count: int) -> None:
        wanted = CreatePartitionsTopic(name=topics[0], count=count, assignments=None)
        told(CreatePartitionsRequest(topics=[wanted], timeout_ms=20_000), version, who)

    def deleted(version: int, who: str, at: int) -> None:
        message = DeleteTopicsRequest(topic_names=[topics[at]], timeout_ms=20_000)
        told(message, version, who)

    created(7, "b", (0, 2), (0, 2))
    created(7, "b", (1, 10), dry=True)
    created(7, "b", (0, 32), (1, 1))
    created(7, "c", (2, 1))
    created(7, "d", (2, 1), dry=True)
    grown(3, "e", 33)
    deleted(5, "f", 0)
    created(5, "g", (3, 30))
    grown(2, "h", 62)
    deleted(4, "i", 3)
    t.client = "teller"
    for name in topics:
        t.quietly(DeleteTopicsRequest(topic_names=[name], timeout_ms=20_000), 5)


def upsert(name: str, mechanism: int, iterations: int, salt: bytes = b"salt", password: bytes | None = None) -> Any:
    """A credential."""
    return ScramCredentialUpsertion(
        name=name,
        mechanism=mechanism,
        iterations=iterations,
        salt=salt,
        salted_password=password if password is not None else bytes(32 if mechanism == 1 else 64),
    )


def scram_credentials(t: Teller) -> None:
    def alter(deletions: list[tuple[str, int]], *upsertions: Any) -> None:
        gone = [ScramCredentialDeletion(name=name, mechanism=mechanism) for name, mechanism in deletions]
        t.ask(AlterUserScramCredentialsRequest(deletions=gone, upsertions=list(upsertions)), 0)

    def describe(*names: str) -> None:
        users = [UserName(name=name) for name in names] if names else None
        t.ask(DescribeUserScramCredentialsRequest(users=users), 0)

    describe()
    describe("nobody")
    describe("nobody", "nobody")
    describe("")
    alter([], upsert("alice", 1, 4096), upsert("alice", 2, 8192), upsert("bob", 1, 4096))
    describe()
    describe("alice", "carol", "bob")
    alter([("alice", 2), ("bob", 1)])
    describe()
    describe("alice", "bob")
    alter([("alice", 2)])
    alter([("alice", 1)], upsert("alice", 1, 4096))
    alter([], upsert("alice", 1, 4096), upsert("alice", 1, 5000))
    alter([("", 1), ("x", 0), ("x", 9)])
    alter([], upsert("", 1, 4096))
    alter([], upsert("x", 0, 4096))
    alter([], upsert("x", 9, 4096))
    alter([], upsert("x", 1, 4095))
    alter([], upsert("x", 1, 16384), upsert("y", 1, 16385))
    alter([], upsert("x", 1, 4096, salt=b""))
    alter([("alice", 1), ("x", 1)])
    alter([])
    describe()
    t.ask(DescribeUserScramCredentialsRequest(users=[]), 0)


def elections(t: Teller) -> None:
    t.ready()

    def elect(kind: int, *topics: tuple[str, list[int]] | None, version: int = 2) -> None:
        wanted = None if topics == (None,) else [TopicPartitions(topic=each[0], partitions=each[1]) for each in topics if each]
        t.ask(ElectLeadersRequest(election_type=kind, topic_partitions=wanted, timeout_ms=10_000), version, prepare=told)

    def told(answer: Any) -> None:
        answer.replica_election_results = [topic for topic in answer.replica_election_results if topic.partition_result]

    elect(0, (TOPIC, [0, 3]))
    elect(1, (TOPIC, [0]))
    elect(0, (TOPIC, [7]))
    elect(0, ("not-there", [0]))
    elect(0, None)
    elect(1, None)
    elect(2, (TOPIC, [0]))
    elect(0, (TOPIC, [0]), version=0)
    elect(0)


def reassignments(t: Teller) -> None:
    t.ready()

    def move(*moves: tuple[str, int, list[int] | None], version: int = 1, change: bool = True) -> None:
        topics = [
            ReassignableTopic(name=name, partitions=[ReassignablePartition(partition_index=index, replicas=replicas)])
            for name, index, replicas in moves
        ]
        request = AlterPartitionReassignmentsRequest(timeout_ms=10_000, allow_replication_factor_change=change, topics=topics)
        t.ask(request, version)

    def listed(*topics: tuple[str, list[int]]) -> None:
        wanted = [
            list_partition_reassignments.ListPartitionReassignmentsTopics(name=name, partition_indexes=indexes)
            for name, indexes in topics
        ]
        t.ask(ListPartitionReassignmentsRequest(topics=wanted or None, timeout_ms=10_000), 0)

    move((TOPIC, 0, [1]))
    move((TOPIC, 0, None))
    move((TOPIC, 7, [1]))
    move((TOPIC, 7, None))
    move(("not-there", 0, [1]))
    move(("not-there", 0, None))
    move((TOPIC, 0, []))
    move((TOPIC, 0, [1, 1]))
    move((TOPIC, 0, [99]))
    move((TOPIC, 0, [-1]))
    move((TOPIC, 0, [1, 99]), change=False)
    move((TOPIC, 0, [1]), version=0)
    move()
    listed()
    listed((TOPIC, [0, 7]), ("not-there", [0]))


def features(t: Teller) -> None:
    def update(*updates: tuple[str, int, int], dry: bool = True, version: int = 1) -> None:
        keys = [
            update_features.FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=kind)
            for name, level, kind in updates
        ]
        t.ask(UpdateFeaturesRequest(feature_updates=keys, validate_only=dry, timeout_ms=10_000), version)

    update(("no.such.feature", 1, 1))
    update(("no.such.feature", 1, 1), version=2)
    update(("group.version", 99, 1))
    update(("group.version", 1, 1))
    update(("group.version", -1, 1))
    update(("group.version", 1, 9))


def transactions_and_producers(t: Teller) -> None:
    t.ready()
    topics = [describe_producers.TopicRequest(name=name, partition_indexes=[0, 9]) for name in (TOPIC, "not-there")]
    t.ask(DescribeProducersRequest(topics=topics), 0)
    for version in (0, 1, 2):
        t.ask(ListTransactionsRequest(), version)
    t.ask(ListTransactionsRequest(state_filters=["Ongoing", "Strange"], producer_id_filters=[7]), 1)
    t.ask(ListTransactionsRequest(transactional_id_pattern="a.*"), 2)
    t.ask(ListTransactionsRequest(transactional_id_pattern="("), 2)


def change(kind: int, name: str, *configs: tuple[str, str | None, int]) -> IncrementalAlterConfigsRequest:
    """A request that changes configs of one resource."""
    changes = [
        incremental_alter_configs.AlterableConfig(name=key, value=value, config_operation=operation)
        for key, value, operation in configs
    ]
    resource = incremental_alter_configs.AlterConfigsResource(resource_type=kind, resource_name=name, configs=changes)
    return IncrementalAlterConfigsRequest(resources=[resource])


def client_metrics(t: Teller) -> None:
    def describe(name: str) -> None:
        resource = describe_configs.DescribeConfigsResource(
            resource_type=CLIENT_METRICS, resource_name=name, configuration_keys=None
        )
        t.ask(DescribeConfigsRequest(resources=[resource], include_synonyms=True), 4, prepare=sorted_configs)

    def subscribe(instance: UUID = NOBODY) -> Any:
        def plain(answer: Any) -> None:
            answer.subscription_id = "nothing wanted" if answer.subscription_id == 0 else "some number"
            answer.push_interval_ms = "jittered" if answer.push_interval_ms != 300_000 else 300_000

        return t.ask(GetTelemetrySubscriptionsRequest(client_instance_id=instance), 0, prepare=plain)

    def push(instance: UUID, subscription: int, **more: Any) -> None:
        t.ask(PushTelemetryRequest(client_instance_id=instance, subscription_id=subscription, **more), 0)

    subscribe()
    describe("no-such")
    t.ask(ListConfigResourcesRequest(), 0)
    t.ask(change(CLIENT_METRICS, "all", ("metrics", "org.apache.kafka.producer.,x", SET), ("interval.ms", "1000", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("match", "client_id=.*,client_software_name=apache.*", SET)), 1)
    describe("all")
    t.ask(ListConfigResourcesRequest(), 0)
    t.ask(ListConfigResourcesRequest(resource_types=[CLIENT_METRICS]), 1)
    t.ask(change(CLIENT_METRICS, "all", ("interval.ms", "99", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("interval.ms", "3600001", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("interval.ms", "soon", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("match", "client_id=[", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("match", "colour=red", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("no.such", "1", SET)), 1)
    t.ask(change(CLIENT_METRICS, "", ("interval.ms", "1000", SET)), 1)
    t.ask(change(CLIENT_METRICS, "all", ("match", None, DELETE), ("metrics", "*", SET)), 1)
    describe("all")
    push(UUID(int=77), 1)
    push(NOBODY, 0)
    t.ask(change(CLIENT_METRICS, "all", *((key, None, DELETE) for key in ("match", "metrics", "interval.ms"))), 1)
    t.ask(ListConfigResourcesRequest(), 0)
    describe("all")


def sorted_configs(answer: Any) -> None:
    """Configs in one order, without their texts."""
    for result in answer.results:
        result.configs.sort(key=lambda config: config.name)
        for config in result.configs:
            config.documentation = None


def group_configs(t: Teller) -> None:
    def describe(name: str) -> None:
        resource = describe_configs.DescribeConfigsResource(resource_type=GROUP, resource_name=name, configuration_keys=None)
        t.ask(DescribeConfigsRequest(resources=[resource], include_synonyms=True), 4, prepare=of_consumers)

    def of_consumers(answer: Any) -> None:
        sorted_configs(answer)
        for result in answer.results:
            result.configs = [config for config in result.configs if config.name.startswith("consumer.")]

    describe("g")
    t.ask(change(GROUP, "g", ("consumer.session.timeout.ms", "50000", SET)), 1)
    describe("g")
    t.ask(ListConfigResourcesRequest(resource_types=[GROUP]), 1)
    t.ask(change(GROUP, "g", ("consumer.session.timeout.ms", "1", SET)), 1)
    t.ask(change(GROUP, "g", ("consumer.session.timeout.ms", "x", SET)), 1)
    t.ask(change(GROUP, "g", ("no.such", "1", SET)), 1)
    t.ask(change(GROUP, "", ("consumer.session.timeout.ms", "50000", SET)), 1)
    t.ask(change(GROUP, "g", ("consumer.session.timeout.ms", None, DELETE)), 1)
    describe("")


def broker_configs(t: Teller) -> None:
    for name in ("", "1"):
        t.ask(change(BROKER, name, ("log.cleaner.threads", "x", SET)), 1)
        t.ask(change(BROKER, name, ("log.cleaner.threads", "-1", SET)), 1)
        t.ask(change(BROKER, name, ("log.cleaner.threads", None, SET)), 1)
        t.ask(change(BROKER, name, ("log.cleaner.threads", "1", APPEND)), 1)
        t.ask(change(BROKER, name, ("log.cleaner.threads", "1", 9)), 1)
        t.ask(change(BROKER, name, ("log.cleaner.threads", "2", DELETE)), 1)
        t.ask(change(BROKER, name, ("log.retention.ms", "soon", SET)), 1)
        t.ask(change(BROKER, name, ("log.dirs", "/tmp", SET)), 1)
        t.ask(change(BROKER, name, ("authorizer.class.name", "x.Y", SET)), 1)
        t.ask(change(BROKER, name, ("metric.reporters", "x.Y", SET)), 1)
        t.ask(change(BROKER, name, ("ssl.keystore.location", "/etc/passwd", SET)), 1)
        t.ask(change(BROKER, name, ("sasl.oauthbearer.jwks.endpoint.url", "http://127.0.0.1:1/", SET)), 1)
    for name in ("7", "x"):
        t.ask(change(BROKER, name, ("log.cleaner.threads", "1", SET)), 1)


def configs_without_a_value(t: Teller) -> None:
    t.ready()
    t.ask(change(TOPIC_CONFIGS, TOPIC, ("retention.ms", None, SET)), 1)
    t.ask(change(GROUP, "g", ("consumer.session.timeout.ms", None, SET)), 1)
    t.ask(change(CLIENT_METRICS, "m", ("interval.ms", None, SET)), 1)


def resources_of_no_kind(t: Teller) -> None:
    for kind in (0, 3, 64):
        resource = describe_configs.DescribeConfigsResource(resource_type=kind, resource_name="x", configuration_keys=None)
        t.ask(DescribeConfigsRequest(resources=[resource]), 4)
        t.ask(change(kind, "x", ("a", "1", SET)), 1)
    t.ask(ListConfigResourcesRequest(resource_types=[3]), 1)


def transactions_described(t: Teller) -> None:
    t.ask(DescribeTransactionsRequest(transactional_ids=[""]), 0)


STORIES = [
    quotas_are_kept,
    bad_quotas,
    mutations_beyond_a_quota,
    scram_credentials,
    elections,
    reassignments,
    features,
    transactions_and_producers,
    client_metrics,
    group_configs,
    broker_configs,
    configs_without_a_value,
    resources_of_no_kind,
    transactions_described,
]

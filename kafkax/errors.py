"""Kafka's error codes as they stand on the wire, and the one exception that carries them.

Domain code raises :class:`KafkaError` with a code; handlers write the code into the answer and clients raise it again,
so a number means the same thing at both ends.  Source: the error table of the Kafka protocol guide.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ErrorCode", "KafkaError", "ProtocolError"]


class ErrorCode(IntEnum):
    """A wire error code (int16)."""

    UNKNOWN_SERVER_ERROR = -1
    NONE = 0
    OFFSET_OUT_OF_RANGE = 1
    CORRUPT_MESSAGE = 2
    UNKNOWN_TOPIC_OR_PARTITION = 3
    INVALID_FETCH_SIZE = 4
    LEADER_NOT_AVAILABLE = 5
    NOT_LEADER_OR_FOLLOWER = 6
    REQUEST_TIMED_OUT = 7
    BROKER_NOT_AVAILABLE = 8
    REPLICA_NOT_AVAILABLE = 9
    MESSAGE_TOO_LARGE = 10
    STALE_CONTROLLER_EPOCH = 11
    OFFSET_METADATA_TOO_LARGE = 12
    NETWORK_EXCEPTION = 13
    COORDINATOR_LOAD_IN_PROGRESS = 14
    COORDINATOR_NOT_AVAILABLE = 15
    NOT_COORDINATOR = 16
    INVALID_TOPIC_EXCEPTION = 17
    RECORD_LIST_TOO_LARGE = 18
    NOT_ENOUGH_REPLICAS = 19
    NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    INVALID_REQUIRED_ACKS = 21
    ILLEGAL_GENERATION = 22
    INCONSISTENT_GROUP_PROTOCOL = 23
    INVALID_GROUP_ID = 24
    UNKNOWN_MEMBER_ID = 25
    INVALID_SESSION_TIMEOUT = 26
    REBALANCE_IN_PROGRESS = 27
    INVALID_COMMIT_OFFSET_SIZE = 28
    TOPIC_AUTHORIZATION_FAILED = 29
    GROUP_AUTHORIZATION_FAILED = 30
    CLUSTER_AUTHORIZATION_FAILED = 31
    INVALID_TIMESTAMP = 32
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    UNSUPPORTED_VERSION = 35
    TOPIC_ALREADY_EXISTS = 36
    INVALID_PARTITIONS = 37
    INVALID_REPLICATION_FACTOR = 38
    INVALID_REPLICA_ASSIGNMENT = 39
    INVALID_CONFIG = 40
    NOT_CONTROLLER = 41
    INVALID_REQUEST = 42
    UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    POLICY_VIOLATION = 44
    OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    DUPLICATE_SEQUENCE_NUMBER = 46
    INVALID_PRODUCER_EPOCH = 47
    INVALID_TXN_STATE = 48
    INVALID_PRODUCER_ID_MAPPING = 49
    INVALID_TRANSACTION_TIMEOUT = 50
    CONCURRENT_TRANSACTIONS = 51
    TRANSACTION_COORDINATOR_FENCED = 52
    TRANSACTIONAL_ID_AUTHORIZATION_FAILED = 53
    SECURITY_DISABLED = 54
    OPERATION_NOT_ATTEMPTED = 55
    KAFKA_STORAGE_ERROR = 56
    LOG_DIR_NOT_FOUND = 57
    SASL_AUTHENTICATION_FAILED = 58
    UNKNOWN_PRODUCER_ID = 59
    REASSIGNMENT_IN_PROGRESS = 60
    DELEGATION_TOKEN_AUTH_DISABLED = 61
    DELEGATION_TOKEN_NOT_FOUND = 62
    DELEGATION_TOKEN_OWNER_MISMATCH = 63
    DELEGATION_TOKEN_REQUEST_NOT_ALLOWED = 64
    DELEGATION_TOKEN_AUTHORIZATION_FAILED = 65
    DELEGATION_TOKEN_EXPIRED = 66
    INVALID_PRINCIPAL_TYPE = 67
    NON_EMPTY_GROUP = 68
    GROUP_ID_NOT_FOUND = 69
    FETCH_SESSION_ID_NOT_FOUND = 70
    INVALID_FETCH_SESSION_EPOCH = 71
    LISTENER_NOT_FOUND = 72
    TOPIC_DELETION_DISABLED = 73
    FENCED_LEADER_EPOCH = 74
    UNKNOWN_LEADER_EPOCH = 75
    UNSUPPORTED_COMPRESSION_TYPE = 76
    STALE_BROKER_EPOCH = 77
    OFFSET_NOT_AVAILABLE = 78
    MEMBER_ID_REQUIRED = 79
    PREFERRED_LEADER_NOT_AVAILABLE = 80
    GROUP_MAX_SIZE_REACHED = 81
    FENCED_INSTANCE_ID = 82
    ELIGIBLE_LEADERS_NOT_AVAILABLE = 83
    ELECTION_NOT_NEEDED = 84
    NO_REASSIGNMENT_IN_PROGRESS = 85
    GROUP_SUBSCRIBED_TO_TOPIC = 86
    INVALID_RECORD = 87
    UNSTABLE_OFFSET_COMMIT = 88
    THROTTLING_QUOTA_EXCEEDED = 89
    PRODUCER_FENCED = 90
    RESOURCE_NOT_FOUND = 91
    DUPLICATE_RESOURCE = 92
    UNACCEPTABLE_CREDENTIAL = 93
    INCONSISTENT_VOTER_SET = 94
    INVALID_UPDATE_VERSION = 95
    FEATURE_UPDATE_FAILED = 96
    PRINCIPAL_DESERIALIZATION_FAILURE = 97
    SNAPSHOT_NOT_FOUND = 98
    POSITION_OUT_OF_RANGE = 99
    UNKNOWN_TOPIC_ID = 100
    DUPLICATE_BROKER_REGISTRATION = 101
    BROKER_ID_NOT_REGISTERED = 102
    INCONSISTENT_TOPIC_ID = 103
    INCONSISTENT_CLUSTER_ID = 104
    TRANSACTIONAL_ID_NOT_FOUND = 105
    FETCH_SESSION_TOPIC_ID_ERROR = 106
    INELIGIBLE_REPLICA = 107
    NEW_LEADER_ELECTED = 108
    OFFSET_MOVED_TO_TIERED_STORAGE = 109
    FENCED_MEMBER_EPOCH = 110
    UNRELEASED_INSTANCE_ID = 111
    UNSUPPORTED_ASSIGNOR = 112
    STALE_MEMBER_EPOCH = 113
    MISMATCHED_ENDPOINT_TYPE = 114
    UNSUPPORTED_ENDPOINT_TYPE = 115
    UNKNOWN_CONTROLLER_ID = 116
    UNKNOWN_SUBSCRIPTION_ID = 117
    TELEMETRY_TOO_LARGE = 118
    INVALID_REGISTRATION = 119
    TRANSACTION_ABORTABLE = 120
    INVALID_RECORD_STATE = 121
    SHARE_SESSION_NOT_FOUND = 122
    INVALID_SHARE_SESSION_EPOCH = 123
    FENCED_STATE_EPOCH = 124
    INVALID_VOTER_KEY = 125
    DUPLICATE_VOTER = 126
    VOTER_NOT_FOUND = 127
    INVALID_REGULAR_EXPRESSION = 128
    REBOOTSTRAP_REQUIRED = 129
    STREAMS_INVALID_TOPOLOGY = 130
    STREAMS_INVALID_TOPOLOGY_EPOCH = 131
    STREAMS_TOPOLOGY_FENCED = 132
    SHARE_SESSION_LIMIT_REACHED = 133

    @property
    def retriable(self) -> bool:
        """Whether the same request may succeed when it is sent again."""
        return self in _RETRIABLE

    @property
    def message(self) -> str:
        """What the code means, one sentence for people."""
        return _MESSAGES[self]


def error_code(number: int) -> ErrorCode:
    """A code as it came over the wire; UNKNOWN_SERVER_ERROR for one that is newer than this."""
    try:
        return ErrorCode(number)
    except ValueError:
        return ErrorCode.UNKNOWN_SERVER_ERROR


_MESSAGES: dict[ErrorCode, str] = {
    ErrorCode.UNKNOWN_SERVER_ERROR: "The broker failed in a way that it did not expect.",
    ErrorCode.NONE: "No error.",
    ErrorCode.OFFSET_OUT_OF_RANGE: "The offset lies outside the range that the partition holds.",
    ErrorCode.CORRUPT_MESSAGE: "A batch failed its checksum, has a bad size or magic, or breaks the format.",
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "This broker does not host that topic partition.",
    ErrorCode.INVALID_FETCH_SIZE: "The requested fetch size is not valid.",
    ErrorCode.LEADER_NOT_AVAILABLE: "The partition has no leader at the moment.",
    ErrorCode.NOT_LEADER_OR_FOLLOWER: "This broker is not the leader, or not a replica, of the partition.",
    ErrorCode.REQUEST_TIMED_OUT: "The request did not finish within its timeout.",
    ErrorCode.BROKER_NOT_AVAILABLE: "The broker is not available.",
    ErrorCode.REPLICA_NOT_AVAILABLE: "The replica is not available on this broker.",
    ErrorCode.MESSAGE_TOO_LARGE: "The batch is larger than max.message.bytes allows.",
    ErrorCode.STALE_CONTROLLER_EPOCH: "The controller moved to another broker.",
    ErrorCode.OFFSET_METADATA_TOO_LARGE: "The metadata of the offset commit is larger than offset.metadata.max.bytes.",
    ErrorCode.NETWORK_EXCEPTION: "The connection broke before an answer arrived.",
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS: "The coordinator is still loading its state.",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "The coordinator is not available.",
    ErrorCode.NOT_COORDINATOR: "This broker is not the coordinator.",
    ErrorCode.INVALID_TOPIC_EXCEPTION: "The topic name is not allowed.",
    ErrorCode.RECORD_LIST_TOO_LARGE: "The batches are together larger than a segment may be.",
    ErrorCode.NOT_ENOUGH_REPLICAS: "Fewer replicas are in sync than min.insync.replicas asks for; nothing was appended.",
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: "The records were appended, but fewer replicas are in sync than asked for.",
    ErrorCode.INVALID_REQUIRED_ACKS: "acks must be -1 (all), 0 or 1.",
    ErrorCode.ILLEGAL_GENERATION: "The generation of the member is not the group's current one.",
    ErrorCode.INCONSISTENT_GROUP_PROTOCOL: "The member shares no protocol with the rest of the group.",
    ErrorCode.INVALID_GROUP_ID: "The group id is not allowed.",
    ErrorCode.UNKNOWN_MEMBER_ID: "The coordinator does not know this member.",
    ErrorCode.INVALID_SESSION_TIMEOUT: "The session timeout is outside group.min and group.max.session.timeout.ms.",
    ErrorCode.REBALANCE_IN_PROGRESS: "The group is rebalancing; join again.",
    ErrorCode.INVALID_COMMIT_OFFSET_SIZE: "The offset commit is too large.",
    ErrorCode.TOPIC_AUTHORIZATION_FAILED: "Not authorized to access the topic.",
    ErrorCode.GROUP_AUTHORIZATION_FAILED: "Not authorized to access the group.",
    ErrorCode.CLUSTER_AUTHORIZATION_FAILED: "Not authorized to act on the cluster.",
    ErrorCode.INVALID_TIMESTAMP: "The timestamp of a record lies outside the bounds that the topic sets.",
    ErrorCode.UNSUPPORTED_SASL_MECHANISM: "The broker does not offer that SASL mechanism.",
    ErrorCode.ILLEGAL_SASL_STATE: "The request does not fit the state of the SASL exchange.",
    ErrorCode.UNSUPPORTED_VERSION: "The version of the API is not supported.",
    ErrorCode.TOPIC_ALREADY_EXISTS: "A topic of that name exists already.",
    ErrorCode.INVALID_PARTITIONS: "The number of partitions is not valid.",
    ErrorCode.INVALID_REPLICATION_FACTOR: "The replication factor is below 1 or above the number of brokers.",
    ErrorCode.INVALID_REPLICA_ASSIGNMENT: "The replica assignment is not valid.",
    ErrorCode.INVALID_CONFIG: "The configuration is not valid.",
    ErrorCode.NOT_CONTROLLER: "This broker is not the controller.",
    ErrorCode.INVALID_REQUEST: "The request contradicts itself or breaks the protocol.",
    ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT: "The message format does not support the operation.",
    ErrorCode.POLICY_VIOLATION: "The request breaks a policy.",
    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER: "The sequence number does not follow the producer's last one.",
    ErrorCode.DUPLICATE_SEQUENCE_NUMBER: "The sequence number was used before.",
    ErrorCode.INVALID_PRODUCER_EPOCH: "The producer's epoch is older than the one known.",
    ErrorCode.INVALID_TXN_STATE: "The transaction is in a state that does not allow the operation.",
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: "The producer id does not belong to the transactional id.",
    ErrorCode.INVALID_TRANSACTION_TIMEOUT: "The transaction timeout is above transaction.max.timeout.ms.",
    ErrorCode.CONCURRENT_TRANSACTIONS: "Another operation on the same transaction is under way.",
    ErrorCode.TRANSACTION_COORDINATOR_FENCED: "The transaction coordinator was replaced by a newer one.",
    ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Not authorized to use the transactional id.",
    ErrorCode.SECURITY_DISABLED: "Security features are turned off.",
    ErrorCode.OPERATION_NOT_ATTEMPTED: "The operation was not attempted, since another part of the request failed.",
    ErrorCode.KAFKA_STORAGE_ERROR: "The log directory of the partition failed.",
    ErrorCode.LOG_DIR_NOT_FOUND: "The log directory is not among log.dirs.",
    ErrorCode.SASL_AUTHENTICATION_FAILED: "SASL authentication failed.",
    ErrorCode.UNKNOWN_PRODUCER_ID: "The broker has no state for the producer id.",
    ErrorCode.REASSIGNMENT_IN_PROGRESS: "A reassignment of the partition is under way.",
    ErrorCode.DELEGATION_TOKEN_AUTH_DISABLED: "Delegation tokens are turned off.",
    ErrorCode.DELEGATION_TOKEN_NOT_FOUND: "The delegation token is not known.",
    ErrorCode.DELEGATION_TOKEN_OWNER_MISMATCH: "The principal neither owns nor may renew the token.",
    ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED: "Delegation tokens are not allowed over this connection.",
    ErrorCode.DELEGATION_TOKEN_AUTHORIZATION_FAILED: "Not authorized to use delegation tokens.",
    ErrorCode.DELEGATION_TOKEN_EXPIRED: "The delegation token has expired.",
    ErrorCode.INVALID_PRINCIPAL_TYPE: "The principal type is not supported.",
    ErrorCode.NON_EMPTY_GROUP: "The group still has members.",
    ErrorCode.GROUP_ID_NOT_FOUND: "The group does not exist.",
    ErrorCode.FETCH_SESSION_ID_NOT_FOUND: "The broker does not know the fetch session.",
    ErrorCode.INVALID_FETCH_SESSION_EPOCH: "The fetch session epoch is not the expected one.",
    ErrorCode.LISTENER_NOT_FOUND: "The leader has no listener of that name.",
    ErrorCode.TOPIC_DELETION_DISABLED: "delete.topic.enable is false.",
    ErrorCode.FENCED_LEADER_EPOCH: "The leader epoch of the request is older than the broker's.",
    ErrorCode.UNKNOWN_LEADER_EPOCH: "The leader epoch of the request is newer than the broker's.",
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE: "The version of the request does not allow that compression type.",
    ErrorCode.STALE_BROKER_EPOCH: "The broker epoch has changed.",
    ErrorCode.OFFSET_NOT_AVAILABLE: "The high watermark has not yet caught up after an election.",
    ErrorCode.MEMBER_ID_REQUIRED: "Join again with the member id given in this answer.",
    ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE: "The preferred leader is not available.",
    ErrorCode.GROUP_MAX_SIZE_REACHED: "The group has as many members as group.max.size allows.",
    ErrorCode.FENCED_INSTANCE_ID: "Another member took over the static instance id.",
    ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE: "No replica that may lead is available.",
    ErrorCode.ELECTION_NOT_NEEDED: "The partition has the desired leader already.",
    ErrorCode.NO_REASSIGNMENT_IN_PROGRESS: "No reassignment of the partition is under way.",
    ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC: "The group is subscribed to the topic.",
    ErrorCode.INVALID_RECORD: "A record failed the broker's validation.",
    ErrorCode.UNSTABLE_OFFSET_COMMIT: "Some offsets are still part of an open transaction.",
    ErrorCode.THROTTLING_QUOTA_EXCEEDED: "The throttling quota was exceeded.",
    ErrorCode.PRODUCER_FENCED: "A newer producer with the same transactional id took over.",
    ErrorCode.RESOURCE_NOT_FOUND: "The resource does not exist.",
    ErrorCode.DUPLICATE_RESOURCE: "The resource is named more than once.",
    ErrorCode.UNACCEPTABLE_CREDENTIAL: "The credential breaks the rules.",
    ErrorCode.INCONSISTENT_VOTER_SET: "The voter sets differ.",
    ErrorCode.INVALID_UPDATE_VERSION: "The update version is not valid.",
    ErrorCode.FEATURE_UPDATE_FAILED: "The feature could not be updated.",
    ErrorCode.PRINCIPAL_DESERIALIZATION_FAILURE: "The principal of the forwarded request cannot be read.",
    ErrorCode.SNAPSHOT_NOT_FOUND: "The snapshot does not exist.",
    ErrorCode.POSITION_OUT_OF_RANGE: "The position lies outside the snapshot.",
    ErrorCode.UNKNOWN_TOPIC_ID: "This broker does not host a topic of that id.",
    ErrorCode.DUPLICATE_BROKER_REGISTRATION: "The broker id is in use.",
    ErrorCode.BROKER_ID_NOT_REGISTERED: "The broker id is not registered.",
    ErrorCode.INCONSISTENT_TOPIC_ID: "The topic id differs from the one of the log.",
    ErrorCode.INCONSISTENT_CLUSTER_ID: "The cluster id differs from this broker's.",
    ErrorCode.TRANSACTIONAL_ID_NOT_FOUND: "The transactional id does not exist.",
    ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR: "The fetch session mixes topic names and topic ids.",
    ErrorCode.INELIGIBLE_REPLICA: "The replica may not join the ISR.",
    ErrorCode.NEW_LEADER_ELECTED: "The ISR change elected a new leader.",
    ErrorCode.OFFSET_MOVED_TO_TIERED_STORAGE: "The offset moved to tiered storage.",
    ErrorCode.FENCED_MEMBER_EPOCH: "The member epoch is not the expected one; abandon all partitions and join again.",
    ErrorCode.UNRELEASED_INSTANCE_ID: "The instance id is still used by another member.",
    ErrorCode.UNSUPPORTED_ASSIGNOR: "The group does not support that assignor.",
    ErrorCode.STALE_MEMBER_EPOCH: "The member epoch is stale; heartbeat to learn the new one.",
    ErrorCode.MISMATCHED_ENDPOINT_TYPE: "The request came to the wrong kind of endpoint.",
    ErrorCode.UNSUPPORTED_ENDPOINT_TYPE: "The endpoint type is not supported.",
    ErrorCode.UNKNOWN_CONTROLLER_ID: "The controller id is not known.",
    ErrorCode.UNKNOWN_SUBSCRIPTION_ID: "The telemetry subscription id is not the current one.",
    ErrorCode.TELEMETRY_TOO_LARGE: "The metrics are larger than telemetry.max.bytes.",
    ErrorCode.INVALID_REGISTRATION: "The registration is not valid.",
    ErrorCode.TRANSACTION_ABORTABLE: "The transaction failed and must be aborted.",
    ErrorCode.INVALID_RECORD_STATE: "The state of the record does not allow the acknowledgement.",
    ErrorCode.SHARE_SESSION_NOT_FOUND: "The broker does not know the share session.",
    ErrorCode.INVALID_SHARE_SESSION_EPOCH: "The share session epoch is not the expected one.",
    ErrorCode.FENCED_STATE_EPOCH: "The share state epoch is fenced.",
    ErrorCode.INVALID_VOTER_KEY: "The voter key does not match.",
    ErrorCode.DUPLICATE_VOTER: "The voter is in the set already.",
    ErrorCode.VOTER_NOT_FOUND: "The voter is not in the set.",
    ErrorCode.INVALID_REGULAR_EXPRESSION: "The regular expression is not valid.",
    ErrorCode.REBOOTSTRAP_REQUIRED: "The client must bootstrap again.",
    ErrorCode.STREAMS_INVALID_TOPOLOGY: "The topology is not valid.",
    ErrorCode.STREAMS_INVALID_TOPOLOGY_EPOCH: "The topology epoch is not valid.",
    ErrorCode.STREAMS_TOPOLOGY_FENCED: "The topology epoch is outdated.",
    ErrorCode.SHARE_SESSION_LIMIT_REACHED: "The broker holds as many share sessions as it may.",
}

_RETRIABLE = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.LEADER_NOT_AVAILABLE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_ENOUGH_REPLICAS,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        ErrorCode.NOT_CONTROLLER,
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.LISTENER_NOT_FOUND,
        ErrorCode.FENCED_LEADER_EPOCH,
        ErrorCode.UNKNOWN_LEADER_EPOCH,
        ErrorCode.OFFSET_NOT_AVAILABLE,
        ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE,
        ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE,
        ErrorCode.ELECTION_NOT_NEEDED,
        ErrorCode.UNSTABLE_OFFSET_COMMIT,
        ErrorCode.THROTTLING_QUOTA_EXCEEDED,
        ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
        ErrorCode.SHARE_SESSION_NOT_FOUND,
        ErrorCode.INVALID_SHARE_SESSION_EPOCH,
        ErrorCode.SHARE_SESSION_LIMIT_REACHED,
    }
)


class KafkaError(Exception):
    """An error with a wire code.

    Args:
        code: the wire code.
        message: what happened and what to do; the code's own sentence when empty.
    """

    def __init__(self, code: ErrorCode, message: str = "") -> None:
        super().__init__(message or code.message)
        self.code = code

    @property
    def retriable(self) -> bool:
        """Whether the same request may succeed when it is sent again."""
        return self.code.retriable

    def __repr__(self) -> str:
        return f"KafkaError({self.code.name}, {str(self)!r})"


class ProtocolError(ValueError):
    """Bytes that do not parse as the message they claim to be; the connection they came from is closed."""

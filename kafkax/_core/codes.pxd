"""Result codes of core functions: 0, a Kafka wire error code (> 0), or one of the core's own (< -1000)."""

cdef enum:
    OK = 0
    # The control plane has to do it: nothing was changed.
    CORE_HANDOFF = -1001
    # Not yet: wait and ask again.
    CORE_PENDING = -1002
    CORE_NO_MEMORY = -1003
    # A system call failed; ``errno`` tells which way.
    CORE_IO_ERROR = -1004
    # Nothing (more) there.
    CORE_END = -1005
    # An index and its log disagree: rebuild the index.
    CORE_INDEX_WRONG = -1006
    # What is asked for is on disk only, and the caller may not wait for a disk.
    CORE_COLD = -1007

    ERR_UNKNOWN_SERVER_ERROR = -1
    ERR_OFFSET_OUT_OF_RANGE = 1
    ERR_CORRUPT_MESSAGE = 2
    ERR_UNKNOWN_TOPIC_OR_PARTITION = 3
    ERR_NOT_LEADER_OR_FOLLOWER = 6
    ERR_MESSAGE_TOO_LARGE = 10
    ERR_RECORD_LIST_TOO_LARGE = 18
    ERR_NOT_ENOUGH_REPLICAS = 19
    ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND = 20
    ERR_INVALID_REQUIRED_ACKS = 21
    ERR_INVALID_TIMESTAMP = 32
    ERR_INVALID_REQUEST = 42
    ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT = 43
    ERR_OUT_OF_ORDER_SEQUENCE_NUMBER = 45
    ERR_INVALID_PRODUCER_EPOCH = 47
    ERR_INVALID_TXN_STATE = 48
    ERR_TRANSACTION_COORDINATOR_FENCED = 52
    ERR_KAFKA_STORAGE_ERROR = 56
    ERR_FENCED_LEADER_EPOCH = 74
    ERR_UNKNOWN_LEADER_EPOCH = 75
    ERR_UNSUPPORTED_COMPRESSION_TYPE = 76
    ERR_OFFSET_NOT_AVAILABLE = 78
    ERR_INVALID_RECORD = 87
    ERR_UNKNOWN_TOPIC_ID = 100

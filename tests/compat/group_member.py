"""One consumer in a process of its own: reads a topic as a member of a group and writes down what it has processed.

    python -m tests.compat.group_member KIND ADDRESS TOPIC GROUP FILE [OPTION=VALUE ...]

KIND is ``confluent``, ``confluent-next`` (the consumer protocol), ``kafka-python`` or ``aiokafka``; options go to confluent-kafka
(``partition.assignment.strategy``, ``group.instance.id``).  Each processed record is a line of partition and offset; offsets are
committed by the client itself, at the latest when partitions are taken away.  Ends on SIGTERM, after leaving the group.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import TextIO

stopping = False


def stop(*_: object) -> None:
    """Finish what was polled, then leave."""
    global stopping
    stopping = True


def confluent(address: str, topic: str, group: str, out: TextIO, options: dict[str, str]) -> None:
    from confluent_kafka import Consumer

    timing = {} if options.get("group.protocol") == "consumer" else {"session.timeout.ms": "6000", "heartbeat.interval.ms": "500"}
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "auto.commit.interval.ms": "200",
            **timing,
            **options,
        }
    )
    consumer.subscribe([topic])
    while not stopping:
        for message in consumer.consume(200, 0.2):
            if message.error() is None:
                out.write(f"{message.partition()} {message.offset()}\n")
        out.flush()
    consumer.close()


def kafka_python(address: str, topic: str, group: str, out: TextIO, options: dict[str, str]) -> None:
    from kafka import KafkaConsumer

    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=address,
        group_id=group,
        auto_offset_reset="earliest",
        auto_commit_interval_ms=200,
        session_timeout_ms=6000,
        heartbeat_interval_ms=500,
    )
    while not stopping:
        for partition, records in consumer.poll(timeout_ms=200, max_records=200).items():
            out.writelines(f"{partition.partition} {record.offset}\n" for record in records)
        out.flush()
    consumer.close()


def aiokafka(address: str, topic: str, group: str, out: TextIO, options: dict[str, str]) -> None:
    from aiokafka import AIOKafkaConsumer

    async def run() -> None:
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=address,
            group_id=group,
            auto_offset_reset="earliest",
            auto_commit_interval_ms=200,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
        )
        await consumer.start()
        while not stopping:
            for partition, records in (await consumer.getmany(timeout_ms=200, max_records=200)).items():
                out.writelines(f"{partition.partition} {record.offset}\n" for record in records)
            out.flush()
        await consumer.stop()

    asyncio.run(run())


KINDS = {"confluent": confluent, "confluent-next": confluent, "kafka-python": kafka_python, "aiokafka": aiokafka}


def main() -> None:
    kind, address, topic, group, path, *pairs = sys.argv[1:]
    options = dict(pair.split("=", 1) for pair in pairs)
    if kind == "confluent-next":
        options["group.protocol"] = "consumer"
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, stop)
    with open(path, "a") as out:
        KINDS[kind](address, topic, group, out, options)


if __name__ == "__main__":
    main()

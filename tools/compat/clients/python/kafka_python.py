"""kafka-python."""

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

import driver


def create(req):
    admin = KafkaAdminClient(bootstrap_servers=req["bootstrap"])
    admin.create_topics([NewTopic(req["topic"], num_partitions=req["partitions"], replication_factor=-1)])
    admin.close()
    driver.say("done")


def produce(req):
    safe = {"enable_idempotence": True, "acks": "all"} if req.get("idempotent") else {}
    producer = KafkaProducer(bootstrap_servers=req["bootstrap"], compression_type=req.get("codec"), **safe)
    for chunk in driver.chunks(req):
        sent = [
            producer.send(req["topic"], value=value, key=key, headers=headers, timestamp_ms=timestamp)
            for key, value, headers, timestamp in chunk
        ]
        for future in sent:
            future.get(timeout=60)
    producer.close()
    driver.say("done")


def say_message(message):
    driver.say_record(
        message.partition, message.offset, message.key, message.value, message.timestamp, message.headers
    )


def consume(req):
    consumer = KafkaConsumer(bootstrap_servers=req["bootstrap"])
    partitions = [TopicPartition(req["topic"], p) for p in consumer.partitions_for_topic(req["topic"])]
    consumer.assign(partitions)
    if req["from"] == "beginning":
        consumer.seek_to_beginning()
    else:
        for partition, found in consumer.offsets_for_times({p: req["from"] for p in partitions}).items():
            if found is None:
                consumer.seek_to_end(partition)
            else:
                consumer.seek(partition, found.offset)
    for _, message in zip(range(req["count"]), consumer):
        say_message(message)
    consumer.close()


ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}


def member(req):
    ended = driver.end_of_input()
    more = {"partition_assignment_strategy": [ASSIGNORS[req["assignor"]]]} if req.get("assignor") else {}
    consumer = KafkaConsumer(
        bootstrap_servers=req["bootstrap"], group_id=req["group"], auto_offset_reset="earliest", **more
    )
    consumer.subscribe([req["topic"]])
    assigned = None
    while not ended.is_set():
        # A listener of a cooperative assignor is told what is added or taken away; this is all of it.
        now = sorted(p.partition for p in consumer.assignment())
        if now != assigned:
            assigned = now
            driver.say("assigned", partitions=assigned)
        for messages in consumer.poll(timeout_ms=100).values():
            for message in messages:
                say_message(message)
    consumer.close()
    driver.say("left")


def codecs(_req):
    driver.say("codecs", codecs=["gzip", "snappy", "lz4", "zstd"], assignors=list(ASSIGNORS), idempotent=True)


if __name__ == "__main__":
    req = driver.request()
    globals()[req["command"]](req)

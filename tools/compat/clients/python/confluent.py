"""confluent-kafka (librdkafka)."""

from confluent_kafka import OFFSET_BEGINNING, TIMESTAMP_NOT_AVAILABLE, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import driver


def create(req):
    admin = AdminClient({"bootstrap.servers": req["bootstrap"]})
    for future in admin.create_topics([NewTopic(req["topic"], num_partitions=req["partitions"])]).values():
        future.result()
    driver.say("done")


def produce(req):
    config = {"bootstrap.servers": req["bootstrap"]}
    if req.get("codec"):
        config["compression.type"] = req["codec"]
    if req.get("idempotent"):
        config["enable.idempotence"] = True
    producer, errors = Producer(config), []

    def delivered(error, _message):
        if error:
            errors.append(str(error))

    for chunk in driver.chunks(req):
        for key, value, headers, timestamp in chunk:
            when = {} if timestamp is None else {"timestamp": timestamp}
            producer.produce(req["topic"], value=value, key=key, headers=headers, on_delivery=delivered, **when)
            producer.poll(0)
        producer.flush()
        if errors:
            raise SystemExit(errors[0])
    driver.say("done")


def say_message(message):
    if message.error():
        raise SystemExit(str(message.error()))
    kind, timestamp = message.timestamp()
    driver.say_record(
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        None if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
        message.headers(),
    )


def consume(req):
    consumer = Consumer({"bootstrap.servers": req["bootstrap"], "group.id": "unused", "enable.auto.commit": False})
    metadata = consumer.list_topics(req["topic"], timeout=30)
    partitions = [TopicPartition(req["topic"], p) for p in metadata.topics[req["topic"]].partitions]
    for partition in partitions:
        partition.offset = OFFSET_BEGINNING if req["from"] == "beginning" else req["from"]
    if req["from"] != "beginning":
        partitions = consumer.offsets_for_times(partitions, timeout=30)
    consumer.assign(partitions)
    left = req["count"]
    while left:
        message = consumer.poll(1.0)
        if message is not None:
            say_message(message)
            left -= 1
    consumer.close()


def member(req):
    config = {"bootstrap.servers": req["bootstrap"], "group.id": req["group"], "auto.offset.reset": "earliest"}
    if req.get("assignor"):
        config["partition.assignment.strategy"] = req["assignor"]
    ended, consumer, owned = driver.end_of_input(), Consumer(config), set()

    def assigned(_consumer, partitions):
        owned.update(p.partition for p in partitions)
        driver.say("assigned", partitions=sorted(owned))

    def revoked(_consumer, partitions):
        owned.difference_update(p.partition for p in partitions)
        driver.say("assigned", partitions=sorted(owned))

    consumer.subscribe([req["topic"]], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
    while not ended.is_set():
        message = consumer.poll(0.1)
        if message is not None:
            say_message(message)
    consumer.close()
    driver.say("left")


def codecs(_req):
    # librdkafka's own set
    assignors = ["range", "roundrobin", "cooperative-sticky"]
    driver.say("codecs", codecs=["gzip", "snappy", "lz4", "zstd"], assignors=assignors, idempotent=True)


if __name__ == "__main__":
    req = driver.request()
    globals()[req["command"]](req)

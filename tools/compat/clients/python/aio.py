"""aiokafka."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

import driver


async def create(req):
    admin = AIOKafkaAdminClient(bootstrap_servers=req["bootstrap"])
    await admin.start()
    answer = await admin.create_topics([NewTopic(req["topic"], num_partitions=req["partitions"], replication_factor=req["replicas"])])
    await admin.close()
    failed = [error for error in answer.topic_errors if error[1]]
    if failed:
        raise SystemExit(str(failed))
    driver.say("done")


async def produce(req):
    safe = {"enable_idempotence": True} if req.get("idempotent") else {}
    async with AIOKafkaProducer(
        bootstrap_servers=req["bootstrap"], compression_type=req.get("codec"), **safe
    ) as producer:
        for chunk in driver.chunks(req):
            sent = [
                await producer.send(req["topic"], value=value, key=key, headers=headers, timestamp_ms=timestamp)
                for key, value, headers, timestamp in chunk
            ]
            for future in sent:
                await future
    driver.say("done")


def say_message(message):
    driver.say_record(
        message.partition, message.offset, message.key, message.value, message.timestamp, message.headers
    )


async def consume(req):
    async with AIOKafkaConsumer(bootstrap_servers=req["bootstrap"]) as consumer:
        await consumer._client.force_metadata_update()
        partitions = [TopicPartition(req["topic"], p) for p in consumer.partitions_for_topic(req["topic"]) or ()]
        consumer.assign(partitions)
        if req["from"] == "beginning":
            await consumer.seek_to_beginning()
        else:
            found = await consumer.offsets_for_times({p: req["from"] for p in partitions})
            for partition, offset in found.items():
                if offset is None:
                    await consumer.seek_to_end(partition)
                else:
                    consumer.seek(partition, offset.offset)
        for _ in range(req["count"]):
            say_message(await consumer.getone())


ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "sticky": StickyPartitionAssignor,
}


class Listener(ConsumerRebalanceListener):
    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        driver.say("assigned", partitions=sorted(p.partition for p in assigned))


async def member(req):
    ended = driver.end_of_input()
    more = {"partition_assignment_strategy": (ASSIGNORS[req["assignor"]],)} if req.get("assignor") else {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=req["bootstrap"], group_id=req["group"], auto_offset_reset="earliest", **more
    )
    consumer.subscribe([req["topic"]], listener=Listener())
    await consumer.start()
    while not ended.is_set():
        for messages in (await consumer.getmany(timeout_ms=100)).values():
            for message in messages:
                say_message(message)
    await consumer.stop()
    driver.say("left")


async def codecs(_req):
    driver.say("codecs", codecs=["gzip", "snappy", "lz4", "zstd"], assignors=list(ASSIGNORS), idempotent=True)


if __name__ == "__main__":
    req = driver.request()
    asyncio.run(globals()[req["command"]](req))

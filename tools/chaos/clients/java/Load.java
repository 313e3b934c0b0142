import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Load and readers on Kafka's Java client; see ../README.md for what this program is asked and prints. */
public final class Load {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = new PrintStream(System.out, false);
    private static final AtomicLong NEXT_OP = new AtomicLong();
    private static final Duration POLL = Duration.ofMillis(100);
    private static final Duration ASK = Duration.ofSeconds(5);
    private static final long INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(700);
    private static final long READ_PATIENCE_NS = TimeUnit.SECONDS.toNanos(180);

    private static JsonNode request;
    private static String topic;
    private static int partitions;
    private static long size;
    private static volatile boolean stopped;

    private Load() { }

    public static void main(String[] args) throws Exception {
        request = JSON.readTree(args[0]);
        topic = request.path("topic").asText();
        partitions = request.path("partitions").asInt();
        size = request.path("size").asLong();
        Thread input = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException gone) {
                // the same as its end
            }
            stopped = true;
        });
        input.setDaemon(true);
        input.start();
        List<Thread> running = new ArrayList<>();
        for (JsonNode role : request.path("roles")) {
            Thread thread = new Thread(() -> play(role));
            thread.start();
            running.add(thread);
        }
        for (Thread thread : running) {
            thread.join();
        }
        OUT.flush();
        System.exit(0);
    }

    private static void play(JsonNode role) {
        long process = role.path("process").asLong();
        try {
            switch (role.path("role").asText()) {
                case "create" -> create(role.path("replicas").asInt());
                case "producer" -> produce(process, role.path("rate").asLong());
                case "consumer" -> follow(process);
                case "member" -> beMember(process, role.path("group").asText());
                case "reader" -> readAll(process);
                default -> throw new IllegalArgumentException(role.toString());
            }
        } catch (Exception error) {
            System.err.println(role + ": " + error);
            OUT.flush();
            Runtime.getRuntime().halt(1);
        }
    }

    // The lines of the history.

    private record Op(long id, long process, String op) {
        void end(String outcome, ObjectNode more) {
            say(this, outcome, now(), more);
        }
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    private static Op begin(long process, String name, long time, ObjectNode more) {
        Op op = new Op(NEXT_OP.getAndIncrement(), process, name);
        say(op, "invoke", time, more);
        return op;
    }

    private static void say(Op op, String event, long time, ObjectNode more) {
        ObjectNode line = JSON.createObjectNode().put("id", op.id).put("process", op.process).put("time", time)
            .put("type", event).put("op", op.op);
        line.setAll(more);
        synchronized (OUT) {
            OUT.println(line);
            OUT.flush();
        }
    }

    private static ObjectNode none() {
        return JSON.createObjectNode();
    }

    private static String name(int partition) {
        return topic + "-" + partition;
    }

    private static ObjectNode sends(int partition, long value, Long offset) {
        ObjectNode more = none();
        more.putArray("sends").addArray().add(name(partition)).add(value).add(offset);
        return more;
    }

    private static byte[] payload(long value) {
        int length = (int) (16 + (value * 2_654_435_761L & 0xffff_ffffL) % size);
        ByteBuffer bytes = ByteBuffer.allocate(length).putLong(value);
        for (int i = 8; i < length; i++) {
            bytes.put((byte) (value + 31L * i));
        }
        return bytes.array();
    }

    // The roles.

    private static Properties config() {
        Properties config = new Properties();
        config.put("bootstrap.servers", request.path("bootstrap").asText());
        config.put("reconnect.backoff.ms", "50");
        config.put("reconnect.backoff.max.ms", "500");
        config.put("metadata.max.age.ms", "10000");
        config.put("default.api.timeout.ms", "30000");
        config.put("request.timeout.ms", "5000");
        return config;
    }

    private static void create(int replicas) throws Exception {
        try (Admin admin = Admin.create(config())) {
            NewTopic created = new NewTopic(topic, Optional.of(partitions), Optional.of((short) replicas));
            admin.createTopics(List.of(created)).all().get();
        }
    }

    private static void produce(long firstProcess, long rate) {
        Properties config = config();
        config.put("enable.idempotence", "true");
        config.put("acks", "all");
        config.put("linger.ms", "5");
        config.put("delivery.timeout.ms", "60000");
        config.put("max.block.ms", "10000");
        long step = TimeUnit.SECONDS.toNanos(1) / Math.max(1, rate);
        for (long process = firstProcess; !stopped; process++) {
            var fatal = new java.util.concurrent.atomic.AtomicReference<Exception>();
            try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
                long next = System.nanoTime();
                for (long value = process << 32; !stopped && fatal.get() == null; value++) {
                    send(producer, process, value, fatal);
                    next += step;
                    long early = next - System.nanoTime();
                    if (early > 0) {
                        LockSupport.parkNanos(early);
                    } else {
                        // After a pause it goes on at its rate and does not catch up.
                        next = Math.max(next, System.nanoTime() - TimeUnit.SECONDS.toNanos(1));
                    }
                }
            }
            if (fatal.get() != null) {
                System.err.println("fatal: Java producer " + process + ": " + fatal.get());
            }
        }
    }

    private static void send(KafkaProducer<byte[], byte[]> producer, long process, long value,
            java.util.concurrent.atomic.AtomicReference<Exception> fatal) {
        int partition = (int) (value % partitions);
        Op op = begin(process, "send", now(), sends(partition, value, null));
        try {
            producer.send(new ProducerRecord<>(topic, partition, null, payload(value)), (told, error) -> {
                boolean fenced = error instanceof OutOfOrderSequenceException
                    || error instanceof InvalidProducerEpochException || error instanceof ProducerFencedException;
                if (fenced) {
                    fatal.compareAndSet(null, error);
                }
                Long offset = error == null && told.hasOffset() ? told.offset() : null;
                op.end(error == null ? "ok" : fenced ? "fail" : "info", sends(partition, value, offset));
            });
        } catch (KafkaException error) {
            // It has no metadata or has failed for good. The callback may have told already, so this is not repeated.
            if (!(error instanceof org.apache.kafka.common.errors.TimeoutException)) {
                fatal.compareAndSet(null, error);
            }
        }
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String group) {
        Properties config = config();
        config.put("group.id", group);
        config.put("enable.auto.commit", "false");
        config.put("auto.offset.reset", "earliest");
        config.put("fetch.max.wait.ms", "100");
        config.put("session.timeout.ms", "10000");
        config.put("heartbeat.interval.ms", "2000");
        config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<TopicPartition> all() {
        List<TopicPartition> all = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            all.add(new TopicPartition(topic, partition));
        }
        return all;
    }

    /** Polls once; where each partition stands after it. */
    private static TreeMap<Integer, Long> poll(KafkaConsumer<byte[], byte[]> consumer, long process, boolean[] rebalanced) {
        TreeMap<Integer, Long> next = new TreeMap<>();
        long began = now();
        var records = consumer.poll(POLL);
        boolean moved = rebalanced != null && rebalanced[0];
        if (records.isEmpty() && !moved) {
            return next;
        }
        ObjectNode more = none();
        ArrayNode reads = more.putArray("reads");
        ArrayNode told = more.putArray("told");
        TreeMap<Integer, Integer> epochs = new TreeMap<>();
        for (ConsumerRecord<byte[], byte[]> record : records) {
            next.put(record.partition(), record.offset() + 1);
            long value = record.value().length < 8 ? 0 : ByteBuffer.wrap(record.value()).getLong();
            if (Arrays.equals(payload(value), record.value())) {
                reads.addArray().add(name(record.partition())).add(record.offset()).add(value);
            } else {
                told.addObject().putArray("corrupt").add(name(record.partition())).add(record.offset());
            }
            record.leaderEpoch().ifPresent(epoch -> epochs.put(record.partition(), epoch));
        }
        if (rebalanced == null) {
            epochs.forEach((partition, epoch) ->
                told.addObject().putArray("leader_epoch").add(name(partition)).add(epoch));
        } else {
            more.put("subscribed", true).put("rebalanced", moved);
            rebalanced[0] = false;
        }
        begin(process, "poll", began, none()).end("ok", more);
        return next;
    }

    private static void follow(long process) {
        try (var consumer = consumer("unused")) {
            consumer.assign(all());
            consumer.seekToBeginning(all());
            long asked = System.nanoTime();
            while (!stopped) {
                poll(consumer, process, null);
                if (System.nanoTime() - asked > INTERVAL_NS) {
                    askWatermarks(consumer, process);
                    asked = System.nanoTime();
                }
            }
        }
    }

    private static void askWatermarks(KafkaConsumer<byte[], byte[]> consumer, long process) {
        Op op = begin(process, "observe", now(), none());
        try {
            ObjectNode more = none();
            ArrayNode told = more.putArray("told");
            consumer.endOffsets(all(), Duration.ofMillis(500)).forEach((partition, end) ->
                told.addObject().putArray("high_watermark").add(name(partition.partition())).add(end));
            op.end("ok", more);
        } catch (KafkaException error) {
            op.end("info", none());
        }
    }

    private static void beMember(long process, String group) {
        boolean[] rebalanced = {false};
        TreeMap<Integer, Long> uncommitted = new TreeMap<>();
        try (var consumer = consumer(group)) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                    rebalanced[0] = true;
                }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                    rebalanced[0] = true;
                }
            });
            long committed = System.nanoTime();
            for (long round = 0; !stopped;) {
                uncommitted.putAll(poll(consumer, process, rebalanced));
                if (System.nanoTime() - committed < INTERVAL_NS) {
                    continue;
                }
                committed = System.nanoTime();
                uncommitted.keySet().removeIf(partition ->
                    !consumer.assignment().contains(new TopicPartition(topic, partition)));
                commit(consumer, process, group, uncommitted);
                uncommitted.clear();
                if (++round % 4 == 0) {
                    askCommitted(consumer, process, group);
                }
            }
        }
    }

    private static void commit(KafkaConsumer<byte[], byte[]> consumer, long process, String group,
            TreeMap<Integer, Long> offsets) {
        if (offsets.isEmpty()) {
            return;
        }
        ObjectNode more = none();
        ArrayNode told = more.putArray("told");
        Map<TopicPartition, OffsetAndMetadata> asked = new java.util.HashMap<>();
        offsets.forEach((partition, offset) -> {
            asked.put(new TopicPartition(topic, partition), new OffsetAndMetadata(offset));
            told.addObject().putArray("committed").add(group).add(0).add(name(partition)).add(offset);
        });
        Op op = begin(process, "commit", now(), more);
        String outcome = "ok";
        try {
            consumer.commitSync(asked, ASK);
        } catch (CommitFailedException | RebalanceInProgressException refused) {
            outcome = "fail";
        } catch (KafkaException unknown) {
            outcome = "info";
        }
        op.end(outcome, more);
    }

    private static void askCommitted(KafkaConsumer<byte[], byte[]> consumer, long process, String group) {
        if (consumer.assignment().isEmpty()) {
            return;
        }
        Op op = begin(process, "fetch_committed", now(), none());
        try {
            ObjectNode more = none();
            ArrayNode told = more.putArray("told");
            consumer.committed(consumer.assignment(), ASK).forEach((partition, found) ->
                told.addObject().putArray("fetched_commit").add(group).add(0).add(name(partition.partition()))
                    .add(found == null ? -1 : found.offset()));
            op.end("ok", more);
        } catch (KafkaException error) {
            op.end("info", none());
        }
    }

    private static void readAll(long process) {
        try (var consumer = consumer("unused")) {
            consumer.assign(all());
            consumer.seekToBeginning(all());
            Map<TopicPartition, Long> ends = consumer.endOffsets(all(), Duration.ofNanos(READ_PATIENCE_NS));
            TreeMap<Integer, Long> left = new TreeMap<>();
            ends.forEach((partition, end) -> {
                if (end > 0) {
                    left.put(partition.partition(), end);
                }
            });
            long moved = System.nanoTime();
            while (!left.isEmpty()) {
                TreeMap<Integer, Long> next = poll(consumer, process, null);
                if (!next.isEmpty()) {
                    moved = System.nanoTime();
                }
                left.entrySet().removeIf(end -> next.getOrDefault(end.getKey(), 0L) >= end.getValue());
                if (System.nanoTime() - moved > READ_PATIENCE_NS) {
                    throw new IllegalStateException("these partitions cannot be read to their ends: " + left);
                }
            }
        }
    }
}

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's own Java client; see ../../README.md for the protocol that this program speaks. */
public final class Driver {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration POLL = Duration.ofMillis(100);

    private final JsonNode request;
    private final String topic;

    private static final Map<String, String> ASSIGNORS = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
        "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    private Driver(JsonNode request) {
        this.request = request;
        this.topic = request.path("topic").asText();
    }

    public static void main(String[] args) throws Exception {
        Driver driver = new Driver(JSON.readTree(args[0]));
        switch (driver.request.path("command").asText()) {
            case "create" -> driver.create();
            case "produce" -> driver.produce();
            case "consume" -> driver.consume();
            case "member" -> driver.member();
            case "codecs" -> say("codecs", line -> line.putPOJO("codecs", List.of("gzip", "snappy", "lz4", "zstd"))
                .putPOJO("assignors", List.copyOf(ASSIGNORS.keySet())).put("idempotent", true));
            default -> throw new IllegalArgumentException(args[0]);
        }
        System.exit(0);
    }

    private interface Fields {
        void put(ObjectNode line);
    }

    private static synchronized void say(String event, Fields fields) {
        ObjectNode line = JSON.createObjectNode().put("event", event);
        fields.put(line);
        System.out.println(line);
    }

    private Properties config() {
        Properties config = new Properties();
        config.put("bootstrap.servers", request.path("bootstrap").asText());
        return config;
    }

    private void create() throws Exception {
        try (Admin admin = Admin.create(config())) {
            NewTopic created = new NewTopic(topic, Optional.of(request.path("partitions").asInt()), Optional.empty());
            admin.createTopics(List.of(created)).all().get();
        }
        say("done", line -> { });
    }

    private void produce() throws Exception {
        Properties config = config();
        if (request.hasNonNull("codec")) {
            config.put("compression.type", request.get("codec").asText());
        }
        int first = request.get("first").asInt();
        int end = first + request.get("count").asInt();
        // All at once, or so many per line of input.
        int chunk = request.path("chunk").asInt(end - first);
        var input = new BufferedReader(new InputStreamReader(System.in));
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int next = first; next < end && (!request.has("chunk") || input.readLine() != null); next += chunk) {
                List<Future<?>> sent = new ArrayList<>();
                for (int i = next; i < Math.min(next + chunk, end); i++) {
                    sent.add(producer.send(record(i)));
                }
                for (Future<?> answer : sent) {
                    answer.get();
                }
                if (request.has("chunk")) {
                    say("sent", line -> { });
                }
            }
        }
        say("done", line -> { });
    }

    private ProducerRecord<byte[], byte[]> record(int i) {
        String value = "v" + i;
        value += ".".repeat(Math.max(0, request.path("size").asInt() - value.length()));
        long timestamp = request.path("timestamp").asLong();
        Long time = timestamp == 0 ? null : timestamp + i;
        var record = new ProducerRecord<>(topic, null, time, ("k" + i).getBytes(), value.getBytes());
        if (request.path("headers").asBoolean()) {
            record.headers().add("n", ("h" + i).getBytes()).add("bin", new byte[] {0, (byte) 0xff});
        }
        return record;
    }

    private KafkaConsumer<byte[], byte[]> consumer(Properties config) {
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void consume() {
        try (var consumer = consumer(config())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(found -> partitions.add(new TopicPartition(topic, found.partition())));
            consumer.assign(partitions);
            if (request.get("from").isTextual()) {
                consumer.seekToBeginning(partitions);
            } else {
                Map<TopicPartition, Long> from = new java.util.HashMap<>();
                partitions.forEach(partition -> from.put(partition, request.get("from").asLong()));
                consumer.offsetsForTimes(from).forEach((partition, found) -> {
                    if (found == null) {
                        consumer.seekToEnd(List.of(partition));
                    } else {
                        consumer.seek(partition, found.offset());
                    }
                });
            }
            int left = request.get("count").asInt();
            while (left > 0) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                    sayRecord(record);
                    left--;
                }
            }
        }
    }

    private static void sayRecord(ConsumerRecord<byte[], byte[]> record) {
        say("record", line -> {
            line.put("partition", record.partition()).put("offset", record.offset());
            line.put("key", new String(record.key())).put("value", new String(record.value()).replaceAll("\\.+$", ""));
            line.put("size", record.value().length).put("timestamp", record.timestamp());
            ObjectNode headers = line.putObject("headers");
            record.headers().forEach(header -> headers.put(header.key(), HexFormat.of().formatHex(header.value())));
        });
    }

    private void member() {
        Properties config = config();
        config.put("group.id", request.get("group").asText());
        config.put("auto.offset.reset", "earliest");
        if (request.hasNonNull("assignor")) {
            config.put("partition.assignment.strategy", ASSIGNORS.get(request.get("assignor").asText()));
        }
        AtomicBoolean ended = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException gone) {
                // the same as its end
            }
            ended.set(true);
        });
        input.setDaemon(true);
        input.start();
        try (var consumer = consumer(config)) {
            consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                @Override
                public void onPartitionsRevoked(Collection<TopicPartition> revoked) { }

                @Override
                public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                    say("assigned", line -> consumer.assignment().stream().map(TopicPartition::partition).sorted()
                        .forEach(line.withArray("partitions")::add));
                }
            });
            while (!ended.get()) {
                consumer.poll(POLL).forEach(Driver::sayRecord);
            }
        }
        say("left", line -> { });
    }
}

package differential;

import differential.Cases.Step;
import differential.Tree.Ref;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/**
 * Requests that brokers of other make are known to answer in their own way, or that surprised us in Kafka: things named
 * twice or not at all, refusals with several reasons, codecs and time stamps that a topic has a word in.
 */
final class Traps {
    private Traps() { }

    /** What is prepared, then the request whose answers are compared. */
    record Trap(String name, List<Step> before, Map<String, ?> request) { }

    private static final Ref ID = new Ref("id of topic");

    static List<Trap> of(ApiMessageType api, short version) {
        String topic = "trap-" + api.name + "-" + version;
        String group = "trap-group-" + api.name + "-" + version;
        List<Step> made = List.of(create(topic, 3, Map.of()), learn(topic));
        return switch (api) {
            case LIST_OFFSETS -> List.of(
                new Trap("a topic twice", made, topics(topicOf("name", topic, "partitions", at(0, "timestamp", -1)),
                    topicOf("name", topic, "partitions", at(1, "timestamp", -2)))),
                new Trap("a partition twice", made, topics(topicOf("name", topic, "partitions", at(0, "timestamp", -1)),
                    topicOf("name", topic, "partitions", at(0, "timestamp", -2)))),
                new Trap("no partitions", made, topics(topicOf("name", topic, "partitions", List.of()),
                    topicOf("name", "absent", "partitions", List.of()))));
            case OFFSET_COMMIT -> List.of(
                new Trap("a topic twice", made, commit(group, topic, commits(0), commits(1, 0))),
                new Trap("a topic twice, with a partition that is not there", made, commit(group, topic, commits(0), commits(1, 0, 7))),
                new Trap("no partitions", made, commit(group, topic, List.of(), List.of())),
                new Trap("a generation without a group", made, with(commit("no-" + group, topic, commits(0)), "generation_id_or_member_epoch", 3)));
            case OFFSET_DELETE -> {
                List<Step> committed = new ArrayList<>(made);
                committed.add(new Step(ApiMessageType.OFFSET_COMMIT, commit(group, topic, commits(0))));
                yield List.of(new Trap("a topic twice", committed, Map.of("group_id", group, "topics", List.of(
                    Map.of("name", topic, "partitions", List.of(Map.of("partition_index", 0))),
                    Map.of("name", topic, "partitions", List.of(Map.of("partition_index", 0), Map.of("partition_index", 9))),
                    Map.of("name", "absent", "partitions", List.of())))));
            }
            case DELETE_RECORDS -> List.of(new Trap("a topic twice", made, Map.of("timeout_ms", 30000, "topics", List.of(
                Map.of("name", topic, "partitions", at(0, "offset", 0)), Map.of("name", topic, "partitions", at(0, "offset", 7)),
                Map.of("name", topic, "partitions", at(1, "offset", -1)), Map.of("name", "absent", "partitions", List.of())))));
            case DESCRIBE_TOPIC_PARTITIONS -> List.of(
                new Trap("a topic without a name", made, Map.of("response_partition_limit", 5, "topics", List.of(Map.of("name", ""), Map.of("name", topic)))),
                new Trap("a page ends within a topic", made, Map.of("response_partition_limit", 2, "topics", List.of(Map.of("name", topic), Map.of("name", "absent")))));
            case ALTER_CONFIGS -> List.of(
                new Trap("a broker's key that nobody knows", List.of(), resources(4, "", config("no.such.key", "1"))),
                new Trap("a key twice", made, resources(2, topic, config("retention.ms", "5"), config("retention.ms", "6"))));
            case INCREMENTAL_ALTER_CONFIGS -> {
                List<Trap> traps = new ArrayList<>();
                for (int type : List.of(2, 4, 16, 32)) {
                    for (String name : type == 4 ? List.of("") : List.of("", "a b", "trap")) {
                        for (int operation : List.of(0, 1, 2, 3, 7)) {
                            traps.add(new Trap("operation " + operation + " on '" + name + "' of type " + type, List.of(),
                                with(resources(type, name, alteration("retention.ms", operation)), "validate_only", true)));
                        }
                    }
                }
                yield traps;
            }
            case PRODUCE -> timeStamps(topic);
            case FETCH -> version == ApiMessageType.FETCH.highestSupportedVersion(false) ? codecs(topic) : limits(topic);
            default -> Cluster.traps(api, topic, made);
        };
    }

    private static Step create(String topic, int partitions, Map<String, String> configs) {
        List<Map<String, String>> set = configs.entrySet().stream().map(e -> Map.of("name", e.getKey(), "value", e.getValue())).toList();
        return new Step(ApiMessageType.CREATE_TOPICS, Map.of("timeout_ms", 30000, "topics", List.of(
            Map.of("name", topic, "num_partitions", partitions, "replication_factor", Cluster.all().length, "configs", set))));
    }

    private static Step learn(String topic) {
        return new Step(ApiMessageType.METADATA, Map.of("topics", List.of(Map.of("name", topic))), Map.of("topic_id", "id of topic"));
    }

    /** Every partition answers: a broker names leaders a moment before they serve. */
    static Step ready(String topic, int partitions) {
        List<Map<String, ?>> asked = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            asked.addAll(at(partition, "timestamp", -1));
        }
        return new Step(ApiMessageType.LIST_OFFSETS, topics(topicOf("name", topic, "partitions", asked)));
    }

    @SafeVarargs
    private static Map<String, ?> topics(Map<String, ?>... topics) {
        return Map.of("replica_id", -1, "topics", List.of(topics));
    }

    private static Map<String, ?> topicOf(String key, String name, String field, List<?> partitions) {
        return Map.of(key, name, field, partitions);
    }

    private static List<Map<String, ?>> at(int partition, String field, long value) {
        return List.of(Map.of("partition_index", partition, "current_leader_epoch", -1, field, value));
    }

    static Map<String, Object> with(Map<String, ?> request, String field, Object value) {
        Map<String, Object> copy = new java.util.HashMap<>(request);
        copy.put(field, value);
        return copy;
    }

    private static List<Map<String, ?>> commits(int... partitions) {
        List<Map<String, ?>> list = new ArrayList<>();
        for (int partition : partitions) {
            list.add(Map.of("partition_index", partition, "committed_offset", 5, "committed_leader_epoch", -1));
        }
        return list;
    }

    @SafeVarargs
    private static Map<String, ?> commit(String group, String topic, List<Map<String, ?>>... partitions) {
        List<Map<String, ?>> topics = new ArrayList<>();
        for (List<Map<String, ?>> some : partitions) {
            topics.add(Map.of("name", topic, "topic_id", ID, "partitions", some));
        }
        return Map.of("group_id", group, "generation_id_or_member_epoch", -1, "retention_time_ms", -1, "topics", topics);
    }

    private static Map<String, ?> config(String name, String value) {
        return Map.of("name", name, "value", value);
    }

    private static Map<String, ?> alteration(String name, int operation) {
        return Map.of("name", name, "config_operation", operation, "value", "1000");
    }

    @SafeVarargs
    private static Map<String, ?> resources(int type, String name, Map<String, ?>... configs) {
        return Map.of("resources", List.of(Map.of("resource_type", type, "resource_name", name, "configs", List.of(configs))));
    }

    private static byte[] records(Compression codec, int bytes, long... timestamps) {
        SimpleRecord[] records = new SimpleRecord[timestamps.length];
        for (int i = 0; i < records.length; i++) {
            records[i] = new SimpleRecord(timestamps[i], "k".getBytes(), new byte[bytes]);
        }
        ByteBuffer buffer = MemoryRecords.withRecords(codec, records).buffer();
        byte[] copy = new byte[buffer.remaining()];
        buffer.get(copy);
        return copy;
    }

    private static Map<String, ?> produce(String topic, int partitions, byte[] records) {
        List<Map<String, ?>> data = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            data.add(Map.of("index", partition, "records", records));
        }
        return Map.of("acks", -1, "timeout_ms", 30000, "topic_data", List.of(Map.of("name", topic, "topic_id", ID, "partition_data", data)));
    }

    /** Records from before and after what a topic takes, alone and beside good ones; on a topic that sets the time itself. */
    private static List<Trap> timeStamps(String topic) {
        long now = System.currentTimeMillis();
        long hour = 3_600_000;
        Map<String, String> limits = Map.of("message.timestamp.before.max.ms", "3600000", "message.timestamp.after.max.ms", "3600000");
        List<Trap> traps = new ArrayList<>();
        for (String type : List.of("CreateTime", "LogAppendTime")) {
            Map<String, String> configs = new java.util.HashMap<>(limits);
            configs.put("message.timestamp.type", type);
            String name = topic + "-" + type;
            List<Step> made = List.of(create(name, 1, configs), learn(name), ready(name, 1));
            for (long away : List.of(-2 * hour, 0L, 2 * hour)) {
                for (Compression codec : List.of(Compression.NONE, Compression.gzip().build())) {
                    byte[] records = records(codec, 10, now, now + away, now);
                    traps.add(new Trap(type + ", " + away + " ms from now, " + codec.type().name, made, produce(name, 1, records)));
                }
            }
        }
        return traps;
    }

    private static Map<String, ?> fetch(String topic, int maxBytes, int partitions) {
        List<Map<String, ?>> asked = new ArrayList<>();
        for (int partition = 0; partition < partitions; partition++) {
            asked.add(Map.of("partition", partition, "current_leader_epoch", -1, "log_start_offset", -1, "last_fetched_epoch", -1,
                "partition_max_bytes", 100000));
        }
        return Map.ofEntries(Map.entry("replica_id", -1), Map.entry("max_wait_ms", 0), Map.entry("min_bytes", 0), Map.entry("max_bytes", maxBytes),
            Map.entry("session_epoch", -1), Map.entry("topics", List.of(Map.of("topic", topic, "topic_id", ID, "partitions", asked))));
    }

    /** The first batch comes whole however small the limit; the next ones only if they fit. */
    private static List<Trap> limits(String topic) {
        long now = System.currentTimeMillis();
        byte[] records = records(Compression.NONE, 500, now, now, now);
        List<Trap> traps = new ArrayList<>();
        for (int limit : List.of(0, 1, 2000, 3500, 100000)) {
            String name = topic + "-" + limit;
            List<Step> made = List.of(create(name, 3, Map.of()), learn(name), ready(name, 3), new Step(ApiMessageType.PRODUCE, produce(name, 3, records)));
            traps.add(new Trap(limit + " bytes of three partitions", made, fetch(name, limit, 3)));
        }
        return traps;
    }

    /** Every codec of a client into every codec of a topic, read back. */
    private static List<Trap> codecs(String topic) {
        long now = System.currentTimeMillis();
        List<Trap> traps = new ArrayList<>();
        for (String to : List.of("producer", "uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            for (CompressionType from : List.of(CompressionType.NONE, CompressionType.GZIP, CompressionType.SNAPPY, CompressionType.LZ4, CompressionType.ZSTD)) {
                String name = topic + "-" + from.name + "-" + to;
                Step produce = new Step(ApiMessageType.PRODUCE, produce(name, 1, records(Compression.of(from).build(), 300, now, now, now)));
                traps.add(new Trap(from.name + " into " + to, List.of(create(name, 1, Map.of("compression.type", to)), learn(name), ready(name, 1), produce),
                    fetch(name, 100000, 1)));
            }
        }
        return traps;
    }
}

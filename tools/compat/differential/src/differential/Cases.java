package differential;

import static java.util.Map.entry;

import differential.Tree.Ref;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/** What is asked: per API a valid request or a short story, and where random values come from. */
final class Cases {
    private Cases() { }

    /** Everything that a node serves (the API table of net/PROTOCOL.md). */
    static final List<ApiMessageType> APIS = List.of(
        ApiMessageType.API_VERSIONS, ApiMessageType.METADATA, ApiMessageType.DESCRIBE_CLUSTER,
        ApiMessageType.DESCRIBE_TOPIC_PARTITIONS, ApiMessageType.PRODUCE, ApiMessageType.DESCRIBE_PRODUCERS,
        ApiMessageType.INIT_PRODUCER_ID,
        ApiMessageType.FETCH, ApiMessageType.LIST_OFFSETS, ApiMessageType.OFFSET_FOR_LEADER_EPOCH,
        ApiMessageType.CREATE_TOPICS, ApiMessageType.CREATE_PARTITIONS, ApiMessageType.DESCRIBE_CONFIGS,
        ApiMessageType.ALTER_CONFIGS, ApiMessageType.INCREMENTAL_ALTER_CONFIGS, ApiMessageType.DELETE_RECORDS, ApiMessageType.DELETE_TOPICS,
        ApiMessageType.FIND_COORDINATOR, ApiMessageType.JOIN_GROUP, ApiMessageType.SYNC_GROUP, ApiMessageType.HEARTBEAT,
        ApiMessageType.OFFSET_COMMIT, ApiMessageType.OFFSET_FETCH, ApiMessageType.LIST_GROUPS,
        ApiMessageType.DESCRIBE_GROUPS, ApiMessageType.LEAVE_GROUP, ApiMessageType.OFFSET_DELETE,
        ApiMessageType.DELETE_GROUPS, ApiMessageType.DESCRIBE_LOG_DIRS, ApiMessageType.ELECT_LEADERS,
        ApiMessageType.ALTER_PARTITION_REASSIGNMENTS, ApiMessageType.LIST_PARTITION_REASSIGNMENTS, ApiMessageType.DESCRIBE_QUORUM,
        ApiMessageType.UPDATE_FEATURES, ApiMessageType.UNREGISTER_BROKER, ApiMessageType.ADD_RAFT_VOTER, ApiMessageType.REMOVE_RAFT_VOTER);

    /**
     * Metadata that cannot say so creates topics, at once or a moment later; a list of groups of every state is what time
     * has made of them. Kafka was gone after a random addition of a voter, with listeners that nobody has.
     */
    static boolean hasRandom(ApiMessageType api, short version) {
        return switch (api) {
            case METADATA -> version >= 4;
            case LIST_GROUPS -> version >= 4;
            case ADD_RAFT_VOTER -> false;
            default -> true;
        };
    }

    /**
     * What a random request may not say: which topic to delete of those that others mean, that no answer is wanted, what
     * Kafka never answers or stumbles over inside (net/PROTOCOL.md), what belongs to transactions, a thing twice.
     */
    static Map<String, Object> tamed(ApiMessageType api, Map<String, Object> request) {
        int[] named = {0};
        switch (api) {
            case FETCH -> change(request, (field, value) ->
                field.equals("max_bytes") ? Integer.valueOf(Math.max(0, ((Number) value).intValue())) : value);
            case DELETE_TOPICS -> change(request, (field, value) -> switch (field) {
                case "name" -> "common".equals(value) ? "not there" : value;
                case "topic_names" -> ((List<?>) value).stream().filter(name -> !"common".equals(name)).toList();
                case "topic_id" -> new org.apache.kafka.common.Uuid(7, named[0]++);
                default -> value;
            });
            case INIT_PRODUCER_ID -> request.computeIfPresent("transactional_id", (field, id) -> "");
            case LIST_GROUPS -> request.put("states_filter", List.of("Dead"));
            // A node would be gone.
            case UNREGISTER_BROKER -> request.computeIfPresent("broker_id", (field, id) -> id.equals(1) || id.equals(2) ? 0 : id);
            // What is still on its way can be cancelled, or not any more.
            case ALTER_PARTITION_REASSIGNMENTS -> change(request, (field, value) ->
                field.equals("replicas") && value == null && !Cluster.isOne() ? List.of(1) : value);
            case PRODUCE -> change(request, (field, value) -> switch (field) {
                case "acks" -> ((Number) value).intValue() == 0 ? Integer.valueOf(1) : value;
                case "transactional_id" -> null;
                case "records" -> value == null ? new byte[0] : value;
                case "index" -> named[0]++;
                default -> value;
            });
            default -> { }
        }
        return request;
    }

    private interface Change {
        Object of(String field, Object value);
    }

    @SuppressWarnings("unchecked")
    private static void change(Map<String, Object> tree, Change change) {
        tree.replaceAll((field, value) -> {
            if (value instanceof List<?> list && list.stream().anyMatch(Map.class::isInstance)) {
                list.forEach(element -> change((Map<String, Object>) element, change));
                return value;
            }
            return change.of(field, value);
        });
    }

    /** One request of a story; `keep` names fields of the answer that later requests refer to. */
    record Step(ApiMessageType api, Map<String, ?> request, Map<String, String> keep) {
        Step(ApiMessageType api, Map<String, ?> request) {
            this(api, request, Map.of());
        }
    }

    /** The valid story of an API; its own request comes last. Names are unique per version, so that stories do not meet. */
    static List<Step> story(ApiMessageType api, short version) {
        String topic = "t-" + api.name + "-" + version;
        String group = "g-" + api.name + "-" + version;
        List<Step> steps = new ArrayList<>();
        Step create = new Step(ApiMessageType.CREATE_TOPICS, createTopics(topic, 3));
        Step learn = new Step(ApiMessageType.METADATA, Map.of("topics", List.of(Map.of("name", topic))),
            Map.of("topic_id", "id of topic"));
        Step produce = new Step(ApiMessageType.PRODUCE, produce(topic));
        Step join = new Step(ApiMessageType.JOIN_GROUP, join(group, ""), Map.of("member_id", "member"));
        Step joinAgain = new Step(ApiMessageType.JOIN_GROUP, join(group, new Ref("member")), Map.of("member_id", "member"));
        Step sync = new Step(ApiMessageType.SYNC_GROUP, member(group, "assignments",
            List.of(Map.of("member_id", new Ref("member"), "assignment", new byte[] {0, 0, 0, 0, 0, 0}))));
        Step commit = new Step(ApiMessageType.OFFSET_COMMIT, commit(group, topic));
        switch (api) {
            case API_VERSIONS -> steps.add(new Step(api, Map.of("client_software_name", "a", "client_software_version", "1")));
            case DESCRIBE_CLUSTER -> steps.add(new Step(api, Map.of("endpoint_type", 1)));
            case METADATA -> {
                steps.add(create);
                steps.add(new Step(api, Map.of("topics", List.of(Map.of("name", topic)), "include_topic_authorized_operations", true)));
            }
            case DESCRIBE_TOPIC_PARTITIONS -> {
                steps.add(create);
                steps.add(new Step(api, Map.of("topics", List.of(Map.of("name", topic)), "response_partition_limit", 2)));
            }
            case CREATE_TOPICS -> {
                steps.add(create);
                steps.add(create);
            }
            case INIT_PRODUCER_ID -> steps.add(new Step(api, Map.ofEntries(entry("transaction_timeout_ms", 60000),
                entry("producer_id", -1), entry("producer_epoch", -1))));
            case FIND_COORDINATOR -> steps.add(new Step(api, Map.of("key", group, "coordinator_keys", List.of(group))));
            case LIST_GROUPS -> steps.add(new Step(api, Map.of("states_filter", List.of("Dead"))));
            case JOIN_GROUP -> steps.addAll(List.of(join, joinAgain));
            case SYNC_GROUP -> steps.addAll(List.of(join, joinAgain, sync));
            case HEARTBEAT -> steps.addAll(List.of(join, joinAgain, sync, new Step(api, member(group, "none", ""))));
            case DESCRIBE_GROUPS -> steps.addAll(List.of(join, joinAgain, sync, new Step(api, Map.of("groups", List.of(group, "no-group")))));
            case LEAVE_GROUP -> steps.addAll(List.of(join, joinAgain, sync,
                new Step(api, member(group, "members", List.of(Map.of("member_id", new Ref("member")))))));
            case OFFSET_COMMIT -> steps.addAll(List.of(create, learn, commit));
            case OFFSET_FETCH -> {
                Map<String, ?> asked = Map.of("name", topic, "topic_id", new Ref("id of topic"), "partition_indexes", List.of(0, 1));
                steps.addAll(List.of(create, learn, commit, new Step(api, Map.of("group_id", group, "topics", List.of(asked),
                    "groups", List.of(Map.of("group_id", group, "member_epoch", -1, "topics", List.of(asked)))))));
            }
            case OFFSET_DELETE -> steps.addAll(List.of(create, learn, commit, new Step(api, Map.of("group_id", group,
                "topics", List.of(Map.of("name", topic, "partitions", List.of(Map.of("partition_index", 0))))))));
            case DELETE_GROUPS -> steps.addAll(List.of(create, learn, commit, new Step(api, Map.of("groups_names", List.of(group, "no-group")))));
            default -> {
                steps.addAll(List.of(create, learn, produce));
                if (api == ApiMessageType.DESCRIBE_LOG_DIRS) {
                    steps.add(Traps.ready(topic, 3));
                }
                steps.add(new Step(api, onTopic(api, topic)));
            }
        }
        return steps;
    }

    private static Map<String, ?> createTopics(String topic, int partitions) {
        return Map.of("timeout_ms", 30000, "topics", List.of(Map.of("name", topic, "num_partitions", partitions, "replication_factor", Cluster.all().length,
            "configs", List.of(Map.of("name", "retention.ms", "value", "100000000")))));
    }

    private static Map<String, ?> produce(String topic) {
        return Map.of("acks", -1, "timeout_ms", 30000, "topic_data", List.of(Map.of("name", topic, "topic_id", new Ref("id of topic"),
            "partition_data", List.of(Map.of("index", 0, "records", records()), Map.of("index", 7, "records", records())))));
    }

    private static byte[] records() {
        long now = System.currentTimeMillis();
        ByteBuffer bytes = MemoryRecords.withRecords(Compression.gzip().build(),
            new SimpleRecord(now, "k1".getBytes(), "v1".getBytes()), new SimpleRecord(now + 1, "k2".getBytes(), "v2".getBytes())).buffer();
        byte[] copy = new byte[bytes.remaining()];
        bytes.get(copy);
        return copy;
    }

    private static Map<String, ?> join(String group, Object member) {
        return Map.ofEntries(entry("group_id", group), entry("session_timeout_ms", 10000), entry("rebalance_timeout_ms", 10000),
            entry("member_id", member), entry("protocol_type", "consumer"),
            entry("protocols", List.of(Map.of("name", "range", "metadata", new byte[] {0, 0, 0, 0, 0, 0}))));
    }

    private static Map<String, ?> member(String group, String field, Object value) {
        return Map.of("group_id", group, "generation_id", 1, "member_id", new Ref("member"), "protocol_type", "consumer",
            "protocol_name", "range", field, value);
    }

    private static Map<String, ?> commit(String group, String topic) {
        return Map.of("group_id", group, "generation_id_or_member_epoch", -1, "retention_time_ms", -1, "topics", List.of(Map.of(
            "name", topic, "topic_id", new Ref("id of topic"),
            "partitions", List.of(Map.of("partition_index", 0, "committed_offset", 5, "committed_leader_epoch", -1, "committed_metadata", "m"),
                Map.of("partition_index", 9, "committed_offset", 5, "committed_leader_epoch", -1)))));
    }

    private static Map<String, ?> onTopic(ApiMessageType api, String topic) {
        Ref id = new Ref("id of topic");
        return switch (api) {
            case PRODUCE -> produce(topic);
            case FETCH -> Map.ofEntries(entry("replica_id", -1), entry("max_wait_ms", 100), entry("min_bytes", 1), entry("max_bytes", 1000000),
                entry("session_epoch", -1), entry("topics", List.of(Map.of("topic", topic, "topic_id", id, "partitions", List.of(
                    Map.of("partition", 0, "current_leader_epoch", -1, "log_start_offset", -1, "partition_max_bytes", 100000),
                    Map.of("partition", 1, "current_leader_epoch", -1, "fetch_offset", 17, "log_start_offset", -1, "partition_max_bytes", 100000))))));
            case LIST_OFFSETS -> Map.of("replica_id", -1, "topics", List.of(Map.of("name", topic, "partitions", List.of(
                Map.of("partition_index", 0, "current_leader_epoch", -1, "timestamp", -1),
                Map.of("partition_index", 1, "current_leader_epoch", -1, "timestamp", -2),
                Map.of("partition_index", 9, "current_leader_epoch", -1, "timestamp", -2)))));
            case OFFSET_FOR_LEADER_EPOCH -> Map.of("replica_id", -1, "topics", List.of(Map.of("topic", topic, "partitions", List.of(
                Map.of("partition", 0, "current_leader_epoch", -1, "leader_epoch", 0), Map.of("partition", 1, "current_leader_epoch", -1, "leader_epoch", 5)))));
            case CREATE_PARTITIONS -> Map.of("timeout_ms", 30000, "topics", List.of(Map.of("name", topic, "count", 5, "assignments", List.of())));
            case DESCRIBE_CONFIGS -> Map.of("include_synonyms", true, "resources", List.of(Map.of("resource_type", 2, "resource_name", topic,
                "configuration_keys", List.of("retention.ms", "cleanup.policy", "no.such.key"))));
            case INCREMENTAL_ALTER_CONFIGS -> Map.of("resources", List.of(Map.of("resource_type", 2, "resource_name", topic, "configs", List.of(
                Map.of("name", "segment.bytes", "config_operation", 0, "value", "2000000")))));
            case ALTER_CONFIGS -> Map.of("resources", List.of(Map.of("resource_type", 2, "resource_name", topic, "configs", List.of(
                Map.of("name", "segment.bytes", "value", "2000000")))));
            case DESCRIBE_PRODUCERS -> Map.of("topics", List.of(Map.of("name", topic, "partition_indexes", List.of(0, 1, 9)),
                Map.of("name", "no-topic", "partition_indexes", List.of(0))));
            case DELETE_RECORDS -> Map.of("timeout_ms", 30000, "topics", List.of(Map.of("name", topic, "partitions", List.of(
                Map.of("partition_index", 0, "offset", 1), Map.of("partition_index", 1, "offset", 100)))));
            case DELETE_TOPICS -> Map.of("timeout_ms", 30000, "topic_names", List.of(topic, "no-topic"),
                "topics", List.of(Map.of("name", topic), Map.of("name", "no-topic")));
            default -> Cluster.has(api) ? Cluster.request(api, topic) : Map.of();
        };
    }

    /** Names that exist, names that do not, names that may not be; numbers at the borders. */
    static Object pick(String field, String type, Random random) {
        if (type.contains("STRING")) {
            return one(random, "common", "common", "absent", "", "a b", "retention.ms", "1000", "x".repeat(300));
        }
        if (type.contains("RECORDS")) {
            return one(random, records(), new byte[] {1, 2, 3}, new byte[0]);
        }
        if (type.contains("BYTES")) {
            return one(random, new byte[0], new byte[] {0, 1, 2});
        }
        return switch (type) {
            // A topic that is created by asking is there at once or a moment later, as the broker likes.
            case "BOOLEAN" -> !field.equals("allow_auto_topic_creation") && random.nextBoolean();
            case "UUID" -> one(random, new Ref("id of common"), new org.apache.kafka.common.Uuid(7, 7));
            case "FLOAT64" -> 0.5;
            // A broker that gives up early answers by how fast it is.
            default -> field.equals("timeout_ms") ? 30000 : field.endsWith("_ms") ? one(random, 0, 1, 100) : number(field, random);
        };
    }

    private static Object number(String field, Random random) {
        // Sizes and counts that a broker acts on stay small, whatever it thinks of them.
        return switch (field) {
            case "replica_id" -> -1;
            case "leader_epoch" -> one(random, -1, 0, 1, 127);
            case "config_operation" -> one(random, 0, 0, 1, 2, 3);
            case "isolation_level" -> one(random, 0, 1);
            // Transactions and share groups have coordinators of their own, which a node may not have.
            case "key_type" -> one(random, 0, 0, 127);
            case "num_partitions", "count", "replication_factor" -> one(random, -1, 0, 1, 2);
            case "resource_type" -> one(random, 2, 2, 4);
            default -> one(random, 0, 0, 1, 2, -1, -2, 127);
        };
    }

    private static Object one(Random random, Object... values) {
        return values[random.nextInt(values.length)];
    }
}

package differential;

import differential.Cases.Step;
import differential.Traps.Trap;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;

/** What the tools of a cluster ask: replicas, leaders, voters, log directories. Nodes are numbered from 1 on. */
final class Cluster {
    private Cluster() { }

    private static final int ABSENT = 99;
    /** Of metadata.version, in Kafka 4.3. */
    private static final int LEVEL = 30;
    /** How many nodes each side has. */
    private static int nodes = 1;

    static void of(int count) {
        nodes = count;
    }

    static boolean isOne() {
        return nodes == 1;
    }

    /** Every node, in order. */
    static Integer[] all() {
        return IntStream.rangeClosed(1, nodes).boxed().toArray(Integer[]::new);
    }

    /** What is compared where there are several nodes: whatever says something about them. */
    static List<ApiMessageType> apis() {
        List<ApiMessageType> apis = new ArrayList<>(List.of(ApiMessageType.METADATA, ApiMessageType.DESCRIBE_CLUSTER,
            ApiMessageType.DESCRIBE_TOPIC_PARTITIONS, ApiMessageType.CREATE_TOPICS, ApiMessageType.CREATE_PARTITIONS, ApiMessageType.DELETE_TOPICS));
        Cases.APIS.stream().filter(Cluster::has).filter(api -> !changesVoters(api)).forEach(apis::add);
        return apis;
    }

    /** Kafka changes no voters that stand in `controller.quorum.voters`; a node does (net/PROTOCOL.md). */
    private static boolean changesVoters(ApiMessageType api) {
        return api == ApiMessageType.ADD_RAFT_VOTER || api == ApiMessageType.REMOVE_RAFT_VOTER;
    }

    static boolean has(ApiMessageType api) {
        return switch (api) {
            case DESCRIBE_LOG_DIRS, ELECT_LEADERS, ALTER_PARTITION_REASSIGNMENTS, LIST_PARTITION_REASSIGNMENTS, DESCRIBE_QUORUM,
                UPDATE_FEATURES, UNREGISTER_BROKER, ADD_RAFT_VOTER, REMOVE_RAFT_VOTER -> true;
            default -> false;
        };
    }

    /** A request about a topic that is there, and where it can be said about one that is not. */
    static Map<String, ?> request(ApiMessageType api, String topic) {
        return switch (api) {
            case DESCRIBE_LOG_DIRS -> Map.of("topics", List.of(partitions("topic", topic, "partitions", 0, 1, 9),
                partitions("topic", "no-topic", "partitions", 0)));
            case ELECT_LEADERS -> election(0, partitions("topic", topic, "partitions", 0, 1, 9), partitions("topic", "no-topic", "partitions", 0));
            case ALTER_PARTITION_REASSIGNMENTS -> reassign(topic, place(0, all()), place(1, 1), place(9, 1));
            case LIST_PARTITION_REASSIGNMENTS -> Map.of("timeout_ms", 30000, "topics",
                List.of(partitions("name", topic, "partition_indexes", 0, 1, 9), partitions("name", "no-topic", "partition_indexes", 0)));
            case DESCRIBE_QUORUM -> quorum("__cluster_metadata", 0);
            case UPDATE_FEATURES -> update(LEVEL, 1);
            case UNREGISTER_BROKER -> Map.of("broker_id", ABSENT);
            case ADD_RAFT_VOTER -> Map.of("timeout_ms", 30000, "voter_id", ABSENT, "voter_directory_id", new Uuid(7, 7), "ack_when_committed", true,
                "listeners", List.of(Map.of("name", "CONTROLLER", "host", "127.0.0.1", "port", 9)));
            case REMOVE_RAFT_VOTER -> Map.of("voter_id", ABSENT, "voter_directory_id", new Uuid(7, 7));
            default -> throw new IllegalArgumentException(api.name);
        };
    }

    static List<Trap> traps(ApiMessageType api, String topic, List<Step> made) {
        List<Trap> traps = new ArrayList<>();
        switch (api) {
            case DESCRIBE_LOG_DIRS -> {
                List<Step> there = new ArrayList<>(made);
                there.add(Traps.ready(topic, 3));
                traps.add(new Trap("no topics", there, Map.of("topics", List.of())));
                traps.add(new Trap("no partitions", there, Map.of("topics", List.of(partitions("topic", topic, "partitions")))));
            }
            case ELECT_LEADERS -> {
                for (int type : List.of(0, 1, 2, -1)) {
                    traps.add(new Trap("type " + type, made, election(type, partitions("topic", topic, "partitions", 0, 2, 3))));
                    traps.add(new Trap("all partitions, type " + type, made, ofAll(type)));
                }
                traps.add(new Trap("no topics", made, election(0)));
                traps.add(new Trap("no partitions", made, election(0, partitions("topic", topic, "partitions"))));
                traps.add(new Trap("a negative partition", made, election(0, partitions("topic", topic, "partitions", -1))));
                traps.add(new Trap("a topic without a name", made, election(0, partitions("topic", "", "partitions", 0))));
            }
            case ALTER_PARTITION_REASSIGNMENTS -> {
                traps.add(new Trap("no topics", made, Map.of("timeout_ms", 30000, "topics", List.of())));
                traps.add(new Trap("no partitions", made, reassign(topic)));
                traps.add(new Trap("nobody", made, reassign(topic, place(0))));
                traps.add(new Trap("a node twice", made, reassign(topic, place(0, 1, 1))));
                traps.add(new Trap("a node that is not there", made, reassign(topic, place(0, ABSENT))));
                traps.add(new Trap("one that is there and one that is not", made, reassign(topic, place(0, 1, ABSENT))));
                traps.add(new Trap("a negative node", made, reassign(topic, place(0, -1))));
                traps.add(new Trap("a negative partition", made, reassign(topic, place(-1, 1))));
                traps.add(new Trap("a good one beside bad ones", made, reassign(topic, place(0, 1), place(1, ABSENT), place(2, 1, 1))));
                traps.add(new Trap("nothing to cancel", made, reassign(topic, Map.of("partition_index", 0), Map.of("partition_index", 9))));
                traps.add(new Trap("a topic without a name", made, reassign("", place(0, 1))));
                traps.add(new Trap("another replication factor is not allowed", made,
                    Traps.with(reassign(topic, place(0, 1, ABSENT)), "allow_replication_factor_change", false)));
            }
            case CREATE_TOPICS -> {
                traps.add(created("more replicas than nodes", topic, nodes + 1));
                traps.add(created("no replicas", topic, 0));
                traps.add(placed("on all nodes", topic + "-all", place(0, all()), place(1, all())));
                traps.add(placed("on one node", topic + "-one", place(0, 1)));
                traps.add(placed("a node twice", topic, place(0, 1, 1)));
                traps.add(placed("a node that is not there", topic, place(0, ABSENT)));
                traps.add(placed("a negative node", topic, place(0, -1)));
                traps.add(placed("on nobody", topic, place(0)));
                traps.add(placed("partitions that do not begin with 0", topic, place(1, 1)));
                traps.add(placed("a negative partition", topic, place(-1, 1)));
                traps.add(placed("a gap", topic, place(0, 1), place(2, 1)));
                traps.add(placed("a partition twice", topic, place(0, 1), place(0, 1)));
                traps.add(placed("not as many replicas each", topic, place(0, 1), place(1, 1, 2)));
                traps.add(new Trap("assignments and a number of partitions", List.of(), Map.of("timeout_ms", 30000, "topics", List.of(
                    Map.of("name", topic, "num_partitions", 1, "replication_factor", -1, "assignments", assignments(place(0, 1)))))));
                traps.add(new Trap("assignments and a number of replicas", List.of(), Map.of("timeout_ms", 30000, "topics", List.of(
                    Map.of("name", topic, "num_partitions", -1, "replication_factor", 1, "assignments", assignments(place(0, 1)))))));
            }
            case CREATE_PARTITIONS -> {
                traps.add(grown("two more, placed", made, topic, 5, List.of(all()), List.of(all())));
                traps.add(grown("fewer", made, topic, 2));
                traps.add(grown("as many", made, topic, 5));
                traps.add(grown("not as many places as partitions", made, topic, 7, List.of(all())));
                traps.add(grown("too many places", made, topic, 6, List.of(all()), List.of(all())));
                traps.add(grown("a node twice", made, topic, 6, List.of(1, 1)));
                traps.add(grown("a node that is not there", made, topic, 6, List.of(ABSENT)));
                traps.add(grown("a negative node", made, topic, 6, List.of(-1)));
                traps.add(grown("on nobody", made, topic, 6, List.of()));
                traps.add(grown("another number of replicas", made, topic, 6, List.of(1, 2, 3, 4)));
            }
            case LIST_PARTITION_REASSIGNMENTS -> {
                traps.add(new Trap("of all topics", made, Traps.with(Map.of("timeout_ms", 30000), "topics", null)));
                traps.add(new Trap("no topics", made, Map.of("timeout_ms", 30000, "topics", List.of())));
                traps.add(new Trap("no partitions", made, Map.of("timeout_ms", 30000, "topics",
                    List.of(partitions("name", topic, "partition_indexes")))));
            }
            case DESCRIBE_QUORUM -> {
                traps.add(new Trap("no topics", List.of(), Map.of("topics", List.of())));
                traps.add(new Trap("no partitions", List.of(), Map.of("topics", List.of(Map.of("topic_name", "__cluster_metadata", "partitions", List.of())))));
                traps.add(new Trap("another partition", List.of(), quorum("__cluster_metadata", 1)));
                traps.add(new Trap("another topic", made, quorum(topic, 0)));
            }
            case UPDATE_FEATURES -> {
                traps.add(new Trap("nothing", List.of(), Map.of("timeout_ms", 30000)));
                for (int kind : List.of(0, 1, 2, 3, 4)) {
                    for (int level : List.of(-1, 0, 6, LEVEL, LEVEL + 1)) {
                        traps.add(new Trap("level " + level + ", kind " + kind, List.of(), update(level, kind)));
                    }
                }
            }
            case UNREGISTER_BROKER -> traps.add(new Trap("a negative id", List.of(), Map.of("broker_id", -1)));
            case ADD_RAFT_VOTER, REMOVE_RAFT_VOTER -> {
                Map<String, ?> request = request(api, topic);
                traps.add(new Trap("another cluster", List.of(), Traps.with(request, "cluster_id", "another-cluster")));
                traps.add(new Trap("a negative id", List.of(), Traps.with(request, "voter_id", -1)));
                traps.add(new Trap("no directory", List.of(), Traps.with(request, "voter_directory_id", Uuid.ZERO_UUID)));
            }
            default -> { }
        }
        return traps;
    }

    private static Map<String, ?> partitions(String key, String name, String field, Integer... partitions) {
        return Map.of(key, name, field, List.of(partitions));
    }

    @SafeVarargs
    private static Map<String, ?> election(int type, Map<String, ?>... topics) {
        return Map.of("election_type", type, "timeout_ms", 30000, "topic_partitions", List.of(topics));
    }

    private static Map<String, ?> ofAll(int type) {
        return Traps.with(Map.of("election_type", type, "timeout_ms", 30000), "topic_partitions", null);
    }

    @SafeVarargs
    private static Map<String, ?> reassign(String topic, Map<String, ?>... partitions) {
        return Map.of("timeout_ms", 30000, "allow_replication_factor_change", true,
            "topics", List.of(Map.of("name", topic, "partitions", List.of(partitions))));
    }

    private static Map<String, ?> place(int partition, Integer... replicas) {
        return Map.of("partition_index", partition, "replicas", List.of(replicas));
    }

    private static Trap created(String name, String topic, int replicas) {
        return new Trap(name, List.of(), Map.of("timeout_ms", 30000, "topics",
            List.of(Map.of("name", topic, "num_partitions", 1, "replication_factor", replicas))));
    }

    @SafeVarargs
    private static Trap placed(String name, String topic, Map<String, ?>... partitions) {
        return new Trap(name, List.of(), Map.of("timeout_ms", 30000, "topics", List.of(
            Map.of("name", topic, "num_partitions", -1, "replication_factor", -1, "assignments", assignments(partitions)))));
    }

    @SafeVarargs
    private static List<Map<String, ?>> assignments(Map<String, ?>... partitions) {
        List<Map<String, ?>> assignments = new ArrayList<>();
        for (Map<String, ?> one : partitions) {
            assignments.add(Map.of("partition_index", one.get("partition_index"), "broker_ids", one.get("replicas")));
        }
        return assignments;
    }

    @SafeVarargs
    private static Trap grown(String name, List<Step> made, String topic, int count, List<Integer>... places) {
        List<Map<String, ?>> assignments = new ArrayList<>();
        for (List<Integer> place : places) {
            assignments.add(Map.of("broker_ids", place));
        }
        Map<String, Object> asked = new HashMap<>(Map.of("name", topic, "count", count));
        asked.put("assignments", assignments.isEmpty() ? null : assignments);
        return new Trap(name, made, Map.of("timeout_ms", 30000, "topics", List.of(asked)));
    }

    private static Map<String, ?> update(int level, int kind) {
        return Map.of("timeout_ms", 30000, "validate_only", true, "feature_updates",
            List.of(Map.of("feature", "metadata.version", "max_version_level", level, "upgrade_type", kind, "allow_downgrade", kind > 1)));
    }

    private static Map<String, ?> quorum(String topic, int partition) {
        return Map.of("topics", List.of(Map.of("topic_name", topic, "partitions", List.of(Map.of("partition_index", partition)))));
    }
}

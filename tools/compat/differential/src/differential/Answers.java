package differential;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.Records;

/**
 * Answers as texts that two brokers of the same behaviour have in common. Masked is what each may choose: ids, times,
 * addresses, the words of a message (whether there are any is compared, and whether they are null or empty), the order of arrays.
 */
final class Answers {
    private Answers() { }

    private static final Set<String> CHOSEN = Set.of(
        "throttle_time_ms", "host", "port", "rack", "node_id", "leader_id", "controller_id", "broker_id", "replica_nodes",
        "isr_nodes", "eligible_leader_replicas", "last_known_elr", "cluster_id", "topic_id", "member_id", "leader", "producer_id",
        "session_id", "finalized_features_epoch", "supported_features", "finalized_features", "client_host", "timestamp",
        "log_append_time_ms", "endpoints", "node_endpoints");
    private static final Set<String> BY_PRESENCE = Set.of("error_message", "message", "batch_index_error_message", "documentation");

    /** What one API alone leaves to each: how far the metadata log is, where data lies and how much room there is. */
    private static final Map<ApiMessageType, Set<String>> CHOSEN_IN = Map.of(
        ApiMessageType.DESCRIBE_QUORUM, Set.of("leader_epoch", "high_watermark", "log_end_offset", "last_fetch_timestamp",
            "last_caught_up_timestamp", "replica_directory_id", "listeners"),
        ApiMessageType.DESCRIBE_LOG_DIRS, Set.of("log_dir", "total_bytes", "usable_bytes"));

    /** One line per value: its path and what it is. */
    static List<String> lines(ApiMessageType api, Struct answer) {
        List<String> lines = new ArrayList<>();
        walk("", answer, lines);
        Set<String> chosen = CHOSEN_IN.getOrDefault(api, Set.of());
        lines.removeIf(line -> Stream.of(line.split(" ")[0].split("[/\\[\\]]+")).anyMatch(chosen::contains));
        return lines;
    }

    private static void walk(String path, Object value, List<String> lines) {
        if (value instanceof Struct struct) {
            for (BoundField field : struct.schema().fields()) {
                String name = field.def.name;
                Object inside = struct.get(field);
                if (CHOSEN.contains(name)) {
                    continue;
                }
                if (BY_PRESENCE.contains(name)) {
                    String kind = inside == null ? "null" : inside.toString().isEmpty() ? "empty" : "some";
                    lines.add(path + "/" + name + " = " + kind);
                } else {
                    walk(path + "/" + name, inside, lines);
                }
            }
        } else if (value instanceof Object[] every) {
            Object[] array = Stream.of(every).filter(element -> isCommon(path, element)).toArray();
            lines.add(path + " has " + array.length);
            sorted(array).forEach(element -> element.forEach(line -> lines.add(path + line)));
        } else if (value instanceof Map<?, ?> tagged) {
            new TreeMap<>(tagged).forEach((tag, inside) -> {
                if (!path.equals("/_tagged_fields") && (inside instanceof Struct || inside instanceof Object[])) {
                    walk(path + "#" + tag, inside, lines);
                }
            });
        } else {
            lines.add(path + " = " + plain(value));
        }
    }

    /** What other APIs a broker serves, and what other configurations it has, is its own affair. */
    private static boolean isCommon(String path, Object element) {
        if (path.equals("/api_keys")) {
            short key = ((Struct) element).getShort("api_key");
            return Cases.APIS.stream().anyMatch(served -> served.apiKey() == key);
        }
        return !path.endsWith("/configs") || !((Struct) element).getString("name").startsWith("millrace.");
    }

    private static List<List<String>> sorted(Object[] array) {
        List<List<String>> elements = new ArrayList<>();
        for (Object element : array) {
            List<String> lines = new ArrayList<>();
            walk("[]", element, lines);
            elements.add(lines);
        }
        elements.sort((a, b) -> String.join("\n", a).compareTo(String.join("\n", b)));
        return elements;
    }

    private static String plain(Object value) {
        if (value instanceof Uuid id) {
            return id.equals(Uuid.ZERO_UUID) ? "no id" : "an id";
        }
        if (value instanceof ByteBuffer bytes) {
            return bytes.remaining() + " bytes " + Integer.toHexString(bytes.hashCode());
        }
        if (value instanceof Records records) {
            StringBuilder text = new StringBuilder("records");
            for (RecordBatch batch : records.batches()) {
                text.append(' ').append(batch.baseOffset()).append('-').append(batch.lastOffset())
                    .append(' ').append(batch.compressionType().name);
            }
            return text.toString();
        }
        return String.valueOf(value);
    }

    /** The lines in which two answers differ, at most a handful. */
    static List<String> differences(List<String> a, List<String> b) {
        List<String> onlyA = new ArrayList<>(a);
        List<String> onlyB = new ArrayList<>(b);
        b.forEach(onlyA::remove);
        a.forEach(onlyB::remove);
        if (onlyA.isEmpty() && onlyB.isEmpty()) {
            return Collections.emptyList();
        }
        List<String> told = new ArrayList<>();
        onlyA.stream().limit(6).forEach(line -> told.add("reference: " + line));
        onlyB.stream().limit(6).forEach(line -> told.add("tested:    " + line));
        return told;
    }
}

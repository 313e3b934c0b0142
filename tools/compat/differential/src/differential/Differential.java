package differential;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;

/**
 * Differential REFERENCE TESTED SEED [NODES]: the same requests to two fresh brokers, or clusters of so many nodes, the answers
 * compared. A broker is given as host:port; of a cluster, that of the node that is asked.
 *
 * Every API that a node serves, in every version that Kafka has: a valid story, the same request cut short and with bytes
 * too many, a declared length that is not there, traps, and random requests of the right types. The last line counts.
 */
public final class Differential {
    private static final int RANDOM_PER_VERSION = 12;
    private static final int TRIES = 100;
    private static final int PAUSE_MS = 50;
    private static final String TRAP = "trap: ";

    private final Broker reference;
    private final Broker tested;
    private int passed;
    private int failed;

    /** One side: its connection and what it has told us. */
    private static final class Broker {
        final Wire wire;
        final Map<String, Object> known = new HashMap<>();

        Broker(String address) {
            wire = new Wire(address);
        }

        Object known(String name) {
            return known.getOrDefault(name, name.startsWith("id of") ? Uuid.ZERO_UUID : "");
        }

        byte[] encode(ApiMessageType api, short version, Map<String, ?> request) {
            Struct struct = Tree.build(api.requestSchemas()[version], request, this::known);
            ByteBuffer bytes = ByteBuffer.allocate(struct.sizeOf());
            struct.writeTo(bytes);
            return bytes.array();
        }

        /** The answer as lines; fields that are to be kept are remembered. */
        List<String> ask(ApiMessageType api, short version, byte[] body, Map<String, String> keep) throws Exception {
            Wire.Answer answer = wire.exchange(api, version, body);
            if (answer.body() == null) {
                return new ArrayList<>(List.of(answer.otherwise()));
            }
            try {
                Struct struct = api.responseSchemas()[version].read(answer.body());
                keep.forEach((field, name) -> remember(struct, field, name));
                List<String> lines = new ArrayList<>(Answers.lines(api, struct));
                if (answer.body().hasRemaining()) {
                    lines.add("and " + answer.body().remaining() + " bytes more");
                }
                return lines;
            } catch (RuntimeException unreadable) {
                return new ArrayList<>(List.of("answers with bytes that are no such answer: " + unreadable.getMessage()));
            }
        }

        private void remember(Object value, String field, String name) {
            if (value instanceof Struct struct) {
                for (BoundField bound : struct.schema().fields()) {
                    Object inside = struct.get(bound);
                    if (bound.def.name.equals(field) && inside != null && !inside.equals("")) {
                        known.put(name, inside);
                    } else {
                        remember(inside, field, name);
                    }
                }
            } else if (value instanceof Object[] array) {
                Stream.of(array).forEach(element -> remember(element, field, name));
            }
        }
    }

    private Differential(String reference, String tested) {
        this.reference = new Broker(reference);
        this.tested = new Broker(tested);
    }

    public static void main(String[] args) throws Exception {
        Differential run = new Differential(args[0], args[1]);
        long seed = Long.parseLong(args[2]);
        Cluster.of(args.length > 3 ? Integer.parseInt(args[3]) : 1);
        run.prepare();
        for (ApiMessageType api : Cluster.isOne() ? Cases.APIS : Cluster.apis()) {
            for (short version = api.lowestSupportedVersion(); version <= api.highestSupportedVersion(false); version++) {
                run.story(api, version);
                run.damaged(api, version);
                run.traps(api, version);
                if (Cases.hasRandom(api, version)) {
                    run.random(api, version, new Random(seed + api.apiKey() * 100L + version));
                }
            }
        }
        System.out.println("seed " + seed);
        System.out.println(run.passed + " passed, " + run.failed + " failed");
        System.exit(run.failed == 0 ? 0 : 1);
    }

    private static short highest(ApiMessageType api) {
        return api.highestSupportedVersion(false);
    }

    /** The topic that random requests mean, and a group coordinator that is at work. */
    private void prepare() throws Exception {
        Map<String, ?> topic = Map.of("name", "common", "num_partitions", 2, "replication_factor", Cluster.all().length);
        for (Broker broker : List.of(reference, tested)) {
            ask(broker, new Cases.Step(ApiMessageType.CREATE_TOPICS, Map.of("timeout_ms", 30000, "topics", List.of(topic))));
            for (int tries = 0; tries < TRIES && broker.known("id of common").equals(Uuid.ZERO_UUID); tries++) {
                ask(broker, new Cases.Step(ApiMessageType.METADATA, Map.of("topics", List.of(Map.of("name", "common"))),
                    Map.of("topic_id", "id of common")));
                Thread.sleep(PAUSE_MS);
            }
            Map<String, ?> find = Map.of("coordinator_keys", List.of("any"));
            Map<String, ?> describe = Map.of("groups", List.of("any"));
            settled(broker, new Cases.Step(ApiMessageType.FIND_COORDINATOR, find));
            settled(broker, new Cases.Step(ApiMessageType.DESCRIBE_GROUPS, describe));
        }
    }

    private List<String> ask(Broker broker, Cases.Step step) throws Exception {
        short version = highest(step.api());
        return broker.ask(step.api(), version, broker.encode(step.api(), version, step.request()), step.keep());
    }

    /** A broker that has just created something knows it everywhere a moment later; it says so with one of these. */
    private static boolean soon(ApiMessageType api, List<String> answer) {
        String codes = api == ApiMessageType.METADATA ? "3|5|14|15|16" : "5|6|14|15|16";
        return answer.stream().anyMatch(line -> line.matches(".*error_code = (" + codes + ")"));
    }

    private List<String> settled(Broker broker, Cases.Step step) throws Exception {
        List<String> answer = ask(broker, step);
        for (int tries = 0; tries < TRIES && soon(step.api(), answer); tries++) {
            Thread.sleep(PAUSE_MS);
            answer = ask(broker, step);
        }
        return answer;
    }

    /** The steps before the last only prepare, in the newest version. */
    private void story(ApiMessageType api, short version) throws Exception {
        List<Cases.Step> steps = Cases.story(api, version);
        for (Broker broker : List.of(reference, tested)) {
            broker.known.remove("member");
            for (Cases.Step step : steps.subList(0, steps.size() - 1)) {
                settled(broker, step);
            }
        }
        Cases.Step last = steps.get(steps.size() - 1);
        compare(api, version, "valid", last.request(), body -> body);
    }

    private void traps(ApiMessageType api, short version) throws Exception {
        for (Traps.Trap trap : Traps.of(api, version)) {
            for (Broker broker : List.of(reference, tested)) {
                for (Cases.Step step : trap.before()) {
                    settled(broker, step);
                }
            }
            compare(api, version, TRAP + trap.name(), trap.request(), body -> body);
        }
    }

    private interface Damage {
        byte[] of(byte[] body);
    }

    private void damaged(ApiMessageType api, short version) throws Exception {
        // ApiVersions of a version that parses is answered even so; its body is not read closely.
        List<Cases.Step> steps = Cases.story(api, version);
        Map<String, ?> request = steps.get(steps.size() - 1).request();
        compare(api, version, "cut short", request, body -> java.util.Arrays.copyOf(body, body.length / 2));
        compare(api, version, "empty", request, body -> new byte[0]);
        if (api == ApiMessageType.FETCH) {
            return; // It begins with the id of a replica, and replicas are another matter.
        }
        compare(api, version, "a length that is not there", request, body -> {
            byte[] bad = body.clone();
            java.util.Arrays.fill(bad, 0, Math.min(bad.length, 5), (byte) 0x7f);
            return bad;
        });
    }

    private void random(ApiMessageType api, short version, Random random) throws Exception {
        Schema schema = api.requestSchemas()[version];
        for (int number = 0; number < RANDOM_PER_VERSION; number++) {
            Map<String, Object> request = Cases.tamed(api, Tree.random(schema, random, Cases::pick));
            compare(api, version, "random " + number + " " + shown(request), request, body -> body);
        }
    }

    private static String shown(Map<String, Object> request) {
        String text = request.toString().replaceAll("x{50,}", "x...");
        return text.length() <= 400 ? text : text.substring(0, 400) + "...";
    }

    private void compare(ApiMessageType api, short version, String what, Map<String, ?> request, Damage damage) throws Exception {
        // What is valid succeeds in the end; anything else may be refused for good with the same codes.
        boolean isMeant = what.equals("valid") || what.startsWith(TRAP);
        int tries = isMeant ? TRIES : 0;
        List<String> expected = answer(reference, api, version, request, damage, tries);
        List<String> got = answer(tested, api, version, request, damage, tries);
        if (api == ApiMessageType.FETCH) {
            // Kafka names a topic again for the partitions that it could not read, or not, as it happens to collect them.
            expected.removeIf(Differential::isGrouping);
            got.removeIf(Differential::isGrouping);
        }
        if (api == ApiMessageType.ELECT_LEADERS && !Cluster.isOne()) {
            // Who led before is for each to decide.
            expected.replaceAll(Differential::elected);
            got.replaceAll(Differential::elected);
        }
        if (!Cluster.isOne()) {
            // How often leaders were elected is for each to decide.
            expected.removeIf(line -> line.contains("/leader_epoch = "));
            got.removeIf(line -> line.contains("/leader_epoch = "));
        }
        if (api == ApiMessageType.DESCRIBE_LOG_DIRS && !(isMeant && Cluster.isOne())) {
            // How well the records of all stories compress and what coordinators note differs; a follower may lack something yet.
            expected.removeIf(Differential::isSize);
            got.removeIf(Differential::isSize);
        }
        if (!isMeant) {
            // Whether a refusal comes with words is compared where a person would read them.
            expected.removeIf(Differential::isMessage);
            got.removeIf(Differential::isMessage);
        }
        List<String> differences = Answers.differences(expected, got);
        if (differences.isEmpty()) {
            passed++;
            return;
        }
        failed++;
        System.out.println("DIFFERS " + api.name + " " + version + ", " + what);
        differences.forEach(line -> System.out.println("    " + line));
    }

    private static boolean isGrouping(String line) {
        return line.matches("/responses has .*|/responses\\[\\]/(topic =|partitions has) .*");
    }

    private static String elected(String line) {
        return line.endsWith("error_code = 84") ? line.replace("84", "0") : isMessage(line) ? "" : line;
    }

    private static boolean isSize(String line) {
        return line.contains("partition_size = ");
    }

    private static boolean isMessage(String line) {
        return line.matches(".*message = (some|empty|null)");
    }

    private static List<String> answer(Broker broker, ApiMessageType api, short version, Map<String, ?> request, Damage damage,
            int again) throws Exception {
        byte[] body = damage.of(broker.encode(api, version, request));
        List<String> answer = broker.ask(api, version, body, Map.of());
        for (int tries = 0; tries < again && soon(api, answer); tries++) {
            Thread.sleep(PAUSE_MS);
            answer = broker.ask(api, version, body, Map.of());
        }
        return answer;
    }
}

package differential;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * Requests as trees of maps, lists and plain values, which fit any version: a schema takes the fields that it has, and
 * what the tree leaves out is neutral (0, empty, null). A {@link Ref} stands for what each broker has chosen itself.
 */
final class Tree {
    private Tree() { }

    /** Looked up per broker: a topic's id, a member id. */
    record Ref(String name) { }

    static Struct build(Schema schema, Map<String, ?> tree, Function<String, Object> known) {
        Struct struct = new Struct(schema);
        for (BoundField field : schema.fields()) {
            Object value = tree.get(field.def.name);
            struct.set(field, value(field.def.type, value, tree.containsKey(field.def.name), known));
        }
        return struct;
    }

    @SuppressWarnings("unchecked")
    private static Object value(Type type, Object given, boolean present, Function<String, Object> known) {
        Object value = given instanceof Ref ref ? known.apply(ref.name) : given;
        if (type instanceof TaggedFields) {
            return new TreeMap<Integer, Object>();
        }
        if (value == null) {
            return present && type.isNullable() ? null : neutral(type);
        }
        if (type.arrayElementType().isPresent()) {
            Type element = type.arrayElementType().get();
            return ((List<Object>) value).stream().map(one -> value(element, one, true, known)).toArray();
        }
        if (type instanceof Schema schema) {
            return build(schema, (Map<String, ?>) value, known);
        }
        return plain(type, value);
    }

    private static Object neutral(Type type) {
        if (type.isNullable() && type.arrayElementType().isEmpty()) {
            return null;
        }
        if (type.arrayElementType().isPresent()) {
            return new Object[0];
        }
        if (type instanceof Schema schema) {
            return build(schema, Map.of(), name -> null);
        }
        String name = type.toString();
        if (name.contains("STRING")) {
            return "";
        }
        if (name.contains("BYTES")) {
            return ByteBuffer.allocate(0);
        }
        if (name.contains("RECORDS")) {
            return MemoryRecords.EMPTY;
        }
        if (name.equals("UUID")) {
            return Uuid.ZERO_UUID;
        }
        return name.equals("BOOLEAN") ? (Object) false : plain(type, 0L);
    }

    /** Numbers in the width that the schema wants, bytes in their own copy. */
    private static Object plain(Type type, Object value) {
        if (value instanceof Number number) {
            return switch (type.toString()) {
                case "INT8" -> number.byteValue();
                case "INT16" -> number.shortValue();
                case "INT32", "UINT16" -> number.intValue();
                case "FLOAT64" -> number.doubleValue();
                default -> number.longValue();
            };
        }
        if (value instanceof byte[] bytes) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes.clone());
            return type.toString().contains("RECORDS") ? MemoryRecords.readableRecords(buffer) : buffer;
        }
        return value;
    }

    /** A request that the schema allows, from values that are likely to mean something. */
    static Map<String, Object> random(Schema schema, Random random, Values values) {
        Map<String, Object> tree = new TreeMap<>();
        for (BoundField field : schema.fields()) {
            if (!(field.def.type instanceof TaggedFields)) {
                tree.put(field.def.name, random(field.def.name, field.def.type, random, values));
            }
        }
        return tree;
    }

    private static Object random(String name, Type type, Random random, Values values) {
        if (type.isNullable() && random.nextInt(8) == 0) {
            return null;
        }
        if (type.arrayElementType().isPresent()) {
            List<Object> list = new ArrayList<>();
            Set<Object> named = new HashSet<>();
            for (int left = random.nextInt(3); left >= 0; left--) {
                Object element = random(name, type.arrayElementType().get(), random, values);
                // Naming a thing twice in a request is answered by accidents of the broker's collections.
                if (named.add(identity(element))) {
                    list.add(element);
                }
            }
            return list;
        }
        if (type instanceof Schema schema) {
            return random(schema, random, values);
        }
        return values.pick(name, type.toString(), random);
    }

    /** What an element of an array is about. */
    private static Object identity(Object element) {
        if (!(element instanceof Map<?, ?> fields)) {
            return element instanceof byte[] ? new Object() : element;
        }
        for (String field : NAMES) {
            if (fields.get(field) != null) {
                return fields.get(field);
            }
        }
        return new Object();
    }

    private static final List<String> NAMES = List.of("resource_name", "name", "topic", "topic_id", "partition_index", "partition",
        "group_id", "member_id");

    /** Where random values come from. */
    interface Values {
        Object pick(String field, String type, Random random);
    }
}

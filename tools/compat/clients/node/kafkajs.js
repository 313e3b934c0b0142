// kafkajs. It reads only through groups, so `consume` makes one up. Gzip is its own codec; the others are
// plugged in. Its makers' plugins for lz4 and zstd are native modules that a current Node.js does not build; these are not.
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs');
const lz4 = require('lz4js');
const zstd = require('@bokuweb/zstd-wasm');

const zstdIsReady = zstd.init();
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy');
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }) => Buffer.from(lz4.compress(buffer)),
  decompress: async (buffer) => Buffer.from(lz4.decompress(buffer)),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  async compress({ buffer }) {
    await zstdIsReady;
    return Buffer.from(zstd.compress(buffer));
  },
  async decompress(buffer) {
    await zstdIsReady;
    return Buffer.from(zstd.decompress(buffer));
  },
});
process.env.KAFKAJS_NO_PARTITIONER_WARNING = '1';

const request = JSON.parse(process.argv[2]);
const kafka = new Kafka({ clientId: 'compat', brokers: (request.bootstrap || '').split(','), logLevel: logLevel.ERROR });
const say = (event, fields) => process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');

function records() {
  const { first, count, size, headers, timestamp } = request;
  return Array.from({ length: count }, (_, n) => first + n).map((i) => ({
    key: `k${i}`,
    value: `v${i}`.padEnd(size || 0, '.'),
    ...(headers && { headers: { n: `h${i}`, bin: Buffer.from([0x00, 0xff]) } }),
    ...(timestamp && { timestamp: String(timestamp + i) }),
  }));
}

// All records at once, or `chunk` of them per line of input.
async function* chunks() {
  const all = records();
  if (!request.chunk) {
    yield all;
    return;
  }
  for await (const _ of require('readline').createInterface({ input: process.stdin })) {
    yield all.splice(0, request.chunk);
    // whoever took the piece has waited for its acknowledgements
    say('sent');
    if (all.length === 0) return;
  }
}

function sayRecord({ partition, message }) {
  const value = message.value.toString();
  const headers = Object.entries(message.headers || {}).map(([name, data]) => [name, data.toString('hex')]);
  say('record', {
    partition,
    offset: Number(message.offset),
    key: message.key.toString(),
    value: value.replace(/\.+$/, ''),
    size: message.value.length,
    timestamp: Number(message.timestamp),
    headers: Object.fromEntries(headers),
  });
}

const commands = {
  async create() {
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: request.topic, numPartitions: request.partitions }] });
    await admin.disconnect();
    say('done');
  },

  async produce() {
    const producer = kafka.producer(request.idempotent ? { idempotent: true, maxInFlightRequests: 1 } : {});
    await producer.connect();
    const types = CompressionTypes;
    const codecs = { gzip: types.GZIP, snappy: types.Snappy, lz4: types.LZ4, zstd: types.ZSTD };
    for await (const messages of chunks()) {
      await producer.send({
        topic: request.topic,
        messages,
        ...(request.codec && { compression: codecs[request.codec] }),
      });
    }
    await producer.disconnect();
    say('done');
  },

  async consume() {
    const consumer = kafka.consumer({ groupId: `made-up-${process.pid}-${Date.now()}` });
    await consumer.connect();
    await consumer.subscribe({ topics: [request.topic], fromBeginning: true });
    let starts = [];
    if (request.from !== 'beginning') {
      const admin = kafka.admin();
      await admin.connect();
      starts = await admin.fetchTopicOffsetsByTimestamp(request.topic, request.from);
      await admin.disconnect();
    }
    let left = request.count;
    await new Promise((done) => {
      consumer.run({
        eachMessage: async (message) => {
          const start = starts.find(({ partition }) => partition === message.partition);
          if (left === 0 || (start && Number(message.message.offset) < Number(start.offset))) return;
          sayRecord(message);
          left -= 1;
          if (left === 0) done();
        },
      });
      starts.forEach(({ partition, offset }) => consumer.seek({ topic: request.topic, partition, offset }));
    });
    await consumer.disconnect();
  },

  async member() {
    const consumer = kafka.consumer({ groupId: request.group });
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      say('assigned', { partitions: (payload.memberAssignment[request.topic] || []).sort() });
    });
    await consumer.connect();
    await consumer.subscribe({ topics: [request.topic], fromBeginning: true });
    await consumer.run({ eachMessage: async (message) => sayRecord(message) });
    process.stdin.resume();
    await new Promise((ended) => process.stdin.on('end', ended));
    await consumer.disconnect();
    say('left');
  },

  async codecs() {
    say('codecs', { codecs: ['gzip', 'snappy', 'lz4', 'zstd'], idempotent: true });
  },
};

// Else the last line of what Node.js says of it is its own version.
process.on('uncaughtException', (error) => {
  console.error(`uncaught: ${(error.stack || String(error)).split('\n').slice(0, 4).join(' ')}`);
  process.exit(1);
});

commands[request.command]().then(
  () => process.exit(0),
  (error) => {
    console.error(error.message);
    process.exit(1);
  },
);

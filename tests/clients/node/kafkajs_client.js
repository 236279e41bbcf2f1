// kafkajs against the broker: see ../python/scenarios.py for the scenarios and the environment.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel, AclResourceTypes, AclOperationTypes, AclPermissionTypes,
  ResourcePatternTypes, ConfigResourceTypes } = require('kafkajs')

const env = process.env
const PREFIX = env.LG_PREFIX
const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd']
const CODEC_RECORDS = 200
const IDEMPOTENT_RECORDS = 300
const DEADLINE = 40_000

// kafkajs ships gzip alone; the others come from pure codecs, framed as Kafka frames them.
const snappyjs = require('snappyjs')
const lz4 = require('lz4-napi')
const { ZstdCodec } = require('zstd-codec')
const zstd = new Promise((resolve) => ZstdCodec.run((codec) => resolve(new codec.Simple())))
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])

CompressionCodecs[CompressionTypes.Snappy] = () => ({
  compress: async (encoder) => {
    const block = Buffer.from(snappyjs.compress(encoder.buffer))
    const head = Buffer.alloc(20)
    XERIAL.copy(head)
    head.writeUInt32BE(1, 8)
    head.writeUInt32BE(1, 12)
    head.writeUInt32BE(block.length, 16)
    return Buffer.concat([head, block])
  },
  decompress: async (buffer) => {
    if (!buffer.subarray(0, 8).equals(XERIAL)) return Buffer.from(snappyjs.uncompress(buffer))
    const blocks = []
    for (let at = 16; at < buffer.length;) {
      const size = buffer.readUInt32BE(at)
      blocks.push(Buffer.from(snappyjs.uncompress(buffer.subarray(at + 4, at + 4 + size))))
      at += 4 + size
    }
    return Buffer.concat(blocks)
  },
})
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd).decompress(buffer)),
})

function client(bootstrap = env.LG_BOOTSTRAP) {
  return new Kafka({
    clientId: 'kafkajs',
    brokers: [bootstrap],
    ssl: { ca: [fs.readFileSync(env.LG_CA, 'utf8')] },
    sasl: { mechanism: env.LG_MECHANISM.toLowerCase(), username: env.LG_USER, password: env.LG_PASSWORD },
    logLevel: logLevel.NOTHING,
    connectionTimeout: 5000,
    retry: { initialRetryTime: 50, maxRetryTime: 200, retries: 50 },
  })
}

const kafka = client()
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(condition, what, deadline = DEADLINE) {
  const end = Date.now() + deadline
  while (!(await condition())) {
    assert(Date.now() < end, `waited in vain until ${what()}`)
    await sleep(20)
  }
}

async function read(topic, count) {
  const seen = []
  const consumer = kafka.consumer({ groupId: `${PREFIX}reader-${topic}`, sessionTimeout: 10_000, heartbeatInterval: 300,
    maxWaitTimeInMs: 200 })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ autoCommit: false, eachMessage: async ({ message }) => { seen.push(message) } })
  await until(() => seen.length >= count, () => `${count} records are read, not ${seen.length}`)
  await consumer.disconnect()
  return seen
}

async function highWatermark(topic) {
  const admin = kafka.admin()
  await admin.connect()
  const [{ high }] = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  return Number(high)
}

async function codecs() {
  const types = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
    lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD }
  const producer = kafka.producer()
  await producer.connect()
  for (const codec of CODECS) {
    const topic = `${PREFIX}codec-${codec}`
    const messages = Array.from({ length: CODEC_RECORDS }, (_, i) => ({
      key: `key-${i}`, value: `value-${i}-${'x'.repeat(200)}`, headers: { h: [`${i}`, 'again'] }, partition: 0,
    }))
    await producer.send({ topic, compression: types[codec], messages })
    const seen = await read(topic, CODEC_RECORDS)
    assert.equal(seen.length, CODEC_RECORDS)
    seen.forEach((message, i) => {
      assert.equal(message.key.toString(), `key-${i}`)
      assert.equal(message.value.toString(), `value-${i}-${'x'.repeat(200)}`)
      assert.deepEqual(message.headers.h.map(String), [`${i}`, 'again'])
    })
  }
  await producer.disconnect()
  return { codecs: CODECS }
}

async function member() {
  const state = { values: [], assigned: 0 }
  const consumer = kafka.consumer({
    groupId: `${PREFIX}group`, sessionTimeout: 10_000, heartbeatInterval: 300, rebalanceTimeout: 5000,
    maxWaitTimeInMs: 100,
  })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    state.assigned = Object.values(payload.memberAssignment).flat().length
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [`${PREFIX}group`], fromBeginning: true })
  // `values` grows only after the commit of what it shows.
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      const last = batch.messages[batch.messages.length - 1]
      await consumer.commitOffsets([
        { topic: batch.topic, partition: batch.partition, offset: String(BigInt(last.offset) + 1n) },
      ])
      resolveOffset(last.offset)
      state.values.push(...batch.messages.map((message) => Number(message.value)))
      await heartbeat()
    },
  })
  state.leave = () => consumer.disconnect()
  return state
}

async function group() {
  const producer = kafka.producer()
  await producer.connect()
  const produce = (first, count) => producer.send({
    topic: `${PREFIX}group`,
    messages: Array.from({ length: count }, (_, i) => ({ value: `${first + i}`, partition: (first + i) % 4 })),
  })
  const range = (first, end) => Array.from({ length: end - first }, (_, i) => first + i)
  const sorted = (values) => [...values].sort((x, y) => x - y)

  await produce(0, 100)
  const a = await member()
  await until(() => a.values.length >= 100, () => `A has 100 records, not ${a.values.length}`)
  const b = await member()
  await until(() => a.assigned === 2 && b.assigned === 2, () => `both have two: ${a.assigned}, ${b.assigned}`)
  await produce(100, 100)
  await until(() => a.values.length + b.values.length >= 200, () => `200 records: ${a.values.length}, ${b.values.length}`)
  assert.equal(b.values.length, 50)
  await b.leave()
  await until(() => a.assigned === 4, () => `A has all partitions again, not ${a.assigned}`)
  await a.leave()
  assert.deepEqual(sorted([...a.values, ...b.values]), range(0, 200), 'lost or repeated records')
  await produce(200, 40)
  const c = await member()
  await until(() => c.values.length >= 40, () => `C has 40 records, not ${c.values.length}`)
  await c.leave()
  assert.deepEqual(sorted(c.values), range(200, 240), 'did not resume from the commits')
  await producer.disconnect()
  return { rebalanced: true, resumed: true }
}

async function idempotent() {
  const topic = `${PREFIX}idempotent`
  const producer = client(env.LG_CUT).producer({ idempotent: true, maxInFlightRequests: 1 })
  await until(() => producer.connect().then(() => true, () => false), () => 'the producer connects')
  for (let i = 0; i < IDEMPOTENT_RECORDS; i++) {
    await producer.send({ topic, acks: -1, messages: [{ value: `${i}`, partition: 0 }] })
    await sleep(5)
  }
  await producer.disconnect()
  const seen = await read(topic, IDEMPOTENT_RECORDS)
  assert.deepEqual(seen.map((m) => Number(m.value)), Array.from({ length: IDEMPOTENT_RECORDS }, (_, i) => i))
  assert.equal(await highWatermark(topic), IDEMPOTENT_RECORDS)
  return { acknowledged: IDEMPOTENT_RECORDS }
}

async function admin() {
  const topic = `${PREFIX}admin`
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({
    waitForLeaders: true,
    topics: [{ topic, numPartitions: 2, replicationFactor: 1, configEntries: [{ name: 'retention.ms', value: '60000' }] }],
  })
  const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
  const retention = async () => (await admin.describeConfigs({ resources: [resource], includeSynonyms: false }))
    .resources[0].configEntries.find((entry) => entry.configName === 'retention.ms').configValue
  assert.equal(await retention(), '60000')
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value: '120000' }] }],
  })
  await until(async () => (await retention()) === '120000', () => 'the config is changed')
  await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
  await until(async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length === 3,
    () => 'there are three partitions')

  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: Array.from({ length: 10 }, (_, i) => ({ value: `${i}`, partition: 0 })) })
  await producer.disconnect()
  await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '4' }] })
  assert.equal((await admin.fetchTopicOffsets(topic)).find((p) => p.partition === 0).low, '4')

  const groupId = `${PREFIX}admin-group`
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
  const committed = await admin.fetchOffsets({ groupId, topics: [topic] })
  assert.equal(committed[0].partitions.find((p) => p.partition === 0).offset, '7')
  assert((await admin.listGroups()).groups.some((g) => g.groupId === groupId))
  assert.equal((await admin.describeGroups([groupId])).groups[0].state, 'Empty')
  await admin.deleteGroups([groupId])

  const acl = {
    resourceType: AclResourceTypes.TOPIC, resourceName: topic, resourcePatternType: ResourcePatternTypes.LITERAL,
    principal: `User:${PREFIX}user`, host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW,
  }
  await admin.createAcls({ acl: [acl] })
  await until(async () => (await admin.describeAcls(acl)).resources.length === 1, () => 'the ACL is there')
  await admin.deleteAcls({ filters: [acl] })
  await until(async () => (await admin.describeAcls(acl)).resources.length === 0, () => 'the ACL is gone')

  assert.equal((await admin.describeCluster()).brokers.length, 1)
  await admin.deleteTopics({ topics: [topic] })
  await until(async () => !(await admin.listTopics()).includes(topic), () => 'the topic is gone')
  await admin.disconnect()
  return {}
}

async function main() {
  const scenarios = { admin, codecs, group, idempotent }
  let failed = false
  for (const scenario of process.argv.slice(2)) {
    const started = Date.now()
    let verdict
    try {
      verdict = { scenario, ok: true, detail: await scenarios[scenario]() }
    } catch (error) {
      failed = true
      verdict = { scenario, ok: false, detail: String(error.stack) }
    }
    console.log(JSON.stringify({ ...verdict, seconds: (Date.now() - started) / 1000 }))
  }
  process.exit(failed ? 1 : 0)
}

main()

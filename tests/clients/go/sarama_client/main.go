// sarama against the broker: see ../../python/scenarios.py for the scenarios and the environment.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/sarama"
)

const (
	codecRecords      = 200
	idempotentRecords = 300
	deadline          = 40 * time.Second
)

var (
	prefix = os.Getenv("LG_PREFIX")
	codecs = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		// zstd is missing: this sarama sends it with Produce 3, and Kafka demands 7.
		"lz4": sarama.CompressionLZ4,
	}
)

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.V2_2_0_0
	config.ClientID = "sarama"
	pem, err := os.ReadFile(os.Getenv("LG_CA"))
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config.Net.TLS.Enable = true
	config.Net.TLS.Config = &tls.Config{RootCAs: roots}
	config.Net.SASL.Enable = true
	mechanism := os.Getenv("LG_MECHANISM")
	config.Net.SASL.Mechanism = sarama.SASLMechanism(mechanism)
	config.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return newScram(mechanism) }
	config.Net.SASL.User, config.Net.SASL.Password = os.Getenv("LG_USER"), os.Getenv("LG_PASSWORD")
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Session.Timeout = 10 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	// Without a retention this sarama commits with OffsetCommit 1, which Kafka 4 no longer knows; with one it uses 2.
	config.Consumer.Offsets.Retention = 24 * time.Hour
	config.Consumer.Offsets.CommitInterval = 50 * time.Millisecond
	config.Consumer.Return.Errors = false
	return config
}

func brokers() []string { return []string{os.Getenv("LG_BOOTSTRAP")} }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func demand(ok bool, format string, args ...interface{}) {
	if !ok {
		panic(fmt.Errorf(format, args...))
	}
}

func until(condition func() bool, what func() string) {
	for end := time.Now().Add(deadline); !condition(); time.Sleep(20 * time.Millisecond) {
		demand(time.Now().Before(end), "waited in vain until %s", what())
	}
}

func read(topic string, count int) []*sarama.ConsumerMessage {
	consumer, err := sarama.NewConsumer(brokers(), settings())
	check(err)
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	check(err)
	defer partition.Close()
	var seen []*sarama.ConsumerMessage
	for len(seen) < count {
		select {
		case message := <-partition.Messages():
			seen = append(seen, message)
		case <-time.After(deadline):
			panic(fmt.Errorf("%d of %d records could be read", len(seen), count))
		}
	}
	return seen
}

func codecScenario() {
	for name, codec := range codecs {
		config := settings()
		config.Producer.Compression = codec
		topic := prefix + "codec-" + name
		var messages []*sarama.ProducerMessage
		for i := 0; i < codecRecords; i++ {
			messages = append(messages, &sarama.ProducerMessage{
				Topic: topic, Key: sarama.StringEncoder(fmt.Sprintf("key-%d", i)),
				Value: sarama.StringEncoder(fmt.Sprintf("value-%d-%s", i, strings.Repeat("x", 200))),
				Headers: []sarama.RecordHeader{
					{Key: []byte("h"), Value: []byte(strconv.Itoa(i))}, {Key: []byte("h"), Value: []byte("again")},
				},
			})
		}
		config.Producer.Flush.Messages = 50
		config.Producer.Flush.Frequency = 20 * time.Millisecond
		producer, err := sarama.NewSyncProducer(brokers(), config)
		check(err)
		err = producer.SendMessages(messages)
		if failures, ok := err.(sarama.ProducerErrors); ok {
			err = fmt.Errorf("%s: %d failed, the first with %v", name, len(failures), failures[0].Err)
		}
		check(err)
		check(producer.Close())
		for i, message := range read(topic, codecRecords) {
			demand(string(message.Key) == fmt.Sprintf("key-%d", i), "%s record %d has key %s", name, i, message.Key)
			value := fmt.Sprintf("value-%d-%s", i, strings.Repeat("x", 200))
			demand(string(message.Value) == value, "%s record %d has value %s", name, i, message.Value)
			demand(len(message.Headers) == 2 && string(message.Headers[0].Value) == strconv.Itoa(i), "headers")
		}
	}
}

// member is a consumer group member that counts a record only after marking it.
type member struct {
	sync.Mutex
	values   []int
	assigned int
	cancel   context.CancelFunc
	done     chan struct{}
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.Lock()
	defer m.Unlock()
	m.assigned = len(session.Claims()[prefix+"group"])
	return nil
}

func (m *member) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		value, err := strconv.Atoi(string(message.Value))
		if err != nil {
			return err
		}
		session.MarkMessage(message, "")
		m.Lock()
		m.values = append(m.values, value)
		m.Unlock()
	}
	return nil
}

func join() *member {
	group, err := sarama.NewConsumerGroup(brokers(), prefix+"group", settings())
	check(err)
	ctx, cancel := context.WithCancel(context.Background())
	m := &member{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			if err := group.Consume(ctx, []string{prefix + "group"}, m); err != nil {
				time.Sleep(50 * time.Millisecond)
			}
		}
		group.Close()
	}()
	return m
}

func (m *member) leave() { m.cancel(); <-m.done }

func (m *member) count() int { m.Lock(); defer m.Unlock(); return len(m.values) }

func (m *member) partitions() int { m.Lock(); defer m.Unlock(); return m.assigned }

func groupScenario() {
	producer, err := sarama.NewSyncProducer(brokers(), settings())
	check(err)
	defer producer.Close()
	produce := func(first, count int) {
		var messages []*sarama.ProducerMessage
		for i := first; i < first+count; i++ {
			value := sarama.StringEncoder(strconv.Itoa(i))
			messages = append(messages, &sarama.ProducerMessage{Topic: prefix + "group", Partition: int32(i % 4), Value: value})
		}
		check(producer.SendMessages(messages))
	}
	produce(0, 100)
	a := join()
	until(func() bool { return a.count() >= 100 }, func() string { return fmt.Sprint("A has 100 records, not ", a.count()) })
	b := join()
	until(func() bool { return a.partitions() == 2 && b.partitions() == 2 },
		func() string { return fmt.Sprint("both have two partitions: ", a.partitions(), b.partitions()) })
	produce(100, 100)
	until(func() bool { return a.count()+b.count() >= 200 },
		func() string { return fmt.Sprint("all 200 records: ", a.count(), b.count()) })
	demand(b.count() == 50, "B has %d records", b.count())
	b.leave()
	until(func() bool { return a.partitions() == 4 },
		func() string { return fmt.Sprint("A has all partitions again, not ", a.partitions()) })
	a.leave()
	exactly(append(a.values, b.values...), 0, 200)
	produce(200, 40)
	c := join()
	until(func() bool { return c.count() >= 40 }, func() string { return fmt.Sprint("C has 40 records, not ", c.count()) })
	c.leave()
	exactly(c.values, 200, 240)
}

func exactly(values []int, first, end int) {
	sort.Ints(values)
	demand(len(values) == end-first, "%d records instead of %d: lost or repeated", len(values), end-first)
	for i, value := range values {
		demand(value == first+i, "record %d is %d", first+i, value)
	}
}

func idempotentScenario() {
	config := settings()
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Retry.Max = 200
	config.Producer.Retry.Backoff = 20 * time.Millisecond
	config.Metadata.Retry.Max = 200
	config.Metadata.Retry.Backoff = 20 * time.Millisecond
	topic := prefix + "idempotent"
	var producer sarama.SyncProducer
	var err error
	until(func() bool {
		producer, err = sarama.NewSyncProducer([]string{os.Getenv("LG_CUT")}, config)
		return err == nil
	}, func() string { return fmt.Sprint("the producer connects: ", err) })
	for i := 0; i < idempotentRecords; i++ {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(strconv.Itoa(i))})
		check(err)
		time.Sleep(5 * time.Millisecond)
	}
	check(producer.Close())
	var values []int
	for i, message := range read(topic, idempotentRecords) {
		value, err := strconv.Atoi(string(message.Value))
		check(err)
		demand(value == i, "record %d is %d", i, value)
		values = append(values, value)
	}
	exactly(values, 0, idempotentRecords)
	client, err := sarama.NewClient(brokers(), settings())
	check(err)
	defer client.Close()
	end, err := client.GetOffset(topic, 0, sarama.OffsetNewest)
	check(err)
	demand(end == idempotentRecords, "the log ends at %d", end)
}

func adminScenario() {
	admin, err := sarama.NewClusterAdmin(brokers(), settings())
	check(err)
	defer admin.Close()
	topic := prefix + "admin"
	retention := "60000"
	check(admin.CreateTopic(topic, &sarama.TopicDetail{
		NumPartitions: 2, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &retention},
	}, false))
	// This sarama asks for configs with DescribeConfigs 0, which Kafka 4 no longer knows: it can only set them.
	retention = "120000"
	check(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": &retention}, false))
	check(admin.CreatePartitions(topic, 3, nil, false))
	until(func() bool {
		metadata, err := admin.DescribeTopics([]string{topic})
		return err == nil && len(metadata) == 1 && len(metadata[0].Partitions) == 3
	}, func() string { return "there are three partitions" })

	producer, err := sarama.NewSyncProducer(brokers(), settings())
	check(err)
	for i := 0; i < 10; i++ {
		_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder("x")})
		check(err)
	}
	check(producer.Close())
	check(admin.DeleteRecords(topic, map[int32]int64{0: 4}))
	client, err := sarama.NewClient(brokers(), settings())
	check(err)
	start, err := client.GetOffset(topic, 0, sarama.OffsetOldest)
	check(err)
	demand(start == 4, "the log starts at %d", start)
	check(client.Close())

	// ACLs are beyond it too: it speaks version 0 of their requests, which Kafka 4 no longer knows.
	groups, err := admin.ListConsumerGroups()
	check(err)
	demand(groups != nil, "the groups are not listed")

	check(admin.DeleteTopic(topic))
	client, err = sarama.NewClient(brokers(), settings())
	check(err)
	defer client.Close()
	until(func() bool {
		check(client.RefreshMetadata())
		topics, err := client.Topics()
		check(err)
		for _, name := range topics {
			if name == topic {
				return false
			}
		}
		return true
	}, func() string { return "the topic is gone" })
}

func run(name string, scenario func()) (err error) {
	defer func() {
		if failure := recover(); failure != nil {
			err = fmt.Errorf("%v", failure)
		}
	}()
	if scenario == nil {
		return errors.New("no such scenario: " + name)
	}
	scenario()
	return nil
}

func main() {
	scenarios := map[string]func(){
		"admin": adminScenario, "codecs": codecScenario, "group": groupScenario, "idempotent": idempotentScenario,
	}
	status := 0
	for _, name := range os.Args[1:] {
		started := time.Now()
		verdict := map[string]interface{}{"scenario": name, "ok": true, "detail": nil}
		if err := run(name, scenarios[name]); err != nil {
			verdict["ok"], verdict["detail"], status = false, err.Error(), 1
		}
		verdict["seconds"] = time.Since(started).Seconds()
		line, _ := json.Marshal(verdict)
		fmt.Println(string(line))
	}
	os.Exit(status)
}

// sarama.
package main

import (
	"context"
	"maps"
	"slices"

	"github.com/IBM/sarama"

	"millrace/compat/driver"
)

func config() *sarama.Config {
	config := sarama.NewConfig()
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Producer.Return.Successes = true // a synchronous producer needs it
	return config
}

func create(r driver.Request) {
	admin, err := sarama.NewClusterAdmin(r.Servers(), config())
	driver.Must(err)
	driver.Must(admin.CreateTopic(r.Topic, &sarama.TopicDetail{NumPartitions: int32(r.Partitions), ReplicationFactor: int16(r.Replicas)}, false))
	driver.Must(admin.Close())
}

func produce(r driver.Request) {
	config := config()
	codecs := map[string]sarama.CompressionCodec{
		"gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
	}
	if codec, asked := codecs[r.Codec]; asked {
		config.Producer.Compression = codec
	}
	if r.Idempotent {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Net.MaxOpenRequests = 1  // both are required of an idempotent producer
		config.Producer.Retry.Max = 100 // three retries are over before a leader is elected
	}
	producer, err := sarama.NewSyncProducer(r.Servers(), config)
	driver.Must(err)
	r.EachChunk(func(chunk []driver.Record) error {
		var messages []*sarama.ProducerMessage
		for _, record := range chunk {
			message := &sarama.ProducerMessage{
				Topic: r.Topic, Key: sarama.ByteEncoder(record.Key), Value: sarama.ByteEncoder(record.Value), Timestamp: record.Time,
			}
			for _, header := range record.Headers {
				message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header.Name), Value: header.Data})
			}
			messages = append(messages, message)
		}
		return producer.SendMessages(messages)
	})
	driver.Must(producer.Close())
}

func say(message *sarama.ConsumerMessage) {
	read := driver.Record{Key: message.Key, Value: message.Value, Time: message.Timestamp}
	for _, header := range message.Headers {
		read.Headers = append(read.Headers, driver.Header{Name: string(header.Key), Data: header.Value})
	}
	driver.SayRecord(int(message.Partition), message.Offset, read)
}

func consume(r driver.Request) {
	client, err := sarama.NewClient(r.Servers(), config())
	driver.Must(err)
	consumer, err := sarama.NewConsumerFromClient(client)
	driver.Must(err)
	partitions, err := consumer.Partitions(r.Topic)
	driver.Must(err)
	messages := make(chan *sarama.ConsumerMessage)
	for _, partition := range partitions {
		offset := sarama.OffsetOldest
		if from, timed := r.FromTime(); timed {
			offset, err = client.GetOffset(r.Topic, partition, from.UnixMilli())
			driver.Must(err)
		}
		stream, err := consumer.ConsumePartition(r.Topic, partition, offset)
		driver.Must(err)
		go func() {
			for message := range stream.Messages() {
				messages <- message
			}
		}()
	}
	for range r.Count {
		say(<-messages)
	}
}

// handler prints what a session of the group brings.
type handler struct{ topic string }

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	var partitions []int
	for _, partition := range session.Claims()[h.topic] {
		partitions = append(partitions, int(partition))
	}
	driver.SayAssigned(partitions)
	return nil
}

func (handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		say(message)
		session.MarkMessage(message, "")
	}
	return nil
}

var strategies = map[string]sarama.BalanceStrategy{
	"range": sarama.NewBalanceStrategyRange(), "roundrobin": sarama.NewBalanceStrategyRoundRobin(),
	"sticky": sarama.NewBalanceStrategySticky(),
}

func member(r driver.Request) {
	config := config()
	if strategy, ok := strategies[r.Assignor]; ok {
		config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	}
	group, err := sarama.NewConsumerGroup(r.Servers(), r.Group, config)
	driver.Must(err)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		<-driver.EndOfInput()
		stop()
	}()
	for ctx.Err() == nil {
		driver.Must(group.Consume(ctx, []string{r.Topic}, handler{r.Topic}))
	}
	driver.Must(group.Close())
	driver.Say("left", nil)
}

func main() {
	driver.Run([]string{"gzip", "snappy", "lz4", "zstd"}, slices.Collect(maps.Keys(strategies)), true, map[string]func(driver.Request){
		"create": create, "produce": produce, "consume": consume, "member": member,
	})
}

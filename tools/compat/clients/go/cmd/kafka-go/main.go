// segmentio/kafka-go. Its Writer acknowledges nothing and creates no topic unless asked, so both are asked for.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"millrace/compat/driver"
)

var background = context.Background()

const (
	attemptsMax = 100
	askAgain    = 100 * time.Millisecond
)

func create(r driver.Request) {
	client := &kafka.Client{Addr: kafka.TCP(r.Servers()...)}
	answer, err := client.CreateTopics(background, &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: r.Topic, NumPartitions: r.Partitions, ReplicationFactor: r.Replicas}},
	})
	driver.Must(err)
	driver.Must(answer.Errors[r.Topic])
}

func produce(r driver.Request) {
	codecs := map[string]kafka.Compression{
		"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
	}
	writer := &kafka.Writer{
		Addr: kafka.TCP(r.Servers()...), Topic: r.Topic, Compression: codecs[r.Codec],
		RequiredAcks: kafka.RequireAll, AllowAutoTopicCreation: true,
	}
	// A topic that is created on demand is not there yet for who asked first; this library leaves asking again to its callers.
	write := func(messages []kafka.Message) error {
		for attempt := 1; ; attempt++ {
			err := writer.WriteMessages(background, messages...)
			missing := err == kafka.UnknownTopicOrPartition || err == kafka.LeaderNotAvailable
			if !missing || attempt == attemptsMax {
				return err
			}
			time.Sleep(askAgain)
		}
	}
	r.EachChunk(func(chunk []driver.Record) error {
		var messages []kafka.Message
		for _, record := range chunk {
			message := kafka.Message{Key: record.Key, Value: record.Value, Time: record.Time}
			for _, header := range record.Headers {
				message.Headers = append(message.Headers, kafka.Header{Key: header.Name, Value: header.Data})
			}
			messages = append(messages, message)
		}
		return write(messages)
	})
	driver.Must(writer.Close())
}

func say(message kafka.Message) {
	read := driver.Record{Key: message.Key, Value: message.Value, Time: message.Time}
	for _, header := range message.Headers {
		read.Headers = append(read.Headers, driver.Header{Name: header.Key, Data: header.Value})
	}
	driver.SayRecord(message.Partition, message.Offset, read)
}

func consume(r driver.Request) {
	connection, err := kafka.Dial("tcp", r.Servers()[0])
	driver.Must(err)
	partitions, err := connection.ReadPartitions(r.Topic)
	driver.Must(err)
	messages := make(chan kafka.Message)
	for _, partition := range partitions {
		reader := kafka.NewReader(kafka.ReaderConfig{Brokers: r.Servers(), Topic: r.Topic, Partition: partition.ID})
		if from, timed := r.FromTime(); timed {
			driver.Must(reader.SetOffsetAt(background, from))
		}
		go func() {
			for {
				message, err := reader.ReadMessage(background)
				driver.Must(err)
				messages <- message
			}
		}()
	}
	for range r.Count {
		say(<-messages)
	}
}

var assigned = regexp.MustCompile(`partition:(\d+)`)

// sayLogged finds the assignment in what the Reader logs; it has no other way to tell.
func sayLogged(format string, args ...any) {
	if !strings.HasPrefix(format, "subscribed to topics and partitions") {
		return
	}
	var partitions []int
	for _, found := range assigned.FindAllStringSubmatch(fmt.Sprintf(format, args...), -1) {
		partition, err := strconv.Atoi(found[1])
		driver.Must(err)
		partitions = append(partitions, partition)
	}
	driver.SayAssigned(partitions)
}

var balancers = map[string]kafka.GroupBalancer{
	"range": kafka.RangeGroupBalancer{}, "roundrobin": kafka.RoundRobinGroupBalancer{},
}

func member(r driver.Request) {
	config := kafka.ReaderConfig{
		Brokers: r.Servers(), GroupID: r.Group, Topic: r.Topic,
		StartOffset: kafka.FirstOffset, Logger: kafka.LoggerFunc(sayLogged),
	}
	if balancer, ok := balancers[r.Assignor]; ok {
		config.GroupBalancers = []kafka.GroupBalancer{balancer}
	}
	reader := kafka.NewReader(config)
	ctx, stop := context.WithCancel(background)
	go func() {
		<-driver.EndOfInput()
		stop()
	}()
	for {
		message, err := reader.ReadMessage(ctx)
		if errors.Is(err, context.Canceled) {
			break
		}
		driver.Must(err)
		say(message)
	}
	driver.Must(reader.Close())
	driver.Say("left", nil)
}

func main() {
	driver.Run([]string{"gzip", "snappy", "lz4", "zstd"}, slices.Collect(maps.Keys(balancers)), false, map[string]func(driver.Request){
		"create": create, "produce": produce, "consume": consume, "member": member,
	})
}

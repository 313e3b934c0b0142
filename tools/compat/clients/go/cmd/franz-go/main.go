// franz-go.
package main

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millrace/compat/driver"
)

var background = context.Background()

func client(r driver.Request, options ...kgo.Opt) *kgo.Client {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(r.Servers()...))...)
	driver.Must(err)
	return client
}

func create(r driver.Request) {
	client := client(r)
	defer client.Close()
	_, err := kadm.NewClient(client).CreateTopic(background, int32(r.Partitions), -1, nil, r.Topic)
	driver.Must(err)
}

func produce(r driver.Request) {
	options := []kgo.Opt{kgo.AllowAutoTopicCreation()}
	codecs := map[string]kgo.CompressionCodec{
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}
	if codec, asked := codecs[r.Codec]; asked {
		options = append(options, kgo.ProducerBatchCompression(codec))
	}
	client := client(r, options...)
	defer client.Close()
	r.EachChunk(func(chunk []driver.Record) error {
		var records []*kgo.Record
		for _, record := range chunk {
			sent := &kgo.Record{Topic: r.Topic, Key: record.Key, Value: record.Value, Timestamp: record.Time}
			for _, header := range record.Headers {
				sent.Headers = append(sent.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Data})
			}
			records = append(records, sent)
		}
		return client.ProduceSync(background, records...).FirstErr()
	})
}

func say(record *kgo.Record) {
	read := driver.Record{Key: record.Key, Value: record.Value, Time: record.Timestamp}
	for _, header := range record.Headers {
		read.Headers = append(read.Headers, driver.Header{Name: header.Key, Data: header.Value})
	}
	driver.SayRecord(int(record.Partition), record.Offset, read)
}

func consume(r driver.Request) {
	start := kgo.NewOffset().AtStart()
	if from, timed := r.FromTime(); timed {
		start = kgo.NewOffset().AfterMilli(from.UnixMilli())
	}
	client := client(r, kgo.ConsumeTopics(r.Topic), kgo.ConsumeResetOffset(start))
	defer client.Close()
	for left := r.Count; left > 0; {
		fetches := client.PollRecords(background, left)
		driver.Must(fetches.Err())
		fetches.EachRecord(say)
		left -= fetches.NumRecords()
	}
}

var balancers = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(),
	"sticky": kgo.StickyBalancer(), "cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func member(r driver.Request) {
	owned := map[int]bool{}
	change := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			for _, partition := range partitions[r.Topic] {
				owned[int(partition)] = has
			}
			maps.DeleteFunc(owned, func(_ int, has bool) bool { return !has })
			driver.SayAssigned(slices.Collect(maps.Keys(owned)))
		}
	}
	var chosen []kgo.Opt
	if balancer, ok := balancers[r.Assignor]; ok {
		chosen = append(chosen, kgo.Balancers(balancer))
	}
	client := client(r, append(chosen,
		kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)))...)
	ctx, stop := context.WithCancel(background)
	go func() {
		<-driver.EndOfInput()
		stop()
	}()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(say)
	}
	driver.Must(client.CommitUncommittedOffsets(background))
	client.Close()
	driver.Say("left", nil)
}

func main() {
	driver.Run([]string{"gzip", "snappy", "lz4", "zstd"}, slices.Collect(maps.Keys(balancers)), true, map[string]func(driver.Request){
		"create": create, "produce": produce, "consume": consume, "member": member,
	})
}

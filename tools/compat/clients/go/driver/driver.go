// Package driver is what the Go programs share: the request, the records and the lines they print (see ../README.md).
package driver

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Request is the one argument of a program.
type Request struct {
	Command    string          `json:"command"`
	Bootstrap  string          `json:"bootstrap"`
	Topic      string          `json:"topic"`
	Group      string          `json:"group"`
	Partitions int             `json:"partitions"`
	First      int             `json:"first"`
	Count      int             `json:"count"`
	Size       int             `json:"size"`
	Codec      string          `json:"codec"`
	Headers    bool            `json:"headers"`
	Timestamp  int64           `json:"timestamp"`
	Assignor   string          `json:"assignor"`
	Replicas   int             `json:"replicas"`
	Chunk      int             `json:"chunk"`
	Idempotent bool            `json:"idempotent"`
	From       json.RawMessage `json:"from"`
}

// FromTime says where reading starts: at a time, or (false) at the beginning.
func (r Request) FromTime() (time.Time, bool) {
	var ms int64
	if json.Unmarshal(r.From, &ms) != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(ms), true
}

// Header of a record.
type Header struct {
	Name string
	Data []byte
}

// Record to send. Time is zero where the library is to choose it.
type Record struct {
	Key, Value []byte
	Headers    []Header
	Time       time.Time
}

// Records of a produce request.
func (r Request) Records() []Record {
	var records []Record
	for i := r.First; i < r.First+r.Count; i++ {
		value := fmt.Sprintf("v%d", i)
		value += strings.Repeat(".", max(0, r.Size-len(value)))
		record := Record{Key: fmt.Appendf(nil, "k%d", i), Value: []byte(value)}
		if r.Headers {
			record.Headers = []Header{{"n", fmt.Appendf(nil, "h%d", i)}, {"bin", []byte{0x00, 0xff}}}
		}
		if r.Timestamp != 0 {
			record.Time = time.UnixMilli(r.Timestamp + int64(i))
		}
		records = append(records, record)
	}
	return records
}

// Servers to begin with.
func (r Request) Servers() []string {
	return strings.Split(r.Bootstrap, ",")
}

// EachChunk hands out the records to send: all at once, or so many per line of input. What send returns without an error
// is acknowledged.
func (r Request) EachChunk(send func([]Record) error) {
	records := r.Records()
	if r.Chunk == 0 {
		Must(send(records))
		return
	}
	input := bufio.NewScanner(os.Stdin)
	for len(records) > 0 && input.Scan() {
		chunk := records[:min(r.Chunk, len(records))]
		records = records[len(chunk):]
		Must(send(chunk))
		Say("sent", nil)
	}
}

var output sync.Mutex

// Say prints one line.
func Say(event string, fields map[string]any) {
	output.Lock()
	defer output.Unlock()
	line := map[string]any{"event": event}
	for name, value := range fields {
		line[name] = value
	}
	Must(json.NewEncoder(os.Stdout).Encode(line))
}

// SayRecord prints a record that was read.
func SayRecord(partition int, offset int64, record Record) {
	headers := map[string]string{}
	for _, header := range record.Headers {
		headers[header.Name] = hex.EncodeToString(header.Data)
	}
	Say("record", map[string]any{
		"partition": partition,
		"offset":    offset,
		"key":       string(record.Key),
		"value":     strings.TrimRight(string(record.Value), "."),
		"size":      len(record.Value),
		"timestamp": record.Time.UnixMilli(),
		"headers":   headers,
	})
}

// SayAssigned prints all partitions that the member has now.
func SayAssigned(partitions []int) {
	slices.Sort(partitions)
	if partitions == nil {
		partitions = []int{}
	}
	Say("assigned", map[string]any{"partitions": partitions})
}

// EndOfInput is closed when standard input ends.
func EndOfInput() <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	return ended
}

// Run calls the command that the argument asks for.
func Run(codecs, assignors []string, idempotent bool, commands map[string]func(Request)) {
	log.SetFlags(0)
	var request Request
	Must(json.Unmarshal([]byte(os.Args[1]), &request))
	if request.Command == "codecs" {
		Say("codecs", map[string]any{"codecs": codecs, "assignors": assignors, "idempotent": idempotent})
		return
	}
	commands[request.Command](request)
	if request.Command == "create" || request.Command == "produce" {
		Say("done", nil)
	}
}

// Must ends the program at an error.
func Must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

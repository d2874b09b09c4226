package fleet

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Program is the name of the program that runs a node.
const Program = "knockd-fleet"

// Request is a line that a [Process] writes to its program. The first one is a [Config].
type Request struct {
	Put   *Text `json:"put,omitempty"`
	Tell  *Text `json:"tell,omitempty"`
	Again bool  `json:"again,omitempty"`
}

// Text is what is put or told.
type Text struct {
	ID    ID        `json:"id"`
	Value []byte    `json:"value"` // nil: the record has to go
	Until time.Time `json:"until"` // the zero Time: no end
}

// Output is a line that the program writes.
type Output struct {
	Batch *Batch     `json:"batch,omitempty"`
	State *NodeState `json:"state,omitempty"` // every second, and when it starts
}

// NodeState is how a node gets along.
type NodeState struct {
	Health Health
	Offset time.Duration // the fleet's time minus that of this machine's clock
	Apart  bool
}

// Process is a node that runs in a program of its own.
type Process struct {
	config  Config
	program string
	batches chan Batch

	mu    sync.Mutex
	to    io.Writer // of the program that runs; nil: none does
	state NodeState
}

// Start returns a node. Nothing runs before Run. The error says what is missing of the configuration, or that
// the program is not there.
func Start(c Config) (*Process, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	program, err := find()
	return &Process{config: c, program: program, batches: make(chan Batch), state: NodeState{Health: Health{Since: time.Now()}}}, err
}

// find returns the path of the program: beside this one, or where packages have it.
func find() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	places := []string{filepath.Join(dir, Program), filepath.Join(dir, "..", "libexec", "knockkit", Program)}
	for _, path := range places {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("a fleet needs the program %s, which is neither %s nor %s", Program, places[0], places[1])
}

// Config returns what the node was made with.
func (p *Process) Config() Config { return p.config }

// Batches are what the store tells.
func (p *Process) Batches() <-chan Batch { return p.batches }

// Put stores a text for an ID until a time, the zero Time for one without end, or with nil deletes what is
// stored. It does not wait: the text is stored when the store answers, unless the record has changed since
// Batches told of it. Then that change comes, and the caller decides again. What is not stored yet when the
// program ends is not stored: the next one begins with a Batch that says what is.
func (p *Process) Put(id ID, value []byte, until time.Time) {
	p.send(Request{Put: &Text{id, value, until}})
}

// Tell tells a text to all nodes that are connected, at once: also while the store does not answer.
func (p *Process) Tell(id ID, value []byte) { p.send(Request{Tell: &Text{ID: id, Value: value}}) }

// Again has the store tell again all that it has.
func (p *Process) Again() { p.send(Request{Again: true}) }

// Offset is the fleet's time minus that of this machine's clock; apart says that they are too far apart for
// this node to take part.
func (p *Process) Offset() (d time.Duration, apart bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Offset, p.state.Apart
}

// Health says how the node gets along.
func (p *Process) Health() Health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Health
}

func (p *Process) send(r Request) {
	line, _ := json.Marshal(r) // these types have no errors
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil {
		_, _ = p.to.Write(append(line, '\n')) // where the program ends, the next one says what it has
	}
}

// How long the program may take to end, and how soon it is started again.
const (
	endTime    = 5 * time.Second
	startAgain = 2 * time.Second
)

// Run runs the program until the context ends, again where it ends before.
func (p *Process) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := p.run(ctx)
		if ctx.Err() != nil {
			break
		}
		p.mu.Lock()
		p.state.Health = Health{Since: time.Now(), Why: fmt.Sprintf("%s has ended: %v", Program, err)}
		p.mu.Unlock()
		p.config.Log.Warn("fleet: the program of the node has ended, and is started again", "program", p.program, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(startAgain):
		}
	}
	return nil
}

// run runs it once. The program ends when its standard input does, so also when this process is killed.
func (p *Process) run(ctx context.Context) error {
	cmd := exec.Command(p.program)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	queue := newQueue(in)
	stop := context.AfterFunc(ctx, func() {
		queue.close()
		time.AfterFunc(endTime, func() { _ = cmd.Process.Kill() }) // one that has ended is not killed
	})
	defer stop()
	line, _ := json.Marshal(p.config) // these types have no errors
	p.mu.Lock()
	p.to = queue
	_, _ = queue.Write(append(line, '\n'))
	p.mu.Unlock()
	err = p.read(ctx, out)
	p.mu.Lock()
	p.to = nil
	p.mu.Unlock()
	queue.close()
	return errors.Join(err, cmd.Wait())
}

// maxLine is how many bytes a line of the program may have: all that a large store has.
const maxLine = 256 << 20

// read takes in what the program says, until it ends.
func (p *Process) read(ctx context.Context, from io.Reader) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		var e Output
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("%s says %q", Program, lines.Text()[:min(len(lines.Text()), 80)])
		}
		if e.State != nil {
			p.mu.Lock()
			p.state = *e.State
			p.mu.Unlock()
		}
		if e.Batch != nil {
			select {
			case p.batches <- *e.Batch:
			case <-ctx.Done():
			}
		}
	}
	return lines.Err()
}

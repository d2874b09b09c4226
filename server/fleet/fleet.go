package fleet

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// Secret is what the nodes of a fleet know and nobody else.
type Secret [32]byte

// ID names a register of the store.
type ID [16]byte

// Told is the number of the secret of a [Record] that another node has told, and that the store may not have.
const Told = -1

// MaxApart is how far a node's clock may be from the fleet's: further apart it takes no part.
const MaxApart = 60 * time.Second

// Config says which fleet a node belongs to, and how it reaches the others.
type Config struct {
	Name    string   // of the fleet
	Secrets []Secret // the new one first; what is stored is stored with each of them
	Node    string   // this node's name, for people: one of Nodes where it listens

	Listen string   // where this node runs an engine, ADDRESS:PORT, one of Nodes; "": it only connects
	Nodes  []string // the nodes that run an engine
	Store  string   // the folder of this node's engine

	NATS        []string // URLs of an engine that is there already, instead of Nodes
	Credentials string   // the file of credentials for it; "": none
	CA          string   // the file of certificates that its own is checked by; "": those of the system

	Version string // of the program, for people
	Verbose bool   // the log has what concerns one connection too

	Log *slog.Logger `json:"-"`
}

// Check returns what is missing.
func (c *Config) Check() error {
	switch {
	case c.Name == "" || c.Node == "" || len(c.Secrets) == 0:
		return errors.New("a fleet needs a name, a secret, and a name of the node")
	case len(c.NATS) == 0 && len(c.Nodes) == 0:
		return errors.New("a fleet needs nodes, or an engine that is there")
	case c.Listen != "" && !slices.Contains(c.Nodes, c.Listen):
		return fmt.Errorf("%s is none of the fleet's nodes", c.Listen)
	}
	return nil
}

// Record is what the store has about an ID.
type Record struct {
	ID     ID
	Value  []byte // nil: nothing any more: it was deleted, or its time is over
	Secret int    // which of the secrets it is stored with; Told: none yet
}

// Batch is what has come from the store since the batch before.
type Batch struct {
	Again    bool // first of all, the store tells again all that it has: what is not told it does not have
	Records  []Record
	CaughtUp bool // after the records, it has told all

	// Returned is when another node was last heard that is there again: it has missed what was told since.
	// The zero Time: none is.
	Returned time.Time
}

// Health says how a node gets along with its fleet.
type Health struct {
	Connected bool      // the store answers, and has told all
	Since     time.Time // when that began, or ended
	Why       string    // why it is not connected; "": it is, or has not tried yet

	Waiting   int    // texts that the store does not have yet
	Forged    uint64 // records of the store that no node has written
	Strangers uint64 // connections that were refused
	Peers     []Peer // the other nodes, by name
}

// Peer is another node.
type Peer struct {
	Name      string
	Version   string
	Engine    bool // it runs one
	Connected bool // it has told so in the last seconds
	Since     time.Time
	Ahead     time.Duration // its clock, against ours
}

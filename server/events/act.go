package events

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/rights"
	"knockkit/internal/say"
)

// Act is something that an operator has done by hand: a Grant, Revoke, Unban, Install or Remove.
type Act struct {
	Kind    Kind          `json:"event"`
	Profile string        `json:"profile"`          // "" for Unban
	Address netip.Prefix  `json:"address,omitzero"` // whose lease or ban; the zero Prefix for Install and Remove
	User    string        `json:"user,omitempty"`   // of a Revoke of what a user had opened
	Steps   int           `json:"steps"`            // of the profile's sequence
	Lease   time.Duration `json:"lease"`            // of a Grant; 0: without end
	Took    time.Duration `json:"took"`             // the commit, in which a Grant's lease began
	Detail  string        `json:"detail"`           // what was done, in words
}

// By says who did something by hand.
type By struct {
	UID      int    `json:"uid"`                 // of the process, as the kernel says
	SudoUser string `json:"sudo_user,omitempty"` // $SUDO_USER, which only root's processes are believed
	Command  string `json:"command"`             // "knockd revoke mysql --all", as the kernel says
}

// String names the person as far as it is known: "alice", "root", "uid 1000".
func (b By) String() string {
	switch {
	case b.SudoUser != "":
		return b.SudoUser
	case b.UID == 0:
		return "root"
	}
	return fmt.Sprintf("uid %d", b.UID)
}

// longest is how many columns a name or a command of [By] may have.
const (
	longestName    = 32
	longestCommand = 200
)

// byOf says who is at the other end of a socket. Only root is believed what sudo has told it.
func byOf(p rights.Peer, sudoUser string) By {
	b := By{UID: p.UID, Command: say.Cut(claim.CommandLine(p.PID), longestCommand)}
	if p.UID == 0 {
		b.SudoUser = say.Cut(say.Plain(sudoUser), longestName)
	}
	return b
}

// origin is the first line of a process that tells acts.
type origin struct {
	SudoUser string `json:"sudo_user"`
}

// tellLimit is how long a command waits for a listener that hangs.
const tellLimit = 2 * time.Second

// Tell tells the process that listens to the kernel, if there is one, what this process has done, and
// waits until all watchers have been told. The caller has the lock: until that is free, the listener
// takes no lease for one that has ended by itself. Nothing fails where nobody listens.
func Tell(ctx context.Context, acts []Act) {
	if len(acts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellLimit) // it is done, also where the command was told to end
	defer cancel()
	c, _, err := rights.Dial(ctx, socketName)
	if err != nil {
		return // also where a stranger has the name
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	out := bufio.NewWriter(c)
	lines := json.NewEncoder(out)
	_ = lines.Encode(origin{os.Getenv("SUDO_USER")}) // an error stays in out
	for _, a := range acts {
		_ = lines.Encode(a)
	}
	if out.Flush() == nil && c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c) // ends when the listener has closed the connection
	}
}

// told is an act, and who did it.
type told struct {
	Act
	By
	first bool          // of those that its process tells
	done  chan struct{} // not nil: no act; closed when those before it are published
}

// accept passes on the acts that a process tells, until it has told all of them and they are
// published. Most processes only watch, and tell none.
func accept(ctx context.Context, c *net.UnixConn, peer rights.Peer, to chan<- told) {
	in := json.NewDecoder(c)
	var o origin
	if in.Decode(&o) != nil {
		return
	}
	by := byOf(peer, o.SudoUser) // now: the process waits for us
	pass := func(t told) (ok bool) {
		select {
		case to <- t:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for first := true; ; first = false {
		t := told{By: by, first: first}
		if in.Decode(&t.Act) != nil {
			break
		}
		if !pass(t) {
			return
		}
	}
	last := told{done: make(chan struct{})}
	if pass(last) {
		<-last.done
	}
}

package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/keys"
	"knockkit/server/service"
)

// signedServed is a service with a signed profile that opens 3306/tcp, and keys that may open it at once.
type signedServed struct {
	*served
	keys.Folder
	state  keys.Store
	of     map[string]keys.Entry // the key of a user
	source int
}

func newSignedServed(t *testing.T) (*signedServed, *running) {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	s := &signedServed{served: newServed(t, "nftables"), of: map[string]keys.Entry{}}
	s.profile("mysql", "signed = { carrier = \"icmp\" }\nopen = [\"3306/tcp\"]\n")
	s.Folder, s.state = keys.FolderOf(s.config), keys.StoreOf(s.config, func(string) string { return "" })
	run := s.run()
	run.logs("signed profiles are shut")
	refresh := server.KeyRefresh{Now: time.Now(), Record: s.state.Record}
	for _, user := range []string{"alice", "bob"} {
		e, err := s.Add(keys.New("mysql", user, "db1", refresh.Now, time.Time{}))
		if err != nil {
			t.Fatal(err)
		}
		refresh.Keys, refresh.Fresh = append(refresh.Keys, e.Key), append(refresh.Fresh, e.ID())
		s.of[user] = e
	}
	// In the first minute, the service takes what it finds in files alone for old ones.
	s.do(func() error {
		b, _, err := server.OpenBackend(t.Context(), "nftables")
		if err != nil {
			return err
		}
		_, err = server.New(b, server.DefaultSettings()).RefreshKeys(t.Context(), refresh)
		return err
	})
	return s, run
}

func (s *signedServed) do(f func() error) {
	s.t.Helper()
	if err := s.host.Do(f); err != nil {
		s.t.Fatal(err)
	}
}

// token is one of a user's, of this moment.
func (s *signedServed) token(user string, index int) protocol.Token {
	e := s.of[user]
	return e.Token(protocol.Slot(time.Now()), index)
}

// opens reports whether a token opens the port for a new source.
func (s *signedServed) opens(token protocol.Token) bool {
	s.t.Helper()
	s.source++
	s.port++
	from := s.from()
	if err := s.wire.Inject(lab.Echo(from, s.host.Addr4, s.port, 1, token[:])); err != nil {
		s.t.Fatal(err)
	}
	return s.answers(from)
}

// from is the source of the last token.
func (s *signedServed) from() netip.Addr { return lab.ForgedAddr4(s.source) }

func TestNoTokenOpensTwiceThoughTheServiceIsKilled(t *testing.T) {
	t.Parallel()
	s, run := newSignedServed(t)
	used := s.token("alice", 0)
	if !s.opens(used) {
		t.Fatal("a token does not open")
	}
	from := s.from()
	if err := run.cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = run.wait()
	run = s.run()
	if s.opens(used) {
		t.Error("a used token opens once more")
	}
	if !s.opens(s.token("bob", 1)) {
		t.Error("another does not")
	}
	s.do(func() error { service.Nudge(t.Context()); return nil }) // it has read who has opened now
	if code := run.stop(); code != 0 {
		t.Errorf("the service ends with %d", code)
	}
	uses, err := s.state.LastUses()
	alice := s.of["alice"]
	if use := uses[alice.ID()]; err != nil || use.From != from.String() || time.Since(use.At) > time.Minute {
		t.Errorf("last uses: %v, %v", uses, err)
	}
	if slot, err := s.state.Highest(); err != nil || slot < protocol.Slot(time.Now())-1 {
		t.Errorf("the highest slot on the disk is %d: %v", slot, err)
	}
}

func TestAKeyWhoseFileIsRemovedOpensNothingAndAFlushShuts(t *testing.T) {
	t.Parallel()
	s, run := newSignedServed(t)
	alice := s.of["alice"]
	if !s.opens(s.token("alice", 0)) {
		t.Error("a token does not open")
	}
	if err := os.Remove(filepath.Join(s.Dir, "mysql", "alice.key")); err != nil {
		t.Fatal(err)
	}
	run.logs(fmt.Sprintf("msg=\"a key opens nothing any more\" profile=mysql user=alice id=%s", alice.ID()))
	if s.opens(s.token("alice", 1)) {
		t.Error("the token of a removed key opens")
	}
	if !s.opens(s.token("bob", 1)) {
		t.Error("the token of another key does not open")
	}
	s.tool("", "nft", "flush", "ruleset")
	run.logs("msg=\"a key may open\" profile=mysql user=bob") // the new table knows no key
	for index := range protocol.Indexes {
		if s.opens(s.token("bob", index)) {
			t.Errorf("token %d opens, though nobody knows which were used up", index)
		}
	}
	s.must("status", "--check")
}

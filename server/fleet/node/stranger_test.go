package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"knockkit/internal/lab/labtest"

	"knockkit/server/fleet"
)

func TestANodeWithAnotherSecretIsToldNothingAndChangesNothing(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 1)
	one := run(t, config(t, nodes, 0))
	one.connected(true)
	id := ID{1}
	one.Put(id, []byte("ours"), time.Time{})
	one.shows(id, "ours")
	c := config(t, nodes, 0)
	c.Node, c.Listen, c.Secrets = "stranger", "", []fleet.Secret{{2}}
	other := run(t, c)
	other.Put(id, []byte("theirs"), time.Time{})
	other.Tell(id, []byte("theirs"))
	labtest.Eventually(t, soon, func() error {
		if one.Health().Strangers < 2 {
			return errors.New("it has not tried twice")
		}
		return nil
	})
	one.shows(id, "ours")
	if h := other.Health(); h.Connected || len(h.Peers) > 0 || len(one.Health().Peers) > 0 {
		t.Errorf("the stranger is connected: %+v", h)
	}
	for name, c := range map[string]*tls.Config{
		"no certificate":          {InsecureSkipVerify: true, ServerName: one.ids[0].name},
		"another name":            {InsecureSkipVerify: true, ServerName: "web"},
		"TLS 1.2":                 {InsecureSkipVerify: true, ServerName: one.ids[0].name, MaxVersion: tls.VersionTLS12, Certificates: one.ids[0].client.Certificates},
		"a certificate of others": {InsecureSkipVerify: true, ServerName: one.ids[0].name, NextProtos: []string{forClient}, Certificates: other.ids[0].client.Certificates},
		"no purpose":              {RootCAs: one.ids[0].client.RootCAs, ServerName: one.ids[0].name, Time: always, Certificates: one.ids[0].client.Certificates},
	} {
		if text := said(t, nodes[0], c); text != "" {
			t.Errorf("%s: it says %q", name, text)
		}
	}
	good := one.ids[0].to(forClient)
	if text := said(t, nodes[0], good); text == "" {
		t.Error("who has the secret is told nothing")
	}
}

// said is what a node says first to who connects like this.
func said(t *testing.T, node string, c *tls.Config) string {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: soon}, "tcp", node, c)
	if err != nil {
		return ""
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	text := make([]byte, 16)
	n, _ := conn.Read(text)
	return string(text[:n])
}

// robber is a client with all rights on the engine, and without the secret.
type robber struct {
	t  *testing.T
	js jetstream.JetStream
	nc *nats.Conn
}

func newRobber(t *testing.T, s *site) robber {
	t.Helper()
	var e *engine
	labtest.Eventually(t, soon, func() error {
		if e = s.engine.Load(); e == nil {
			return errors.New("no engine yet")
		}
		return nil
	})
	nc, err := nats.Connect("", nats.InProcessServer(e.server), nats.UserInfo(s.seals[0].account()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return robber{t, js, nc}
}

func (r robber) bucket(s *site) jetstream.KeyValue {
	r.t.Helper()
	kv, err := r.js.KeyValue(r.t.Context(), s.buckets[0].name())
	if err != nil {
		r.t.Fatal(err)
	}
	return kv
}

func TestWhoHasAllRightsOnTheStoreAndNoSecretCanOnlyDelete(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 1)
	s := run(t, config(t, nodes, 0))
	s.connected(true)
	one, two := ID{1}, ID{2}
	s.Put(one, []byte("198.51.100.7 mysql"), time.Time{})
	s.Put(two, []byte("198.51.100.8 mysql"), time.Time{})
	s.shows(two, "198.51.100.8 mysql")
	r := newRobber(t, s)
	kv := r.bucket(s)
	names, err := kv.Keys(t.Context())
	if err != nil || len(names) != 2 {
		t.Fatalf("%v %v", names, err)
	}
	first, second := s.seals[0].name(one), s.seals[0].name(two)
	e, err := kv.Get(t.Context(), first)
	if err != nil || containsAny(e.Value(), "198", "mysql") || containsAny([]byte(first), "198", "mysql") {
		t.Errorf("%s: %q, %v", first, e.Value(), err)
	}
	forged := s.Health().Forged
	for i, value := range [][]byte{[]byte("anything"), {}, e.Value()[:20], append([]byte{2}, e.Value()[1:]...), e.Value()} { // the last one of another name
		if _, err := kv.Put(t.Context(), second, value); err != nil {
			t.Fatal(err)
		}
		labtest.Eventually(t, soon, func() error {
			if s.Health().Forged != forged+uint64(i)+1 {
				return fmt.Errorf("forgery %d is not counted: %+v", i, s.Health())
			}
			return nil
		})
		s.shows(two, "")
	}
	s.Put(two, []byte("198.51.100.8 mysql"), time.Time{}) // as the caller does who is told that it is gone
	s.shows(two, "198.51.100.8 mysql")
	if err := kv.Purge(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	s.shows(one, "")
	s.Put(one, []byte("198.51.100.7 mysql"), time.Time{})
	s.shows(one, "198.51.100.7 mysql")
	if err := r.js.DeleteKeyValue(t.Context(), s.buckets[0].name()); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, soon, func() error { // the store is made anew, and tells that it has nothing
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.has) > 0 || s.caughtUp < 2 {
			return fmt.Errorf("it has %v, caught up %d times", s.has, s.caughtUp)
		}
		return nil
	})
	s.Put(one, []byte("198.51.100.7 mysql"), time.Time{})
	s.shows(one, "198.51.100.7 mysql")
	for range 100 {
		if err := r.nc.Publish(subjectOfTexts(s.seals[0]), []byte(first+"forged")); err != nil {
			t.Fatal(err)
		}
	}
	s.shows(one, "198.51.100.7 mysql")
}

func containsAny(text []byte, words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(text, []byte(w)) })
}

// TestAPortThatIsFuzzedServesTheOthers, and keeps nothing of it.
func TestAPortThatIsFuzzedServesTheOthers(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 1)
	s := run(t, config(t, nodes, 0))
	s.connected(true)
	random := rand.New(rand.NewPCG(1, 2))
	var open []net.Conn
	for range 200 { // half-open ones, of which few are let in
		c, err := net.DialTimeout("tcp", nodes[0], soon)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, c)
		noise := make([]byte, random.IntN(2000))
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		if random.IntN(2) == 0 {
			noise = append([]byte{22, 3, 1}, noise...) // as a handshake begins
		}
		_, _ = c.Write(noise) // it may be closed already
	}
	s.door.mu.Lock()
	if n := len(s.door.handshakes); n > maxFromAddress {
		t.Errorf("%d unfinished handshakes of one address", n)
	}
	s.door.mu.Unlock()
	for _, c := range open {
		_ = c.Close()
	}
	labtest.Eventually(t, soon, func() error {
		s.door.mu.Lock()
		defer s.door.mu.Unlock()
		if len(s.door.handshakes) > 0 {
			return fmt.Errorf("%d are unfinished", len(s.door.handshakes))
		}
		return nil
	})
	c := config(t, nodes, 0)
	c.Node, c.Listen = "db9", ""
	other := run(t, c)
	other.Put(ID{1}, []byte("text"), time.Time{})
	s.shows(ID{1}, "text")
}

func TestNothingOfANodeIsLeftWhenItHasEnded(t *testing.T) {
	before := runtime.NumGoroutine()
	nodes := addresses(t, 2)
	one, two := run(t, config(t, nodes, 0)), run(t, config(t, nodes, 1))
	one.connected(true)
	two.connected(true)
	one.stop()
	two.stop()
	for _, node := range nodes {
		if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(context.Background(), "tcp", node); err == nil {
			_ = c.Close()
			t.Errorf("%s is still open", node)
		}
	}
	labtest.Eventually(t, soon, func() error {
		if n := runtime.NumGoroutine(); n > before+2 {
			return fmt.Errorf("%d goroutines, and there were %d", n, before)
		}
		return nil
	})
}

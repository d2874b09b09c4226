package main

import (
	"testing"
	"time"

	"knockkit/bench/stage"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// TestTokensThatArriveAndThoseThatAreTakenAreCounted: the page says that none is lost in the kernel.
func TestTokensThatArriveAndThoseThatAreTakenAreCounted(t *testing.T) {
	labtest.Need(t, "nft")
	profiles, err := stage.Profiles(1, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	s, err := openerOf(t, stage.SignedRules).start(t.Context(), profiles[0]) // the first visit opens
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	count := func(arrived, taken int) {
		t.Helper()
		gotArrived, gotTaken, err := s.signed.tokens(t.Context())
		if err != nil || gotArrived != arrived || gotTaken != taken {
			t.Errorf("%d arrived and %d were taken (%v), want %d and %d", gotArrived, gotTaken, err, arrived, taken)
		}
	}
	count(1, 1)
	if took, ok, err := s.visitOnce(t.Context()); err != nil || !ok || took <= 0 {
		t.Errorf("opened: %t, after %v (%v)", ok, took, err)
	}
	count(2, 2)
	for _, stranger := range s.strangers(profiles[0], s.Host.Addr4)[:100] {
		if err := s.Send(stranger); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.Visitor()
	if err != nil {
		t.Fatal(err)
	}
	wrong := s.visit
	wrong.Within = 20 * time.Millisecond
	wrong.Knocks = stage.TokenKnock(carrier, stage.Keys(&protocol.Profile{Name: "signed"}, stage.Visitors)) // nobody's
	if _, ok, err := v.Visit(t.Context(), wrong); ok || err != nil {
		t.Errorf("a token that is not right opens: %t (%v)", ok, err)
	}
	count(3, 2)
}

func openerOf(t *testing.T, name string) *opener {
	t.Helper()
	for _, o := range openers() {
		if o.name == name {
			return o
		}
	}
	t.Fatalf("there is no opener %q", name)
	return nil
}

func TestLoadingKeysTakesATimeAndMemory(t *testing.T) {
	labtest.NeedRoot(t) // for /proc/slabinfo
	labtest.Need(t, "nft")
	h := labtest.NewHost(t, "host")
	var r loadingRun
	err := h.Do(func() (err error) {
		r, err = load(t.Context(), 100)
		return err
	})
	if err != nil || r.First <= 0 || len(r.Slots) != laterSlots || r.Process <= 0 {
		t.Errorf("%+v (%v)", r, err)
	}
}

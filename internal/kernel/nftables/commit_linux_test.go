package nftables

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
)

// TestACommitTakesAFewProcesses: one more where rules are new, since it is asked first
// whether the kernel can do it, and one more for the seal.
func TestACommitTakesAFewProcesses(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	script := fmt.Sprintf("#!/bin/sh\necho >> %s\nPATH=%s exec nft \"$@\"\n", log, os.Getenv("PATH"))
	if err := os.WriteFile(filepath.Join(dir, "nft"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	wide := profile(t, "wide", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"6000-6010/tcp\"]")
	inside := profile(t, "inside", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"6005/tcp\"]")
	lease := backend.Source{Profile: "wide", Address: prefix("192.0.2.1"), State: backend.Open}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"install", func() { s.install(wide) }, 3},
		{"the same again", func() { s.install(wide) }, 0},
		{"install where a range is cut", func() { s.install(wide, inside) }, 4},
		{"grant", func() { s.grant("wide", "192.0.2.1", 0) }, 1},
		{"grant for a time of its own", func() { s.grant("wide", "192.0.2.1", 5*time.Minute) }, 2},
		{"a second one", func() { s.grant("wide", "192.0.2.2", 5*time.Minute) }, 1},
		{"revoke", func() { s.commit(s.read(backend.Depth{Leases: true}).Change(nil, []backend.Source{lease})) }, 1},
		{"remove", func() { s.install() }, 1},
	} {
		if err := os.WriteFile(log, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		step.do()
		lines, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(lines); n != step.want {
			t.Errorf("%s: %d processes, want %d", step.name, n, step.want)
		}
		if drift := s.read(everything).Drift; len(drift) > 0 {
			t.Errorf("%s: drift %q", step.name, drift)
		}
	}
	if live := s.live(); live {
		t.Error("the table is there after all was removed")
	}
}

func (s *site) live() (live bool) {
	s.Helper()
	s.do(func() (err error) {
		live, err = New().Live(s.Context())
		return err
	})
	return live
}

// TestWhatAnotherChangesDuringACommitIsNotSealed: not what comes between the reading and the
// commit, which the commit does not touch.
func TestWhatAnotherChangesDuringACommitIsNotSealed(t *testing.T) {
	s := newSite(t)
	web := profile(t, "web", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"80/tcp\"]")
	s.install(mysql(t, ""))
	s.grant("mysql", "192.0.2.1", 0)
	p, err := s.plan(compiled(t, mysql(t, ""), web))
	s.nft("delete element inet knockd gates { tcp . 3306 }")
	s.commit(p, err)
	r := s.read(everything)
	if len(r.Drift) > 0 || holdersOf(r, backend.Open) != "mysql 192.0.2.1" {
		t.Errorf("drift %q, holders %s", r.Drift, holdersOf(r, backend.Open))
	}
	if gates := labtest.MustRun(t, s.host, "", "nft", "list", "map", "inet", "knockd", "gates"); !strings.Contains(gates, "tcp . 3306 : goto gate-tcp-3306") {
		t.Errorf("the gate is gone:\n%s", gates)
	}
}

// TestRulesThatAreChangedAllTheTimeAreReadAndCommitted, and sealed when that has an end.
func TestRulesThatAreChangedAllTheTimeAreReadAndCommitted(t *testing.T) {
	s := newSite(t)
	s.nft("table inet others {\nset s { type ipv4_addr; }\n}")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if out, err := s.host.Run(t.Context(), "add element inet others s { 10.0.0.1 }\ndelete element inet others s { 10.0.0.1 }\n", "nft", "-f", "-"); err != nil || out.Code != 0 {
				ended <- fmt.Errorf("%v: %s", err, out.Stderr)
				return
			}
		}
		ended <- nil
	}()
	for i := range 10 {
		s.install(mysql(t, fmt.Sprintf("lease = \"%dm\"", i+1)))
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s.install(mysql(t, ""))
	if drift := s.read(everything).Drift; len(drift) > 0 {
		t.Errorf("drift %q", drift)
	}
}

// TestACommitThatIsKilledIsDrift wherever it is: the test feeds what it would have fed.
func TestACommitThatIsKilledIsDrift(t *testing.T) {
	s := newSite(t)
	wide := profile(t, "wide", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"6000-6010/tcp\"]")
	inside := profile(t, "inside", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"6005/tcp\"]")
	for fed := 1; fed <= 3; fed++ {
		s.install(wide)
		s.grant("wide", "192.0.2.1", 0)
		p, err := s.plan(compiled(t, wide, inside))
		if err != nil || len(p.Texts()) != 3 {
			t.Fatalf("%d texts: %v", len(p.Texts()), err)
		}
		for _, text := range p.Texts()[:fed] {
			s.nft(text.Text)
		}
		drift := strings.Join(s.read(everything).Drift, "\n")
		if held := strings.Contains(drift, "chain barrier is left"); held != (fed < 3) {
			t.Errorf("after %d texts: %s", fed, drift)
		}
		if unknown := strings.Contains(drift, "is not known"); unknown != (fed > 1) {
			t.Errorf("after %d texts: %s", fed, drift)
		}
		s.install(wide, inside)
		if r := s.read(everything); len(r.Drift) > 0 || holdersOf(r, backend.Open) != "wide 192.0.2.1" {
			t.Errorf("after the next install: drift %q, holders %s", r.Drift, holdersOf(r, backend.Open))
		}
	}
}

// TestAPlanForWhatIsNotThereAnyMoreIsStale: nothing is changed then.
func TestAPlanForWhatIsNotThereAnyMoreIsStale(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	p, err := s.plan(compiled(t, mysql(t, "closed = \"reject\"")))
	if err != nil {
		t.Fatal(err)
	}
	s.nft("delete table inet knockd")
	err = s.host.Do(func() error { _, err := New().Commit(t.Context(), p); return err })
	if !errors.Is(err, backend.ErrStale) || s.live() {
		t.Errorf("got %v", err)
	}
}

// TestATextThatIsRefusedChangesNothing, and takes away what shut ports before it.
func TestATextThatIsRefusedChangesNothing(t *testing.T) {
	s := newSite(t)
	wide := profile(t, "wide", "sequence = [\"7001/tcp\", \"8001/tcp\"]\nopen = [\"6000-6010/tcp\"]")
	s.install(wide)
	before := labtest.MustRun(t, s.host, "", "nft", "-s", "list", "ruleset")
	p, err := s.plan(compiled(t, wide, profile(t, "inside", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"6005/tcp\"]\n[opened]\nnftables = [\"no such words\"]")))
	if err != nil {
		t.Fatal(err)
	}
	err = s.host.Do(func() error { _, err := New().Commit(t.Context(), p); return err })
	tool := new(backend.ToolError)
	if !errors.As(err, &tool) || errors.Is(err, backend.ErrStale) || !strings.Contains(tool.Line, "no such words") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(before, labtest.MustRun(t, s.host, "", "nft", "-s", "list", "ruleset")); diff != "" {
		t.Error(diff)
	}
}

func TestAnErrorOfAContextIsSaidAsSuch(t *testing.T) {
	s := newSite(t)
	s.install(mysql(t, ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.host.Do(func() error { _, err := New().Read(ctx, everything); return err })
	if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnsupported) {
		t.Errorf("reading: %v", err)
	}
	for _, want := range []backend.Want{compiled(t), compiled(t, mysql(t, "lease = \"1m\""))} {
		p, err := s.plan(want)
		if err != nil {
			t.Fatal(err)
		}
		err = s.host.Do(func() error { _, err := New().Commit(ctx, p); return err })
		if !errors.Is(err, context.Canceled) || errors.Is(err, backend.ErrUnsupported) || !s.live() {
			t.Errorf("committing: %v", err)
		}
	}
}

// TestWhoMayNotReadIsTold, and not that nothing is installed.
func TestWhoMayNotReadIsTold(t *testing.T) {
	s := newSite(t)
	err := s.host.Do(func() error {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil { // of this thread, which ends
			return err
		}
		_, read := New().Read(t.Context(), backend.Depth{})
		_, live := New().Live(t.Context())
		_, tables := Tables(t.Context())
		for _, err := range []error{read, live, tables} {
			if !errors.Is(err, backend.ErrPrivilege) {
				t.Errorf("got %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTablesAndChainsOfOthersAreListed(t *testing.T) {
	s := newSite(t)
	s.nft("table ip nat {\nchain DOCKER {\n}\n}\ntable bridge b {\n}")
	s.install(mysql(t, ""))
	s.do(func() error {
		all, err := Tables(t.Context())
		if !slices.Equal(all, []string{"bridge b", "inet knockd", "ip nat"}) {
			t.Errorf("tables %q", all)
		}
		return err
	})
}

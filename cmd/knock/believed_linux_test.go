package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

func aLease(n int) believed {
	end := time.Now().Add(time.Hour)
	addr := netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
	return believed{Profile: "mysql", Host: addr.String(), Address: addr, Open: []string{"3306/tcp"}, Until: &end}
}

func TestALeaseIsWrittenOverALinkAndNotThroughIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "leases")
	b, other := aLease(1), filepath.Join(t.TempDir(), "other")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(other, []byte("other"), 0o644), os.Symlink(other, b.file(dir)), b.write(dir)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(other); err != nil || string(text) != "other" {
		t.Errorf("the file that the link led to: %q, error %v", text, err)
	}
	if info, err := os.Lstat(b.file(dir)); err != nil || info.Mode() != 0o600 {
		t.Errorf("the lease's file: %v, error %v, want mode 0600", info.Mode(), err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 1 {
		t.Errorf("there are %v, error %v, want the lease alone", all, err)
	}
}

func TestEveryLeaseThatHasNotEndedIsListed(t *testing.T) {
	const n = 1200
	dir := t.TempDir()
	for i := range n {
		if err := aLease(i).write(dir); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // and none is removed by that
		if all, err := readBelieved(dir, time.Now()); err != nil || len(all) != n {
			t.Errorf("%d leases, error %v, want %d", len(all), err, n)
		}
	}
}

func TestStatusListsNothingThatKnockDidNotWrite(t *testing.T) {
	l := newLaptop(t, labtest.NewHost(t, "laptop"), nil)
	dir := filepath.Join(l.config, ".local/state/knock/leases")
	b := aLease(1)
	if err := b.write(dir); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(b.file(dir))
	if err != nil {
		t.Fatal(err)
	}
	at := func(n int) string { return aLease(n).file(dir) }
	write := func(n int, old, as string) error {
		text := strings.ReplaceAll(string(good), "198.51.0.1", fmt.Sprintf("198.51.0.%d", n))
		return os.WriteFile(at(n), []byte(strings.Replace(text, old, as, 1)), 0o600)
	}
	if err := errors.Join(
		syscall.Mkfifo(at(2), 0o600),
		os.Symlink("/dev/zero", at(3)),
		os.Mkdir(at(4), 0o700),
		os.WriteFile(at(5), []byte("{}"), 0o600),
		os.WriteFile(at(6), good, 0o600), // of another address
		write(7, `"mysql"`, `""`),
		write(8, `["3306/tcp"]`, "null"),
		write(9, `"host":"198.51.0.9"`, `"host":""`),
		write(10, "}", strings.Repeat(" ", 1<<20)+"}"),
		os.WriteFile(filepath.Join(dir, ".mysql@198.51.0.1.json.123"), good, 0o600), // half written, once
	); err != nil {
		t.Fatal(err)
	}
	p := l.start("status")
	labtest.Eventually(t, 10*time.Second, func() error { return p.stdout.says("198.51.0.1 ") })
	if err := p.wait(); err != nil || strings.Count(p.stdout.String(), "\n") != 2 {
		t.Errorf("error %v\n%s%s\nwant one lease and the header", err, p.stdout, p.stderr)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) != 11 {
		t.Errorf("%d files are left of 11, error %v", len(all), err)
	}
}

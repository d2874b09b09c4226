package main

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"
)

func TestALeaseThatHasEndedIsForgotten(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	dir, err := stateFolder(os.Getenv, leasesState)
	if err := errors.Join(err, os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
	b := believed{Profile: "mysql", Address: netip.MustParseAddr("fe80::1%eth0")}
	if err := os.WriteFile(b.file(dir), []byte(`{"profile":"mysql","host":"db1","address":"fe80::1%eth0","open":["3306/tcp"],"until":"2026-01-01T12:00:00Z"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	end := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		now  time.Time
		want int
	}{{end.Add(-time.Second), 1}, {end, 0}, {end.Add(-time.Second), 0}} { // it stays forgotten
		if all, err := readBelieved(dir, c.now); err != nil || len(all) != c.want {
			t.Errorf("at %s: %v %v, want %d", c.now, all, err, c.want)
		}
	}
}

func TestWhereToListenFollowsTheLastColonThatIsNoAddress(t *testing.T) {
	for arg, want := range map[string][2]string{
		"mysql":                          {"mysql", ""},
		"redis:16379":                    {"redis", "16379"},
		"redis:127.0.0.1:16379":          {"redis", "127.0.0.1:16379"},
		"redis:[::1]:16379":              {"redis", "[::1]:16379"},
		"mysql@db1":                      {"mysql@db1", ""},
		"mysql@db1:13306":                {"mysql@db1", "13306"},
		"mysql@198.51.100.1:13306":       {"mysql@198.51.100.1", "13306"},
		"mysql@2001:db8::7":              {"mysql@2001:db8::7", ""},
		"mysql@[2001:db8::7]":            {"mysql@[2001:db8::7]", ""},
		"mysql@[2001:db8::7]:13306":      {"mysql@[2001:db8::7]", "13306"},
		"mysql@[2001:db8::7]:[::1]:3306": {"mysql@[2001:db8::7]", "[::1]:3306"},
		"./shop.toml:13306":              {"./shop.toml", "13306"},
	} {
		if typed, on := cutListen(arg); typed != want[0] || on != want[1] {
			t.Errorf("%s: %q and %q, want %q", arg, typed, on, want)
		}
	}
}

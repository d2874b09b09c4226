package service

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"knockkit/protocol"
	"knockkit/server/fleet/ledger"
)

func said(l *ledger.Ledger, at time.Time, holder string, lasts time.Duration) ledger.Statement {
	return l.Say(at, ledger.Statement{Kind: ledger.Lease, Profile: "mysql", Holder: netip.MustParsePrefix(holder), Open: []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}}, End: at.Add(lasts)})
}

func TestAJournalHasWhatWasSaidLastAndIsNotOver(t *testing.T) {
	now, folder, l := time.Unix(2_000_000_000, 0), filepath.Join(t.TempDir(), "fleet"), ledger.New("db1", 1)
	j, all, err := openJournal(folder, now)
	if err != nil || len(all) > 0 {
		t.Fatalf("%v, %v", all, err)
	}
	first, short := said(l, now, "198.51.100.7/32", time.Hour), said(l, now, "198.51.100.8/32", time.Minute)
	again := said(l, now, "198.51.100.7/32", 2*time.Hour)
	for _, s := range []ledger.Statement{first, short, again} {
		if err := j.add(s); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	if err := j.add(again); err == nil {
		t.Error("it writes into a file that is closed")
	}
	file := filepath.Join(folder, journalFile)
	if err := os.WriteFile(file, []byte(read(t, file)+`{"kind":"lea`), 0o600); err != nil { // a crash in a line
		t.Fatal(err)
	}
	j, all, err = openJournal(folder, now.Add(time.Minute))
	if err != nil || len(all) != 1 || all[0].Stamp != again.Stamp || !all[0].End.Equal(again.End) {
		t.Errorf("%+v, %v", all, err)
	}
	defer j.Close()
	if text := read(t, file); strings.Count(text, "\n") != 1 {
		t.Errorf("the file has\n%s", text)
	}
	for path, mode := range map[string]os.FileMode{file: 0o600, folder: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAJournalThatOthersCanWriteIsNone(t *testing.T) {
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openJournal(folder, time.Now()); err == nil {
		t.Error("it is read")
	}
	if err := Spool(folder, time.Now(), nil); err == nil {
		t.Error("acts are written there")
	}
}

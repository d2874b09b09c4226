package client

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"knockkit/protocol"
)

// drain takes all indexes of a slot, and returns how many there were. Each must be another.
func drain(t *testing.T, from Indexes, slot int64) (n int) {
	t.Helper()
	seen := map[int]bool{}
	for {
		index, ok := from.Next(aliceKey(), slot)
		if !ok {
			return n
		}
		if index < 0 || index >= protocol.Indexes || seen[index] {
			t.Fatalf("index %d, after %v", index, seen)
		}
		seen[index] = true
		n++
	}
}

func TestEachIndexOfASlotIsHandedOutOnce(t *testing.T) {
	for name, from := range map[string]Indexes{"memory": new(IndexMemory), "files": &IndexFiles{Dir: t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			const slot = 59_000_000
			for _, c := range []struct {
				name string
				slot int64
				want int
			}{
				{"a slot", slot, protocol.Indexes},
				{"the same", slot, 0},
				{"the next", slot + 1, protocol.Indexes},
				{"the clock is set back", slot, 0},
				{"far back", slot - 1000, protocol.Indexes},
				{"and forward", slot + 1, 0},
			} {
				if n := drain(t, from, c.slot); n != c.want {
					t.Errorf("%s: %d indexes, want %d", c.name, n, c.want)
				}
			}
			other := aliceKey()
			other.Secret[0]++
			if _, ok := from.Next(other, slot); !ok {
				t.Error("another key has none")
			}
			for i := range int64(slotsKept) {
				from.Next(aliceKey(), slot+100+i)
			}
			if n := drain(t, from, slot); n != protocol.Indexes {
				t.Errorf("%d indexes of a slot that is forgotten, want all", n)
			}
		})
	}
}

func TestTheFirstIndexIsLeftToChance(t *testing.T) {
	seen := map[int]bool{}
	for range 200 { // to miss one of the eight: 8 × (7/8)^200, which is 2 in 10^11
		index, _ := new(IndexMemory).Next(aliceKey(), 1)
		seen[index] = true
	}
	if len(seen) != protocol.Indexes {
		t.Errorf("it is one of %v", seen)
	}
}

func TestManyUsersOfAFileGetDifferentIndexes(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[pair]bool{}
	for range 10 {
		all.Go(func() {
			f := &IndexFiles{Dir: dir} // as another process has it: a lock is one of an open file
			for slot := int64(1); ; slot++ {
				index, ok := f.Next(aliceKey(), slot)
				if !ok {
					continue
				}
				mu.Lock()
				defer mu.Unlock()
				if seen[pair{slot, index}] || f.Err() != nil {
					t.Errorf("index %d of slot %d again, or %v", index, slot, f.Err())
				}
				seen[pair{slot, index}] = true
				return
			}
		})
	}
	all.Wait()
	later := 0
	for p := range seen {
		if p.slot == 2 {
			later++
		}
	}
	if len(seen) != 10 || later != 2 {
		t.Errorf("%v, want eight of slot 1 and two of slot 2", seen)
	}
}

func TestADamagedFileIsAsNone(t *testing.T) {
	for name, text := range map[string]string{
		"empty":           "",
		"half":            `[{"slot":1,"inde`,
		"another form":    `{"slot":1}`,
		"other numbers":   `[{"slot":1,"indexes":1000}]`,
		"much too long":   strings.Repeat(" ", 1<<20) + `[{"slot":1,"indexes":255}]`,
		"binary":          "\x00\xff\x00",
		"without indexes": `[{"slot":1}]`,
	} {
		t.Run(name, func(t *testing.T) {
			f := &IndexFiles{Dir: t.TempDir()}
			path := filepath.Join(f.Dir, aliceKey().ID()+".json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if n := drain(t, f, 1); n != protocol.Indexes || f.Err() != nil {
				t.Errorf("%d indexes, error %v", n, f.Err())
			}
			if n := drain(t, &IndexFiles{Dir: f.Dir}, 1); n != 0 {
				t.Errorf("%d indexes for the next program: the file was not mended", n)
			}
		})
	}
}

func TestWithoutAFileTheIndexesComeFromMemory(t *testing.T) {
	dir := t.TempDir()
	f := &IndexFiles{Dir: dir}
	f.Next(aliceKey(), 1)
	path := filepath.Join(dir, aliceKey().ID()+".json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v, want 0600", info.Mode(), err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // which not even root can write
		t.Fatal(err)
	}
	if n := drain(t, f, 1); n != protocol.Indexes-1 || f.Err() == nil {
		t.Errorf("%d more indexes, error %v, want all that the file had and an error", n, f.Err())
	}
	blocked := &IndexFiles{Dir: filepath.Join(path, "x", "\x00")}
	if n := drain(t, blocked, 1); n != protocol.Indexes || blocked.Err() == nil {
		t.Errorf("%d indexes, error %v", n, blocked.Err())
	}
}

package node

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"knockkit/server/fleet"
)

// put puts a text as a caller does who puts again what the store does not tell.
func (s *site) puts(id ID, text string) {
	s.t.Helper()
	s.Put(id, []byte(text), time.Time{})
	s.shows(id, text)
}

func TestANodeThatGoesAwayAndComesBackIsToldWhatItHasMissed(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	var configs []fleet.Config
	var all []*site
	for i := range nodes {
		configs = append(configs, config(t, nodes, i))
		all = append(all, run(t, configs[i]))
	}
	for _, s := range all {
		s.connected(true)
	}
	all[0].puts(ID{1}, "before")
	for round, emptied := range []bool{false, true} {
		all[2].stop()
		all[0].puts(ID{byte(10 + round)}, "meanwhile")
		all[0].Put(ID{1}, []byte(fmt.Sprint("later ", round)), time.Time{})
		all[1].shows(ID{1}, fmt.Sprint("later ", round))
		if emptied {
			configs[2].Store = t.TempDir()
		}
		all[2] = run(t, configs[2])
		all[2].shows(ID{byte(10 + round)}, "meanwhile")
		all[2].shows(ID{1}, fmt.Sprint("later ", round))
		all[2].puts(ID{byte(20 + round)}, "again")
		all[0].shows(ID{byte(20 + round)}, "again")
	}
	for _, s := range all {
		s.stop()
	}
	for i := range all {
		all[i] = run(t, configs[i])
	}
	for _, s := range all {
		s.shows(ID{1}, "later 1")
		s.shows(ID{21}, "again")
	}
}

func TestWithoutTheOthersANodeSaysSoAndStoresWhenTheyAreThere(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	one := run(t, config(t, nodes, 0))
	one.Put(ID{1}, []byte("alone"), time.Time{})
	one.connected(false)
	two := run(t, config(t, nodes, 1))
	one.shows(ID{1}, "alone")
	two.shows(ID{1}, "alone")
}

// TestTheSecretIsChangedInThreeStepsAndNothingIsLost: on one node after the other, while all put.
func TestTheSecretIsChangedInThreeStepsAndNothingIsLost(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	before, after := fleet.Secret{1}, fleet.Secret{2}
	var configs []fleet.Config
	var all []*site
	for i := range nodes {
		configs = append(configs, config(t, nodes, i))
		all = append(all, run(t, configs[i]))
	}
	for _, s := range all {
		s.connected(true)
	}
	var mu sync.Mutex
	put := map[ID]string{}
	number := 0
	puts := func(s *site) {
		number++
		id, text := ID{byte(number), byte(number >> 8)}, fmt.Sprint("text ", number)
		s.puts(id, text)
		mu.Lock()
		put[id] = text
		mu.Unlock()
	}
	for _, secrets := range [][]fleet.Secret{{before, after}, {after, before}, {after}} {
		for i := range all {
			puts(all[i])
			all[i].stop()
			configs[i].Secrets = secrets
			all[i] = run(t, configs[i])
			puts(all[(i+1)%3])
			all[i].connected(true)
			for id, text := range put { // the caller stores again what is not stored with each secret
				all[i].Put(id, []byte(text), time.Time{})
			}
			puts(all[i])
		}
	}
	for _, s := range all {
		for id, text := range put {
			s.shows(id, text)
		}
	}
}

func TestANodeThatOnlyConnectsReachesOneThatHasNotItsNewSecretYet(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 1)
	one := run(t, config(t, nodes, 0))
	c := config(t, nodes, 0)
	c.Node, c.Listen, c.Secrets = "db9", "", []fleet.Secret{{2}, {1}}
	run(t, c).Put(ID{1}, []byte("text"), time.Time{})
	one.shows(ID{1}, "text")
}

func TestTheSecretIsChangedAsOftenAsSomebodyLikes(t *testing.T) {
	t.Parallel()
	c := config(t, addresses(t, 1), 0)
	for i := range byte(6) {
		c.Secrets = []fleet.Secret{{i}}
		s := run(t, c)
		s.puts(ID{1}, fmt.Sprint("text ", i))
		s.stop()
	}
}

// TestAFleetGrowsFromOneNodeToThreeAndBack: what the store has not, callers put again.
func TestAFleetGrowsFromOneNodeToThreeAndBack(t *testing.T) {
	t.Parallel()
	nodes := addresses(t, 3)
	c := config(t, nodes[:1], 0)
	one := run(t, c)
	one.puts(ID{1}, "alone")
	one.stop()
	c.Nodes = nodes
	one = run(t, c)
	two, three := run(t, config(t, nodes, 1)), run(t, config(t, nodes, 2))
	one.Put(ID{1}, []byte("alone"), time.Time{})
	two.shows(ID{1}, "alone")
	three.puts(ID{2}, "three")
	one.shows(ID{2}, "three")
	for _, s := range []*site{one, two, three} {
		s.stop()
	}
	c.Nodes = nodes[:1]
	one = run(t, c)
	one.shows(ID{1}, "alone")
	one.puts(ID{2}, "three")
}

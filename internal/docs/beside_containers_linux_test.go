package docs

import (
	"os"
	"strings"
	"testing"
)

// engine is rules in the form in which container tools write them, and how they
// bring them in anew.
type engine struct{ name, sync string }

// A tool of iptables restores its own chains whole, and inserts each jump that is not
// there yet at the top of its chain.
const syncIPTables = `iptables-restore --noflush < /etc/engine.iptables
while read -r t table chain rest; do
	eval "iptables $t $table -C $chain $rest 2> /dev/null || iptables $t $table -I $chain $rest"
done < /etc/engine.jumps`

func engines(t *testing.T, m *machine) []engine {
	t.Helper()
	var all []engine
	for _, name := range []string{"docker", "kube-proxy"} {
		rename := strings.NewReplacer("/etc/engine", "/etc/"+name)
		for _, kind := range []string{".iptables", ".jumps", ".nft"} {
			text, err := os.ReadFile("testdata/" + name + kind)
			if err != nil {
				t.Fatal(err)
			}
			m.write("/etc/"+name+kind, string(text))
		}
		all = append(all, engine{name + " with iptables", rename.Replace(syncIPTables)}, engine{name + " with nftables", rename.Replace("nft -f /etc/engine.nft")})
	}
	return all
}

// TestContainerRulesAndOursLeaveEachOtherAlone has them before ours, and after: the
// first sync after an install puts jumps in front of ours, which the service moves
// behind it.
func TestContainerRulesAndOursLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, m *machine) {
		all := engines(t, m)
		m.serve()
		m.before()
		for _, e := range all {
			m.sh(e.sync)
			m.repaired()
			was := m.theirs()
			m.knock(m.newcomer())
			m.sh(e.sync)
			if !m.right() {
				t.Errorf("%s: its next sync changes our rules", e.name)
			}
			if is := m.theirs(); is != was {
				t.Errorf("%s: its rules are\n%s\nand were\n%s", e.name, is, was)
			}
			if late := m.newcomer(); m.gets(late, 3306) || !m.gets(m.early, 3306) {
				t.Errorf("%s: a stranger gets in, or a lease is lost", e.name)
			} else if m.knock(late); !m.gets(late, 3306) {
				t.Errorf("%s: knocking does not open", e.name)
			}
		}
		m.stop(m.service)
		was := m.theirs()
		for _, name := range []string{"KUBE-SVC-WEB", "table ip kube-proxy", "DOCKER-ISOLATION-STAGE-1", "table ip docker-bridges"} {
			if !strings.Contains(was, name) {
				t.Errorf("%s is not there", name)
			}
		}
		m.sh("knockd remove --all")
		if is := strings.Join(m.rules(), "\n"); is != was {
			t.Errorf("when ours have gone, the rules are\n%s\nand were\n%s", is, was)
		}
	})
}

// TestAPublishedPortIsNamedUntilTheProfileHasAPlace installs the page's profile, with
// its last line and without.
func TestAPublishedPortIsNamedUntilTheProfileHasAPlace(t *testing.T) {
	t.Parallel()
	each(t, nil, func(t *testing.T, m *machine) {
		const file = "/etc/knockd/profiles/shop.toml"
		m.sh("rm /etc/knockd/profiles/mysql.toml; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp --dport 3306 -j DNAT --to-destination 10.9.0.2:3306")
		text := block(t, "toml", file)
		without := strings.Replace(text, "place = \"prerouting\"\n", "", 1)
		if without == text {
			t.Fatal("the page's profile has no place")
		}
		m.write(file, without)
		m.warned("3306/tcp of profile shop goes elsewhere before the gate", "place = \"prerouting\"")
		m.has("toml", file)
		m.warned()
	})
}

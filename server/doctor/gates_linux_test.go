package doctor_test

import (
	"testing"

	"knockkit/internal/lab/labtest"
	"knockkit/server/doctor"
)

func TestAHealthyHostHasNothingBroken(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		p.serve()
		p.expect(silent)
		for _, f := range p.examine() {
			if f.Severity == doctor.Broken || f.Severity == doctor.Warning && f.ID != doctor.IDTableSize {
				t.Errorf("%+v", f)
			}
		}
		p.finds(doctor.IDDrift, doctor.OK)
		p.finds(doctor.IDInstalled, doctor.OK, "1")
	})
}

func TestAPortThatAnotherRuleAcceptsBeforeUsIsFound(t *testing.T) {
	for _, c := range []struct {
		name     string
		rules    []string
		severity doctor.Severity
		answer   string
	}{
		{"by its number", []string{"iptables -I INPUT -p tcp -m tcp --dport 3306 -j ACCEPT"}, doctor.Broken, open},
		{"in a range", []string{"iptables -I INPUT -p tcp -m multiport --dports 22,3300:3310 -j ACCEPT"}, doctor.Broken, open},
		{"with everything that is new", []string{"iptables -I INPUT -m conntrack --ctstate NEW -j ACCEPT"}, doctor.Broken, open},
		{"in a chain of its own, behind a log", []string{"iptables -N allow", "iptables -A allow -m limit --limit 1/s -j LOG", "iptables -A allow -j ACCEPT", "iptables -I INPUT -p tcp --dport 3306 -j allow"}, doctor.Broken, open},
		{"for some sources", []string{"iptables -I INPUT -s 10.9.0.0/16 -p tcp --dport 3306 -j ACCEPT"}, doctor.Warning, silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := admit(t, "iptables")
			p.install(mysql(t, ""))
			p.serve()
			p.sh(c.rules...)
			p.expect(c.answer)
			p.finds(doctor.IDBypass, c.severity, "3306/tcp of profile mysql is accepted before the gate", "table filter (iptables-")
		})
	}
	t.Run("not where one of two gates shuts it", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, p *patient) {
			p.install(mysql(t, `place = "prerouting"`))
			p.serve()
			const input, early = "INPUT -p tcp --dport 3306 -j ACCEPT", "PREROUTING -p tcp --dport 3306 -j ACCEPT"
			p.sh("iptables -I " + input)
			p.expect(silent)
			p.findsNo(doctor.IDBypass)
			p.sh("iptables -D "+input, "iptables -t mangle -I "+early)
			p.expect(silent)
			p.findsNo(doctor.IDBypass)
			p.sh("iptables -I " + input)
			if p.settings.Backend == "nftables" {
				p.expect(silent)
				p.findsNo(doctor.IDBypass)
				return
			}
			p.expect(open)
			p.finds(doctor.IDBypass, doctor.Broken, "3306/tcp of profile mysql is accepted before the gate", "table mangle")
			p.finds(doctor.IDBypass, doctor.Broken, "3306/tcp of profile mysql is accepted before the gate", "table filter")
		})
	})
	t.Run("not another port, nor what exists, nor loopback", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, ""))
		p.serve()
		p.sh("iptables -I INPUT -p tcp --dport 22 -j ACCEPT", "iptables -I INPUT -i lo -j ACCEPT", "iptables -I INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
			"iptables -I INPUT -p udp --dport 3306 -j ACCEPT")
		p.expect(silent)
		p.findsNo(doctor.IDBypass)
	})
}

func TestAPortThatContainersPublishIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		// As Docker writes it.
		p.sh("iptables -t nat -N DOCKER", "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
			"iptables -t nat -A DOCKER -i docker0 -j RETURN",
			"iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 3306 -j DNAT --to-destination 10.9.0.2:3306")
		p.finds(doctor.IDPublished, doctor.Broken, "3306/tcp of profile mysql", "chain DOCKER of table nat", "10.9.0.2")
	})
	t.Run("not with a gate before destination NAT", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, p *patient) {
			p.install(mysql(t, `place = "prerouting"`))
			p.sh("iptables -P INPUT DROP", "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -p tcp -m tcp --dport 3306 -j DNAT --to-destination 10.9.0.2:3306")
			p.findsNo(doctor.IDPublished)
			p.findsNo(doctor.IDBypass)
		})
	})
	t.Run("nor what is published to some sources", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, p *patient) {
			rule := "iptables -t nat -A PREROUTING -s 10.9.0.0/16 -p tcp -m tcp --dport 3306 -j DNAT --to-destination 10.9.0.2:3306"
			p.sh(rule)
			p.install(mysql(t, ""))
			p.finds(doctor.IDPublished, doctor.Broken, "3306/tcp of profile mysql")
			p.install(mysql(t, `place = "prerouting"`))
			p.findsNo(doctor.IDPublished)
		})
	})
	t.Run("but not what drops before both gates", func(t *testing.T) {
		eachBackend(t, func(t *testing.T, p *patient) {
			p.install(mysql(t, `place = "prerouting"`))
			p.sh("iptables -t raw -A PREROUTING -p tcp --dport 3306 -j DROP")
			p.finds(doctor.IDDropped, doctor.Broken, "3306/tcp of profile mysql is dropped before the gate")
		})
	})
	t.Run("by nft rules", func(t *testing.T) {
		p := admit(t, "nftables")
		p.install(mysql(t, ""))
		p.nft(`table ip pods { chain pre { type nat hook prerouting priority dstnat; fib daddr type local goto ports; };
			chain ports { tcp dport vmap { 80 : accept, 3306 : jump db }; };
			chain db { meta l4proto tcp dnat to 10.9.0.2:3306; }; }`)
		p.finds(doctor.IDPublished, doctor.Broken, "3306/tcp of profile mysql", "chain db of table ip pods (nft)")
	})
	t.Run("not one that is published elsewhere", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, ""))
		p.sh("iptables -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 10.9.0.2:80")
		p.findsNo(doctor.IDPublished)
	})
}

func TestAPortThatIsDroppedBehindTheGateIsFound(t *testing.T) {
	const policy = "table inet firewall { chain in { type filter hook input priority 10; policy drop; ct state vmap { established : accept, related : accept, invalid : drop }; iif lo accept; tcp dport 22 accept; }; }"
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		p.serve()
		p.nft(policy)
		p.finds(doctor.IDDropped, doctor.Broken, "3306/tcp of profile mysql is dropped behind the gate", "the policy of chain in of table inet firewall (nft)")
		p.nft("add rule inet firewall in tcp dport { 3300-3310 } accept")
		p.findsNo(doctor.IDDropped)
		p.nft("flush chain inet firewall in\nadd rule inet firewall in ip saddr 10.9.0.0/16 accept")
		p.finds(doctor.IDDropped, doctor.Warning, "except packets that come from 10.9.0.0/16")
	})
	t.Run("by an iptables policy, with nftables", func(t *testing.T) {
		p := admit(t, "nftables")
		p.install(mysql(t, ""))
		p.sh("iptables -P INPUT DROP")
		p.finds(doctor.IDDropped, doctor.Broken, "the policy of chain INPUT of table filter (iptables-")
	})
	t.Run("not by our own policy, with iptables", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, ""))
		p.sh("iptables -P INPUT DROP", "iptables -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
		p.findsNo(doctor.IDDropped)
	})
}

func TestAPortThatIsDroppedBeforeTheGateIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		p.sh("iptables -t mangle -A PREROUTING -p tcp --dport 3306 -j DROP")
		p.finds(doctor.IDDropped, doctor.Broken, "3306/tcp of profile mysql is dropped before the gate", "chain PREROUTING of table mangle")
	})
	t.Run("by a chain of an interface", func(t *testing.T) {
		p := admit(t, "nftables")
		p.install(mysql(t, "closed = \"continue\"\n"))
		p.serve()
		p.expect(open)
		p.nft("table netdev fast { chain in { type filter hook ingress device eth0 priority 0; tcp dport 3306 drop; }; }")
		p.expect(silent)
		p.finds(doctor.IDDropped, doctor.Broken, "3306/tcp of profile mysql is dropped before the gate", "chain in of table netdev fast (nft)")
		labtest.Join(t, p.host, labtest.NewHost(t, "other")) // another way in
		p.found = nil
		p.findsNo(doctor.IDDropped)
	})
}

func TestAGateThatGoesOnToAnOpenHostIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, "closed = \"continue\"\n"))
		p.serve()
		p.expect(open)
		p.finds(doctor.IDNoGate, doctor.Broken, "3306/tcp of profile mysql is open to all")
		p.sh("iptables -P INPUT DROP", "ip6tables -P INPUT DROP")
		p.expect(silent)
		p.findsNo(doctor.IDNoGate)
	})
}

func TestKnocksThatDoNotReachTheRulesAreFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""))
		p.sh("iptables -t mangle -A PREROUTING -p tcp --dport 7421 -j DROP", "iptables -t raw -A PREROUTING -p icmp --icmp-type echo-request -j DROP",
			"iptables -t nat -A PREROUTING -p udp --dport 3190 -j REDIRECT --to-ports 53")
		p.finds(doctor.IDUnheard, doctor.Broken, "7421/tcp", "table mangle")
		p.finds(doctor.IDUnheard, doctor.Broken, "icmp", "table raw")
		p.finds(doctor.IDUnheard, doctor.Broken, "3190/udp", "table nat")
	})
	// Whoever loads such a chain last comes first: see package coexist for what happens then.
	for _, c := range []struct {
		backend, priority string
		found             bool
	}{{"iptables", "filter", true}, {"iptables", "filter + 10", false}, {"nftables", "filter", false}, {"nftables", "-10", true}} {
		t.Run(c.backend+" and a chain with priority "+c.priority, func(t *testing.T) {
			p := admit(t, c.backend)
			p.install(mysql(t, ""))
			p.nft("table inet firewall { chain in { type filter hook input priority " + c.priority + "; policy drop; tcp dport { 22, 3306 } accept; }; }")
			if c.found {
				p.finds(doctor.IDUnheard, doctor.Broken, "7421/tcp", "3190/udp", "only while our rules are in front of the policy of chain in of table inet firewall (nft)")
			} else {
				p.findsNo(doctor.IDUnheard)
			}
			p.findsNo(doctor.IDDropped)
		})
	}
	t.Run("an address that is blocked is nobody's business", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, ""))
		p.sh("iptables -t raw -A PREROUTING -s 10.9.0.1 -j DROP")
		p.findsNo(doctor.IDUnheard)
		p.findsNo(doctor.IDDropped)
	})
}

func TestConnectionsThatAreNotTrackedAreFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, ""), profile(t, "vpn", "sequence = [\"7461/tcp\", \"3196/udp\", \"9008/tcp\"]\nopen = [\"1194/udp\"]\n"))
		p.findsNo(doctor.IDUntracked)
		p.sh("iptables -t raw -A PREROUTING -p tcp --dport 3306 -j CT --notrack", "iptables -t raw -A PREROUTING -p udp --dport 1194 -j CT --notrack")
		p.finds(doctor.IDUntracked, doctor.Broken, "3306/tcp of profile mysql", "table raw")
		p.finds(doctor.IDUntracked, doctor.Warning, "1194/udp of profile vpn", "table raw")
	})
	t.Run("by nft", func(t *testing.T) {
		p := admit(t, "nftables")
		p.install(mysql(t, ""))
		p.nft(`table inet fast { chain pre { type filter hook prerouting priority raw; meta l4proto { tcp, udp } notrack; }; }`)
		p.finds(doctor.IDUntracked, doctor.Broken, "table inet fast")
	})
}

func TestIPv6ThatIsOpenWhileIPv4IsGatedIsFound(t *testing.T) {
	eachBackend(t, func(t *testing.T, p *patient) {
		p.install(mysql(t, "family = \"ipv4\"\n"))
		p.findsNo(doctor.IDOtherFamily) // nothing listens
		p.serve()
		p.expect(silent)
		address := "[" + p.host.Addr6.String() + "]:3306"
		if got := p.connects("tcp6", address); got != open {
			t.Errorf("over IPv6 it is %s", got)
		}
		p.finds(doctor.IDOtherFamily, doctor.Broken, "3306/tcp is open over ipv6: profile mysql")
		p.sh("ip6tables -A INPUT -p tcp --dport 3306 -j REJECT")
		if got := p.connects("tcp6", address); got == open {
			t.Error("over IPv6 it is open still")
		}
		p.findsNo(doctor.IDOtherFamily)
	})
	t.Run("a socket on loopback is not open", func(t *testing.T) {
		p := admit(t, "iptables")
		p.install(mysql(t, "family = \"ipv4\"\n"))
		labtest.Listen(t, p.host, "tcp", "[::1]:3306") // before the first examination
		p.findsNo(doctor.IDOtherFamily)
	})
}

func TestRulesOfOneFamilyThatAreGoneAreDrift(t *testing.T) {
	p := admit(t, "iptables")
	p.install(mysql(t, ""))
	for _, line := range []string{"ip6tables -F", "ip6tables -X"} {
		p.sh(line)
	}
	p.finds(doctor.IDDrift, doctor.Broken, "ipv6: mysql is not installed there: what it opens is open to all")
}

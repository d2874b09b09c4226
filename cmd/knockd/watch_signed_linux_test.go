package main

import (
	"testing"
	"time"

	"knockkit/internal/lab"
)

func TestWatchAndTheServiceNameWhoHasOpenedASignedProfile(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		alice, bob := s.addKey("alice", 1000), s.addKey("bob", 2000)
		lines, objects := s.watch(), s.watch("--json")
		lines.logs("watching: ")
		objects.logs("watching: ")
		from, stranger := lab.ForgedAddr4(5), lab.ForgedAddr4(6)
		s.answers(stranger)
		lines.shows("10.9.0.6: mysql: no lease for 3306/tcp: no signed knock was seen\n", soon)
		// By now the listener has begun for long enough to know of whose knock a report is.
		alice.knock(from)
		lines.shows("10.9.0.5: mysql: alice: open for 1h\n", soon)
		bob.knock(from) // behind the same address
		lines.shows("10.9.0.5: mysql: bob: open for 1h\n", soon)
		objects.shows(`"detail":"open for 1h","user":"bob","key":"`+bob.key.ID()+`"}`, soon)

		s.must("revoke", "mysql", "--user", "bob") // alice has the lease
		s.must("revoke", "mysql", "--user", "alice")
		lines.shows("10.9.0.5: mysql: alice: the lease is revoked, by ", soon)
		s.answers(from)
		lines.shows("10.9.0.5: mysql: no lease for 3306/tcp: it was revoked\n", soon)
	})
}

func TestTheEndOfALeaseNamesItsUsers(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		s.profile("mysql", "signed = { carrier = \"icmp\" }\nopen = [\"3306/tcp\"]\nlease = \"2s\"\n")
		s.must("install")
		alice := s.addKey("alice", 1000)
		w := s.watch()
		w.logs("watching: ")
		alice.knock(lab.ForgedAddr4(5))
		w.shows("10.9.0.5: mysql: alice: the lease is over\n", soon+2*time.Second)
	})
}

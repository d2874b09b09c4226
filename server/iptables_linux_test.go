package server_test

import (
	"os"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// eachFlavour runs a test that is about iptables alone on both of its flavours.
func eachFlavour(t *testing.T, f func(t *testing.T)) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore")
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			f(t)
		})
	}
}

// status reads the site's status, drift and all.
func (s *site) status() server.Status {
	s.t.Helper()
	var st server.Status
	s.do(func() (err error) {
		st, err = s.srv.Status(s.t.Context(), nil, nil)
		return err
	})
	return st
}
